"""The envelope of a mail (RFC 5321 2.3.1): who hands it over, for whom, and the bytes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Envelope:
    """One mail transaction as taken at a door.

    sender: reverse path without angle brackets, "" for the null path (RFC 5321 4.5.5).
    recipients: forward paths as given, at least one.
    data: the message, CRLF line ends, dot-stuffing undone (RFC 5321 4.5.2); bytes on the wire.
    peer: address of the client, for logs and limits; never an identity.
    received_at: UTC.
    token: names it in the log, and the posting that comes of it; 32 hex digits.
    """

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    peer: str
    received_at: datetime
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
