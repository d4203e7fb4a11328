"""Bounces in the dialects of mail servers, read in a process of its own: the patterns for them take
time that grows with the square of a line, and more on what was made for it."""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from email.message import Message
from itertools import islice

import flufl.bounce

from gateway.archive import confined
from gateway.bounces import report
from gateway.bounces import status as codes
from gateway.bounces.report import Failure, Report

MOST_BYTES = 64 * 1024
"""Of a mail that are read: what a server says stands before what it gives back."""
MOST_PARTS = 50
_DAEMON = re.compile(
    r"mailer-?daemon|post_?master|mail (delivery|deliver) (sub)?system|daemon@", re.I
)
_RETURNED = re.compile(
    r"undeliver|failure|failed|returned|rejected|could not|not be delivered|bounce"
    r"|delivery (status|report|problem)|mail (system )?error|error sending|notification",
    re.IGNORECASE,
)
_WARNING = re.compile(
    r"delayed|warning|deferred|will be retried|not yet been delivered|still trying"
    r"|auto(matic)? ?reply|out of (the )?office",
    re.IGNORECASE,
)
_GIVEN_BACK = re.compile(
    r"^[ >]*(return-path|received|message-id|mime-version):"
    r"|^-{3,}.*(original|returned|copy|header|below|unsent|forwarded)",
    re.IGNORECASE | re.MULTILINE,
)


def prepare() -> None:
    """Load what `work` needs, while files may be opened."""
    confined.load(flufl.bounce)
    message_from_bytes(b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\n--a--\n").walk()


def work(mail: bytes) -> bytes:
    """A mail's first MOST_BYTES -> JSON: null, or {"failure": null or its fields}."""
    found = scan(mail)
    if found is None:
        return b"null"
    one = found.failure
    told = None if one is None else {"hard": one.hard, "status": one.status, "dialect": one.dialect}
    return json.dumps({"failure": told}).encode()


def scan(mail: bytes) -> Report | None:
    """What a mail says of a copy that it gives back; None where it is nothing of the kind."""
    message = message_from_bytes(mail[:MOST_BYTES])
    parts = list(islice(message.walk(), MOST_PARTS))
    for part in parts:
        told = _of_status_part(part)
        if told is not None:
            return told
    if any(part.get_content_type() == "message/feedback-report" for part in parts):
        return None  # RFC 5965: a reader's complaint, and no bounce
    text = _text(parts)
    try:
        temporary, permanent = flufl.bounce.all_failures(message)
    except Exception:  # each of its readers fails in ways of its own, on a missing From say
        temporary, permanent = frozenset(), frozenset()
    by_daemon = _DAEMON.search(str(message.get("from", ""))[:500]) is not None
    if permanent and not _is_reply(message, by_daemon=by_daemon):
        return _told(text, "vendor")
    if temporary:
        return Report(None)
    return _of_a_daemon(message, text) if by_daemon else None


def _of_status_part(part: Message) -> Report | None:
    if part.get_content_type() not in report.REPORTS:
        return None
    payload = part.get_payload()
    if isinstance(payload, list):
        return report.of_blocks(
            one for one in payload[: report.MOST_BLOCKS] if isinstance(one, Message)
        )
    return report.of_part(str(payload).encode("utf-8", "surrogateescape"))


def _of_a_daemon(message: Message, text: str) -> Report | None:
    """A mail in no known dialect whose sender and subject are those of a bounce."""
    subject = str(message.get("subject", ""))[:500]
    if _WARNING.search(subject):
        return Report(None)
    if not _RETURNED.search(subject) and not codes.status_in(text):
        return None
    return _told(text, "daemon")


def _told(text: str, dialect: str) -> Report:
    status = codes.status_in(text)
    if status.startswith("2"):
        return Report(None)
    # Of what is in no known dialect it is not sure that it failed for good.
    judged = status or ("5.0.0" if dialect == "daemon" else "")
    return Report(Failure(codes.is_hard(judged, text), status, dialect))


def _is_reply(message: Message, *, by_daemon: bool) -> bool:
    """A person's answering machine (RFC 3834 5). Exim and Postfix call bounces replies too."""
    auto = str(message.get("auto-submitted", "")).strip().lower()
    return auto.startswith("auto-replied") and not by_daemon


def _text(parts: list[Message]) -> str:
    """What the server says, without what it gives back."""
    for part in parts:
        if part.get_content_maintype() == "text":
            raw = part.get_payload(decode=True)
            text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""
            end = _GIVEN_BACK.search(text)
            said = text[: end.start()] if end else text
            if said.strip():
                return " ".join(said.split())[: codes.LONGEST]
    return ""
