"""A certificate that somebody brings: whether it may be theirs, and the proof that its key is.

A secret is sent to the address, encrypted to the certificate; whoever sends it back under that
certificate's signature reads the address's mail and has the key. What that is worth is then for an
administrator to say, or was said by the signature of the old key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from gateway.administration.certificates import resume
from gateway.app import App
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.errors import BadCertificate, UsageError
from gateway.message.address import normalise
from gateway.message.armor import armor
from gateway.message.thread import plain
from gateway.notices.language import language
from gateway.notices.links import mailto
from gateway.notices.notice import Attachment, Manner, holders, tell, tell_all
from gateway.store import application as applications
from gateway.store import certificate as certificates
from gateway.store import ledger, mailing_list
from gateway.store import member as members
from gateway.store.actor import GATEWAY, Actor
from gateway.store.application import Application, Step
from gateway.store.application import Purpose as Of
from gateway.store.mailing_list import MailingList, Purpose
from gateway.store.member import Member, Role, State

MOST_CHALLENGES = 5
"""Of one application: its officer's mailbox is not to be filled by whoever knows the address."""
MOST_STRANGERS = 10
"""Of whom administrators are told in a day; the others are in the ledger."""
_DAY = timedelta(days=1)
_CODE_DIGITS = 20
_MOST_USER_IDS = 10
_MOST_SHOWN = 200
_KIND = "PUBLIC KEY BLOCK"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an officer wrote beside the certificate. tick_off: letters of topics; languages: ISO
    639-1, blanks between, "" where none was named."""

    tick_off: tuple[str, ...] = ()
    languages: str = ""


def addresses_of(certificate: Certificate) -> frozenset[str]:
    """The normal addresses that a certificate's user IDs have, one of each (RFC 9580 5.11)."""
    found = set()
    for user_id in certificate.user_ids:
        _, bracket, last = user_id.rpartition("<")
        address = normalise(last.removesuffix(">") if bracket and last.endswith(">") else user_id)
        if address is not None:
            found.add(address)
    return frozenset(found)


def shown_user_ids(certificate: Certificate) -> list[str]:
    """Its user IDs, each one line that is what it looks like."""
    return [plain(one)[:_MOST_SHOWN] for one in certificate.user_ids[:_MOST_USER_IDS]]


def code_hash(app: App, code: str) -> str:
    return app.vault.keyed_hash("challenge", code)


def check(
    session: Session, app: App, member: Member, certificate: Certificate, fingerprint: str = ""
) -> None:
    """Whether a certificate may become a member's. fingerprint: of the only one that may, if any.

    Raises UsageError or BadCertificate with what is wrong with it.
    """
    if fingerprint and certificate.fingerprint != fingerprint:
        raise UsageError(
            "the certificate's fingerprint is %(found)s, and not %(named)s as was said",
            found=certificate.fingerprint,
            named=fingerprint,
        )
    if faults := openpgp.admission_faults(certificate, app.clock()):
        raise BadCertificate(" ".join(faults))
    if member.address not in addresses_of(certificate):
        raise UsageError(
            "the certificate has no user ID with the address %(address)s", address=member.address
        )
    if certificates.owner(session, certificate, but=member.id) is not None:
        raise UsageError("a key of the certificate is another member's already")


def challenge(
    session: Session,
    app: App,
    found: Application,
    certificate: Certificate,
    template: str = "challenge",
    answers: str = "",
) -> None:
    """Send a secret, and wait for it to come back.

    It is the same in each challenge to one certificate, so that it does not matter which of them
    is answered.
    """
    now = app.clock()
    told = f"{found.label} {certificate.fingerprint}"
    code = app.vault.keyed_hash("challenge-code", told)[:_CODE_DIGITS]
    found.certificate = certificate.data
    found.code_hash = code_hash(app, code)
    found.challenges += 1
    found.move(Step.CHALLENGED, now)
    session.flush()
    ledger.enter(
        session, now, "challenged",
        application=found.label, member=found.member_id, key=certificate.fingerprint,
    )  # fmt: skip
    tell(
        session, app, found.member, template, encrypted(found, answers),
        code=code, topics=open_topics(session), **about(found),
    )  # fmt: skip


