"""A story as its file tells it: tests/scenarios/README.md says what each word means."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

CAST = Path(__file__).parent / "cast.toml"
_T = TypeVar("_T")


class StoryFault(Exception):
    """A story that says what nobody understands."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes or reads. key_days: the age of their key; expires_in: seconds from now
    until it expires, 0 is never."""

    name: str
    address: str
    organisation: str
    country: str
    program: str
    algorithm: str
    kind: str = "agency"
    tick_off: str = ""
    roles: tuple[str, ...] = ()
    key_days: int = 0
    expires_in: int = 0


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that somebody sends, and how it is answered. signed_ago: "30 days", "6 seconds"."""

    author: str
    reply: str
    to: tuple[str, ...] = ("wildlife",)
    headers_to: tuple[str, ...] | None = None
    encrypt_to: tuple[str, ...] | None = None
    envelope_from: str | None = None
    form: str = "6.2"
    protected: bool = True
    signed: bool = True
    signed_ago: str = ""
    line_end: str = "crlf"
    options: tuple[str, ...] = ()
    subject: str = "Ivory at Mombasa"
    text: str = "Dear colleagues,\n\n84 raw tusks, naïvely declared as tea.\n\nYours\n"
    attachments: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: str | None = None
    again: str | None = None
    mutation: str | None = None
    by: str | None = None
    rcpt_reply: str | None = None

    @property
    def age(self) -> timedelta:
        """How long ago it was signed."""
        number, _, unit = (self.signed_ago or "0 days").partition(" ")
        return timedelta(**{unit: int(number)})


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `environet`. fails: its exit status."""

    environet: str
    prints: str = ""
    fails: int = 0


@dataclass(frozen=True, slots=True)
class Enrol:
    """Somebody is to become a member. revoked: their certificate is, before. fails: exit status."""

    enrol: str
    revoked: bool = False
    prints: str = ""
    fails: int = 0


@dataclass(frozen=True, slots=True)
class Revoke:
    """The gateway learns that somebody revoked their certificate."""

    revoke: str


@dataclass(frozen=True, slots=True)
class Spoil:
    """A fault of the disk changes what the gateway keeps of somebody's certificate."""

    spoil: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Time passes until somebody's certificate has expired."""

    until_expiry_of: str


Act = Mail | Command | Enrol | Revoke | Spoil | Expire


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that follows from a step; what is not named must not happen.

    copies: who gets one from which list. notices: who is told what. held: which list holds it by
    which rule. parked: whose copy waits for an administrator, and why. of: the step whose mail the
    copies are. shown_subject, says: what a reader sees. threaded: whether the copies of an answer
    name what it answers. evidence: whether the signed original travels along. logs: what only the
    operator is told.
    """

    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notices: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    parked: Mapping[str, str] = field(default_factory=dict)
    of: str | None = None
    shown_subject: str | None = None
    says: tuple[str, ...] = ()
    threaded: bool = True
    evidence: bool = True
    logs: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """does: one sentence, which also names the step for others."""

    does: str
    act: Act
    outcome: Outcome
    name: str


@dataclass(frozen=True, slots=True)
class Story:
    title: str
    people: Mapping[str, Person]
    members: tuple[str, ...]
    lists: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    handoff: str
    steps: tuple[Step, ...]

    @property
    def last_delivers(self) -> bool:
        """Whether it ends with a mail that goes through, so that the server is known to live."""
        return bool(self.steps[-1].outcome.copies) and isinstance(self.steps[-1].act, Mail)


_ACTS: Mapping[str, type[Act]] = {
    "from": Mail,
    "environet": Command,
    "enrol": Enrol,
    "revoke": Revoke,
    "spoil": Spoil,
    "until_expiry_of": Expire,
}


def read(path: Path) -> Story:
    """Read a story.toml. Raises StoryFault where it names what there is not."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    cast: dict[str, dict[str, Any]] = tomllib.loads(CAST.read_text(encoding="utf-8"))
    for name, changes in table.pop("people", {}).items():
        cast[name] = {**cast.get(name, {}), **changes}
    people = {name: _made(Person, one, f"people.{name}") for name, one in cast.items()}
    steps = tuple(_step(one, number) for number, one in enumerate(table.pop("step"), 1))
    story = Story(
        title=table.pop("title"),
        people=people,
        members=tuple(table.pop("members")),
        lists=table.pop("lists", {}),
        settings=table.pop("settings", {}),
        handoff=table.pop("handoff", "maildir"),
        steps=steps,
    )
    if table:
        raise StoryFault(f"a story has no {', '.join(table)}")
    return story


def _step(table: dict[str, Any], number: int) -> Step:
    where = f"step {number}"
    does = table.pop("does", None)
    kinds = [kind for key, kind in _ACTS.items() if key in table]
    if not does or len(kinds) != 1:
        raise StoryFault(f"{where}: says what it does, and has one of {', '.join(_ACTS)}")
    if "from" in table:
        table["author"] = table.pop("from")
    name = table.pop("name", "")
    told = {one.name: table.pop(one.name) for one in fields(Outcome) if one.name in table}
    act = _made(kinds[0], table, where)
    lists = act.to if isinstance(act, Mail) else ("wildlife",)
    # Most mails are for one list: then it need not be named again.
    if isinstance(told.get("copies"), list):
        told["copies"] = {lists[0]: told["copies"]}
    if isinstance(told.get("held"), str):
        told["held"] = dict.fromkeys(lists, told["held"])
    if "copies" in told:
        told["copies"] = {one: tuple(people) for one, people in told["copies"].items()}
    return Step(does, act, _made(Outcome, told, where), name or does)


def _made(kind: type[_T], table: Mapping[str, Any], where: str) -> _T:
    """A dataclass from a table, unknown and missing words refused."""
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(table) - set(known))
    missing = [
        name
        for name, one in known.items()
        if name not in table and one.default is MISSING and one.default_factory is MISSING
    ]
    if unknown or missing:
        raise StoryFault(f"{where}: unknown {unknown}, missing {missing}")
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in table.items()}
    return kind(**values)
