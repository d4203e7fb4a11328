"""Mail addresses: one normal form to compare by, and the gateway's own address book."""

from __future__ import annotations

import re
from email.utils import getaddresses

from gateway.message.entity import strict

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
    """Normal addresses of a To or Cc field's value, groups opened, what is no address left out."""
    with strict():
        found = [normalise(address) for _, address in getaddresses([value])]
    return tuple(address for address in found if address)
