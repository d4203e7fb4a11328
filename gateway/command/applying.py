"""A mail to the address for applications: a certificate, or the answer to a challenge.

Its sender is nobody that we know, so whatever it is the reply is the same, and who was not
nominated gets nothing. What is believed is a signature by a certificate that is to be proved.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TypeVar

from sqlalchemy.orm import Session

from gateway.administration import proving
from gateway.administration.proving import Wishes
from gateway.app import App
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.crypto.signature import Verified, examine
from gateway.errors import BadCertificate, Malformed, Reply, UsageError
from gateway.message import entity, keydata, typed
from gateway.message.entity import Entity, crlf
from gateway.message.signed import signature_facts
from gateway.message.submission import Content
from gateway.notices.notice import Manner, tell
from gateway.posting import admission, directory
from gateway.posting.author import Author
from gateway.posting.directory import Service
from gateway.posting.opening import Opening
from gateway.posting.pipeline import ACCEPTED, Judged
from gateway.posting.policy import ENCRYPTION_NEEDED, NOT_READ
from gateway.store import application as applications
from gateway.store import command_mail, ledger, mailing_list
from gateway.store import member as members
from gateway.store.application import Application
from gateway.store.member import Member
from gateway.store.posting import Standing

_T = TypeVar("_T")

log = logging.getLogger(__name__)

MOST_BYTES = 4 * 2**20
"""Of what is signed: a certificate and some lines, which are judged inside a transaction."""
_MOST_CERTIFICATES = 3
_MOST_SIGNATURES = 4
_MOST_CODES = 20
_CODE = re.compile(r"(?<![0-9a-f])[0-9a-f]{20}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class _Signed:
    """A mail with a good signature. act: what it is known again by; intended: fingerprints that the
    signature names as recipients."""

    certificate: Certificate
    verified: Verified
    act: str
    intended: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint


def receive(session: Session, app: App, judged: Judged) -> Reply:
    """Take an application; whoever sends one gets the same reply."""
    opening = judged.opening
    if judged.robot:
        return ACCEPTED
    if judged.malformed or opening is None or judged.mail is None:
        return NOT_READ
    if not opening.encrypted:
        return ENCRYPTION_NEEDED
    try:
        rule = _take(session, app, judged, judged.mail, opening)
    except Malformed:
        rule = "malformed"
    if rule is not None:
        log.info("application: nothing done by rule %s", rule)
        ledger.enter(session, app.clock(), "refused", list=Service.APPLICATIONS, rule=rule)
    return ACCEPTED


def _take(session: Session, app: App, judged: Judged, mail: Entity, opening: Opening) -> str | None:
    """Do what a mail is for; else the rule by which nothing was done."""
    content, author, sender = opening.content, judged.author, opening.fields.sender_address
    if content is None:
        return _help(session, app, sender, "not-opened")
    if len(content.body) > MOST_BYTES:
        return _help(session, app, sender, "too-large")
    payload = entity.read(content.payload)
    challenged = applications.challenged(session, _code_hashes(app, payload))
    signed = _signed(app, content, _certificates(session, mail, payload, sender, challenged))
    if signed is not None and _is_for_another(session, app, opening, signed):
        return "for-another-list"
    if author is not None and (signed is None or signed.fingerprint == author.fingerprint):
        # A member's own key says nothing of a certificate that is to be theirs.
        return _tell_member(session, app, author, opening, challenged)
    if signed is None:
        return _help(session, app, sender, "no-good-signature", challenged)
    if admission.is_too_old(app, signed.verified.created_at):
        return _help(session, app, sender, "signature-age")
    if command_mail.is_known(session, [signed.act]):
        return "known"
    answers = opening.fields.message_id
    if challenged is not None and _is_of(challenged, signed.certificate):
        command_mail.remember(session, [signed.act], challenged.member_id, app.clock())
        proving.prove(session, app, challenged, _wishes(session, payload), answers)
        return None
    found = _application(session, signed.certificate, opening)
    if found is None:
        proving.stranger(session, app, signed.certificate)
        return None
    command_mail.remember(session, [signed.act], found.member_id, app.clock())
    proving.offer(session, app, found, signed.certificate, _wishes(session, payload), answers)
    return None


def _help(
    session: Session, app: App, sender: str, rule: str, challenged: Application | None = None
) -> str:
    """Tell who was nominated, if it seems to be their mail, what is wanted. Nothing says that it is
    theirs; but what they are told comes from us, once a day, whoever brings it about."""
    found = challenged or _only(applications.matching(session, [sender]))
    if found is not None:
        proving.help_out(session, app, found)
    return rule


def _tell_member(
    session: Session,
    app: App,
    author: Author,
    opening: Opening,
    challenged: Application | None,
) -> str:
    """A mail by a member's key: the answer to a challenge, signed with the wrong one, or astray."""
    acts = [app.vault.keyed_hash("application", one) for one in author.acts]
    if author.standing is not Standing.ACTIVE or command_mail.is_known(session, acts):
        return "known"
    command_mail.remember(session, acts, author.member_id, app.clock())
    if challenged is not None:
        proving.help_out(session, app, challenged)
    else:
        member = session.get_one(Member, author.member_id)
        manner = Manner(sender="register", answers=opening.fields.message_id)
        tell(session, app, member, "application-unneeded", manner)
    return "member"


