"""What would become of a mail, and why, with nothing done: for an operator who has its file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from gateway import dispatch
from gateway.app import App
from gateway.bounces import receiving as bounces
from gateway.bounces.receiving import Returned
from gateway.command import receiving as commands
from gateway.errors import Malformed, Reply, UsageError
from gateway.library import receiving as library
from gateway.message import entity
from gateway.message.address import for_whom, normalise
from gateway.message.entity import Entity
from gateway.message.envelope import Envelope
from gateway.message.noted import NOTHING, Noted
from gateway.posting import directory, pipeline
from gateway.posting.directory import Service
from gateway.posting.opening import inflation_limit
from gateway.posting.pipeline import ACCEPTED, Judged
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member

_UNKNOWN_SENDER = "unknown@unknown.invalid"
_TO = ("delivered-to", "x-original-to", "envelope-to", "to", "cc")


@dataclass(frozen=True, slots=True)
class Signer:
    """The author as the signature shows them; never as a header does. key: fingerprint of the key
    that signed, upper-case hex. standing: active, suspended, expired or revoked."""

    member: int
    address: str
    key: str
    signed_at: datetime
    standing: str


@dataclass(frozen=True, slots=True)
class Destined:
    """What becomes of a mail at one address. what: the list, or what else takes mail there. action:
    of the policy, or accept and refuse alone. rule: that decides, "" where no rule is asked."""

    address: str
    what: str
    action: str
    rule: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Verdict:
    """size: bytes. encrypted: as a whole; encrypted_to: key IDs that it names. opened: whether it
    has a signed object that is all of its content; form: that object's. marking: "" where nothing
    was opened. noted: what its readers would be told of its form. said: what the log would have of
    it, line by line."""

    size: int
    encrypted: bool
    encrypted_to: tuple[str, ...]
    opened: bool
    form: str
    signer: Signer | None
    marking: str
    destined: tuple[Destined, ...]
    noted: Noted
    said: tuple[str, ...]

    @property
    def is_taken(self) -> bool:
        """Whether each recipient is answered 250."""
        return all(one.reply.accepted for one in self.destined)


def envelope_of(
    app: App, data: bytes, recipients: Sequence[str] = (), sender: str | None = None
) -> Envelope:
    """The envelope of a mail in a file. data: its line ends, and the line before an mbox's mails,
    may be any. recipients, sender: where they are not given, what the mail's own header says of
    them. Raises UsageError where it names no address here."""
    if data.startswith(b"From "):
        data = data.partition(b"\n")[2]
    mail = entity.crlf(data)
    try:
        header = entity.read(mail)
    except Malformed:
        header = entity.read(b"\r\n")
    named = tuple(recipients) or tuple(_named(header, app.config.domain))
    if not named:
        raise UsageError(
            f"no address at {app.config.domain} is named in the mail's header: name one with --to"
        )
    path = _path(header) if sender is None else sender
    return Envelope(path, named, mail, "127.0.0.1", app.clock())


def judge(app: App, envelope: Envelope) -> Verdict:
    """Raises Unavailable where the fault is ours: then nothing is known of the mail."""
    with _listening() as said:
        returned = bounces.read(app, envelope)
        judged = pipeline.judge(app, envelope, inflation_limit(app.config))
        assert judged is not None  # noqa: S101  None is for a smaller limit alone
        with app.database.reading() as session:
            destined = tuple(
                _destined(session, app, judged, one, returned.get(one))
                for one in envelope.recipients
            )
            signer = _signer(session, judged)
    opening, found = judged.opening, judged.marking
    source = opening.source if opening else None
    return Verdict(
        size=len(envelope.data),
        encrypted=opening is not None and opening.encrypted,
        encrypted_to=opening.encrypted_to if opening else (),
        opened=source is not None,
        form=source.form if source else "",
        signer=signer,
        marking=found.marking.label if found else "",
        destined=destined,
        noted=opening.noted if opening else NOTHING,
        said=tuple(said),
    )


def _destined(
    session: Session, app: App, judged: Judged, address: str, returned: Returned | None
) -> Destined:
    if returned is not None:
        what = "a copy that came back" if returned.failure else "nothing to be counted"
        return Destined(address, what, "accept", "", ACCEPTED)
    match dispatch.destination(session, app, address):
        case MailingList() as on:
            rule, _ = pipeline.decided(session, app, judged, on, app.clock())
            reply = ACCEPTED if rule.reply is None else rule.reply
            return Destined(address, on.title, rule.action, rule.name, reply)
        case Service.COMMANDS:
            found = commands.refusal(session, app, judged)
            return _of_service(address, "commands", judged, found)
        case Service.LIBRARY:
            return _of_service(
                address, "the Library", judged, library.refusal(session, app, judged)
            )
        case Service.APPLICATIONS:
            # Whatever it is the reply is the same, and the rest is told by mail.
            return _of_service(address, "applications", judged, None)
        case _:
            return Destined(address, "nothing", "refuse", "", directory.UNKNOWN)


def _of_service(
    address: str, what: str, judged: Judged, refusal: tuple[str, Reply] | None
) -> Destined:
    if judged.robot:
        return Destined(address, what, "discard", "robot", ACCEPTED)
    if refusal is None:
        return Destined(address, what, "accept", "", ACCEPTED)
    return Destined(address, what, "refuse", *refusal)


def _signer(session: Session, judged: Judged) -> Signer | None:
    author = judged.author
    if author is None:
        return None
    member = session.get_one(Member, author.member_id)
    return Signer(member.id, member.address, author.fingerprint, author.signed_at, author.standing)


def _named(header: Entity, domain: str) -> list[str]:
    values = (one for name in _TO for one in header.undecoded(name))
    found = (each for value in values for each in for_whom(value))
    return list(dict.fromkeys(one for one in found if one.endswith(f"@{domain}")))


def _path(header: Entity) -> str:
    """The reverse path that the last server wrote on top (RFC 5321 4.4), "" for the null one."""
    path = str(header.fields.get("return-path", ""))[: entity.MOST_FIELD].strip()
    return "" if path == "<>" else normalise(path.strip("<>")) or _UNKNOWN_SENDER


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What the gateway's log is told meanwhile, which has no content in it."""
    said: list[str] = []
    root = logging.getLogger("gateway")
    before, handler = root.level, _Kept(said)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield said
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


class _Kept(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())
