"""Mail is taken from a mailbox in Dovecot: exactly once, whatever is cut or killed when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email import message_from_bytes
from functools import partial
from pathlib import Path

import pytest

from gateway import dispatch
from gateway.app import App
from gateway.errors import Reply, Unavailable, UsageError
from gateway.intake.imap_mailbox import LoginRefused, connect
from gateway.intake.imap_taking import Later
from gateway.message.envelope import Envelope
from gateway.monitoring import of_names
from gateway.monitoring.finding import Finding, State, run
from gateway.monitoring.scene import Scene
from tests.dovecot import OTHER_PASSWORD
from tests.imap_between import MOMENTS, Moment
from tests.intake import LIST, MAILBOX, Intake, running_intake, until
from tests.mail_servers import HOST, missing

UNSIGNED = f"From: x@elsewhere.example\r\nTo: {LIST}\r\nSubject: x\r\n\r\nTwo crates.\r\n".encode()
NOT_ENCRYPTED = "Refused: 523 5.7.10"
NOTE = b"auto-generated"


@pytest.fixture(scope="module")
def everything() -> Iterator[Intake]:
    if why := missing(postfix=False):
        pytest.skip(why)
    with running_intake() as made:
        yield made


@pytest.fixture
def intake(everything: Intake) -> Iterator[Intake]:
    """Nothing is in the mailbox, and the cable is whole and honest."""
    yield everything
    everything.between.moment = None
    everything.between.told = everything.between.asked = bytes
    everything.empty()
    everything.group.deliver()


def without(*capabilities: bytes) -> Callable[[bytes], bytes]:
    """A server that has not these."""
    names = re.compile(rb" (?:" + b"|".join(capabilities) + rb")(?=[ \]\r])")
    return lambda said: names.sub(b"", said)


def refused(intake: Intake) -> tuple[list[bytes], list[str]]:
    """What lies in Refused: the mails, and the subjects of the notes beside them."""
    found = intake.folder("Refused")
    notes = [one for one in found if NOTE in one]
    subjects = [str(message_from_bytes(one)["Subject"]) for one in notes]
    return [one for one in found if one not in notes], subjects


def test_each_mail_is_moved_to_where_it_shows_what_became_of_it(intake: Intake) -> None:
    first, second = intake.mail("First"), intake.mail("Second")
    named = UNSIGNED.replace(b"\r\n\r\n", b"\r\nMessage-ID: <one@elsewhere.example>\r\n\r\n")
    nowhere = UNSIGNED.replace(LIST.encode(), b"nobody@environet.example")
    intake.put(first, named, second, nowhere)
    assert intake.take() == [250, 523, 250, 550]
    assert intake.delivered() == ["First", "Second"]
    assert intake.folder("Taken") == [first, second]
    mails, reasons = refused(intake)
    assert mails == [named, nowhere]
    assert reasons[0].startswith(NOT_ENCRYPTED)
    assert reasons[1] == "Refused: 550 5.1.1 No address here is named in the header"
    answered = [message_from_bytes(one)["In-Reply-To"] for one in intake.folder("Refused")]
    assert answered == ["<one@elsewhere.example>", None, None, None]
    for folder in ("Taken", "Refused"):
        for _, flags in intake.dovecot.marked(MAILBOX, folder):
            assert not {rb"\Seen", rb"\Deleted"} & set(flags)
    assert not intake.waiting()


def test_a_mail_is_distributed_once_wherever_the_cable_is_cut(intake: Intake) -> None:
    app = intake.app()
    mails = [intake.mail(name) for name in ("Each", "Within", "After", "Whole")]
    intake.put(mails[0])
    for command in (b"LOGIN", b"SELECT", b"SEARCH", b"RFC822.SIZE", b"BODY.PEEK"):
        for at in MOMENTS:
            intake.cut(app, command, at)
    intake.cut(app, b" MOVE", "before")
    assert intake.waiting() == 1
    assert intake.take(app) == [250]
    for mail, at in zip(mails[1:], ("within", "after", "whole"), strict=True):
        intake.put(mail)
        intake.cut(app, b" MOVE", at)
        assert intake.take(app) == []
    assert intake.delivered() == ["Each", "Within", "After", "Whole"]
    assert intake.folder("Taken") == mails


def test_a_mail_is_distributed_once_where_the_server_can_not_move(intake: Intake) -> None:
    intake.between.told = without(b"MOVE")
    app = intake.app()
    mails = [intake.mail(name) for name in ("Each", "Within", "After", "Whole", "Expunged")]
    intake.put(mails[0])
    for at in ("before", "within", "after"):
        intake.cut(app, b" COPY", at)
    intake.cut(app, b" STORE", "before")
    assert intake.take(app) == [250]
    for mail, at in zip(mails[1:4], ("within", "after", "whole"), strict=True):
        intake.put(mail)
        intake.cut(app, b" STORE", at)
        assert intake.take(app) == []
    intake.put(mails[4])
    intake.cut(app, b" EXPUNGE", "after")
    assert intake.delivered() == ["Each", "Within", "After", "Whole", "Expunged"]
    # It lies there once more for each copy that was made while it was not marked as deleted.
    assert intake.folder("Taken") == 3 * mails[:1] + mails


def test_a_refused_mail_lies_beside_its_reason_wherever_the_cable_is_cut(intake: Intake) -> None:
    app = intake.app()
    intake.put(UNSIGNED)
    for at in MOMENTS:
        intake.cut(app, b"APPEND", at)
    intake.cut(app, NOTE, "before")
    assert refused(intake) == ([], [])
    intake.cut(app, NOTE, "after")
    intake.cut(app, b" MOVE", "before")
    assert intake.take(app) == [523]
    mails, reasons = refused(intake)
    assert mails == [UNSIGNED]
    # Once more for the one that was laid there and nobody heard of it.
    assert len(reasons) == 2
    assert all(one.startswith(NOT_ENCRYPTED) for one in reasons)


def test_a_mail_is_distributed_once_wherever_the_process_is_killed(intake: Intake) -> None:
    moments = ((b"BODY.PEEK", "whole"), (b" MOVE", "before"), (b" MOVE", "after"), (NOTE, "after"))
    subjects = ["One", "Two"]
    intake.put(*map(intake.mail, subjects), UNSIGNED)
    for command, at in moments:
        with intake.process(tries=9) as taker:
            intake.between.moment = Moment(command, at, taker.kill)
            assert taker.wait() == -9
    with intake.process(tries=9) as taker:
        until(intake, intake.is_empty, "all are taken")
        taker.terminate()
        assert taker.wait() == 0
    assert intake.delivered() == subjects
    assert len(intake.folder("Taken")) == len(subjects)
    mails, reasons = refused(intake)
    assert mails == [UNSIGNED]
    # Laid down, and the process killed before it could know.
    assert len(reasons) == 2


def test_a_process_that_is_to_stop_ends_though_the_mail_in_hand_is_not_moved(
    intake: Intake,
) -> None:
    intake.put(intake.mail("Last"))
    with intake.process() as taker:
        intake.between.moment = Moment(b" MOVE", "before", taker.terminate)
        assert taker.wait() == 0
    assert intake.take() == [250]
    assert intake.delivered() == ["Last"]


def test_new_mail_is_noticed_and_a_server_that_was_away_is_found_again(intake: Intake) -> None:
    before = intake.between.connections
    with intake.process() as taker:
        until(intake, lambda: "connected to" in intake.log_text, "it is connected")
        intake.put(intake.mail("By IDLE"))
        until(intake, intake.is_empty, "it is taken")
        assert intake.between.connections == before + 1
        intake.dovecot.stop()
        until(intake, lambda: "next try in 1 s" in intake.log_text, "it says that it is gone")
        intake.dovecot.start()
        intake.put(intake.mail("After the server's return"))
        until(intake, intake.is_empty, "it is taken")
        intake.between.cut()
        intake.between.told = without(b"IDLE")
        intake.put(intake.mail("Without IDLE"))
        until(intake, intake.is_empty, "it is taken")
        intake.put(intake.mail("Without IDLE, later"))
        until(intake, intake.is_empty, "it is taken")
        assert taker.leave() == 0
    subjects = intake.delivered()
    assert subjects[:2] == ["By IDLE", "After the server's return"]
    assert subjects[2:] == ["Without IDLE", "Without IDLE, later"]


def test_a_mail_that_ends_the_process_is_set_aside_with_the_reason(intake: Intake) -> None:
    poison = intake.mail("Poison")
    intake.put(poison, intake.mail("After it"))
    with intake.process() as taker:
        intake.between.moment = Moment(b"BODY.PEEK", "whole", taker.kill)
        assert taker.wait() == -9
    assert intake.take(intake.app(tries=1)) == [554, 250]
    assert intake.delivered() == ["After it"]
    mails, reasons = refused(intake)
    assert mails == [poison]
    assert reasons == ["Refused: 554 5.3.0 Set aside: the gateway ended over it, times: 1"]


def test_a_mail_over_which_the_gateway_fails_stays_and_keeps_no_other_waiting(
    intake: Intake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    honest = dispatch.submit

    def fails(app: App, envelope: Envelope, limit: int) -> tuple[Reply, ...] | None:
        if b"Poison" in envelope.data:
            raise ValueError(envelope.data)
        return honest(app, envelope, limit)

    monkeypatch.setattr(dispatch, "submit", fails)
    intake.put(intake.mail("x", headers={"X-Mark": "Poison"}), *map(intake.mail, "AB"))
    later = Later()
    assert intake.take(later=later) == [451, 250, 250]
    assert len(later.waits) == 1
    assert "ValueError" in caplog.text
    assert "X-Mark" not in caplog.text
    monkeypatch.undo()
    assert intake.take() == [250]
    assert intake.delivered() == ["A", "B", "x"]


def test_a_mail_over_which_the_server_breaks_off_keeps_no_other_waiting(intake: Intake) -> None:
    later = Later()
    intake.put(*map(intake.mail, ("Broken", "Whole", "Too")))
    (broken, *_) = intake.uids()
    intake.between.moment = Moment(b"FETCH %d (BODY" % broken, "after", lasting=True)
    with pytest.raises(Unavailable, match="FETCH: it breaks off"):
        intake.take(later=later)
    later.waits = {broken: (0.0, 2.0)}  # so it is due again
    with pytest.raises(Unavailable, match="FETCH: it breaks off"):
        intake.take(later=later)
    assert intake.delivered() == ["Whole", "Too"]
    assert intake.uids() == [broken]


def test_a_mail_that_the_server_does_not_move_is_not_distributed_again(intake: Intake) -> None:
    app = intake.app(taken_folder="Nowhere")
    intake.put(intake.mail("One"), intake.mail("Two"))
    assert intake.take(app, make_folders=False) == [250, 250]
    assert intake.waiting() == 2
    assert intake.take(app) == [250, 250]
    assert intake.delivered() == ["One", "Two"]
    assert len(intake.folder("Nowhere")) == 2


def test_a_server_that_only_says_that_it_moves_is_not_asked_without_end(intake: Intake) -> None:
    order = re.compile(rb"UID MOVE .*")
    intake.between.asked = lambda said: order.sub(b"NOOP\r", said)
    intake.put(intake.mail("One"), intake.mail("Two"))
    assert intake.take() == [250, 250]
    intake.between.asked = bytes
    assert intake.take() == [250, 250]
    assert intake.delivered() == ["One", "Two"]
    assert not intake.waiting()


def test_what_somebody_else_marked_as_deleted_is_neither_taken_nor_expunged(
    intake: Intake,
) -> None:
    theirs = intake.mail("Theirs")
    intake.put(theirs, intake.mail("Ours"))
    with intake.dovecot.mailbox(MAILBOX) as client:
        client.select_folder("INBOX")
        client.add_flags(client.search()[:1], [rb"\Deleted"])
    for missing_too in (b"UIDPLUS", b"X"):
        intake.between.told = without(b"MOVE", missing_too)
        assert intake.take() == [250]
        assert intake.take() == []
        left = intake.dovecot.marked(MAILBOX, "INBOX", "DELETED")
        assert theirs in [mail for mail, _ in left]
        assert len(left) == 2
        intake.put(intake.mail("Ours again"))
    assert intake.delivered() == ["Ours", "Ours again"]


def test_a_mail_that_is_too_large_is_not_even_fetched(intake: Intake) -> None:
    app = intake.app(message_bytes=20_000)
    big = intake.mail("Big", attachments=[("a.bin", "application/octet-stream", bytes(30_000))],
                      form="6.1")  # fmt: skip
    assert len(big) > 20_000
    intake.put(big)
    intake.between.moment = Moment(b"BODY.PEEK", "before")
    assert intake.take(app) == [552]
    size = re.compile(rb"RFC822.SIZE \d+")
    intake.between.moment = None
    intake.between.told = lambda said: size.sub(b"RFC822.SIZE 1000", said)
    intake.put(big)
    assert intake.take(app) == [552]
    assert refused(intake)[0] == [big, big]


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_over_tls_the_servers_certificate_is_verified(intake: Intake, security: str) -> None:
    server = intake.dovecot
    ports = {"tls": server.imaps, "starttls": server.imap}
    secured = partial(intake.app, security=security, port=ports[security])
    intake.put(intake.mail("Over TLS"))
    with pytest.raises(Unavailable, match="connecting: its certificate is not good: self-signed"):
        intake.take(secured())
    with pytest.raises(Unavailable, match="certificate is not good: Hostname mismatch"):
        intake.take(secured(host="localhost", ca_file=str(server.certificate)))
    assert intake.take(secured(ca_file=str(server.certificate))) == [250]
    assert intake.delivered() == ["Over TLS"]


def test_no_password_is_sent_where_somebody_took_starttls_away(intake: Intake) -> None:
    intake.between.told = without(b"STARTTLS")
    intake.between.moment = Moment(b"LOGIN", "before")
    app = intake.app(security="starttls", ca_file=str(intake.dovecot.certificate))
    with pytest.raises(Unavailable, match="it has no STARTTLS, so it gets no password"):
        intake.take(app)
    assert intake.between.moment is not None


def test_a_password_that_is_wrong_or_can_be_read_by_others_is_told_and_not_shown(
    intake: Intake, tmp_path: Path
) -> None:
    with connect(intake.app(password_file=intake.password_file(OTHER_PASSWORD)).config.imap,
                 tmp_path) as mailbox:  # fmt: skip
        assert mailbox.select().count == 0
    wrong = intake.app(password_file=intake.password_file("wrong-and-secret"))
    with pytest.raises(LoginRefused, match="user name or password are not taken") as caught:
        intake.take(wrong)
    assert "wrong-and-secret" not in str(caught.value)
    (finding,) = findings(wrong)
    assert (finding.state, "not taken" in finding.said) == (State.FAULT, True)
    open_file = tmp_path / "password"
    open_file.write_text("x")
    open_file.chmod(0o640)
    with pytest.raises(UsageError, match=r"others may read .*chmod 600"):
        intake.take(intake.app(password_file=str(open_file)))
    open_file.unlink()
    with pytest.raises(UsageError, match=r"can't read .*No such file"):
        intake.take(intake.app(password_file=str(open_file)))


def findings(app: App) -> list[Finding]:
    """What the doctor finds of the mailbox, in a thread of its own."""
    scene = Scene(app.state, app.config, app.database, app.clock)
    return run({"imap": lambda: of_names.imap(scene)}, 20)


def test_whoever_asks_is_told_what_is_in_the_mailbox_and_nothing_changes(intake: Intake) -> None:
    intake.put(UNSIGNED)
    told = intake.group.gateway.environet("imap", "check")
    assert f"Logged in to {HOST} as {MAILBOX}, none." in told
    assert re.search(r"INBOX +waiting +1\n", told)
    assert "The server has no" not in told
    (finding,) = findings(intake.app())
    assert finding.said == f"logged in to {HOST}, none; 1 mails wait"
    ((_, flags),) = intake.dovecot.marked(MAILBOX, "INBOX")
    assert flags == (rb"\Recent",)
    intake.between.told = without(b"MOVE", b"IDLE")
    told = intake.group.gateway.environet("imap", "check")
    assert "The server has no IDLE: it is asked for new mail every imap.poll_seconds." in told
    assert "The server has no MOVE: mails are copied and marked as deleted." in told


def test_a_mail_is_for_whom_the_server_says_that_laid_it_there(intake: Intake) -> None:
    mail = intake.group.write("ana", "gateway", text="help\n", subject="help")
    older = b"Delivered-To: waste@environet.example\r\n"
    intake.put(b"Delivered-To: gateway@environet.example\r\n" + older + mail)
    assert intake.take() == [250]
    (answer,) = intake.group.deliver()
    assert (answer.to, answer.kind) == ("ana", "notice")
    assert (
        not intake.group.ledger("refused") or intake.group.ledger("refused")[-1]["list"] != "waste"
    )
