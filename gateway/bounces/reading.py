"""Whether a mail gives a copy back, and why. Nothing of it is kept but a status and a kind."""

from __future__ import annotations

import json
import logging
import re

from gateway.archive import confined
from gateway.bounces import dialects, report
from gateway.bounces.report import Failure, Report
from gateway.errors import Malformed, TooLarge
from gateway.message import entity
from gateway.message.entity import Entity
from gateway.message.envelope import Envelope

log = logging.getLogger(__name__)

_MOST_PARTS = 10
_SECONDS = 2
_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})?")


def comes_from_a_server(envelope: Envelope) -> bool:
    """Whether a mail has the null sender (RFC 5321 4.5.5) or is a report (RFC 6522)."""
    if envelope.sender == "":
        return True
    try:
        return entity.read(envelope.data).content_type == "multipart/report"
    except (Malformed, TooLarge):
        return False


def read(data: bytes) -> Failure | None:
    """Why a copy came back; None where the mail says nothing of the kind: a delay, an automatic
    reply, or what can't be read within bounds.

    data: the mail. A report of good form is read here, in a time that grows with its length;
    anything else in a process of its own with two seconds.
    """
    told = of_good_form(data) or _confined(data)
    return told.failure if told else None


def of_good_form(data: bytes) -> Report | None:
    try:
        mail = entity.read(data)
        if mail.content_type != "multipart/report":
            return None
        return _of_parts(mail)
    except (Malformed, TooLarge):
        return None


def _of_parts(mail: Entity) -> Report | None:
    for part in mail.parts(_MOST_PARTS):
        if part.content_type in report.REPORTS and part.transfer_encoding in ("7bit", "8bit"):
            return report.of_part(part.body)
    return None


def _confined(data: bytes) -> Report | None:
    made = confined.run(dialects.__name__, data[: dialects.MOST_BYTES], seconds=_SECONDS)
    if made is None:
        log.info("bounce not read: it took too long, or broke the reader")
        return None
    return _believed(made)


def _believed(made: bytes) -> Report | None:
    """What the process said, whatever took it over. Raises nothing."""
    try:
        found = json.loads(made)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    told = found.get("failure")
    if not isinstance(told, dict):
        return Report(None)
    status, dialect = str(told.get("status")), str(told.get("dialect"))
    if not _STATUS.fullmatch(status) or dialect not in ("dsn", "vendor", "daemon"):
        return None
    return Report(Failure(told.get("hard") is True, status, dialect))
