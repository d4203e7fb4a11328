"""Paths of the SMTP envelope: RFC 5321 4.1.2, with UTF-8 as RFC 6531 3.3 extends it."""

from __future__ import annotations

import re

NULL_PATH = "<>"

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a1-\U0010ffff]+"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f-\xa0]|\\[\x20-\x7e])*"'
_LABEL = r"[A-Za-z0-9\u00a1-\U0010ffff][A-Za-z0-9\-\u00a1-\U0010ffff]*"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Za-z:.\-]+\])"
_MAILBOX = rf"(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@{_DOMAIN}"
_SOURCE_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)"
_PATH = re.compile(
    rf"<(?:{_SOURCE_ROUTE}?(?P<mailbox>{_MAILBOX})|(?P<postmaster>(?i:postmaster))|)>"
    r"(?P<parameters>(?: .*)?)"
)


def split_path(argument: str) -> tuple[str, str] | None:
    """What follows FROM: or TO:, as (mailbox, parameters); None if it is no path.

    The mailbox of the null path is NULL_PATH. A source route is dropped (RFC 5321 appendix C);
    "postmaster" needs no domain (RFC 5321 4.1.1.3).
    """
    match = _PATH.fullmatch(argument)
    if match is None:
        return None
    mailbox = match["mailbox"] or match["postmaster"] or NULL_PATH
    return mailbox, match["parameters"]