def offer(
    session: Session,
    app: App,
    found: Application,
    certificate: Certificate,
    wishes: Wishes,
    answers: str,
) -> None:
    """A certificate under its own good signature, brought for an application.

    answers: Message-ID of the mail that brought it.
    """
    try:
        check(session, app, found.member, certificate, found.fingerprint)
    except (UsageError, BadCertificate) as error:
        report(session, app, found, error)
        help_out(session, app, found)
        return
    proved = found.step is Step.PROVED
    if proved and openpgp.read(found.certificate).fingerprint != certificate.fingerprint:
        # Or anybody who knows the address could take the proved one's place, or undo its proof.
        another = UsageError(
            "somebody sent another certificate for this application, %(fingerprint)s; it was not "
            "taken, because this one is proved. If it is the officer's, decline the application "
            "and nominate them anew with that fingerprint",
            fingerprint=certificate.fingerprint,
        )
        report(session, app, found, another)
        return
    _take(session, found, wishes)
    if proved:
        _tell_proved(session, app, found, answers)
    elif found.challenges >= MOST_CHALLENGES:
        too_many = UsageError(
            "%(count)s challenges were sent and none was answered, so no more are sent. Talk to "
            "the officer; decline the application, and nominate them anew with the fingerprint "
            "of their key",
            count=found.challenges,
        )
        report(session, app, found, too_many)
    else:
        challenge(session, app, found, certificate, answers=answers)


def prove(session: Session, app: App, found: Application, wishes: Wishes, answers: str) -> None:
    """The secret came back under the certificate's signature."""
    now = app.clock()
    certificate = openpgp.read(found.certificate)
    try:
        check(session, app, found.member, certificate, found.fingerprint)
        _check_old(session, found)
    except (UsageError, BadCertificate) as error:
        report(session, app, found, error)
        return
    found.code_hash = ""
    ledger.enter(
        session, now, "proved",
        application=found.label, member=found.member_id, key=certificate.fingerprint,
    )  # fmt: skip
    if found.purpose is Of.REPLACE:
        complete(session, app, found, certificate, GATEWAY)
        return
    found.move(Step.PROVED, now)
    _take(session, found, wishes)
    _tell_proved(session, app, found, answers)
    lines = {"accept": f"accept {found.label}", "decline": f"decline {found.label} "}
    links = {name: mailto(f"gateway@{app.config.domain}", one, one) for name, one in lines.items()}
    for one in concerned(session, found):
        tell(
            session, app, one, "application-to-decide",
            decides=one.has_role(Role.ADMINISTRATOR), links=links, **about(found),
        )  # fmt: skip


def _check_old(session: Session, found: Application) -> None:
    """Whether the old key's word still counts. Raises UsageError."""
    held = certificates.of(session, found.member)
    if found.purpose is Of.REPLACE and (held is None or held.revoked_at is not None):
        raise UsageError(
            "the old key, which signed for this one, was revoked since; vouch for the new one if "
            "it is theirs"
        )


def complete(
    session: Session, app: App, found: Application, certificate: Certificate, by: Actor
) -> None:
    """Replace a member's certificate by the proved one that their old key signed for."""
    found.move(Step.ACCEPTED, app.clock())
    found.decided_by = by.shown
    replace_certificate(session, app, found.member, certificate, by)


def replace_certificate(
    session: Session, app: App, member: Member, certificate: Certificate, by: Actor
) -> None:
    """Give a member the certificate that they go on with; tell them and their contact points.

    Raises UsageError where a key of it is another member's.
    """
    now = app.clock()
    held = certificates.of(session, member)
    old = held.fingerprint if held else ""
    certificates.replace(session, member, certificate, now)
    resume(session, app, member)
    ledger.enter(
        session, now, "key-replaced",
        member=member.id, key=certificate.fingerprint, old=old, by=by.ledger,
    )  # fmt: skip
    values: dict[str, Any] = {
        "fingerprint": certificate.fingerprint,
        "old": old,
        "who": member.described,
    }
    tell(session, app, member, "certificate-replaced", Manner(regardless=True), **values)
    others = holders(session, Role.CONTACT_POINT, country=member.country)
    tell_all(
        session, app, [one for one in others if one.id != member.id],
        "certificate-replaced-of", address=member.address, **values,
    )  # fmt: skip


def help_out(session: Session, app: App, found: Application) -> None:
    """Tell an officer that a mail of theirs could not be used, and what is wanted; once a day.

    Not encrypted, as there is nothing to encrypt to, so it does not say what was wrong.
    """
    now = app.clock()
    if found.helped_at is not None and found.helped_at > now - _DAY:
        return
    found.helped_at = now
    tell(
        session, app, found.member, "application-help", unencrypted(session),
        **about(found),
    )  # fmt: skip


