"""What is kept of a mail, sealed: the signed object, its fields, the author's certificate then."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from gateway.crypto.vault import Vault
from gateway.message.pgpmime import Form, Signed
from gateway.message.protected import Fields
from gateway.store.posting import Posting


@dataclass(frozen=True, slots=True)
class Sealed:
    """Made before the database is locked; `token` is the posting's, and part of each seal."""

    token: str
    submission: bytes
    details: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """A posting's sealed values, opened. protected: of `fields`, those under the signature."""

    source: Signed
    fields: Fields
    protected: Fields
    certificate: bytes


# What is kept was within the limits of its day, which may have been others than today's.
KEPT_LIMIT = 1 << 30


def seal(
    vault: Vault, source: Signed, fields: Fields, protected: Fields | None, certificate: bytes
) -> Sealed:
    """What is kept of an accepted or held mail, under a new token."""
    token = uuid.uuid4().hex
    details = {
        "form": source.form,
        "fields": asdict(fields),
        "protected": asdict(protected or Fields()),
    }
    return Sealed(
        token,
        vault.seal(f"posting/{token}/submission", source.data),
        vault.seal(f"posting/{token}/details", json.dumps(details).encode()),
        vault.seal(f"posting/{token}/certificate", certificate),
    )


def fields(vault: Vault, row: Posting) -> Fields:
    """A posting's fields alone, without opening what may be 50 MB. Raises Malformed as below."""
    return _fields(_details(vault, row)["fields"])


def unseal(vault: Vault, row: Posting) -> Kept:
    """Raises Malformed where a value was damaged or moved."""
    details = _details(vault, row)
    return Kept(
        Signed(
            Form(details["form"]),
            vault.open(f"posting/{row.token}/submission", row.submission),
        ),
        _fields(details["fields"]),
        _fields(details["protected"]),
        vault.open(f"posting/{row.token}/certificate", row.certificate),
    )


def _details(vault: Vault, row: Posting) -> dict[str, Any]:
    details: dict[str, Any] = json.loads(vault.open(f"posting/{row.token}/details", row.details))
    return details


def _fields(values: dict[str, Any]) -> Fields:
    return Fields(**{name: _frozen(value) for name, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
