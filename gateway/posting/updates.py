"""What a mail brings along for members' certificates: new dates, new subkeys, revocations.

Only what the owner of a certificate signed is ever merged into it, so what is found here is true
whoever sent it. That the sender may have it kept is for others to say.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1, sha256

from sqlalchemy.orm import Session

from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.crypto.certificate_update import Change, changes
from gateway.errors import BadCertificate, Malformed
from gateway.message import entity, keydata
from gateway.message.entity import Entity
from gateway.message.packet import PUBLIC_KEY, body, packets
from gateway.message.signed import signature_facts
from gateway.message.submission import Content
from gateway.store import certificate as certificates
from gateway.store.member import State

MOST_MERGED = 3
"""Of one mail; merging one may take a second of work on what somebody made for it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Update:
    """A member's certificate before, as it is held, and after, with all that a mail adds to it."""

    member_id: int
    state: State
    before: Certificate
    after: Certificate

    @property
    def changes(self) -> tuple[Change, ...]:
        return changes(self.before, self.after)

    @property
    def revokes(self) -> bool:
        """Whether the whole certificate is revoked by it."""
        return self.after.revoked and not self.before.revoked

    def has(self, name: str) -> bool:
        """Whether a fingerprint or key ID is one of its keys."""
        return any(name in openpgp.names(key) for key in self.after.keys)


def offered(mail: Entity, content: Content | None) -> tuple[bytes, ...]:
    """The certificates that a mail carries. content: what is signed in it, if anything is."""
    try:
        return keydata.offered(mail, entity.read(content.payload) if content else None)
    except Malformed as error:
        log.info("certificates not looked for: %s", error)
        return ()


def brought(session: Session, found: Sequence[bytes]) -> tuple[Update, ...]:
    """What certificates add to those that active and suspended members have here, one a member."""
    updates: dict[int, Update] = {}
    merged = 0
    for data in found:
        name = _claimed(data)
        for member_id, state, kept in certificates.of_issuer(session, name) if name else ():
            if merged == MOST_MERGED:
                return tuple(updates.values())
            merged += 1
            try:
                known = updates.get(member_id)
                before = known.before if known else openpgp.read(kept)
                after = openpgp.merge(known.after if known else before, data)
            except BadCertificate as error:
                log.info("nothing taken for member %d's certificate: %s", member_id, error)
                continue
            # Nobody proves that a subkey for encryption is theirs: it could be another member's.
            if certificates.owner(session, after, but=member_id) is not None:
                log.warning("member %d's certificate has a key of another's now", member_id)
            elif after.data != before.data:
                updates[member_id] = Update(member_id, state, before, after)
    return tuple(updates.values())


def _claimed(data: bytes) -> str:
    """Of which key a certificate, or a revocation that stands alone, says that it is: fingerprint
    or key ID in upper-case hex; "" where it says nothing. No crypto."""
    try:
        first = next(packets(data), None)
        if first is None:
            return ""
        if first.tag != PUBLIC_KEY:
            facts = signature_facts(data[first.start : first.end])
            return facts.issuer_fingerprint or facts.issuer_key_id
    except Malformed:
        return ""
    content = body(data, first)
    # RFC 9580 5.5.4
    if content[:1] == b"\x06":
        return sha256(b"\x9b" + len(content).to_bytes(4, "big") + content).hexdigest().upper()
    if len(content) >= 1 << 16:
        return ""
    return sha1(b"\x99" + len(content).to_bytes(2, "big") + content).hexdigest().upper()  # noqa: S324
