"""One thing that befalls the group while a machine holds leases, and what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gateway.errors import Unavailable
from tests.faults.trial import message_id
from tests.hosts.group import Group, Sender
from tests.hosts.machine import CONNECTIONS, WORKERS

PATIENCE_SECONDS = 120.0
_HELD = 5
"""So many copies the machine has in hand when it is struck."""


def _nothing(_: Group) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Harm:
    """strike: does it, to the machine `first` or to what all need. lasts: seconds after which
    `ends` is called; None: once all is delivered without that machine. in_doubt: machines whose
    copies under way may arrive twice. within: seconds until what the machine held is delivered or
    in other hands, from the strike on; with `for_all`, from the end on, before which nobody can do
    anything.
    """

    name: str
    strike: Callable[[Group], None]
    ends: Callable[[Group], None] = _nothing
    lasts: float | None = None
    in_doubt: int = 1
    within: float = 15.0
    for_all: bool = False

    @property
    def may_double(self) -> int:
        return self.in_doubt * WORKERS * CONNECTIONS


@dataclass(slots=True)
class Row:
    """What one trial showed. lost, doubled: copies; taken_over, delivered: seconds until what the
    machine held was in other hands or delivered, and until all was; wrong: what else is not as it
    must be."""

    harm: Harm
    lost: int = 0
    doubled: int = 0
    taken_over: float = 0.0
    delivered: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return self.doubled <= self.harm.may_double and not self.lost and not self.wrong

    @property
    def is_in_time(self) -> bool:
        return self.taken_over <= self.harm.within


def trial(group: Group, harm: Harm) -> Row:
    """A posting is under way when it strikes, another comes to the machine that is struck and to
    the door, and more when all is well again, until that machine delivers some of them."""
    row, before = Row(harm), len(group.mail_server.handed)
    sent: list[Sender] = []
    held = _has_in_hand(_HELD, group, sent, row)
    began = time.monotonic()
    harm.strike(group)
    sent.append(group.post([group.first, group.door]))
    if harm.lasts is not None:
        time.sleep(harm.lasts)
        harm.ends(group)
        began = time.monotonic() if harm.for_all else began
    if not _until(lambda: not _still_held(group, held)):
        row.wrong.append("nobody took over")
    row.taken_over = time.monotonic() - began
    if not _until(lambda: sent[-1].is_accepted):
        row.wrong.append(f"not accepted: {sent[-1].codes[-5:]}")
    _delivered(group, row)
    row.delivered = time.monotonic() - began
    if harm.lasts is None:
        harm.ends(group)
    _has_in_hand(1, group, sent, row)
    _delivered(group, row)
    if group.second.web_status() != 200:
        row.wrong.append("the web archive does not answer")
    _count(group, before, sent, row)
    return row


def _has_in_hand(least: int, group: Group, sent: list[Sender], row: Row) -> set[int]:
    """What the machine has leased, once it is that much, which may take more than one posting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        sent.append(group.post([group.door]))
        sent[-1].join(PATIENCE_SECONDS)
        for _ in range(60):
            held = group.held_by(group.first)
            if len(held) >= least:
                return held
            time.sleep(0.05)
    row.wrong.append("the machine does not deliver")
    return set()


def _still_held(group: Group, held: Collection[int]) -> bool:
    try:
        return bool(group.held_by(group.first).intersection(held))
    except Unavailable:
        return True


def _delivered(group: Group, row: Row) -> None:
    if not _until(lambda: not {"waiting", "leased", "parked"} & group.totals().keys()):
        row.wrong.append(f"left in the outbox: {group.totals()}")


def _count(group: Group, before: int, sent: list[Sender], row: Row) -> None:
    came = [one for one in group.mail_server.handed[before:] if one.sender]
    copies = Counter((one.recipient, message_id(one)) for one in came)
    postings = Counter(recipient for recipient, _ in copies)
    row.lost = sum(max(0, len(sent) - postings[one]) for one in group.readers)
    row.doubled = sum(copies.values()) - len(copies)
    if any(postings[one] > len(sent) for one in group.readers):
        row.wrong.append("one mail became two postings")
    if any(code >= 500 for one in sent for code in one.codes):
        row.wrong.append("refused for good")
    if fault := group.ledger_fault():
        row.wrong.append(f"ledger: {fault}")


def _until(is_so: Callable[[], bool]) -> bool:
    """Whether something comes to be so in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def _cut_from_database(group: Group) -> None:
    group.first.host.cut_off(group.database_host)


def _cut_from_mail_server(group: Group) -> None:
    group.first.host.cut_off(group.mail_host)


def _cut_from_both(group: Group) -> None:
    _cut_from_database(group)
    _cut_from_mail_server(group)


def _mend(group: Group) -> None:
    for host in (group.database_host, group.mail_host, *(one.host for one in group.machines)):
        host.mend()


def _cut_from_everybody(group: Group) -> None:
    for one in group.machines:
        one.host.cut_off(group.database_host)


def _clock(by: str) -> Callable[[Group], None]:
    return lambda group: group.first.set_clock(by)


HARMS = (
    Harm("killed", lambda group: group.first.die(), lambda group: group.first.start()),
    Harm("cut from the database", _cut_from_database, _mend),
    Harm("cut from everything", lambda group: group.first.host.unplug(),
         lambda group: group.first.host.plug_in()),
    Harm("cut from the mail server", _cut_from_mail_server, _mend, within=75.0),
    Harm("cut for 4 seconds", _cut_from_both, _mend, 4.0),
    Harm("database away", _cut_from_everybody, _mend, 15.0, in_doubt=2, for_all=True),
    Harm("PostgreSQL killed", lambda group: group.server.kill(),
         lambda group: group.server.start(), 3.0, in_doubt=2, for_all=True),
    Harm("clock an hour on", _clock("+1h"), _clock("+0")),
    Harm("clock an hour back", _clock("-1h"), _clock("+0")),
)  # fmt: skip
