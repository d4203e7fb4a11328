"""What a document is called and has, sealed beside the mail that it came in, so that lists of
documents are made without opening that."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from gateway.crypto.vault import Vault
from gateway.errors import Malformed
from gateway.store.library import Version


@dataclass(frozen=True, slots=True)
class File:
    """number: from 1, of the version's files; content_type: as its author's program says; size:
    bytes."""

    number: int
    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """description: LF between lines."""

    title: str
    description: str
    files: tuple[File, ...]


def seal(vault: Vault, token: str, sheet: Sheet) -> bytes:
    return vault.seal(_identity(token), json.dumps(asdict(sheet)).encode())


def sheet(vault: Vault, version: Version) -> Sheet:
    """Empty of what was withdrawn. Raises Malformed where the value was damaged or moved."""
    if version.withdrawn_at is not None:
        return Sheet("", "", ())
    values = json.loads(vault.open(_identity(version.token), version.form))
    files = tuple(File(**one) for one in values["files"])
    return Sheet(values["title"], values["description"], files)


def listed(vault: Vault, version: Version) -> Sheet:
    """The same for a list, which one that was damaged does not keep from being shown: empty."""
    try:
        return sheet(vault, version)
    except Malformed:
        return Sheet("", "", ())


def _identity(token: str) -> str:
    return f"document/{token}/form"
