"""Mails come through Postfix and go out through Postfix, set up by the files in contrib/postfix,
and are read in Dovecot."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.gateway import DOMAIN
from tests.mail_servers import HOST, missing, wait_until
from tests.officers import Officer
from tests.post_office import LIST, MAILBOX, PostOffice, running_post_office
from tests.postfix import running_postfix

ACCEPTED = (250, "2.0.0 Accepted")
UNSIGNED = f"From: x@slow.example\r\nTo: {LIST}\r\nSubject: x\r\n\r\nTwo crates.\r\n".encode()
STRANGER = "forged@slow.example"


@pytest.fixture(scope="module")
def office() -> Iterator[PostOffice]:
    if why := missing():
        pytest.skip(why)
    settings = {"monitoring.listen": f"{HOST}:0"}
    with running_post_office(settings=settings) as made:
        yield made
        assert "Traceback" not in made.gateway.log_text


@pytest.fixture(autouse=True)
def elsewhere_takes_all(office: PostOffice) -> Iterator[None]:
    """What a test has the server elsewhere say ends with the test, and what waited for it too."""
    yield
    office.elsewhere.answers.clear()
    office.postfix.flush()
    wait_until(lambda: not office.postfix.queue(), "the queue is empty")


def came(office: PostOffice, officer: Officer) -> int:
    """Copies of postings that came to a member's server elsewhere."""
    return sum(one.recipient == officer.address for one in office.elsewhere.handed)


def waiting(office: PostOffice) -> list[tuple[str, str]]:
    """Of each mail in Postfix's queue: which of its queues, and its one recipient."""
    return [
        (mail["queue_name"], recipient["address"])
        for mail in office.postfix.queue()
        for recipient in mail["recipients"]
    ]


def test_a_mail_goes_all_the_way_and_its_reader_knows_who_wrote_it(office: PostOffice) -> None:
    if shutil.which("swaks") is None:
        pytest.skip("swaks is not installed")
    file = office.gateway.place / "mail"
    file.write_bytes(office.mail("Ivory at Mombasa"))
    said = subprocess.run(
        ["swaks", "--server", HOST, "--port", str(office.postfix.front), "--data", f"@{file}",
         "--from", office.ana.address, "--to", LIST],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert "250 2.0.0 Accepted" in said
    reading = office.wait_for("Ivory at Mombasa", office.ben)
    assert reading.list_signature is not None
    assert reading.author(office.ana.certificate) == office.ana.fingerprint
    assert "The crates are in Mombasa." in reading.text
    assert office.wait_for("Ivory at Mombasa", office.ana).list_signature is not None
    assert reading.outer["Return-Path"].startswith("<bounce+")


def test_in_front_without_a_queue_what_is_refused_is_refused_while_its_client_waits(
    office: PostOffice,
) -> None:
    before = len(office.elsewhere.asked)
    code, said = office.postfix.hand_in(UNSIGNED, STRANGER, [f"nobody@{DOMAIN}"])
    assert (code, said[:5]) == (550, "5.1.1")
    code, said = office.postfix.hand_in(UNSIGNED, STRANGER, [LIST])
    assert (code, said[:6]) == (523, "5.7.10")
    code, said = office.postfix.hand_in(UNSIGNED, STRANGER, ["dov@gone.example"])
    assert (code, said[:5]) == (554, "5.7.1")  # it is no relay
    office.gateway.wait_until_delivered()
    wait_until(lambda: not office.postfix.queue(), "the queue is empty")
    assert STRANGER not in office.elsewhere.asked[before:]


def test_a_members_server_that_is_busy_gets_its_copy_later_and_once(office: PostOffice) -> None:
    office.elsewhere.answers[office.cho.address] = "450 4.2.0 Busy"
    before = came(office, office.cho)
    assert office.postfix.hand_in(office.mail("Busy"), office.ana.address, [LIST]) == ACCEPTED
    office.gateway.wait_until_delivered()
    # The others' copies may be on their way still; a flush passes over what isn't put off yet.
    wait_until(lambda: waiting(office) == [("deferred", office.cho.address)], "hers alone waits")
    assert came(office, office.cho) == before
    office.elsewhere.answers.clear()
    office.postfix.flush()
    wait_until(lambda: not office.postfix.queue(), "the queue is empty")
    assert came(office, office.cho) == before + 1


def test_what_a_members_server_refuses_comes_back_and_is_counted(office: PostOffice) -> None:
    office.elsewhere.answers[office.dov.address] = "550 5.1.1 No such user"
    assert office.postfix.hand_in(office.mail("Gone"), office.ana.address, [LIST]) == ACCEPTED

    def listed() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(
            office.gateway.environet("bounce", "list", "--json")
        )
        return found

    wait_until(listed, "the bounce is counted")
    (one,) = listed()
    assert (one["address"], one["status"]) == (office.dov.address, "5.1.1")
    wait_until(lambda: not office.postfix.queue(), "the queue is empty")


def test_while_the_way_out_is_shut_copies_wait_and_go_out_once(office: PostOffice) -> None:
    office.gateway.wait_until_delivered()
    before = came(office, office.cho)
    office.postfix.stop()
    assert office.gateway.send(office.mail("Waits"), office.ana.address, [LIST]) == ACCEPTED
    wait_until(lambda: ": waiting, " in office.gateway.log_text, "a copy is put off")
    assert office.gateway.totals().get("waiting")
    office.postfix.start()
    office.gateway.wait_until_delivered()
    office.wait_for("Waits", office.ben)
    wait_until(lambda: came(office, office.cho) == before + 1, "it came elsewhere")
    wait_until(lambda: not office.postfix.queue(), "the queue is empty")
    assert office.subjects(office.ben).count("Waits") == 1
    assert came(office, office.cho) == before + 1


def test_serve_has_the_mailbox_watched_and_starts_who_watches_it_again(office: PostOffice) -> None:
    office.dovecot.deliver(MAILBOX, office.mail("By the mailbox"))
    office.wait_for("By the mailbox", office.ben)
    (pid,) = watchers(office)
    office.gateway.kill_process(pid)
    office.dovecot.deliver(MAILBOX, office.mail("By another process"))
    office.wait_for("By another process", office.ben)
    assert watchers(office) != [pid]
    url = f"http://{HOST}:{office.gateway.monitoring_port}"
    with urlopen(f"{url}/metrics", timeout=30) as answer:
        metrics = answer.read().decode().splitlines()
    assert 'environet_mailbox_mails_total{status="2xx"} 2.0' in metrics
    assert 'environet_process_starts_total{process="imap"} 2.0' in metrics
    assert office.subjects(office.ben).count("By the mailbox") == 1


def watchers(office: PostOffice) -> list[int]:
    """Processes that take mail from the mailbox: one, or none just now."""
    return [pid for pid in office.gateway.workers() if b"imap" in words_of(pid)]


def words_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def test_in_front_with_a_queue_unknown_lists_are_refused_and_the_rest_is_returned(
    office: PostOffice,
) -> None:
    samples = ("handoff", "front-lmtp")
    with running_postfix(samples, office.ports, office.routes) as front:
        code, said = front.hand_in(UNSIGNED, STRANGER, [f"nobody@{DOMAIN}"])
        assert (code, said[:5]) == (550, "5.1.1"), said
        code, _ = front.hand_in(office.mail("By LMTP"), office.ana.address, [LIST])
        assert code == 250
        office.wait_for("By LMTP", office.ben)
        # As contrib/postfix says of it.
        assert front.hand_in(UNSIGNED, STRANGER, [LIST])[0] == 250
        wait_until(lambda: STRANGER in office.elsewhere.asked, "it is returned")
