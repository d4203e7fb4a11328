"""What is kept of a mail, sealed: the signed object, its fields, the author's certificate then."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

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
    """A posting's sealed values, opened."""

    source: Signed
    fields: Fields
    certificate: bytes


def seal(vault: Vault, source: Signed, fields: Fields, certificate: bytes) -> Sealed:
    token = uuid.uuid4().hex
    details = {
        "form": source.form,
        "sender": fields.sender,
        "to": fields.to,
        "cc": fields.cc,
        "date": fields.date,
        "subject": fields.subject,
        "message_id": fields.message_id,
        "subject_signed": fields.subject_signed,
    }
    return Sealed(
        token,
        vault.seal(f"posting/{token}/submission", source.data),
        vault.seal(f"posting/{token}/details", json.dumps(details).encode()),
        vault.seal(f"posting/{token}/certificate", certificate),
    )


def unseal(vault: Vault, row: Posting) -> Kept:
    """Raises Malformed where a value was damaged or moved."""
    details = json.loads(vault.open(f"posting/{row.token}/details", row.details))
    form = Form(details.pop("form"))
    details["to"], details["cc"] = tuple(details["to"]), tuple(details["cc"])
    return Kept(
        Signed(form, vault.open(f"posting/{row.token}/submission", row.submission)),
        Fields(**details),
        vault.open(f"posting/{row.token}/certificate", row.certificate),
    )
