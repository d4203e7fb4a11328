"""What a failure says of an address: that it is gone, or only that this mail did not get there."""

from __future__ import annotations

import re

LONGEST = 4000
"""Characters of a text that are looked at."""
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45])[0-5]\d(?=[ -])")
_GONE = frozenset({
    "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10",  # RFC 3463 3.2, RFC 7505 4.2
    "5.2.1",  # the mailbox is disabled: RFC 3463 3.3
    "5.4.4",  # the domain has no host: RFC 3463 3.5
})  # fmt: skip
_OF_THE_SENDER = frozenset({"5.1.7", "5.1.8"})  # RFC 3463 3.2
_SAYS_GONE = re.compile(
    r"\b(unknown|no such|invalid|unrouteable|nonexist\w+|non-exist\w+)"
    r"( \w{1,20}){0,2} (user|recipient|mailbox|address|account|host|domain|person)\b"
    r"|\b(user|recipient|mailbox|address|account|host|domain)\b[^\n]{0,60}"
    r"\b(unknown|(does not|doesn't|not) exist|not found|no longer|is disabled|is inactive)\b"
    r"|\bno (mailbox|user|account|recipient) (here|by that name|with)\b"
    r"|\bhas moved\b|\bname service error\b|\bhost not found\b",
    re.IGNORECASE,
)
_SAYS_NOT_NOW = re.compile(
    r"\bquota\b|\b(mailbox|inbox|folder|account)\b[^\n]{0,40}\bfull\b|\binsufficient\b[^\n]{0,20}"
    r"\b(disk|storage|space|system)\b|\bstorage (allocation|limit)\b|\btoo (large|big|many|long)\b"
    r"|\b(exceed\w*|over)\b[^\n]{0,40}\b(limit|size|maximum)\b|\bspam\w*\b|\bjunk\b|\bvirus\b"
    r"|\bblock(ed|list\w*)\b|\bblacklist\w*\b|\bdnsbl\b|\breputation\b|\brelay\w*\b|\bdmarc\b"
    r"|\bspf\b|\bdkim\b|\bpolic(y|ies)\b|\bprohibited\b|\breverse (dns|lookup)\b|\bptr\b|\bloop\b"
    r"|\btoo many hops\b|\btimed? ?out\b|\btimeout\b|\bexpired\b|\bsuspended\b|\bgrey-?list\w*\b"
    r"|\btry (again )?later\b|\btemporar\w+\b|\bconnection (refused|reset|lost)\b|\bdenied\b"
    r"|\bauthenticat\w+\b|\bsocket error\b|\bnot reachable\b|\bmultiple retries\b|\blong time\b"
    r"|\bgiving up\b|\baccept our requests to connect\b|\bunable to connect\b|\bpermission\b",
    re.IGNORECASE,
)


def status_in(text: str) -> str:
    """The first enhanced status code in a text (RFC 3463 2), or else the class that its reply code
    (RFC 5321 4.2) has, as "5.0.0"; "" where there is neither."""
    found = _STATUS.search(text[:LONGEST])
    if found:
        return found[0]
    reply = _REPLY.search(text[:LONGEST])
    return f"{reply[1]}.0.0" if reply else ""


def better(status: str, text: str) -> str:
    """The status of a report or, where that says no more than its class, what its text has."""
    said = status_in(text)
    return said if not status or (status.endswith(".0.0") and said[:1] == status[:1]) else status


def is_hard(status: str, text: str) -> bool:
    """Whether a failure speaks against the address itself, so that nothing will ever arrive there.

    status: enhanced status code, "" where a server says in words alone that it failed for good.
    text: what it said. A full mailbox, a policy, a filter or a time-out is soft, however permanent
    this one mail's failure is; so is what says nothing but its class, "5.0.0".
    """
    text = text[:LONGEST]
    if status.startswith("4") or status in _OF_THE_SENDER:
        return False
    if _SAYS_NOT_NOW.search(text) and not _SAYS_GONE.search(text):
        return False
    if status in _GONE:
        return True
    if _SAYS_GONE.search(text):
        return True
    return status in ("", "5.1.0")
