"""Commands as people type them in real mail programs: run once, and nothing else is run.

NeoMutt and Mutt write their mails here themselves. Thunderbird's are what it once made, with other
words in them; K-9's, Outlook's and Apple Mail's are imitated in how they set out a text.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from gateway.store import hold as holds
from gateway.store import ledger, member
from gateway.store.mailing_list import MailingList
from gateway.store.member import DeliveryMode, Member
from gateway.store.models import Base
from tests.gateway import RunningGateway, short_place
from tests.interop import typing
from tests.officers import Officer
from tests.programs import Gpg, KeyRequest

TO = "gateway@environet.example"
LIST = "wildlife@environet.example"
ACCEPTED = (250, "2.0.0 Accepted")
UNTOUCHED = {"ticked off": "", "own copies": True, "delivery": "each", "languages": ""}
BOTH_OFF = {"ticked off": "B E"}
NO_OWN_COPIES = {"own copies": False}
QUOTED_TICK_OFF = "> deliver digest daily\n> tick off G\n"
OWN_OR_RECORD = {
    "member", "tick_off", "ledger", "ledger_head", "command_mail", "unconfirmed", "notice",
    "outbox", "data_key",
}  # fmt: skip
Write = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Case:
    """typed: as in a mail program's window. told, untold: what the answer says, and what not.
    changes: of the profile. events: that the ledger has of it, but for the mail itself."""

    typed: str
    told: tuple[str, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    untold: tuple[str, ...] = ("deliver digest", "digest each")


CASES = {
    "help": Case("Help\n", ("tick off TOPIC ...", "> Help"), untold=("Not done",)),
    "comma and full stop": Case(
        "tick off wildlife, E.\n", ("tick on B E",), BOTH_OFF, ("ticked-off",)
    ),
    "French, above the quotation": Case(
        "Bonjour,\n\nTick off B E\nmerci\n\n"
        "Le 23/11/2026 à 17:26, ENVIRONET a écrit :\n" + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command", "Not done"),
    ),
    "French, below the quotation": Case(
        "Le 23/11/2026 à 17:26, ENVIRONET a écrit :\n" + QUOTED_TICK_OFF + "\ntick off B E\n"
        "Merci\n",
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command",),
    ),
    "between quotations": Case(
        "23.11.2026 17:26, ENVIRONET пишет:\n> own copies off\n\nTick off: B; E\n\n"
        + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command", "Your own postings"),
    ),
    "Russian, above the quotation": Case(
        "Здравствуйте!\n\nTICK OFF B E\n\nПонедельник, 23 ноября 2026, 17:26 +03:00 от ENVIRONET "
        "<gateway@environet.example>:\n" + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command",),
    ),
    "Arabic, above the quotation": Case(
        "السلام عليكم\n\u200ftick off B E\u200f\n\nفي ٢٣‏/١١‏/٢٠٢٦ ١٧:٢٦، كتب ENVIRONET:\n"
        + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command",),
    ),
    "a signature": Case(
        "tick off B and E\n\n-- \nMira Osei\nCustoms\ntick off G\ndeliver digest daily\n",
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command", "> Mira", "Customs", "digest each"),
    ),
    "from a telephone": Case(
        "own copies off\n\nEnvoyé de mon mobile\n",
        ("Your own postings do not come back",),
        NO_OWN_COPIES,
        ("own-copies-changed",),
    ),
    "no-break spaces and dashes": Case(
        "tick\u00a0off\u00a0B,\u202fE\nown–copies off\n",
        ("tick on B E", "Your own postings do not come back"),
        {**BOTH_OFF, **NO_OWN_COPIES},
        ("ticked-off", "own-copies-changed"),
        ("no command", "Not done"),
    ),
    "a numbered list": Case(
        "Dear colleagues,\n\n1. tick off B E\n2) own copies: off\n – deliver digest daily please\n"
        "\nBest regards\n",
        ("tick on B E", "Your own postings do not come back", "a digest each day"),
        {**BOTH_OFF, **NO_OWN_COPIES, "delivery": "daily"},
        ("ticked-off", "own-copies-changed", "delivery-changed"),
        ("no command", "Not done"),
    ),
    "what nobody asked for": Case(
        "Could you please tick off B for me? I wrote 'own copies off' last week.\n",
        ("This is no command",),
    ),
    "another language's words": Case(
        "désabonner B\nunsubscribe E\n", ("This is no command. Did you mean: tick off TOPIC",)
    ),
}
WRAPPED = Case("tick off B \nE\nown \ncopies \noff\n", ("tick on B E", "Your own postings"),
               {**BOTH_OFF, **NO_OWN_COPIES}, ("ticked-off", "own-copies-changed"),
               ("no command",))  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """A gateway with members; certificate: of its address for commands."""

    gateway: RunningGateway
    certificate: bytes
    mira: Officer
    ana: Officer


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Mira moderates Wildlife, where all postings are held."""
    settings = {"policy.commands_an_hour": 1000}
    with (
        Officer.create("gpg", "Mira Osei", "mira.osei@member.example") as mira,
        Officer.create("gpg", "Ana Lind", "ana.lind@customs.example") as ana,
        RunningGateway(short_place("typed"), settings=settings) as gateway,
    ):
        gateway.found()
        gateway.environet("list", "set", "wildlife", "--moderation", "all")
        gateway.add_member(mira, roles=["moderator:B"])
        gateway.add_member(ana)
        gateway.start()
        yield World(gateway, gateway.certificate(TO), mira, ana)
        assert "Traceback" not in gateway.log_text


