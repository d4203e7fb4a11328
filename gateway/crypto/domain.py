"""What domains say of a mail: our DKIM signatures on what goes out, and what DKIM, DMARC and ARC
say of what came in, which are facts to look at and never who wrote it.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from email.utils import getaddresses
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Protocol

import authres
import dkim
from authheaders.dmarc_lookup import DMARCException, lookup_receiver_record
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from dkim.canonicalization import Relaxed
from publicsuffix2 import PublicSuffixList

from gateway.crypto.domain_key import DomainKey
from gateway.message.entity import Entity

TextLookup = Callable[[str], Sequence[str]]
"""A domain name -> its TXT records, each in one piece. Raises TimeoutError where the DNS does not
say."""
Stamp = Callable[[Iterable[bytes]], bytes]
"""What follows the head of a copy -> the header fields that go in front of it, with CRLF."""

OVERSIGNED = (
    "from", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references", "reply-to",
    "sender", "mime-version", "content-type", "content-transfer-encoding",
)  # fmt: skip
"""Signed once more than they are there, so that none can be added (RFC 6376 8.15)."""
SIGNED = (
    *OVERSIGNED, "auto-submitted", "list-id", "list-post", "list-help", "list-unsubscribe",
    "list-archive", "list-owner", "archived-at", "autocrypt",
)  # fmt: skip

MOST_CHECKED_BYTES = 10 * 2**20
"""A mail's bytes times its signatures; beyond that nothing is said. The library that checks it has
it in memory several times, and goes over it anew for each signature."""
MOST_SIGNATURES = 5
_MOST_FIELD = 8000
_FIELDS = re.compile(rb"(?:\A|\n)(dkim-signature|arc-seal|arc-message-signature)[ \t]*:", re.I)
_OF_ARC = {b"arc-seal", b"arc-message-signature"}
_LONG_SPACE = b" " * 50
"""The library's relaxed form takes time that grows with the square of such runs."""
_TAB_AS_SPACE = bytes.maketrans(b"\t", b" ")
_BLANK = b"\r\n\r\n"
_SILENT = logging.Logger("gateway.crypto.domain.dkim", logging.CRITICAL + 1)
"""What the library logs has the content of header fields in it."""


class Signer(Protocol):
    """Header of a mail with its blank line, and whatever of the body is the same for all copies."""

    def __call__(self, head: bytes) -> Stamp: ...


