"""Whether the DNS says of the gateway's domain what it should, record by record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.naming.records import Record, Wanted, records, same_tags
from gateway.naming.resolver import Names


class State(StrEnum):
    RIGHT = "right"
    MISSING = "missing"
    DIFFERENT = "different"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the DNS says in a record's place. there: texts or hosts that are there; todo: what to
    do, "" where it is right."""

    record: Record
    state: State
    there: tuple[str, ...]
    todo: str


def check(names: Names, wanted: Wanted, *, any_exchange: bool) -> list[Verdict]:
    """One verdict a record, and one for all MX records together. any_exchange: whoever takes the
    mail is right, as nobody said who should."""
    found: list[Verdict] = []
    for one in records(wanted):
        if one.kind == "MX" and any(each.record.kind == "MX" for each in found):
            continue
        try:
            found.append(_verdict(names, one, wanted.exchanges, any_exchange))
        except TimeoutError as error:
            found.append(Verdict(one, State.UNKNOWN, (), f"{error}: ask again later"))
    return found


def _verdict(names: Names, record: Record, exchanges: Sequence[str], any_exchange: bool) -> Verdict:
    match record.kind:
        case "MX":
            return _exchanges(names, record, exchanges, any_exchange)
        case "CNAME":
            there = names.is_host(record.name)
            return _said(record, State.RIGHT if there else State.MISSING, ())
        case _:
            return _text(names, record)


def _exchanges(
    names: Names, record: Record, exchanges: Sequence[str], any_exchange: bool
) -> Verdict:
    there = tuple(names.exchanges(record.name))
    if not there:
        return _said(record, State.MISSING, there)
    lost = [one for one in there if not names.is_host(one)]
    if lost:
        todo = f"{lost[0]} has no address: add an A or AAAA record for it"
        return Verdict(record, State.DIFFERENT, there, todo)
    right = any_exchange or set(there) == {one.lower() for one in exchanges}
    return _said(record, State.RIGHT if right else State.DIFFERENT, there)


def _text(names: Names, record: Record) -> Verdict:
    there = tuple(
        one for one in names.texts(record.name) if one.lower().startswith(record.begins.lower())
    )
    if not there:
        return _said(record, State.MISSING, there)
    if len(there) > 1:
        # RFC 7208 4.5, RFC 7489 6.6.3, RFC 8461 3.1: several count as an error or as none.
        todo = f"leave one of the {len(there)} TXT records at {record.name}: several count as none"
        return Verdict(record, State.DIFFERENT, there, todo)
    right = same_tags(there[0], record.value) or (record.good is not None and record.good(there[0]))
    return _said(record, State.RIGHT if right else State.DIFFERENT, there)


def _said(record: Record, state: State, there: tuple[str, ...]) -> Verdict:
    todo = {
        State.MISSING: f"add: {record.line}",
        State.DIFFERENT: f"change it to: {record.line}",
    }
    return Verdict(record, state, there, todo.get(state, ""))