@pytest.fixture(autouse=True)
def untouched(world: World) -> None:
    """Nobody has chosen anything."""
    with world.gateway.writing() as session:
        for one in session.scalars(select(Member)):
            one.ticked_off = []
            one.own_copies, one.delivery, one.languages = True, DeliveryMode.EACH, ""


@pytest.fixture(scope="module", params=["neomutt", "mutt"])
def mutt(request: pytest.FixtureRequest, world: World) -> Iterator[typing.Mutt]:
    place = short_place(request.param)
    try:
        yield typing.Mutt(request.param, place, world.mira, [world.certificate])
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def bo(corpora: Path, world: World) -> Iterator[Officer]:
    """The officer whose Thunderbird made the mail that others are made after."""
    folder = corpora / "mail-programs"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")

    class GpgWithThatKey(Gpg):
        def _generate(self, request: KeyRequest) -> bytes:
            self._gpg("--import", data=(folder / "sub.sec.asc").read_bytes())
            return (folder / "sub.pub.asc").read_bytes()

    program = GpgWithThatKey(short_place("bo"), KeyRequest("Bo Berg"))
    with Officer("Bo Berg", "bo.berg@member.example", program, own_home=True) as officer:
        world.gateway.add_member(officer, country="SE")
        yield officer


@pytest.fixture(scope="module")
def thunderbird(corpora: Path, world: World, bo: Officer) -> Write:
    """Writes a mail around a MIME entity, as Thunderbird does."""
    name = str(corpora / "mail-programs" / "thunderbird-153-to-list")
    model, outer = Path(name + ".decrypted").read_bytes(), Path(name + ".eml").read_bytes()

    def write(body: bytes) -> bytes:
        return typing.thunderbird(model, outer, bo, world.certificate, f"ENVIRONET <{TO}>", body)

    return write


