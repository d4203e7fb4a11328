"""The records that should stand in the DNS for the gateway's domain, and what each is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

TTL_SECONDS = 3600
POLICY_SECONDS = 604_800
"""RFC 8461 3.2: weeks are wanted, and a week is what can be waited for after a mistake."""
_STRING_BYTES = 255
"""RFC 1035 3.3: of one string; a TXT record has several."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. name: whole, without the last dot; kind: TXT, MX or CNAME; value: of TXT the
    text, of the others the host. about: what it is for. begins: what the texts at that name that
    are of its kind begin with. good: whether another text than ours does, where one may."""

    purpose: str
    name: str
    kind: str
    value: str
    about: str
    begins: str = ""
    good: Callable[[str], bool] | None = None

    @property
    def line(self) -> str:
        """As it stands in a zone file (RFC 1035 5.1)."""
        return f"{self.name}. {TTL_SECONDS} IN {self.kind} {self.data}"

    @property
    def data(self) -> str:
        if self.kind == "MX":
            return f"10 {self.value}."
        if self.kind == "CNAME":
            return f"{self.value}."
        pieces = range(0, len(self.value), _STRING_BYTES)
        return " ".join(f'"{self.value[at : at + _STRING_BYTES]}"' for at in pieces)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the records are made from. exchanges: hosts that take and send the domain's mail; web:
    host of the web archive; reports: address for other servers' reports; keys: selector and record
    of each DKIM key, none where the mail server signs."""

    domain: str
    exchanges: tuple[str, ...]
    web: str
    reports: str
    keys: tuple[tuple[str, str], ...]


def records(wanted: Wanted) -> list[Record]:
    """All of them, in the order of a zone file."""
    domain, reports = wanted.domain, wanted.reports
    return [
        *(
            Record("MX", domain, "MX", one, "which server takes the domain's mail")
            for one in wanted.exchanges
        ),
        Record(
            "SPF", domain, "TXT", "v=spf1 mx -all",
            "which servers send it (RFC 7208): those that take it, and no other",
            "v=spf1", _closed,
        ),
        *(
            Record(
                f"DKIM {selector}", f"{selector}._domainkey.{domain}", "TXT", text,
                "the key that outgoing mail is signed with (RFC 6376, RFC 8463)",
            )
            for selector, text in wanted.keys
        ),
        Record(
            "DMARC", f"_dmarc.{domain}", "TXT",
            f"v=DMARC1; p=reject; adkim=s; aspf=s; rua=mailto:{reports}",
            "what others do with mail that claims to be ours and is not (RFC 7489)",
            "v=DMARC1", lambda text: bool(re.search(r";\s*p=(reject|quarantine)\b", text)),
        ),
        Record(
            "MTA-STS", f"_mta-sts.{domain}", "TXT", f"v=STSv1; id={policy_id(wanted)}",
            "that others send to us over TLS alone (RFC 8461); its policy is a file",
            "v=STSv1", lambda text: bool(re.search(r";\s*id=\w{1,32}\b", text)),
        ),
        Record(
            "MTA-STS host", f"mta-sts.{domain}", "CNAME", wanted.web,
            f"where the policy is: {policy_url(domain)}",
        ),
        Record(
            "TLS-RPT", f"_smtp._tls.{domain}", "TXT", f"v=TLSRPTv1; rua=mailto:{reports}",
            "where others report that TLS to us failed (RFC 8460)",
            "v=TLSRPTv1", lambda text: bool(re.search(r";\s*rua=(mailto|https):", text)),
        ),
        Record(
            "WKD host", f"openpgpkey.{domain}", "CNAME", wanted.web,
            f"where mail programs look for the lists' keys: {directory_url(domain)}",
        ),
    ]  # fmt: skip


def policy(wanted: Wanted) -> str:
    """The text of the MTA-STS policy file, lines ending in CRLF (RFC 8461 3.2). It only asks for
    reports: to enforce it while the servers' certificates are not trusted would keep mail away."""
    lines = ["version: STSv1", "mode: testing"]
    lines += [f"mx: {one}" for one in wanted.exchanges]
    return "".join(f"{line}\r\n" for line in [*lines, f"max_age: {POLICY_SECONDS}"])


def policy_id(wanted: Wanted) -> str:
    """Changes with the policy (RFC 8461 3.1: up to 32 letters and digits)."""
    return sha256(policy(wanted).encode()).hexdigest()[:16]


def policy_url(domain: str) -> str:
    return f"https://mta-sts.{domain}/.well-known/mta-sts.txt"


def directory_url(domain: str) -> str:
    """Where the keys of a domain's addresses lie, each under a hash of its local part
    (draft-koch-openpgp-webkey-service 3.1)."""
    return f"https://openpgpkey.{domain}/.well-known/openpgpkey/{domain}/hu/"


def zone(wanted: Wanted) -> str:
    """All as part of a zone file, each under what it is for."""
    blocks = [f"; {one.purpose}: {one.about}\n{one.line}\n" for one in records(wanted)]
    quoted = "".join(f";   {line}\n" for line in policy(wanted).splitlines())
    blocks.append(f"; The MTA-STS policy, to be served at {policy_url(wanted.domain)}:\n{quoted}")
    return "\n".join(blocks)


def same_tags(one: str, other: str) -> bool:
    """Whether two texts say the same, whatever spaces stand between their tags."""
    return _tags(one) == _tags(other)


def _tags(text: str) -> Sequence[str]:
    return [re.sub(r"\s", "", tag) for tag in text.split(";") if tag.strip()]


def _closed(text: str) -> bool:
    """Whether an SPF record refuses or doubts all other servers."""
    return bool(re.search(r"\s(-all|~all|redirect=\S+)\s*\Z", text))