def report(
    session: Session, app: App, found: Application, error: UsageError | BadCertificate
) -> None:
    """Tell the nominator and the administrators of something amiss; once a day."""
    now = app.clock()
    ledger.enter(session, now, "application-amiss", application=found.label)
    if found.reported_at is not None and found.reported_at > now - _DAY:
        return
    found.reported_at = now
    for one in concerned(session, found):
        say = language(one.language).say
        what = error.told(say) if isinstance(error, UsageError) else str(error)
        tell(
            session, app, one, "application-amiss", what=what.rstrip("."),
            may_end=one.has_role(Role.ADMINISTRATOR) or one.id == found.made_by, **about(found),
        )  # fmt: skip


def stranger(session: Session, app: App, certificate: Certificate) -> None:
    """Somebody applied whom nobody nominated: they get no answer, and administrators see it."""
    now = app.clock()
    ledger.enter(session, now, "applied-uninvited", key=certificate.fingerprint)
    if not applications.note_stranger(
        session, certificate.fingerprint, now, now - _DAY, MOST_STRANGERS
    ):
        return
    owners = [members.find(session, one) for one in sorted(addresses_of(certificate))]
    tell_all(
        session, app, holders(session, Role.ADMINISTRATOR), "application-stranger",
        user_ids=shown_user_ids(certificate), fingerprint=certificate.fingerprint,
        known=[one.described for one in owners if one and one.state is not State.APPLICANT],
        most=MOST_STRANGERS,
    )  # fmt: skip


def about(found: Application) -> dict[str, Any]:
    """What notices say of an application."""
    certificate = openpgp.read(found.certificate) if found.certificate else None
    return {
        "label": found.label,
        "purpose": str(found.purpose),
        "who": found.member.described,
        "address": found.member.address,
        "fingerprint": certificate.fingerprint if certificate else found.fingerprint,
        "user_ids": shown_user_ids(certificate) if certificate else [],
        "nominator": found.nominator.described if found.nominator else "",
        "by_contact_point": is_by_contact_point(found),
        "off": found.tick_off.split(),
    }


def is_by_contact_point(found: Application) -> bool:
    return found.nominator is not None and found.nominator.has_role(Role.CONTACT_POINT)


def open_topics(session: Session) -> list[MailingList]:
    """What every member gets who does not tick it off."""
    return [
        one
        for one in mailing_list.all_lists(session)
        if one.closed_at is None and not one.by_invitation
    ]


def concerned(session: Session, found: Application) -> list[Member]:
    """Who is told of an application: the administrators, and who nominated."""
    nominator = found.nominator
    told = holders(session, Role.ADMINISTRATOR)
    if nominator is not None and nominator.state is State.ACTIVE and nominator not in told:
        told.append(nominator)
    return told


def encrypted(found: Application, answers: str = "") -> Manner:
    """A mail to who brought a certificate, encrypted to that, which is not theirs yet."""
    certificate = openpgp.strip(openpgp.read(found.certificate))
    return Manner(sender="register", answers=answers, regardless=True, certificate=certificate)


def unencrypted(session: Session) -> Manner:
    """A mail to who has no certificate that serves, with the one that the answer is for."""
    key = mailing_list.own_key(session, Purpose.COMMAND)
    attached = (attachment("gateway", key.certificate),)
    return Manner(sender="register", plain=True, regardless=True, attachments=attached)


def attachment(name: str, certificate: bytes) -> Attachment:
    return Attachment(f"{name}.asc", "application/pgp-keys", armor(certificate, _KIND))


def _take(session: Session, found: Application, wishes: Wishes) -> None:
    """Note what an applicant wishes; a member has commands for it."""
    if found.purpose is Of.JOIN:
        known = {one.letter for one in open_topics(session)}
        wanted = [*found.tick_off.split(), *(one for one in wishes.tick_off if one in known)]
        found.tick_off = " ".join(dict.fromkeys(wanted))
        found.member.languages = wishes.languages or found.member.languages
        session.flush()


def _tell_proved(session: Session, app: App, found: Application, answers: str) -> None:
    tell(
        session, app, found.member, "application-proved", encrypted(found, answers), **about(found)
    )