@pytest.mark.parametrize("name", CASES)
def test_thunderbirds_plain_text_is_run(
    world: World, bo: Officer, thunderbird: Write, name: str
) -> None:
    played(world, bo, thunderbird(typing.flowed(CASES[name].typed)), CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_thunderbirds_html_with_its_plain_alternative_is_run(
    world: World, bo: Officer, thunderbird: Write, name: str
) -> None:
    case = CASES[name]
    body = typing.alternative(typing.flowed(case.typed), typing.html(as_html(case.typed)))
    played(world, bo, thunderbird(body), case)


def test_lines_that_thunderbird_broke_are_one_command(
    world: World, bo: Officer, thunderbird: Write
) -> None:
    played(world, bo, thunderbird(typing.flowed(WRAPPED.typed)), WRAPPED)


# Their signature does not say whom the mail is for: what changes something is confirmed first.


def k9(case: Case) -> bytes:
    """Imitated: plain text, and under it K-9's own signature."""
    sign = "-- \nThis message was sent from my Android device with K-9 Mail.\ntick off G\n"
    return typing.plain(f"{case.typed}\n{sign}")


def outlook(case: Case) -> bytes:
    """Imitated: HTML of Word's alone, and the mail that is answered under a header of its own."""
    lines = "".join(f"<p class=MsoNormal>{escaped(one)}<o:p></o:p></p>\r\n"
                    for one in case.typed.split("\n"))  # fmt: skip
    quoted = (
        "<div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'>"
        "<p class=MsoNormal><b><span lang=EN-US>De&nbsp;:</span></b> ENVIRONET "
        "&lt;gateway@environet.example&gt; <br><b>Envoyé&nbsp;:</b> lundi 23 novembre 2026 17:26"
        "<br><b>À&nbsp;:</b> Mira Osei<br><b>Objet&nbsp;:</b> Re: help<o:p></o:p></p></div>"
        "<p class=MsoNormal>deliver digest daily<o:p></o:p></p><p class=MsoNormal>tick off G</p>"
    )
    head = "<html xmlns:o='urn:schemas-microsoft-com:office:office'><head><style><!-- p.MsoNormal"
    return typing.html(f"{head} {{margin:0cm;}} --></style></head><body lang=FR>"
                       f"<div class=WordSection1>{lines}{quoted}</div></body></html>")  # fmt: skip


def apple(case: Case) -> bytes:
    """Imitated: both forms, a telephone's line at the end, a blockquote of type cite."""
    text = (
        f"{case.typed}\nSent from my iPhone\n\n> On 23 Nov 2026, at 17:26, ENVIRONET wrote:\n> \n"
    )
    lines = "".join(f"<div>{escaped(one) or '<br>'}</div>" for one in case.typed.split("\n"))
    page = (
        '<html><head></head><body dir="auto">' + lines + '<br id="lineBreakAtBeginningOfSignature">'
        '<div dir="ltr">Sent from my iPhone</div><div dir="ltr"><br><blockquote type="cite">On 23 '
        "Nov 2026, at 17:26, ENVIRONET wrote:<br><br></blockquote></div><blockquote type=\"cite\">"
        "<div dir=\"ltr\">deliver digest daily<br>tick off G</div></blockquote></body></html>"
    )  # fmt: skip
    return typing.alternative(typing.plain(text + QUOTED_TICK_OFF), typing.html(page))


def apple_html(case: Case) -> bytes:
    """The same with nothing in the plain form."""
    return apple(case).replace(b"text/plain", b"text/enriched", 1)


FORMS = {"k9": k9, "outlook": outlook, "apple": apple, "apple-html": apple_html}
UNQUOTED = ("comma and full stop", "no-break spaces and dashes", "a numbered list", "help")


@pytest.mark.parametrize("name", UNQUOTED)
@pytest.mark.parametrize("form", FORMS)
def test_what_other_programs_form_is_run_once_it_is_confirmed(
    world: World, form: str, name: str
) -> None:
    write = partial(typing.sealed, world.mira, world.certificate, TO)
    case = CASES[name]
    confirmed(world, write(FORMS[form](case)), case, lambda _, line: write(typing.plain(line)))


@pytest.mark.parametrize("name", UNQUOTED)
def test_an_inline_message_sent_by_swaks_is_run_once_it_is_confirmed(
    world: World, name: str
) -> None:
    if shutil.which("swaks") is None:
        pytest.skip("swaks is not installed")
    case = CASES[name]
    before = seen(world, world.mira)
    mail = inline(world, case.typed)
    swaks(world, mail, world.mira)
    answer = newest(world, world.mira, before)
    follow_up(world, case, before, mail, answer, lambda _, line: inline(world, line))


@pytest.mark.parametrize("name", CASES)
def test_what_is_typed_in_mutt_is_run(world: World, mutt: typing.Mutt, name: str) -> None:
    case = CASES[name]
    mail = mutt.write(TO, "a request – bitte", case.typed)
    confirmed(world, mail, case, mutt.answer)


@pytest.mark.parametrize("where", ["above", "below"])
def test_an_answer_in_mutt_runs_nothing_of_what_it_quotes(
    world: World, mutt: typing.Mutt, where: str
) -> None:
    before = seen(world, world.mira)
    sent(world, mutt.write(TO, "a question", "help tick off\n"), world.mira)
    answer = newest(world, world.mira, before)
    assert "tick off" in told(world, world.mira, answer)
    mail = mutt.answer(answer, "\ntick off wildlife, E.\n\n", where)
    confirmed(world, mail, CASES["comma and full stop"], mutt.answer)


@pytest.mark.parametrize(
    "typed", ["Please approve H-{}.\n", "approve H–{}\n", "APPROVE\u00a0h{}\n"]
)
@pytest.mark.parametrize("where", ["above", "below"])
def test_a_moderator_answers_the_notice_of_a_held_posting_in_mutt(
    world: World, mutt: typing.Mutt, where: str, typed: str
) -> None:
    notice, number = held(world)
    before = seen(world, world.mira)
    mail = mutt.answer(notice, "\n" + typed.format(number), where)
    sent(world, mail, world.mira)
    answer = newest(world, world.mira, before)
    if not is_bound(world, mail):
        assert decision(world, number) == "open"
        before = seen(world, world.mira)
        sent(world, mutt.answer(answer, confirmation(world, answer)), world.mira)
        answer = newest(world, world.mira, before)
    said = told(world, world.mira, answer)
    assert f"H-{number} is approved." in said
    assert "Not done" not in said
    assert "no command" not in said
    assert decision(world, number) == "approved"
    assert profile(world, world.mira) == UNTOUCHED
    assert set(events(world, before)) == {"commands", "approved"}
    again(world, mail, world.mira)


@pytest.mark.parametrize("verb", ["approve", "reject", "discard"])
def test_the_mail_that_a_notices_link_prepares_is_run(world: World, verb: str) -> None:
    notice, number = held(world)
    links = re.findall(r"mailto:\S+", world.mira.read(notice).text)
    parts = [urlsplit(one) for one in links]
    assert {one.path for one in parts} == {TO}
    bodies = [parse_qs(one.query)["body"][0] for one in parts]
    (body,) = (one for one in bodies if one.startswith(verb))
    write = partial(typing.sealed, world.mira, world.certificate, TO, subject=body)
    before = seen(world, world.mira)
    sent(world, write(typing.flowed(body)), world.mira)
    answer = newest(world, world.mira, before)
    before = seen(world, world.mira)
    sent(world, write(typing.flowed(confirmation(world, answer))), world.mira)
    assert f"H-{number} is " in told(world, world.mira, newest(world, world.mira, before))
    assert decision(world, number).startswith(verb)


POLITE: dict[str, dict[str, Any]] = {
    "own copies off please\n": NO_OWN_COPIES,
    "tick off B E please\n": BOTH_OFF,
    "deliver digest daily, please.\n": {"delivery": "daily"},
    "s'il vous plaît, own copies off\n": NO_OWN_COPIES,
    "Bitte tick off B E!\n": BOTH_OFF,
}
NOT_QUITE: dict[str, dict[str, Any]] = {
    "own copies off, s'il vous plaît\n": NO_OWN_COPIES,
    "tick off B E, bitte\n": BOTH_OFF,
    "tick off B et E\n": BOTH_OFF,
    "tick off B E X\n": BOTH_OFF,
    "language fr por favor\n": {"languages": "fr"},
}


@pytest.mark.parametrize("typed", POLITE)
def test_politeness_is_no_part_of_a_command(
    world: World, bo: Officer, thunderbird: Write, typed: str
) -> None:
    before = seen(world, bo)
    sent(world, thunderbird(typing.flowed(typed)), bo)
    assert "Not done" not in told(world, bo, newest(world, bo, before))
    assert profile(world, bo) == {**UNTOUCHED, **POLITE[typed]}


@pytest.mark.parametrize("typed", NOT_QUITE)
def test_a_line_that_is_not_understood_whole_is_not_run_in_part(
    world: World, bo: Officer, thunderbird: Write, typed: str
) -> None:
    before = seen(world, bo)
    sent(world, thunderbird(typing.flowed(typed)), bo)
    is_refused = "Not done" in told(world, bo, newest(world, bo, before))
    assert profile(world, bo) == {**UNTOUCHED, **({} if is_refused else NOT_QUITE[typed])}


@pytest.mark.parametrize("verb", ["approve", "discard"])
def test_politeness_after_a_hold_is_no_part_of_the_command(world: World, verb: str) -> None:
    _, number = held(world)
    write = partial(typing.sealed, world.mira, world.certificate, TO)
    before = seen(world, world.mira)
    sent(world, write(typing.plain(f"{verb.capitalize()} H-{number} please\n")), world.mira)
    answer = newest(world, world.mira, before)
    sent(world, write(typing.plain(confirmation(world, answer))), world.mira)
    assert decision(world, number).startswith(verb)


TELEPHONES = (
    "Envoyé de mon mobile", "Envoyé de mon iPhone", "Sent from my iPhone", "Get Outlook for iOS",
    "Von meinem iPhone gesendet", "Отправлено с iPhone", "Enviado desde mi iPhone",
    "أُرسلت من الـ iPhone",
)  # fmt: skip


@pytest.mark.parametrize("line", TELEPHONES)
def test_a_telephones_line_is_not_run_and_does_no_harm(
    world: World, bo: Officer, thunderbird: Write, line: str
) -> None:
    case = CASES["from a telephone"]
    typed = f"own copies off\n\n{line}\n"
    played(world, bo, thunderbird(typing.flowed(typed)), case)


# What happens, and how it is looked at.


@dataclass(frozen=True, slots=True)
class Seen:
    """Of an officer and the gateway at one moment."""

    copies: int
    entries: int
    others: str


def played(world: World, officer: Officer, mail: bytes, case: Case) -> None:
    """A mail that says itself whom it is for: it is run, and then again it is not."""
    before = seen(world, officer)
    sent(world, mail, officer)
    check(world, officer, case, before, told(world, officer, newest(world, officer, before)))
    again(world, mail, officer)


def confirmed(world: World, mail: bytes, case: Case, write: Callable[[bytes, str], bytes]) -> None:
    """As `played`; where the mail is to be confirmed, that is written in answer to its answer."""
    before = seen(world, world.mira)
    sent(world, mail, world.mira)
    answer = newest(world, world.mira, before)
    again(world, mail, world.mira)
    follow_up(world, case, before, mail, answer, write)


def follow_up(
    world: World,
    case: Case,
    before: Seen,
    mail: bytes,
    answer: bytes,
    write: Callable[[bytes, str], bytes],
) -> None:
    mira = world.mira
    said = told(world, mira, answer)
    if not case.changes or is_bound(world, mail):
        check(world, mira, case, before, said)
        return
    assert profile(world, mira) == UNTOUCHED
    assert events(world, before) == ["commands"]
    before = seen(world, mira)
    second = write(answer, confirmation(world, answer))
    sent(world, second, mira)
    check(world, mira, case, before, told(world, mira, newest(world, mira, before)))
    again(world, second, mira)
    again(world, mail, mira)


def is_bound(world: World, mail: bytes) -> bool:
    """Whether a mail says under its signature whom it is for."""
    return world.mira.read(mail).entity["To"] is not None


def check(world: World, officer: Officer, case: Case, before: Seen, said: str) -> None:
    for one in case.told:
        assert one in said
    for one in case.untold:
        assert one not in said
    assert profile(world, officer) == {**UNTOUCHED, **case.changes}
    assert sorted(events(world, before)) == sorted(["commands", *case.events])
    assert others(world, officer) == before.others


def again(world: World, mail: bytes, officer: Officer) -> None:
    """The same mail does nothing more, and is not answered."""
    before, chosen = seen(world, officer), profile(world, officer)
    assert world.gateway.send(mail, officer.address, [TO]) == ACCEPTED
    world.gateway.wait_until_delivered()
    assert seen(world, officer) == before
    assert profile(world, officer) == chosen


def sent(world: World, mail: bytes, officer: Officer) -> None:
    assert world.gateway.send(mail, officer.address, [TO]) == ACCEPTED
    world.gateway.wait_until_delivered()


def newest(world: World, officer: Officer, before: Seen) -> bytes:
    """The one answer that came since."""
    copies = world.gateway.copies(officer.address)[before.copies :]
    answers = [one for one in copies if b"\r\nIn-Reply-To: " in one]
    assert len(answers) == 1
    return answers[0]


def told(world: World, officer: Officer, mail: bytes) -> str:
    """What a mail of the gateway says, whose signature gpg finds good."""
    reading = officer.read(mail, world.certificate)
    assert reading.list_signature is not None
    return reading.text


def confirmation(world: World, answer: bytes) -> str:
    found = re.findall(r"^ {4}(confirm [0-9a-f]{20})$", told(world, world.mira, answer), re.M)
    assert len(found) == 1
    return f"{found[0]}\n"


def seen(world: World, officer: Officer) -> Seen:
    with world.gateway.reading() as session:
        entries = sum(1 for _ in ledger.entries(session))
    copies = len(world.gateway.copies(officer.address))
    return Seen(copies, entries, others(world, officer))


def events(world: World, before: Seen) -> list[str]:
    with world.gateway.reading() as session:
        return [one.event for one in ledger.entries(session)][before.entries :]


def profile(world: World, officer: Officer) -> dict[str, Any]:
    """What an officer chose for themselves."""
    with world.gateway.reading() as session:
        found = member.get(session, officer.address)
        letters = [session.get_one(MailingList, one.list_id).letter for one in found.ticked_off]
        return {
            "ticked off": " ".join(sorted(letters)),
            "own copies": found.own_copies,
            "delivery": str(found.delivery),
            "languages": found.languages,
        }


def others(world: World, officer: Officer) -> str:
    """All that the gateway has besides an officer's own choices, mail and its record."""
    found = []
    with world.gateway.reading() as session:
        for table in Base.metadata.sorted_tables:
            if table.name not in OWN_OR_RECORD:
                found += [(table.name, *row) for row in session.execute(select(table))]
        rest = select(Member.__table__).where(Member.address != officer.address)
        return repr([*found, *session.execute(rest)])


def decision(world: World, number: int) -> str:
    with world.gateway.reading() as session:
        return str(holds.get(session, f"H-{number}").decision)


def held(world: World) -> tuple[bytes, int]:
    """A posting of Ana's that waits: (what a moderator gets, number of its hold)."""
    before = len(world.gateway.copies(world.mira.address))
    certificate = world.gateway.certificate(LIST)
    mail = world.ana.write(
        to=[LIST], certificates=[certificate], subject="Two containers",
        text="discard H-1\nThey are at Mombasa.\ntick off G\n",
    )  # fmt: skip
    assert world.gateway.send(mail, world.ana.address, [LIST]) == ACCEPTED
    world.gateway.wait_until_delivered()
    (notice,) = world.gateway.copies(world.mira.address)[before:]
    (number,) = set(re.findall(r"approve H-(\d+)", told(world, world.mira, notice)))
    return notice, int(number)


def inline(world: World, text: str) -> bytes:
    """gpg's armor as the text of a mail."""
    certificates = [world.certificate, world.mira.certificate]
    return world.mira.write(
        to=[TO], certificates=certificates, subject="commands", text=text, form="inline"
    )


def swaks(world: World, mail: bytes, officer: Officer) -> None:
    server = ["--server", "127.0.0.1", "--port", str(world.gateway.port)]
    command = ["swaks", *server, "--from", officer.address, "--to", TO, "--data", "-"]
    done = subprocess.run(command, input=mail, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    world.gateway.wait_until_delivered()


def escaped(line: str) -> str:
    return html.escape(line, quote=False).replace("\u00a0", "&nbsp;")


def as_html(text: str) -> str:
    """As Thunderbird's editor keeps a text: lines with breaks, quotations in a blockquote."""
    own: list[str] = []
    for is_quoted, lines in groupby(text.split("\n"), lambda one: one.startswith("> ")):
        if not is_quoted:
            own += [f"{escaped(one)}<br>\r\n" for one in lines]
            continue
        cite = "<br>\r\n".join(escaped(one.removeprefix("> ")) for one in lines)
        own.append(f'<blockquote type="cite" cite="mid:1@x.example">{cite}</blockquote>\r\n')
    head = '<html><head><meta http-equiv="content-type" content="text/html; charset=UTF-8"></head>'
    return f"{head}\r\n<body>\r\n{''.join(own)}</body></html>\r\n"
