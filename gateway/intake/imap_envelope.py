"""A mail from a mailbox: its envelope, of which only the header tells now, and the note that says
why it was refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from itertools import chain

from gateway.errors import Malformed, Reply
from gateway.message import entity
from gateway.message.address import for_whom, normalise
from gateway.message.envelope import Envelope
from gateway.settings import ImapSection

NOWHERE = Reply(550, "5.1.1", "No address here is named in the header")
UNREADABLE = Reply(554, "5.6.0", "The header can't be read")
NOBODY = "unknown@unknown.invalid"
"""Stands for a sender of whom nothing is told: the null path would make every mail a robot's."""
_WRITTEN = ("to", "cc")
"""Fields that the author wrote, which name everybody together."""
_MOST_FIELDS = 100
_MOST_ADDRESSES = 200

_UNFOLDED = SMTP.clone(max_line_length=998)
"""The library would encode a long Message-ID to fold it, and then it names nothing."""

Ours = Callable[[str], bool]


def envelope_of(
    data: bytes,
    settings: ImapSection,
    domain: str,
    received_at: datetime,
    is_ours: Ours,
) -> Envelope | Reply:
    """The envelope of a mail, or why it is refused. is_ours: whether mail for an address is taken
    here.

    Whoever wrote the mail may have written any of these fields. That gives them no more than RCPT
    gives a client at a door: where the mail is judged, as a stranger's.
    """
    try:
        mail = entity.read(data)
        named = _named(mail, settings, domain)
        sender = _sender(mail)
    except Malformed:
        return UNREADABLE
    recipients = tuple(address for address in named if is_ours(address))
    if not recipients:
        return NOWHERE
    return Envelope(
        sender=sender,
        recipients=recipients,
        data=data,
        peer=settings.host,
        received_at=received_at,
    )


def _named(mail: entity.Entity, settings: ImapSection, domain: str) -> list[str]:
    """The addresses of our domain in the first of the fields that names one; else the default."""
    asked = [name.strip().lower() for name in settings.recipient_headers.split(",")]
    written = [name for name in asked if name in _WRITTEN]
    for name in asked:
        values = _values(mail, written if name in _WRITTEN else [name])
        naming = [found for value in values if (found := _ours(value, domain))]
        if naming:
            # A server puts its own field on top of older ones, which may be anybody's.
            chosen = naming if name in _WRITTEN else naming[:1]
            return list(dict.fromkeys(chain(*chosen)))[:_MOST_ADDRESSES]
    return [settings.recipient] if settings.recipient else []


def _ours(value: str, domain: str) -> list[str]:
    return [address for address in for_whom(value) if address.endswith(f"@{domain}")]


def _values(mail: entity.Entity, names: list[str]) -> list[str]:
    values = [value for name in names for value in mail.undecoded(name)]
    return values[:_MOST_FIELDS]


def _sender(mail: entity.Entity) -> str:
    """The reverse path, "" for the null one: the server that delivered last wrote it on top
    (RFC 5321 4.4)."""
    path = str(mail.fields.get("return-path", ""))[: entity.MOST_FIELD].strip()
    if path == "<>":
        return ""
    return normalise(path.removeprefix("<").removesuffix(">")) or NOBODY


def refusal_note(reply: str, size: int, data: bytes | None, domain: str, now: datetime) -> bytes:
    """A mail to lie beside a refused one: why. CRLF line ends. data: the refused mail, None where
    it was not read; only its Message-ID is told, so that mail programs show the two together."""
    note = EmailMessage(policy=_UNFOLDED)
    note["From"] = f"gateway@{domain}"
    note["Date"] = format_datetime(now)
    note["Message-ID"] = make_msgid(domain=domain)
    note["Subject"] = f"Refused: {reply}"
    answered = _message_id(data)
    if answered:
        note["In-Reply-To"] = answered
    note["Auto-Submitted"] = "auto-generated"
    note.set_content(
        f"The gateway at {domain} did not take a mail of {size} bytes from this mailbox:\n\n"
        f"  {reply}\n\n"
        "The mail lies beside this note, as it came, and nobody was told. To have it tried\n"
        "again, move it back to the folder that it came from.\n"
    )
    return note.as_bytes()


def _message_id(data: bytes | None) -> str:
    try:
        value = "" if data is None else str(entity.read(data).fields.get("message-id", "")).strip()
    except Malformed:
        return ""
    plain = value.isascii() and value.isprintable() and " " not in value and len(value) < 500
    return value if plain and value.startswith("<") and value.endswith(">") else ""
