"""Mail addresses: one normal form to compare by, and the gateway's own address book."""

from __future__ import annotations

import re
from email.errors import InvalidHeaderDefect
from email.policy import default

from gateway.errors import Malformed
from gateway.message.entity import MOST_FIELD, Entity, strict

_LOCAL = re.compile(r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]{1,64}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_WORD = r"[^\s\"(),:;<>@\[\]\\]+"
_NAME = r"[^\s\"(),:;<>@\\]"
_COMMENT = r"\([^()\\]*+\)"
_PLAIN = re.compile(
    # What nearly every program writes: words and quoted names, an address in brackets or alone;
    # and names that should be quoted: with brackets, with a comma, and the address itself.
    rf"\s*+(?:(?:\"(?:[^\"\\]|\\.)*+\"|{_NAME}++|{_COMMENT}|\s++)*+<({_WORD}@{_WORD})>"
    rf"|'?({_WORD}?@{_WORD}?)'?\s*+<(?:\2)>"
    rf"|({_WORD}@{_WORD})"
    rf"|(?!=\?){_NAME}++(?:\s++(?!=\?){_NAME}++)*+(?=\s*+,))\s*+(?:,|\Z)"
)
_SPECIALS = re.compile(r"[\s\"(),:;<>\[\]\\]+")
_MOST_OTHER = 1000
"""Characters of any other field; the library takes time with their square."""


def normalise(address: str) -> str | None:
    """Lower case, the domain in its ASCII form; None where it is no plain address.

    RFC 5321 2.4 lets a local part differ by case; no officer's does, and two members whose
    addresses differ by case alone would be one person or one attack.
    """
    local, at, domain = address.strip().rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or ".." in local or local.strip(".") != local:
        return None
    try:
        ascii_domain = domain.lower().rstrip(".").encode("idna").decode()
    except UnicodeError:
        return None
    labels = ascii_domain.split(".")
    if len(ascii_domain) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return f"{local.lower()}@{ascii_domain}"


def named_in(value: str) -> tuple[str, ...]:
    """Everybody whom an address field names, groups opened: by normal address, and as it stands
    where there is none.

    value: undecoded (RFC 2047 6.2), as a name in a decoded one could be read as an address. What
    keeps to no grammar, and so could be read in two ways, names one that is nobody's.
    """
    found = _read(value)
    if found is None:
        is_somebody = "@" in value or "=?" in value
        return (f"<{value[:MOST_FIELD]}>",) if is_somebody else ()
    return tuple(normalise(one) or one for one in found)


def for_whom(value: str) -> tuple[str, ...]:
    """Normal addresses in a field that says for whom servers brought a mail: all that could be one
    where it keeps to no grammar, as it is here in any case."""
    found = _read(value)
    named = _anywhere(value[:MOST_FIELD]) if found is None else found
    return tuple(one for one in map(normalise, named) if one)


def named_by(entity: Entity, name: str) -> tuple[str, ...]:
    """The same of all fields of a name."""
    return named_in(", ".join(entity.undecoded(name)))


def _read(value: str) -> list[str] | None:
    """Addresses as they stand; None where there may be others."""
    found = _plain(value) if len(value) <= MOST_FIELD else None
    if found is None and len(value) <= _MOST_OTHER:
        found = _any(value)
    if found is None and len(value) <= MOST_FIELD and "=?" not in value:
        anywhere = set(_anywhere(value))  # However it is read, it can name one alone.
        found = list(anywhere) if len(anywhere) == 1 else None
    return found


def _anywhere(value: str) -> list[str]:
    return [one for one in _SPECIALS.split(value) if "@" in one]


def _plain(value: str) -> list[str] | None:
    found, at = list[str](), 0
    while at < len(value):
        one = _PLAIN.match(value, at)
        if one is None:
            return None
        found += filter(None, one.groups())
        at = one.end()
    # RFC 2047 5: no word stands in an address.
    return None if any("=?" in one for one in found) else found


def _any(value: str) -> list[str] | None:
    """RFC 5322 3.4, obsolete forms included; None for anything else."""
    try:
        with strict():
            header = default.header_factory("to", value)
            found = [str(one.addr_spec) for one in header.addresses]
            broken = any(isinstance(one, InvalidHeaderDefect) for one in header.defects)
    except Malformed:
        return None
    return None if broken else found
