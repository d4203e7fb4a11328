"""Delivery status notifications (RFC 3464): what a report's fields say of the one copy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32

from gateway.bounces import status as codes

REPORTS = ("message/delivery-status", "message/global-delivery-status")  # RFC 3464, RFC 6533
MOST_BYTES = 64 * 1024
MOST_BLOCKS = 100
_MOST_FIELD = 2000
_BLANK = re.compile(rb"\n[ \t]*\n")


@dataclass(frozen=True, slots=True)
class Failure:
    """A copy came back. hard: see `status.is_hard`. status: enhanced status code, "" for none.
    dialect: how it was said: "dsn", "vendor", "daemon", or "handoff" for our own mail server's
    refusal."""

    hard: bool
    status: str
    dialect: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says: failure is None where it tells of a delay or a success."""

    failure: Failure | None


def of_part(body: bytes) -> Report | None:
    """Read the body of a delivery-status part. None where it says nothing of any recipient."""
    lines = body[:MOST_BYTES].replace(b"\r\n", b"\n").lstrip(b"\n")
    parser = BytesHeaderParser(policy=compat32)
    blocks = _BLANK.split(lines, MOST_BLOCKS)[:MOST_BLOCKS]
    return of_blocks(parser.parsebytes(one.lstrip(b"\n") + b"\n\n") for one in blocks)


def of_blocks(blocks: Iterable[Message]) -> Report | None:
    """The same of its blocks of fields, parsed. Of several recipients that failed, as an alias has
    at the other end, one that may work yet makes it soft."""
    told = False
    failures = []
    for block in blocks:
        action = _field(block, "action").lower()
        code = codes.status_in(_field(block, "status"))
        if not action and (not code or not _field(block, "final-recipient")):
            continue
        told = True
        # OpenSMTPD says "error"; some say nothing but the status.
        if action.startswith(("fail", "error")) or (not action and code.startswith("5")):
            text = _field(block, "diagnostic-code")
            code = codes.better(code, text)
            failures.append(Failure(codes.is_hard(code, text), code, "dsn"))
    if not told:
        return None
    return Report(min(failures, key=lambda one: one.hard) if failures else None)


def _field(block: Message, name: str) -> str:
    return " ".join(str(block.get(name, ""))[:_MOST_FIELD].split())
