"""Officers' mails through Postfix to the gateway, through Postfix into Dovecot, and read there;
what follows where members' servers refuse; and mail from a mailbox, cut off at every step."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count

from tests.gateway import short_place
from tests.imap_between import MOMENTS, Moment
from tests.intake import Intake, running_intake
from tests.interop import typing
from tests.mail_servers import HOST, missing, wait_until
from tests.officers import Officer
from tests.post_office import LIST, PostOffice, running_post_office

_TAKEN = {
    b"LOGIN": "login", b"SELECT": "folder", b"SEARCH": "search", b"RFC822.SIZE": "sizes",
    b"BODY.PEEK": "the mail", b" MOVE": "the move",
}  # fmt: skip
_REFUSED = {b"APPEND": "a note", b"auto-generated": "the note's text", b" MOVE": "the move"}
_UNSIGNED = f"From: x@slow.example\r\nTo: {LIST}\r\nSubject: {{}}\r\n\r\nTwo crates.\r\n"


@dataclass(frozen=True, slots=True)
class Row:
    """cells: what is shown, the first on the left. is_well: whether it is as it must be."""

    cells: tuple[str, ...]
    is_well: bool


def run(words: list[str]) -> bool:
    """words: --runs N of each cut (3)."""
    parser = argparse.ArgumentParser(prog="make drill WHAT=servers WORDS=")
    parser.add_argument("--runs", type=int, default=3, help="of each cut at each step")
    runs = parser.parse_args(words).runs
    if why := missing():
        print(f"Not run: {why}")
        return False
    begun = time.monotonic()
    with running_post_office() as office:
        rows = list(both_ways(office))
        print(_table(_WAYS, rows))
        others = list(refusals(office))
        print(_table(("what members' servers do", "what comes of it", "seconds"), others))
    with running_intake() as intake:
        cuts = list(steps(intake, runs))
    heads = [f"{strike} {at}" for strike in ("cut", "killed") for at in MOMENTS]
    print(_table(("from a mailbox: runs/lost/doubled", *heads), cuts))
    bad = [row for row in (*rows, *others, *cuts) if not row.is_well]
    print("\n".join(f"NOT WELL: {' | '.join(row.cells)}" for row in bad) or "All is as it must be.")
    print(f"{time.monotonic() - begun:.0f} s")
    return not bad


# Both ways

_WAYS = (
    "written in", "sent by", "Postfix in front", "read by IMAP, opened by", "list's signature",
    "author's signature", "to 250", "to the mailbox",
)  # fmt: skip


def both_ways(office: PostOffice) -> Iterator[Row]:
    """ana writes to the list and ben reads it; ben writes and ana reads."""
    yield _sent(office, "gpg", office.ana, office.ben, office.mail("From gpg"), "From gpg")
    for program in ("neomutt", "mutt"):
        if shutil.which(program) is None:
            print(f"No {program}: it is left out (as root: apt-get install {program}).")
            continue
        with _typing(program, office) as mutt:
            subject = f"From {program}"
            mail = mutt.write(LIST, subject, "The crates are in Mombasa.\n")
        yield _sent(office, program, office.ben, office.ana, mail, subject)


@contextmanager
def _typing(program: str, office: PostOffice) -> Iterator[typing.Mutt]:
    place = short_place(program)
    try:
        yield typing.Mutt(program, place, office.ben, [office.list_certificate])
    finally:
        shutil.rmtree(place)


def _sent(
    office: PostOffice, program: str, author: Officer, reader: Officer, mail: bytes, subject: str
) -> Row:
    begun = time.monotonic()
    sender, code = _hand_in(office, author, mail)
    taken = time.monotonic()
    reading = office.wait_for(subject, reader)
    arrived = time.monotonic()
    lists = reading.list_signature is not None
    authors = reading.author(author.certificate) == author.fingerprint
    cells = (
        program, sender, code, "gpg", _good(lists), _good(authors), _seconds(begun, taken),
        _seconds(begun, arrived),
    )  # fmt: skip
    return Row(cells, code == "250" and lists and authors)


def _hand_in(office: PostOffice, author: Officer, mail: bytes) -> tuple[str, str]:
    """By swaks where it is there: (what sent it, the code that it was told)."""
    if shutil.which("swaks") is None:
        return "smtplib", str(office.postfix.hand_in(mail, author.address, [LIST])[0])
    server = ["--server", HOST, "--port", str(office.postfix.front)]
    command = ["swaks", *server, "--from", author.address, "--to", LIST, "--data", "-"]
    done = subprocess.run(command, input=mail, capture_output=True, check=False, timeout=120)
    return "swaks", "250" if done.returncode == 0 else f"swaks {done.returncode}"


def _good(is_good: bool) -> str:
    return "good" if is_good else "NOT GOOD"


# What members' servers do


def refusals(office: PostOffice) -> Iterator[Row]:
    for what, plays in (
        ("450 at RCPT, then it takes", _busy),
        ("550 5.1.1 at RCPT", _gone),
        ("Postfix is stopped for a while", _stopped),
    ):
        begun = time.monotonic()
        came, is_well = plays(office)
        wait_until(lambda: not office.postfix.queue(), "Postfix's queue is empty")
        yield Row((what, came, _seconds(begun, time.monotonic())), is_well)


def _busy(office: PostOffice) -> tuple[str, bool]:
    before = _came(office, office.cho)
    office.elsewhere.answers[office.cho.address] = "450 4.2.0 Busy"
    _hand_in(office, office.ana, office.mail("Busy"))
    wait_until(lambda: office.cho.address in office.elsewhere.asked, "it was asked")
    office.elsewhere.answers.clear()
    office.postfix.flush()
    wait_until(lambda: _came(office, office.cho) > before, "the copy came")
    copies = _came(office, office.cho) - before
    return f"Postfix tries again; copies that came: {copies}", copies == 1


def _gone(office: PostOffice) -> tuple[str, bool]:
    office.elsewhere.answers[office.dov.address] = "550 5.1.1 No such user"
    _hand_in(office, office.ana, office.mail("Gone"))
    wait_until(lambda: _bounced(office), "the bounce is counted")
    office.elsewhere.answers.clear()
    ((address, status),) = _bounced(office).items()
    is_well = (address, status) == (office.dov.address, "5.1.1")
    return f"a DSN to bounce+NUMBER-TOKEN, counted: {address}, {status}", is_well


def _bounced(office: PostOffice) -> dict[str, str]:
    listed = json.loads(office.gateway.environet("bounce", "list", "--json"))
    return {str(one["address"]): str(one["status"]) for one in listed}


def _stopped(office: PostOffice) -> tuple[str, bool]:
    before = _came(office, office.cho)
    office.postfix.stop()
    code, _ = office.gateway.send(office.mail("Stopped"), office.ana.address, [LIST])
    wait_until(lambda: ": waiting, " in office.gateway.log_text, "a copy is put off")
    office.postfix.start()
    office.gateway.wait_until_delivered()
    office.wait_for("Stopped", office.ben)
    wait_until(lambda: _came(office, office.cho) > before, "the copy came")
    copies = office.subjects(office.ben).count("Stopped")
    told = f"{code} at the gateway; copies wait, then came to each: {copies}"
    return told, (code, copies, _came(office, office.cho)) == (250, 1, before + 1)


def _came(office: PostOffice, officer: Officer) -> int:
    return sum(one.recipient == officer.address for one in office.elsewhere.handed)


# From a mailbox

_NUMBERS = count(1)


def steps(intake: Intake, runs: int) -> Iterator[Row]:
    """Each step of a mail that is taken and of one that is refused: the cable cut at each moment
    of it, and the process killed. A cell: runs/lost/doubled."""
    for kind, commands in (("taken", _TAKEN), ("refused", _REFUSED)):
        for command, name in commands.items():
            found = [
                sum((_trial(intake, kind, partial(strike, intake, command, at))
                     for _ in range(runs)), Counter[str]())
                for strike in (_cut, _killed) for at in MOMENTS
            ]  # fmt: skip
            cells = [f"{one['runs']}/{one['lost']}/{one['doubled']}" for one in found]
            is_well = not any(one["lost"] or one["doubled"] for one in found)
            yield Row((f"{kind}: {name}", *cells), is_well)


def _cut(intake: Intake, command: bytes, at: str) -> None:
    intake.cut(intake.app(), command, at)


def _killed(intake: Intake, command: bytes, at: str) -> None:
    with intake.process(tries=100) as taker:
        intake.between.moment = Moment(command, at, taker.kill)
        taker.wait()


def _trial(intake: Intake, kind: str, strike: Callable[[], None]) -> Counter[str]:
    """One mail, struck while it is taken, and what came of it over the next connection."""
    subject = f"Mail {next(_NUMBERS)}"
    if kind == "taken":
        mail, folder = intake.mail(subject), "Taken"
    else:
        mail, folder = _UNSIGNED.format(subject).encode(), "Refused"
    intake.put(mail)
    strike()
    intake.take(intake.app(tries=100))
    lying = intake.folder(folder).count(mail)
    came = intake.delivered().count(subject) if kind == "taken" else lying
    intake.empty()
    lost, doubled = not came or not lying, max(came, lying, 1) - 1
    return Counter(runs=1, lost=int(lost), doubled=doubled)


# How it is shown


def _seconds(begun: float, ended: float) -> str:
    return f"{ended - begun:.1f} s"


def _table(head: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [head, *(row.cells for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*shown, ""])
