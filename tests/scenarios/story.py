"""A story as its file tells it: tests/scenarios/README.md says what each word means."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from tests.scenarios.words import UnknownWord, common_word, filled, fingerprint_word

CAST = Path(__file__).parent / "cast.toml"
POSTING_SUBJECT = "Ivory at Mombasa"
_T = TypeVar("_T")

Notices = tuple[tuple[str, ...], ...]
"""What one person is told: for each notice, in any order, all that it must say."""


class StoryFault(Exception):
    """A story that says what nobody understands."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes or reads, with one key; who has two keys is two people of one address.

    key_days: the age of their key; expires_in: seconds from now until it expires, 0 is never.
    languages: the first is that of their notices; none, and delivery "": as the gateway chooses.
    """

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
    languages: tuple[str, ...] = ()
    delivery: str = ""
    own_copies: bool = True


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that somebody sends, and how it is answered. signed_ago: "30 days", "6 seconds".

    subject: None is that of a posting, or of the notice that is answered. attach_key: whose
    certificate it carries, autocrypt: in a header field of its own, for the author's address.
    also_signed_by: whose second signature it carries.
    """

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
    subject: str | None = None
    text: str = "Dear colleagues,\n\n84 raw tusks, naïvely declared as tea.\n\nYours\n"
    attachments: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    attach_key: str | None = None
    autocrypt: str | None = None
    also_signed_by: str | None = None
    answers: str | None = None
    answers_notice: bool = False
    again: str | None = None
    mutation: str | None = None
    by: str | None = None
    rcpt_reply: str | None = None

    @property
    def age(self) -> timedelta:
        """How long ago it was signed."""
        return duration(self.signed_ago or "0 days")


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
    """Somebody revokes their certificate, and tells the gateway in a mail that nothing signs."""

    revoke: str


@dataclass(frozen=True, slots=True)
class Spoil:
    """A fault of the disk changes what the gateway keeps of somebody's certificate."""

    spoil: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Time passes until somebody's certificate has expired."""

    until_expiry_of: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Somebody sets a new expiry on their own key, so many days from now: "100 days"."""

    extend: str
    to: str


@dataclass(frozen=True, slots=True)
class Pass:
    """Time goes by ("3 days"), and the gateway does what is due."""

    passes: str
    prints: str = ""


Act = Mail | Command | Enrol | Revoke | Spoil | Expire | Extend | Pass


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that follows from a step; what is not named must not happen.

    copies: who gets one from which list or desk. notices: who is told what; plain_notices: who is
    told it in a mail that is signed alone; notices_lack: what nobody of these is told. takes: name
    of a word for the steps to come -> pattern with one group, found in from_notice's notices. held:
    which list holds it by which rule. parked: whose copy waits for an administrator, and why. of:
    the step whose mail the copies are. shown_subject, says: what a reader sees. threaded: whether
    the copies of an answer name what it answers. evidence: whether the signed original travels
    along. logs: what only the operator is told.
    """

    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notices: Mapping[str, Notices] = field(default_factory=dict)
    plain_notices: Mapping[str, Notices] = field(default_factory=dict)
    notices_lack: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    takes: Mapping[str, str] = field(default_factory=dict)
    from_notice: str | None = None
    held: Mapping[str, str] = field(default_factory=dict)
    parked: Mapping[str, str] = field(default_factory=dict)
    of: str | None = None
    shown_subject: str | None = None
    says: tuple[str, ...] = ()
    threaded: bool = True
    evidence: bool = True
    logs: str = ""

    @property
    def people(self) -> set[str]:
        """Names of all whom a mail reaches, or should have reached."""
        readers = {name for names in self.copies.values() for name in names}
        return readers | {*self.notices, *self.plain_notices, *self.parked}


@dataclass(frozen=True, slots=True)
class Step:
    """does: one sentence, which also names the step for others."""

    does: str
    act: Act
    outcome: Outcome
    name: str

    @property
    def people(self) -> set[str]:
        """Names of all who do something, are needed for it, or get something of it."""
        found = set(self.outcome.people)
        match self.act:
            case Mail() as mail:
                found |= {mail.author, mail.by or "", mail.attach_key or ""}
                found |= {mail.also_signed_by or "", mail.autocrypt or ""}
            case Enrol():
                found.add(self.act.enrol)
            case Revoke():
                found.add(self.act.revoke)
            case Spoil():
                found.add(self.act.spoil)
            case Expire():
                found.add(self.act.until_expiry_of)
            case Extend():
                found.add(self.act.extend)
            case Command() | Pass():
                pass
        return found - {""}


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
    "author": Mail,
    "environet": Command,
    "enrol": Enrol,
    "revoke": Revoke,
    "spoil": Spoil,
    "until_expiry_of": Expire,
    "extend": Extend,
    "passes": Pass,
}
# Words of the language that a field can't be called by.
_FIELDS: Mapping[str, str] = {"from": "author", "pass": "passes"}


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
    _check_names(story)
    return story


