"""A mail to the Library: kept sealed as a document that waits for a librarian, or answered with all
that is wrong with it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import Faults, Malformed, Reply
from gateway.library import checking, contents, form, notices, sealing
from gateway.library.checking import Checked
from gateway.library.sealing import Sheet
from gateway.message import entity
from gateway.message.thread import plain
from gateway.notices.language import language
from gateway.posting import admission, pipeline
from gateway.posting.author import Author
from gateway.posting.directory import Service
from gateway.posting.evidence import Sealed
from gateway.posting.opening import payload_limit
from gateway.posting.pipeline import ACCEPTED, Judged
from gateway.posting.policy import NO_SIGNATURE, NOT_READ
from gateway.store import ledger, library, posting
from gateway.store.library import Document, Status, Version
from gateway.store.member import Member

log = logging.getLogger(__name__)

TOO_OLD = Reply(550, "5.7.1", "Signed too long ago; sign the document anew and send it again")
TOO_LARGE = Reply(552, "5.3.4", "Too large to be sent on to those who ask for it")
TOO_MANY = Reply(450, "4.7.1", "Too many documents within an hour; try again later")


def receive(session: Session, app: App, judged: Judged) -> Reply:
    """Keep what is handed in, or say what is wrong with it, in the caller's transaction."""
    if judged.robot:
        return ACCEPTED
    refused, author, opening = refusal(session, app, judged), judged.author, judged.opening
    if refused is not None or author is None or opening is None or opening.content is None:
        return _refused(session, app, judged, *(refused or ("no-good-signature", NO_SIGNATURE)))
    sealed = judged.sealed
    if sealed is None or judged.marking is None:
        raise AssertionError("a verified mail without its evidence")
    try:
        payload = entity.read(opening.content.payload)
        written, files = form.read(payload), contents.files(payload)
    except Malformed:
        return _refused(session, app, judged, "malformed", NOT_READ)
    hashes = pipeline.identities(app, author, opening.protected)
    if library.is_known(session, hashes):
        log.info("library: known already, member %s", author.member_id)
        return ACCEPTED
    addressed = opening.protected.recipients if opening.protected else ()
    if not admission.names(app, addressed, Service.LIBRARY) and posting.seen(session, hashes):
        # A list's reader can have encrypted it anew; it says nothing of whom it was signed for.
        return _refused(session, app, judged, "for-another-list", admission.FOR_ANOTHER)
    now = app.clock()
    if library.count_since(session, author.member_id, now - timedelta(hours=1)) >= (
        app.config.policy.postings_an_hour
    ):
        return TOO_MANY
    library.remember(session, hashes, author.member_id, now)
    member, answered = session.get_one(Member, author.member_id), opening.fields.message_id
    try:
        checked = checking.check(session, app, member, written, judged.marking, len(files))
    except Faults as error:
        say = language(member.language).say
        faults = [one.told(say) for one in error.faults]
        ledger.enter(session, now, "document-amiss", member=member.id, faults=len(faults))
        notices.amiss(session, app, member, answered, faults)
        return ACCEPTED
    sheet = Sheet(plain(checked.title), written.description, files)
    version = _keep(session, app, author, sealed, checked, sheet, now)
    ledger.enter(
        session, now, "document-taken",
        document=version.label, member=member.id, key=author.fingerprint, files=len(files),
    )  # fmt: skip
    notices.taken(session, app, version, answered)
    notices.to_decide(session, app, version)
    return ACCEPTED


def refusal(session: Session, app: App, judged: Judged) -> tuple[str, Reply] | None:
    """(rule, reply) where a mail is not looked at as a document, whatever it says. Only reads."""
    refused = admission.refusal(session, app, judged, Service.LIBRARY, TOO_OLD)
    content = judged.opening.content if judged.opening else None
    if refused is None and content and len(content.payload) > payload_limit(app.config):
        return "too-large", TOO_LARGE
    return refused


def _refused(session: Session, app: App, judged: Judged, rule: str, reply: Reply) -> Reply:
    member_id = judged.author.member_id if judged.author else None
    log.info("library: refused by rule %s, member %s", rule, member_id)
    ledger.enter(session, app.clock(), "refused", list=Service.LIBRARY, rule=rule, member=member_id)
    return reply


def _keep(
    session: Session,
    app: App,
    author: Author,
    sealed: Sealed,
    checked: Checked,
    sheet: Sheet,
    now: datetime,
) -> Version:
    document = checked.replaced.document if checked.replaced else Document(started_at=now)
    session.add(document)
    session.flush()
    version = Version(
        document=document,
        number=library.next_number(session, document),
        token=sealed.token,
        author_id=author.member_id,
        received_at=now,
        signed_at=author.signed_at,
        key_fingerprint=author.fingerprint,
        category=checked.category,
        language=checked.language,
        marking=checked.marking.label,
        files=len(sheet.files),
        size=sum(one.size for one in sheet.files),
        until=checked.until,
        status=Status.WAITING,
        form=sealing.seal(app.vault, sealed.token, sheet),
        submission=sealed.submission,
        details=sealed.details,
        certificate=sealed.certificate,
        topics=list(checked.topics),
    )
    session.add(version)
    session.flush()
    return version
