"""Mail addresses: one normal form to compare by, and the gateway's own address book."""

from __future__ import annotations

import re
from email.errors import InvalidHeaderDefect
from email.policy import default

from gateway.errors import Malformed
from gateway.message.entity import MOST_FIELD, Entity, strict

_LOCAL = re.compile(r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]{1,64}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


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


def in_field(value: str) -> tuple[str, ...]:
    """Normal addresses of an address field's value, as `named_in`; what has none is left out."""
    return tuple(one for one in named_in(value) if one == normalise(one))


def named_in(value: str) -> tuple[str, ...]:
    """Everybody whom an address field names, groups opened: by normal address, and as it stands
    where there is none.

    value: undecoded (RFC 2047 6.2), as a name in a decoded one could be read as an address. What
    keeps to no grammar, and so could be read in two ways, names one that is nobody's.
    """
    with_place = "@" in value or "=?" in value
    try:
        with strict():
            header = default.header_factory("to", value[:MOST_FIELD])
            found = [one.addr_spec for one in header.addresses]
            broken = any(isinstance(one, InvalidHeaderDefect) for one in header.defects)
    except Malformed:
        found, broken = [], True
    if broken or len(value) > MOST_FIELD:
        return (value[:MOST_FIELD],) if with_place else ()
    return tuple(normalise(one) or one for one in found)


def named_by(entity: Entity, name: str) -> tuple[str, ...]:
    """The same of all fields of a name."""
    return tuple(one for value in entity.undecoded(name) for one in named_in(value))