def duration(text: str) -> timedelta:
    """Of "30 days" or "6 seconds"."""
    number, _, unit = text.partition(" ")
    return timedelta(**{unit: int(number)})


def _check_names(story: Story) -> None:
    """Raises StoryFault for people and words that nobody knows."""
    known = {fingerprint_word(name): name for name in story.people}
    for number, step in enumerate(story.steps, 1):
        if isinstance(step.act, Extend) and not story.people[step.act.extend].expires_in:
            raise StoryFault(f"step {number}: only a key that expires is one story's own")
        strangers = step.people - set(story.people)
        if strangers:
            raise StoryFault(f"step {number}: nobody is called {', '.join(sorted(strangers))}")
        try:
            filled((step.act, step.outcome), lambda name: known.get(name) or common_word(name))
        except UnknownWord as error:
            raise StoryFault(f"step {number}: no step before took ${error}") from None
        except ValueError as error:
            raise StoryFault(f"step {number}: {error}; a $ alone is written $$") from None
        known.update(dict.fromkeys(step.outcome.takes, "taken"))


def _step(table: dict[str, Any], number: int) -> Step:
    where = f"step {number}"
    does = table.pop("does", None)
    for word, name in _FIELDS.items():
        if word in table:
            table[name] = table.pop(word)
    kinds = [kind for key, kind in _ACTS.items() if key in table]
    if not does or len(kinds) != 1:
        words = {name: word for word, name in _FIELDS.items()}
        acts = ", ".join(words.get(one, one) for one in _ACTS)
        raise StoryFault(f"{where}: says what it does, and has one of {acts}")
    name = table.pop("name", "")
    told = {one.name: table.pop(one.name) for one in fields(Outcome) if one.name in table}
    act = _mail(table, where) if kinds[0] is Mail else _made(kinds[0], table, where)
    lists = act.to if isinstance(act, Mail) else ("wildlife",)
    return Step(does, act, _outcome(told, lists, where), name or does)


def _mail(table: dict[str, Any], where: str) -> Mail:
    for name in ("to", "headers_to", "encrypt_to"):
        if isinstance(table.get(name), str):
            table[name] = [table[name]]
    for name in ("attach_key", "autocrypt"):
        if isinstance(table.get(name), bool):
            table[name] = table["author"] if table[name] else None
    if table.get("also_signed_by"):
        # Only there can a mail program's two signatures stand side by side.
        table.setdefault("form", "6.1")
        if table["form"] != "6.1":
            raise StoryFault(f"{where}: two signatures need form 6.1")
    return _made(Mail, table, where)


def _outcome(told: dict[str, Any], lists: Sequence[str], where: str) -> Outcome:
    # Most mails are for one list: then it need not be named again.
    if isinstance(told.get("copies"), list):
        told["copies"] = {lists[0]: told["copies"]}
    if isinstance(told.get("held"), str):
        told["held"] = dict.fromkeys(lists, told["held"])
    if "copies" in told:
        told["copies"] = {one: tuple(people) for one, people in told["copies"].items()}
    for kind in ("notices", "plain_notices"):
        if kind in told:
            told[kind] = {name: _notices(one, where) for name, one in told[kind].items()}
    if "notices_lack" in told:
        told["notices_lack"] = {
            name: (one,) if isinstance(one, str) else tuple(one)
            for name, one in told["notices_lack"].items()
        }
    readers = {*told.get("notices", {}), *told.get("plain_notices", {})}
    if "takes" in told and len(readers) == 1:
        told.setdefault("from_notice", next(iter(readers)))
    outcome = _made(Outcome, told, where)
    if not set(outcome.notices_lack) <= readers:
        raise StoryFault(f"{where}: who gets no notice can't be told too much in one")
    if (outcome.from_notice is None) != (not outcome.takes) or (
        outcome.takes and outcome.from_notice not in readers
    ):
        raise StoryFault(f"{where}: takes something from the notice of somebody who gets one")
    for name, pattern in outcome.takes.items():
        if not re.fullmatch("[a-z_][a-z0-9_]*", name) or re.compile(pattern).groups != 1:
            raise StoryFault(f"{where}: {name} takes what the one group of its pattern finds")
    return outcome


def _notices(value: object, where: str) -> Notices:
    """ "a" -> one notice that says it; ["a", "b"] -> one that says both; [["a"], ["b"]] -> two."""
    listed = [[value]] if isinstance(value, str) else value
    if isinstance(listed, list) and not any(isinstance(one, list) for one in listed):
        listed = [listed]
    if isinstance(listed, list):
        notices = [one for one in listed if isinstance(one, list)]
        if len(notices) == len(listed) and all(isinstance(t, str) for one in notices for t in one):
            return tuple(tuple(one) for one in notices)
    raise StoryFault(f"{where}: a notice says a text, or all of a list of texts")


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
