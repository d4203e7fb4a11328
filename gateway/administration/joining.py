"""How people join, and how a member goes on with another certificate: who may say what, and what
follows. The certificate itself is proved in `proving`."""

from __future__ import annotations

import re
from datetime import timedelta

from sqlalchemy.orm import Session

from gateway.administration import people, proving
from gateway.administration.people import Particulars
from gateway.app import App
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.notices.notice import Manner, holders, tell, tell_all
from gateway.store import application as applications
from gateway.store import certificate as certificates
from gateway.store import ledger, mailing_list
from gateway.store import member as members
from gateway.store.actor import Actor
from gateway.store.application import Application, Purpose, Step
from gateway.store.mailing_list import Purpose as KeyPurpose
from gateway.store.member import Member, Role, State

MOST_NOMINATIONS = 100
"""Of one contact point in a day; each is a mail to whatever address they say."""
MOST_REPLACEMENTS = 5
"""Certificates that one member may propose in a day; each is a mail to their address."""
_DAY = timedelta(days=1)
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


def nominate(
    session: Session,
    app: App,
    by: Actor,
    who: Particulars,
    *,
    fingerprint: str = "",
    certificate: Certificate | None = None,
) -> Application:
    """Invite somebody to join. fingerprint: of the only key that they may bring, "" for any.

    certificate: theirs, where it is known; then the invitation is encrypted to it, and its answer
    proves the key. Raises UsageError and BadCertificate with what is wrong.
    """
    now = app.clock()
    if not who.address.isascii():
        # Letters of other scripts look like Latin ones, and no mail server of ours takes them.
        raise UsageError("address: %(address)s is not in ASCII letters", address=who.address)
    _refuse_known(session, who.address)
    if by.member_id is not None:
        made = applications.count_since(
            session, now - _DAY, made_by=by.member_id, purpose=Purpose.JOIN
        )
        if made >= MOST_NOMINATIONS:
            raise UsageError(
                "you have nominated %(count)s people today; go on tomorrow", count=made
            )
    named = normal_fingerprint(fingerprint) if fingerprint else ""
    nominee = people.enrol(session, app, who, now)
    nominee.state = State.APPLICANT
    if certificate is not None:
        proving.check(session, app, nominee, certificate, named)
        named = certificate.fingerprint
    found = _start(session, app, nominee, Purpose.JOIN, named, by)
    if certificate is not None:
        proving.challenge(session, app, found, certificate, "invitation-encrypted")
    else:
        tell(
            session, app, nominee, "invitation", proving.unencrypted(session),
            **proving.about(found),
        )  # fmt: skip
    return found


def vouch(session: Session, app: App, by: Actor, member: Member, fingerprint: str) -> Application:
    """Say that a member who lost their key goes on with the one of this fingerprint.

    The member is asked for it; an administrator confirms. Raises UsageError.
    """
    named = normal_fingerprint(fingerprint)
    if member.state not in (State.ACTIVE, State.SUSPENDED):
        raise UsageError("%(address)s is no member's address", address=member.address)
    held = certificates.of(session, member)
    if held is not None and held.fingerprint == named:
        raise UsageError(
            "%(address)s has that key already; a new expiry is taken from any signed mail that "
            "brings the certificate along",
            address=member.address,
        )
    _supersede(session, app, member, by)
    found = _start(session, app, member, Purpose.VOUCHED, named, by)
    tell(session, app, member, "vouched", proving.unencrypted(session), **proving.about(found))
    return found


def propose(
    session: Session,
    app: App,
    member: Member,
    certificate: Certificate,
    purpose: Purpose,
    by: Actor,
    *,
    proved: bool = False,
) -> Application:
    """Start the way of a member's new certificate with a challenge to it.

    It takes the place of what the member proposed before. Proved, it replaces the old certificate:
    at once for REPLACE, by an administrator's `accept` for VOUCHED. proved: for REPLACE, that its
    key has signed already, and no challenge is needed. Raises UsageError and BadCertificate with
    what is wrong with it.
    """
    held = certificates.of(session, member)
    if held is not None and held.fingerprint == certificate.fingerprint:
        raise UsageError("that is the certificate that you have here already")
    proving.check(session, app, member, certificate)
    if purpose is Purpose.REPLACE:
        vouched = [one for one in applications.open_of(session, member.id)
                   if one.purpose is Purpose.VOUCHED]  # fmt: skip
        if vouched:
            # The old key, which signs for this one, may be in the wrong hands.
            raise UsageError(
                "a contact point says that you have lost your key and vouches for another one "
                "(%(label)s); write to environet if that is not so",
                label=vouched[0].label,
            )
        made = applications.count_since(
            session, app.clock() - _DAY, member_id=member.id, purpose=Purpose.REPLACE
        )
        if made >= MOST_REPLACEMENTS:
            raise UsageError(
                "you have sent %(count)s certificates today; go on tomorrow", count=made
            )
    _supersede(session, app, member, by)
    found = _start(session, app, member, purpose, certificate.fingerprint, by)
    if proved and purpose is Purpose.REPLACE:
        found.certificate = certificate.data
        proving.complete(session, app, found, certificate, by)
    else:
        proving.challenge(session, app, found, certificate)
    return found


