"""What is kept of a mail, sealed: the signed object, its fields, the author's certificate then."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from email.utils import format_datetime, formataddr
from typing import Any

from gateway.crypto import domain
from gateway.crypto.domain import Origin
from gateway.crypto.vault import Vault
from gateway.message import submission
from gateway.message.noted import NOTHING, Noted
from gateway.message.pgpmime import Form, Signed
from gateway.message.protected import Fields
from gateway.message.submission import Content
from gateway.store.library import Version
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
    """A posting's sealed values, opened. protected: of `fields`, those under the signature. noted:
    of the mail's form."""

    source: Signed
    fields: Fields
    protected: Fields
    certificate: bytes
    noted: Noted = NOTHING


# What is kept was within the limits of its day, which may have been others than today's.
KEPT_LIMIT = 1 << 30


def seal(
    vault: Vault,
    source: Signed,
    fields: Fields,
    protected: Fields | None,
    certificate: bytes,
    token: str = "",
    origin: Origin | None = None,
    noted: Noted = NOTHING,
) -> Sealed:
    """What is kept of an accepted or held mail. token: of its envelope; a new one without.
    origin: what its way here says, None where nobody looked."""
    token = token or uuid.uuid4().hex
    details = {
        "form": source.form,
        "charset": source.charset,
        "fields": _kept(fields),
        "protected": _kept(protected or Fields()),
        "origin": origin.kept() if origin else None,
        "noted": asdict(noted),
    }
    return Sealed(
        token,
        vault.seal(f"posting/{token}/submission", source.data),
        vault.seal(f"posting/{token}/details", json.dumps(details).encode()),
        vault.seal(f"posting/{token}/certificate", certificate),
    )


def fields(vault: Vault, row: Posting | Version) -> Fields:
    """A posting's fields alone, without opening what may be 50 MB. Raises Malformed as below."""
    return _fields(_details(vault, row)["fields"])


def origin(vault: Vault, row: Posting | Version) -> Origin | None:
    """What DKIM, DMARC and ARC said of the mail; None where nobody looked. Raises as `fields`."""
    kept = _details(vault, row).get("origin")
    return domain.origin(kept) if kept else None


def unseal(vault: Vault, row: Posting | Version) -> Kept:
    """Raises Malformed where a value was damaged or moved."""
    details = _details(vault, row)
    return Kept(
        Signed(
            Form(details["form"]),
            vault.open(f"posting/{row.token}/submission", row.submission),
            details.get("charset", ""),
        ),
        _fields(details["fields"]),
        _fields(details["protected"]),
        vault.open(f"posting/{row.token}/certificate", row.certificate),
        _noted(details.get("noted", {})),
    )


def _noted(kept: Mapping[str, Any]) -> Noted:
    """Earlier versions kept none of it, and later ones, beside this one, may keep more."""
    known = {one.name for one in dataclass_fields(Noted)}
    return Noted(**{name: _frozen(value) for name, value in kept.items() if name in known})


def opened(vault: Vault, row: Posting | Version) -> tuple[Kept, Content]:
    """What is kept, and the signed object in it, opened. Raises Malformed as above."""
    kept = unseal(vault, row)
    return kept, submission.content(kept.source, KEPT_LIMIT)


def signed_original(posting: Posting | Version, kept: Kept, opened: Content) -> tuple[str, bytes]:
    """(file name, bytes) of the evidence for whoever checks it with a program of their own. Over it
    stand the verified author and what else is under the signature; nothing that the author's mail
    said outside."""
    fields = (
        ("From", formataddr((posting.author.name, posting.author.address), "utf-8")),
        ("To", ", ".join(kept.protected.to)),
        ("Cc", ", ".join(kept.protected.cc)),
        ("Date", format_datetime(posting.signed_at)),
        ("Subject", kept.protected.subject),
    )
    return submission.evidence(kept.source, opened, fields)


def _details(vault: Vault, row: Posting | Version) -> dict[str, Any]:
    details: dict[str, Any] = json.loads(vault.open(f"posting/{row.token}/details", row.details))
    return details


def _kept(fields: Fields) -> dict[str, Any]:
    """What is kept of fields: no more than the version before this one, beside it while a gateway
    is upgraded, can read."""
    return {name: value for name, value in asdict(fields).items() if name != "senders"}


def _fields(values: dict[str, Any]) -> Fields:
    """Earlier versions kept fewer of them, and later ones, beside this one, may keep more."""
    known = {one.name for one in dataclass_fields(Fields)}
    return Fields(**{name: _frozen(value) for name, value in values.items() if name in known})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