@dataclass(frozen=True, slots=True)
class Signature:
    """What came of one DKIM signature. verdict: of RFC 8601 2.7.1."""

    domain: str
    selector: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What DKIM, DMARC and ARC say of a mail; never an identity.

    dmarc: pass; unaligned, where no signature of the domain that From names is good (SPF, which may
    pass for it, is not looked at); none, where that domain asks for nothing; temperror, permerror;
    "" where there was no good signature to ask about. arc: none, pass, fail, temperror. by: the
    front server whose word it is, "" where it was checked here. fault: why nothing was checked.
    """

    signatures: tuple[Signature, ...] = ()
    dmarc: str = ""
    arc: str = "none"
    by: str = ""
    fault: str = ""

    def kept(self) -> dict[str, Any]:
        """As it is kept in JSON, for `origin`."""
        return asdict(self)

    def __str__(self) -> str:
        """In a line, as an operator reads it."""
        if self.fault:
            return f"not checked: {self.fault}"
        said = [f"DKIM {one.verdict} ({one.domain})" for one in self.signatures] or ["DKIM none"]
        said += [f"DMARC {self.dmarc}"] if self.dmarc else []
        said += [f"ARC {self.arc}"]
        return "; ".join(said) + (f"; so says {self.by}" if self.by else "")


def origin(kept: Mapping[str, Any]) -> Origin:
    """What `Origin.kept` gave."""
    signatures = tuple(Signature(**one) for one in kept["signatures"])
    return Origin(**{**kept, "signatures": signatures})


def signer(domain: str, keys: Sequence[DomainKey], now: Callable[[], datetime]) -> Signer | None:
    """Signs mails for a domain by each of its keys; None where there are no keys.

    Only what differs from copy to copy is done for each: one hash over its body, which all keys
    share, and one signature a key over the same hash of the header.
    """
    if not keys:
        return None

    def of_head(head: bytes) -> Stamp:
        return _stamp(domain, keys, head, int(now().timestamp()))

    return of_head


def _stamp(domain: str, keys: Sequence[DomainKey], head: bytes, at: int) -> Stamp:
    end = head.index(_BLANK) + len(_BLANK)
    fields = Relaxed.canonicalize_headers(dkim.rfc822_parse(head[:end])[0])
    there = [name for name, _ in fields]
    names = [
        name
        for name in (one.encode() for one in SIGNED)
        for _ in range(there.count(name) + (name.decode() in OVERSIGNED))
    ]
    chosen = dkim.select_headers(fields, names)
    header_hash = sha256(b"".join(name + b":" + value for name, value in chosen))
    body_hash = sha256(head[end:])
    folded = _folded(b":".join(names), b":")
    begun = [
        (
            one,
            f"v=1; a={one.algorithm}-sha256; c=relaxed/simple; d={domain};\r\n"
            f" s={one.selector}; t={at};\r\n h=".encode()
            + folded
            + b";\r\n bh=",
        )
        for one in keys
    ]

    def stamp(rest: Iterable[bytes]) -> bytes:
        body, last = body_hash.copy(), head[-4:]
        for part in rest:
            body.update(part)
            last = (last + part[-4:])[-4:]
        # RFC 6376 3.4.3: so that the body is in its simple form as it stands.
        if not last.endswith(b"\r\n") or last == _BLANK:
            raise ValueError("a mail to be signed ends in one CRLF")
        bh = base64.b64encode(body.digest())
        return b"".join(_field(one, text + bh, header_hash.copy()) for one, text in begun)

    return stamp


def _field(one: DomainKey, text: bytes, header_hash: Any) -> bytes:
    """One DKIM-Signature. text: its value up to bh. RFC 6376 3.7: it is itself hashed last, with an
    empty b and without its CRLF, in the relaxed form."""
    relaxed = re.sub(rb"\s+", b" ", text)
    header_hash.update(b"dkim-signature:" + relaxed + b"; b=")
    digest = header_hash.digest()
    # RFC 8463 3: Ed25519 signs the hash, as RSA does.
    made = (
        one.key.sign(digest)
        if isinstance(one.key, Ed25519PrivateKey)
        else one.key.sign(digest, PKCS1v15(), Prehashed(SHA256()))
    )
    value = _folded(base64.b64encode(made), b"")
    return b"DKIM-Signature: " + text + b";\r\n b=" + value + b"\r\n"


def _folded(value: bytes, at: bytes) -> bytes:
    """A long value in lines of some 70 bytes, broken behind `at`, or anywhere."""
    if not at:
        return b"\r\n  ".join(value[start : start + 70] for start in range(0, len(value), 70))
    lines = [b""]
    for one in value.split(at):
        if len(lines[-1]) + len(one) > 70:
            lines.append(b"")
        lines[-1] += one + at
    return b"\r\n  ".join(lines)[: -len(at)]


def check(mail: Entity, texts: TextLookup) -> Origin:
    """What DKIM, DMARC and ARC say of a mail as it came in. Never raises: what can't be looked up
    is a temperror, what can't be read a permerror."""
    data = mail.raw
    found = [one.lower() for one in _FIELDS.findall(data[: mail.body_start - mail.start])]
    if not found:
        return Origin()
    if len(data) * len(found) > MOST_CHECKED_BYTES:
        return Origin(fault="the mail is too large")
    if max(map(found.count, found)) > MOST_SIGNATURES:
        return Origin(fault="it has too many signatures")
    if any(len(str(value)) > _MOST_FIELD for value in mail.fields.values()):
        return Origin(fault="a header field is too long")
    if _LONG_SPACE in data.translate(_TAB_AS_SPACE):
        return Origin(fault="it has long runs of spaces")
    signatures = _signatures(data, found.count(b"dkim-signature"), texts)
    passing = [one.domain for one in signatures if one.verdict == "pass"]
    dmarc = _dmarc(mail, passing, texts) if passing else ""
    arc = _arc(data, texts) if _OF_ARC & set(found) else "none"
    return Origin(signatures, dmarc, arc)


def _signatures(data: bytes, count: int, texts: TextLookup) -> tuple[Signature, ...]:
    try:
        reader = dkim.DKIM(data, logger=_SILENT)
    except Exception:  # the library's own failures on hostile input are many
        return (Signature("", "", "permerror"),)
    return tuple(_signature(reader, number, texts) for number in range(count))