def accept(session: Session, app: App, by: Actor, label: str) -> Application:
    """Make a proved certificate its officer's. Raises UsageError and BadCertificate."""
    found = _open(session, label)
    member = found.member
    if found.step is not Step.PROVED:
        raise UsageError(
            "%(label)s can't be accepted yet: %(address)s has not proved their key",
            label=found.label,
            address=member.address,
        )
    if by.member_id == member.id:
        raise UsageError("%(label)s is your own; another administrator decides", label=found.label)
    now = app.clock()
    certificate = openpgp.admit(found.certificate, now)
    found.move(Step.ACCEPTED, now)
    found.decided_by = by.shown
    ledger.enter(
        session, now, "application-accepted", application=found.label, member=member.id,
        key=certificate.fingerprint, by=by.ledger,
    )  # fmt: skip
    if found.purpose is Purpose.JOIN:
        certificates.admit(session, member, certificate, now)
        member.state, member.joined_at = State.ACTIVE, now
        topics = {one.letter: one for one in proving.open_topics(session)}
        wanted = [topics[one] for one in found.tick_off.split() if one in topics]
        members.tick_off(session, member, wanted)
        welcome(session, app, member)
    else:
        proving.replace_certificate(session, app, member, certificate, by)
    _tell_decision(session, app, found, by)
    return found


def decline(session: Session, app: App, by: Actor, label: str, reason: str = "") -> Application:
    """End an application. Its officer is told, with the reason where that can be encrypted.

    Raises UsageError.
    """
    found = _open(session, label)
    proved = found.step is Step.PROVED
    _close(session, app, found, by, "application-declined")
    if found.purpose is Purpose.JOIN:
        found.member.state = State.REMOVED
    manner = proving.encrypted(found) if proved else proving.unencrypted(session)
    tell(
        session, app, found.member, "declined", manner,
        reason=reason if proved else "", **proving.about(found),
    )  # fmt: skip
    _tell_decision(session, app, found, by, reason)
    return found


def close_moot(session: Session, app: App, found: Application, by: Actor) -> None:
    """End an application whose member was added, suspended or removed in another way meanwhile."""
    _close(session, app, found, by, "application-closed")


def welcome(session: Session, app: App, member: Member) -> None:
    """The first mail to a new member: certificates, terms, topics, how to post and to command."""
    known = mailing_list.known_to(session, member.id)
    lists = [one for one in known if one.closed_at is None]
    own = mailing_list.own_key(session, KeyPurpose.COMMAND)
    attached = [proving.attachment(one.local_part, one.key.certificate) for one in lists]
    off = {entry.list_id for entry in member.ticked_off}
    contacts = holders(session, Role.CONTACT_POINT, country=member.country)
    tell(
        session, app, member, "welcome",
        Manner(attachments=(*attached, proving.attachment("gateway", own.certificate))),
        address=member.address,
        topics=[(one.letter, one.address(app.config.domain), one.description, one.id in off)
                for one in lists],
        contacts=[one.described for one in contacts if one.id != member.id],
    )  # fmt: skip


def normal_fingerprint(text: str) -> str:
    """As people type it, with blanks and in lower case -> upper-case hex. Raises UsageError."""
    joined = re.sub(r"[\s:]", "", text).upper().removeprefix("0X")
    if not _FINGERPRINT.fullmatch(joined):
        raise UsageError(
            "fingerprint: %(text)s is none; a whole one has 40 digits from 0 to 9 and A to F, "
            "or 64",
            text=text[:100],
        )
    return joined


def _refuse_known(session: Session, address: str) -> None:
    known = members.find(session, address)
    if known is None or known.state is State.REMOVED:
        return
    if known.state is not State.APPLICANT:
        raise UsageError("%(address)s is a member already", address=known.address)
    pending = applications.open_of(session, known.id)
    if pending:
        raise UsageError(
            "%(address)s is nominated already (%(label)s)",
            address=known.address,
            label=pending[-1].label,
        )


def _start(
    session: Session, app: App, member: Member, purpose: Purpose, fingerprint: str, by: Actor
) -> Application:
    now = app.clock()
    found = Application(
        member=member,
        purpose=purpose,
        step=Step.INVITED,
        fingerprint=fingerprint,
        certificate=b"",
        made_by=None if by.member_id == member.id else by.member_id,
        made_at=now,
        changed_at=now,
    )
    session.add(found)
    session.flush()
    ledger.enter(
        session, now, "application-made", application=found.label, purpose=str(purpose),
        member=member.id, key=fingerprint, by=by.ledger,
    )  # fmt: skip
    return found


def _open(session: Session, label: str) -> Application:
    found = applications.get(session, label)
    if not found.is_open:
        accepted = N_("%(label)s was accepted already, by %(by)s")
        declined = N_("%(label)s was declined already, by %(by)s")
        raise UsageError(
            accepted if found.step is Step.ACCEPTED else declined,
            label=found.label,
            by=found.decided_by,
        )
    if not found.fits:
        raise UsageError(
            "%(label)s came to nothing: %(address)s is %(state)s",
            label=found.label,
            address=found.member.address,
            state=found.member.state,
        )
    return found


def _supersede(session: Session, app: App, member: Member, by: Actor) -> None:
    for one in applications.open_of(session, member.id):
        _close(session, app, one, by, "application-superseded")


def _close(session: Session, app: App, found: Application, by: Actor, event: str) -> None:
    found.move(Step.DECLINED, app.clock())
    found.decided_by, found.code_hash = by.shown, ""
    session.flush()
    ledger.enter(
        session, app.clock(), event, application=found.label, member=found.member_id, by=by.ledger
    )


def _tell_decision(
    session: Session, app: App, found: Application, by: Actor, reason: str = ""
) -> None:
    told = {by.member_id}
    if found.step is Step.ACCEPTED and found.purpose is not Purpose.JOIN:
        # They are told of the new key itself.
        country = found.member.country
        told |= {one.id for one in holders(session, Role.CONTACT_POINT, country=country)}
    others = [one for one in proving.concerned(session, found) if one.id not in told]
    tell_all(
        session, app, others, "application-decided",
        accepted=found.step is Step.ACCEPTED, by=by.shown, reason=reason, **proving.about(found),
    )  # fmt: skip
