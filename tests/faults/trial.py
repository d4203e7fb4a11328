"""One fault at one point: a mail is sent as a mail server sends it, and what came of it counted."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from gateway.store import ledger
from tests.faults.faults import Fault
from tests.faults.machine import Machine
from tests.faults.points import UPKEEP, Point
from tests.gateway import DOMAIN, Handed
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
PATIENCE_SECONDS = 90.0
_REACH_SECONDS = 30.0
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Cast:
    """author: writes, and gets their own copies; readers: addresses of all who get one at once;
    collector: address of the one who gets a digest."""

    author: Officer
    certificate: bytes
    readers: tuple[str, ...]
    collector: str


@dataclass(slots=True)
class Row:
    """What one trial showed. lost: copies of mails answered 250 that did not come, or digests;
    doubled: those that came again, of which so many may; wrong: what else is not as it must be."""

    point: Point
    fault: Fault
    seconds: float = 0.0
    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        few = self.doubled <= self.fault.may_double(self.point)
        return few and not self.lost and not self.wrong


class Insistent(threading.Thread):
    """Sends a mail again and again until it is answered 250, as a sender's mail server does."""

    def __init__(self, machine: Machine, author: str, mail: bytes) -> None:
        super().__init__()
        self._machine, self._author, self._mail = machine, author, mail
        self._deadline = time.monotonic() + PATIENCE_SECONDS
        self.is_accepted = False
        self.codes: list[int] = []

    def run(self) -> None:
        while not self.is_accepted and time.monotonic() < self._deadline:
            with suppress(OSError, smtplib.SMTPException):
                code, _ = self._machine.send(self._mail, self._author, [LIST])
                self.codes.append(code)
                self.is_accepted = code == 250
            time.sleep(0 if self.is_accepted else 0.2)


def trial(machine: Machine, cast: Cast, point: Point, fault: Fault) -> Row:
    row, begun = Row(point, fault), time.monotonic()
    machine.expected = frozenset(cast.readers)
    before = len(machine.mail_server.handed)
    fault.first(machine)
    if point.step == UPKEEP:
        sent = _digest(machine, cast, point, fault, row)
    else:
        machine.plan(point, fault.plan)
        sent = _send(machine, cast)
        _strike(machine, fault, row)
        _join(machine, sent)
    machine.set_clock("+0")
    if not sent.is_accepted:
        row.wrong.append(f"never accepted: {sent.codes[-3:]}")
    if any(code >= 500 for code in sent.codes):
        row.wrong.append(f"refused for good: {sent.codes}")
    is_collected = point.step == UPKEEP
    _wait(machine, cast, before, is_collected)
    _count(machine, cast, before, row, is_collected)
    machine.mail_server.refused = set()
    _next(machine, cast, row)
    with machine.reading() as session:
        if fault_found := ledger.verify(session).fault:
            row.wrong.append(f"ledger: {fault_found}")
    machine.forget_database()
    row.seconds = time.monotonic() - begun
    return row


def _strike(machine: Machine, fault: Fault, row: Row) -> None:
    pid = machine.reached(_REACH_SECONDS)
    if pid is None:
        row.wrong.append("the point was not reached")
    else:
        fault.strike(machine, pid)
    machine.go_on()
    if fault.lasts:
        time.sleep(fault.lasts)
    fault.ends(machine)


def _digest(machine: Machine, cast: Cast, point: Point, fault: Fault, row: Row) -> Insistent:
    """A mail that is collected for a digest, which falls due, and the fault while it is made."""
    sent = _send(machine, cast)
    _join(machine, sent)
    machine.wait_until_delivered()
    machine.plan(point, fault.plan)
    machine.pass_time(timedelta(days=2))
    machine.forget_database()
    _strike(machine, fault, row)
    return sent


def _send(machine: Machine, cast: Cast) -> Insistent:
    mail = cast.author.write(
        to=[LIST], certificates=[cast.certificate], subject=f"Posting {next(_NUMBERS)}", text="x\n"
    )
    client = Insistent(machine, cast.author.address, mail)
    client.start()
    return client


def _join(machine: Machine, client: Insistent) -> None:
    while client.is_alive():
        machine.start_again_if_gone()
        client.join(0.02)


def _wait(machine: Machine, cast: Cast, before: int, is_collected: bool) -> None:
    """Until nothing is left to be done, or for long enough."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    wanted = {*_expected(machine, cast), *([cast.collector] if is_collected else [])}
    while time.monotonic() < deadline:
        machine.start_again_if_gone()
        came = {one.recipient for one in machine.mail_server.handed[before:]}
        if wanted <= came:
            break
        time.sleep(0.02)
    with suppress(AssertionError):
        machine.wait_until_delivered(10)


def _expected(machine: Machine, cast: Cast) -> set[str]:
    return set(cast.readers) - machine.mail_server.refused


def _count(machine: Machine, cast: Cast, before: int, row: Row, is_collected: bool) -> None:
    came = machine.mail_server.handed[before:]
    postings = [one for one in came if one.sender]
    digests = [one for one in came if one.recipient == cast.collector]
    copies = Counter((one.recipient, message_id(one)) for one in postings)
    got = Counter(recipient for recipient, _ in copies)
    row.lost += sum(1 for one in _expected(machine, cast) if not got[one])
    row.doubled += sum(copies.values()) - len(copies)
    if any(number > 1 for number in got.values()):
        row.wrong.append("one mail became two postings")
    if is_collected:
        row.lost += not digests
        row.doubled += max(0, len(digests) - 1)
    left = machine.totals()
    if any(left.get(state) for state in ("waiting", "leased", "parked")):
        row.wrong.append(f"left in the outbox: {left}")


def _next(machine: Machine, cast: Cast, row: Row) -> None:
    """The mail after it goes through at once."""
    before = len(machine.mail_server.handed)
    client = _send(machine, cast)
    _join(machine, client)
    _wait(machine, cast, before, False)
    came = Counter(one.recipient for one in machine.mail_server.handed[before:] if one.sender)
    if client.codes != [250] or any(came[one] != 1 for one in cast.readers):
        row.wrong.append(f"the next mail: {client.codes[-3:]}, {sorted(came.values())}")


def message_id(copy: Handed) -> bytes:
    lines = copy.data.split(b"\r\n")
    return next(line for line in lines if line.lower().startswith(b"message-id:"))


def found_cast(template: Machine, readers: int = 3) -> Cast:
    """Found a gateway with an author, readers, and one who collects."""
    author = Officer.create("sequoia", "Ana Lind", "ana@customs.example")
    template.quick = True
    template.found()
    template.add_member(author)
    addresses = [f"r{number}@member.example" for number in range(readers)]
    for address in addresses:
        template.add_member(Officer.create("sequoia", "A Reader", address))
    collector = "dora@member.example"
    template.add_member(Officer.create("sequoia", "Dora Dahl", collector), delivery="daily")
    return Cast(author, template.certificate(LIST), (author.address, *addresses), collector)


def told(rows: Sequence[Row]) -> str:
    """Each trial that was not well, a line each."""
    return "\n".join(
        f"{row.point.label} × {row.fault.name}: lost {row.lost}, doubled {row.doubled}"
        f" {'; '.join(row.wrong)}"
        for row in rows
        if not row.is_well
    )