def _certificates(
    session: Session,
    mail: Entity,
    payload: Entity,
    sender: str,
    challenged: Application | None,
) -> Iterator[bytes]:
    """Those that may have signed a mail: that of the challenge which it answers, or of who seems to
    have sent it; and those that it brings along."""
    known = [challenged] if challenged else applications.matching(session, [sender])
    yield from (one.certificate for one in known if one.certificate)
    yield from keydata.offered(mail, payload)[:_MOST_CERTIFICATES]


def _signed(app: App, content: Content, certificates: Iterable[bytes]) -> _Signed | None:
    """Which certificate's key signed. One that has expired may have, to be told what is wrong."""
    now, max_future = app.clock(), timedelta(minutes=app.config.policy.future_minutes)
    for data in certificates:
        try:
            certificate = openpgp.read(data)
        except BadCertificate as error:
            log.info("application: a certificate is not read: %s", error)
            continue
        for packet in content.signatures[:_MOST_SIGNATURES]:
            verdict = examine(
                content.body, packet, [certificate], now, max_future, expired_too=True
            )
            if isinstance(verdict, Verified):
                facts = signature_facts(packet)
                body = sha256(crlf(content.body)).hexdigest()
                act = app.vault.keyed_hash("application", f"{facts.digest} {body}")
                return _Signed(certificate, verdict, act, facts.intended_recipients)
            log.info("application: %s", verdict)
    return None


def _is_for_another(session: Session, app: App, opening: Opening, signed: _Signed) -> bool:
    """Whether what its carrier can't change names somebody else."""
    ours = mailing_list.service_key_ids(session)
    # A mail may hide whom it is encrypted to: that says nothing.
    encrypted_to = {one for one in opening.encrypted_to if one}
    for named in (encrypted_to, set(signed.intended)):
        if named and not ours & named:
            return True
    addressed = opening.protected.recipients if opening.protected else ()
    is_named = any(directory.service(app, one) is Service.APPLICATIONS for one in addressed)
    return bool(addressed) and not is_named


def _application(
    session: Session, certificate: Certificate, opening: Opening
) -> Application | None:
    """The one that a certificate is for: by the fingerprint that was named for it, else by the
    signed From, else by its user IDs. None where that leaves several, or none."""
    addresses = proving.addresses_of(certificate)
    sender = opening.protected.sender_address if opening.protected else ""
    found = applications.matching(session, {*addresses, sender}, certificate.fingerprint)
    named = [one for one in found if one.fingerprint == certificate.fingerprint]
    from_sender = [one for one in found if one.member.address == sender]
    return _only(named) or _only(from_sender) or _only(found)


def _is_of(found: Application, certificate: Certificate) -> bool:
    return openpgp.read(found.certificate).fingerprint == certificate.fingerprint


def _wishes(session: Session, payload: Entity) -> Wishes:
    """The lines "tick off B E" and "language fr"; nothing else in such a mail is a command."""
    topics = {name: one.letter for one in proving.open_topics(session)
              for name in (one.letter.casefold(), one.local_part)}  # fmt: skip
    letters: list[str] = []
    languages = ""
    for line in typed.typed_lines(payload):
        words = re.sub(r"[,;:.!]", " ", line.text.casefold()).split()
        if words[:2] == ["tick", "off"]:
            letters += [topics[one] for one in words[2:] if one in topics]
        elif words[:1] in (["language"], ["languages"]):
            with suppress(UsageError):
                languages = members.checked_languages(" ".join(words[1:]))
    return Wishes(tuple(dict.fromkeys(letters)), languages)


def _code_hashes(app: App, payload: Entity) -> list[str]:
    codes = dict.fromkeys(_CODE.findall(typed.quoted_too(payload).lower()))
    return [proving.code_hash(app, one) for one in list(codes)[:_MOST_CODES]]


def _only(found: Sequence[_T]) -> _T | None:
    return found[0] if len(found) == 1 else None