def _signature(reader: Any, number: int, texts: TextLookup) -> Signature:
    known = True

    def key(name: bytes, timeout: float = 0) -> bytes | None:
        nonlocal known
        found = _text(texts, name, timeout)
        known = found is not None
        return found

    reader.signature_fields = {}
    try:
        good = reader.verify(number, dnsfunc=key)
        said = reader.signature_fields
        if said.get(b"a") == b"rsa-sha1":
            verdict = "policy"  # RFC 8301 3.1
        elif good and b"l" in said:
            verdict = "policy"  # RFC 6376 8.2: anything may stand behind what it covers
        else:
            verdict = "pass" if good else "fail" if known else "permerror"
    except TimeoutError:
        verdict = "temperror"
    except dkim.ValidationError as error:
        verdict = "fail" if str(error).startswith("body hash") else "permerror"
    except Exception:
        verdict = "permerror"
    said = reader.signature_fields
    return Signature(_word(said.get(b"d", b"")), _word(said.get(b"s", b"")), verdict)


def _arc(data: bytes, texts: TextLookup) -> str:
    def key(name: bytes, timeout: float = 0) -> bytes | None:
        return _text(texts, name, timeout)

    try:
        verdict, _, _ = dkim.ARC(data, logger=_SILENT).verify(dnsfunc=key)
    except TimeoutError:
        return "temperror"
    except Exception:
        return "fail"
    # None: the chain says of itself that it was broken.
    return verdict.decode() if verdict is not None else "fail"


def _text(texts: TextLookup, name: bytes, _timeout: float) -> bytes | None:
    """As dkimpy asks for a record."""
    found = texts(name.decode("ascii", "replace").rstrip("."))
    return found[0].encode() if found else None


def _dmarc(mail: Entity, passing: Sequence[str], texts: TextLookup) -> str:
    """RFC 7489 6.6, by DKIM alone. passing: domains of good signatures, lower case."""
    named = getaddresses([str(one) for one in mail.fields.get_all("from", [])])
    domains = {address.rpartition("@")[2].lower() for _, address in named}
    if len(domains) != 1 or "" in domains:
        return "permerror"  # RFC 7489 6.6.1: what has several, or none, is nobody's
    domain = domains.pop()

    def record(name: str) -> str | None:
        # RFC 7489 6.6.3: what is no DMARC record is passed over, and of several none counts.
        found = [one for one in texts(name) if one.startswith("v=DMARC1")]
        return found[0] if len(found) == 1 else None

    try:
        policy = lookup_receiver_record(domain, record) or lookup_receiver_record(
            organisation(domain), record
        )
    except TimeoutError:
        return "temperror"
    except (DMARCException, ValueError, LookupError):
        return "permerror"
    if not policy.get("p"):
        return "none"
    strict = policy.get("adkim") == "s"
    aligned = (
        domain in passing if strict else organisation(domain) in map(organisation, passing)
    )  # fmt: skip
    return "pass" if aligned else "unaligned"


def organisation(domain: str) -> str:
    """The domain that was registered: one label more than the public suffix (RFC 7489 3.2)."""
    # Not get_public_suffix: for a top level that its list does not have it gives that alone.
    suffix = _suffixes().get_tld(domain) or ""
    return ".".join(domain.split(".")[-suffix.count(".") - 2 :])


@cache
def _suffixes() -> Any:
    # authheaders reads its list anew for each question, at 40 ms.
    with files("authheaders").joinpath("public_suffix_list.txt").open(encoding="utf-8") as lines:
        return PublicSuffixList(lines)


def told(mail: Entity, server: str) -> Origin:
    """What a front server has found: its topmost Authentication-Results field (RFC 8601).

    server: its authserv-id. Only to be asked where all mail comes through that server, which takes
    such fields of others away (RFC 8601 5).
    """
    for value in mail.fields.get_all("authentication-results", [])[:MOST_SIGNATURES]:
        found = _results(str(value)[:_MOST_FIELD])
        if found is not None and _word(found.authserv_id) == server:
            return _told(found.results, server)
    return Origin(by=server, fault="the front server says nothing")


def _results(value: str) -> Any:
    """A parsed Authentication-Results field; None where it can't be read."""
    try:
        return authres.AuthenticationResultsHeader.parse_value(value)
    except Exception:  # several kinds, and none says more
        return None


def _told(results: Iterable[Any], server: str) -> Origin:
    signatures, said = [], {"dmarc": "", "arc": "none"}
    for one in results:
        if one.method == "dkim":
            by_name = {each.name: each.value for each in one.properties}
            said_of = (by_name.get("d"), by_name.get("s"), one.result)
            signatures.append(Signature(*map(_word, said_of)))
        elif one.method in said:
            said[one.method] = _word(one.result)
    return Origin(tuple(signatures[:MOST_SIGNATURES]), said["dmarc"], said["arc"], by=server)


def _word(value: object) -> str:
    """A domain, selector or result that a stranger wrote, to be kept and shown."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return re.sub(r"[^a-z0-9._-]", "?", text.strip().lower()[:253])
