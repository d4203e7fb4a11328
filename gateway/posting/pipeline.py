"""A mail on a list: judged by the policy, and kept with all that follows from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.crypto import domain
from gateway.crypto.domain import Origin
from gateway.errors import Malformed, Reply, Unavailable
from gateway.message import entity, form, lookalike, marking, submission, thread
from gateway.message.entity import Entity
from gateway.message.envelope import Envelope
from gateway.message.protected import Fields
from gateway.posting import directory, evidence, loops, notice, requests, updates
from gateway.posting.author import Author, identify
from gateway.posting.evidence import Sealed
from gateway.posting.moderators import moderates
from gateway.posting.opening import Opening, inflation_limit, open_mail, payload_limit
from gateway.posting.policy import Action, Facts, Rule, decide
from gateway.posting.updates import Update
from gateway.store import (
    archive_entry,
    hold,
    ledger,
    library,
    mailing_list,
    outbox,
    own_key,
    posting,
)
from gateway.store import member as members
from gateway.store.mailing_list import Audience, MailingList, Moderation
from gateway.store.member import Member, State
from gateway.store.posting import Placement, Posting, PostingList, Standing

log = logging.getLogger(__name__)

ACCEPTED = Reply(250, "2.0.0", "Accepted")
MOST_HELD = 20
"""Postings over policy.postings_an_hour that are held; what is beyond them is refused for now."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A mail, and what is the same of it on each list. mail: None where it can't be read. author:
    None where it is nobody that we know. revocations: of members' certificates by their owners,
    whoever the author is."""

    mail: Entity | None = None
    malformed: bool = False
    robot: bool = False
    from_a_list: bool = False
    opening: Opening | None = None
    author: Author | None = None
    marking: marking.Found | None = None
    sealed: Sealed | None = None
    urgent: bool = False
    revocations: tuple[Update, ...] = ()


@dataclass(slots=True)
class Settled:
    """Gathered while a mail's lists are judged in turn."""

    refused: list[tuple[MailingList, Rule]] = field(default_factory=list)
    placed: bool = False


def judge(app: App, envelope: Envelope, limit: int) -> Judged | None:
    """All that costs time, outside any transaction: gpg, hashing, sealing.

    limit: bytes that anything in the mail may inflate to. None where that is less than the settings
    allow and the mail needs more.
    """
    try:
        mail = entity.read(envelope.data)
        if loops.is_robot(envelope, mail, app.config.domain):
            return Judged(mail, robot=True)
        from_a_list = "list-id" in mail.fields
        partly = app.config.policy.partly_signed == "signed-part"
        ours = app.keyring.algorithms()
        opening = open_mail(mail, ours, app.keyring.unwrap, limit, partly=partly)
    except Malformed as error:
        log.info("mail not read: %s", error)
        return Judged(malformed=True)
    if opening.too_large and limit < inflation_limit(app.config):
        return None
    offered = updates.offered(mail, opening.content)
    with app.database.reading() as session:
        if opening.for_others and own_key.is_any(session, opening.encrypted_to):
            raise Unavailable("a key that another machine made is missing here: copy STATE/gnupg")
        brought = updates.brought(session, offered)
        max_future = timedelta(minutes=app.config.policy.future_minutes)
        author = (
            None if opening.content is None
            else identify(session, opening.content, app.clock(), max_future, brought)
        )  # fmt: skip
        # A stranger hears what all strangers hear, whatever Message-ID they know.
        if author and opening.content and loops.is_ours(session, app, opening.content.payload):
            return Judged(mail, robot=True)
        if opening.content is None and not opening.encrypted and loops.is_bulk(mail):
            return Judged(mail, robot=True)
        names_other = author is not None and members.is_another(
            session, opening.fields.senders, author.member_id
        )
    revocations = tuple(one for one in brought if one.revokes)
    if opening.content is None or opening.source is None:
        log.info("mail not opened: %s", opening.fault)
    if opening.content is None or opening.source is None or author is None:
        return Judged(mail, from_a_list=from_a_list, opening=opening, revocations=revocations)
    # Of a member's mail alone: strangers' take no more time than they must.
    payload = entity.read(opening.content.payload)
    noted = replace(
        opening.noted,
        imitates=lookalike.attests(payload, opening.fields.subject),
        names_other=names_other,
    )
    first_lines, others = lookalike.first_lines(payload)
    block = form.of_mail(submission.first_text(opening.content.payload))
    return Judged(
        mail,
        from_a_list=from_a_list,
        opening=replace(opening, noted=noted),
        author=author,
        marking=marking.of_mail(
            opening.fields.subject, opening.fields.subject_signed, first_lines, others
        ),
        sealed=evidence.seal(
            app.vault,
            opening.source,
            opening.fields,
            opening.protected,
            author.certificate,
            envelope.token,
            _origin(app, mail),
            noted,
        ),
        urgent=block.get("urgency", "").lower() == "immediate",
        revocations=revocations,
    )


def _origin(app: App, mail: Entity) -> Origin | None:
    """What is noted of the servers that a member's mail came through. No rule asks for it."""
    if app.config.dkim.results_of:
        return domain.told(mail, app.config.dkim.results_of)
    return domain.check(mail, app.names.for_mail()) if app.config.dkim.check else None


def settle(session: Session, app: App, judged: Judged, one: MailingList, settled: Settled) -> Reply:
    """Decide for one list and write down what follows from it. Returns the door's reply."""
    now = app.clock()
    rule, earlier = decided(session, app, judged, one, now)
    author_id = judged.author.member_id if judged.author else None
    log.info("%s: %s by rule %s, member %s", one.local_part, rule.action, rule.name, author_id)
    if rule.action is Action.REFUSE:
        ledger.enter(session, now, "refused", list=one.local_part, rule=rule.name, member=author_id)
        settled.refused.append((one, rule))
        return rule.reply or directory.UNKNOWN
    if rule.action in (Action.HOLD, Action.ACCEPT):
        kept = earlier or _keep(session, app, judged, one, now)
        place(session, app, kept, one, rule, now)
        settled.placed = True
    return ACCEPTED


def decided(
    session: Session, app: App, judged: Judged, one: MailingList, now: datetime
) -> tuple[Rule, Posting | None]:
    """The rule that decides on a mail for one list, and the posting that it is already. Only
    reads."""
    earlier = _seen_before(session, app, judged)
    return decide(gather(session, app, judged, one, earlier, now)), earlier


def gather(
    session: Session,
    app: App,
    judged: Judged,
    one: MailingList,
    earlier: Posting | None,
    now: datetime,
) -> Facts:
    """What the policy needs to know of a mail on one list."""
    opening, author, policy = judged.opening, judged.author, app.config.policy
    basic = Facts(
        malformed=judged.malformed,
        robot=judged.robot,
        from_a_list=judged.from_a_list,
        encrypted=opening is not None and opening.encrypted,
        signed_only_allowed=one.signed_only,
    )
    writer = None if author is None else session.get(Member, author.member_id)
    if (
        opening is None
        or opening.content is None
        or author is None
        or judged.marking is None
        or writer is None
        or not _heard(session, one, writer, author)
    ):
        return basic
    named = directory.named_lists(
        session, app, opening.protected, author.intended, opening.encrypted_to
    )
    answered = _answered(session, app, opening, author, one)
    # A cross-posting has the marking that it was kept with, whatever its thread on the next list.
    marked = (
        marking.of_label(earlier.marking) if earlier
        else _carried(session, judged.marking, answered)
    )  # fmt: skip
    addressed = opening.protected.recipients if opening.protected else ()
    postings = 0 if earlier else posting.count_since(session, writer.id, now - timedelta(hours=1))
    return replace(
        basic,
        author_known=True,
        written_by_a_list=loops.is_of_list(judged.mail, writer.address),
        # An intended recipient that is none of our keys is another list's, wherever that is.
        names_other_list=named.another_than(one.id)
        or bool(author.intended and one.id not in named.signed),
        names_strangers_only=bool(addressed) and not named.signed,
        named_for_this_list=one.id in named.addressed,
        too_large=len(opening.content.payload) > payload_limit(app.config),
        # What was withdrawn does not come back by way of another list that it was for as well.
        seen_on_this_list=earlier is not None
        and (earlier.on(one.id) or earlier.withdrawn_at is not None),
        # The Library hands out what documents were signed as.
        seen_elsewhere=earlier is not None
        or library.is_known(session, identities(app, author, opening.protected)),
        red=judged.marking.marking is marking.Marking.RED and not judged.marking.malformed,
        malformed_marking=judged.marking.malformed,
        laxer_than_thread=answered is not None
        and marked < thread_marking(session, answered.thread_id),
        signed_before_restore=app.is_from_before_restore(author.signed_at),
        signature_age=now - author.signed_at,
        signature_window=one.signature_window(policy.signature_days),
        over_rate=postings >= policy.postings_an_hour,
        far_over_rate=postings >= policy.postings_an_hour + MOST_HELD,
        announcement_only=one.moderation is Moderation.ANNOUNCEMENT
        and not moderates(session, writer, one),
        urgent_and_trusted=judged.urgent and mailing_list.is_trusted(session, one.id, writer.id),
        list_moderated=one.moderation is Moderation.ALL,
        author_moderated=one.moderation is Moderation.NEW
        and not mailing_list.is_trusted(session, one.id, writer.id)
        and not posting.has_accepted(session, writer.id, one.id, policy.new_member_postings),
    )


def _heard(session: Session, one: MailingList, writer: Member, author: Author) -> bool:
    """Whether a list or desk takes mail from a member at all. The gateway's own desks hear whoever
    lost the use of the lists: they may need to say why."""
    if author.standing is Standing.REVOKED:
        return False
    if one.audience in (Audience.ADMINISTRATORS, Audience.SUPPORT):
        return writer.state in (State.ACTIVE, State.SUSPENDED)
    return (
        author.standing is Standing.ACTIVE
        and writer.state is State.ACTIVE
        and mailing_list.may_post(session, one.parent or one, writer.id)
    )


def place(
    session: Session, app: App, kept: Posting, one: MailingList, rule: Rule, now: datetime
) -> None:
    """Put a posting on a list: distributed, or held with a notice to its author."""
    held = rule.action is Action.HOLD
    kept.placements.append(
        PostingList(
            mailing_list=one,
            position=len(kept.placements),
            placement=Placement.HELD if held else Placement.ACCEPTED,
            rule=rule.name,
        )
    )
    session.flush()
    detail: dict[str, str | int] = {
        "posting": kept.label,
        "list": one.local_part,
        "rule": rule.name,
        "member": kept.author_id,
        "key": kept.key_fingerprint,
    }
    if held:
        waiting = hold.place(session, kept, one.id, rule.name, now)
        ledger.enter(session, now, "held", hold=waiting.label, **detail)
        notice.held(session, app, waiting)
        notice.to_decide(session, app, waiting)
        return
    copies = distribute(session, app, kept, one, now)
    ledger.enter(session, now, "accepted", copies=copies, **detail)
    if rule.shown:
        notice.shown_after(session, app, kept, one)


def distribute(session: Session, app: App, kept: Posting, one: MailingList, now: datetime) -> int:
    """Queue a posting for everybody in the list's audience, at once or when a moderator has
    approved it. How many copies."""
    requests.follow(session, app, kept, one, now)
    # Its readers at the time are those who may know of it, so it is in no digest.
    strict = kept.marking == marking.Marking.AMBER_STRICT.label
    return outbox.queue_posting(session, kept, one, now, at_once=strict or kept.urgent)


def thread_marking(session: Session, thread_id: int, before: int | None = None) -> marking.Marking:
    """The strictest marking in a thread, which the whole of it carries. before: see
    `posting.labels_in_thread`."""
    labels = posting.labels_in_thread(session, thread_id, before)
    return max(map(marking.of_label, labels), default=marking.Marking.CLEAR)


def _seen_before(session: Session, app: App, judged: Judged) -> Posting | None:
    if judged.author is None or judged.opening is None:
        return None
    return posting.seen(session, identities(app, judged.author, judged.opening.protected))


def identities(app: App, author: Author, protected: Fields | None) -> list[str]:
    """What a submission is known again by: the act of signing it, or the same content under the
    same signed Message-ID, as a program makes that signs anew for each try.

    A Message-ID that is not signed counts for nothing here: whoever carries a mail could give it
    another mail's, and have the one swallowed or the other distributed in its place.
    """
    hashes = [app.vault.keyed_hash("signature", act) for act in author.acts]
    if protected is not None and protected.message_id:
        named = f"{author.member_id} {protected.message_id} {author.body}"
        hashes.append(app.vault.keyed_hash("message", named))
    return hashes


def _thread_hash(app: App, member_id: int, message_id: str) -> str:
    """By which an author's reply to their own mail finds it: others know our Message-ID alone."""
    return app.vault.keyed_hash("message-id", f"{member_id} {message_id}")


def _answered(
    session: Session, app: App, opening: Opening, author: Author, one: MailingList
) -> Posting | None:
    """The posting on a list that a mail answers."""
    ids = opening.fields.answered
    if not ids:
        return None
    own = directory.tokens(app, ids)
    foreign = [_thread_hash(app, author.member_id, answered) for answered in ids]
    found = posting.parent(session, own, foreign, [one.id])
    if (
        found is not None
        and one.is_desk
        and not outbox.takes_part(session, one, found, author.member_id)
    ):
        # Whoever knows a Message-ID would read along: it starts a thread of its own.
        return None
    return found


def _carried(session: Session, found: marking.Found, answered: Posting | None) -> marking.Marking:
    """What a mail is marked as: its own label, or where it has none, its thread's."""
    if found.stated or answered is None:
        return found.marking
    return max(found.marking, thread_marking(session, answered.thread_id))


def _keep(session: Session, app: App, judged: Judged, one: MailingList, now: datetime) -> Posting:
    """The posting, its thread and what it will be known again by; not yet on a list."""
    opening, author, sealed = judged.opening, judged.author, judged.sealed
    if opening is None or author is None or sealed is None or judged.marking is None:
        raise AssertionError("kept a mail without a verified author")
    fields = opening.fields
    answered = _answered(session, app, opening, author, one)
    kept = Posting(
        token=sealed.token,
        author_id=author.member_id,
        thread_id=posting.thread_for(session, answered, now),
        references="" if answered is None
        else " ".join(thread.ancestors(answered.ancestors, answered.token)),
        received_at=now,
        signed_at=author.signed_at,
        key_fingerprint=author.fingerprint,
        marking=_carried(session, judged.marking, answered).label,
        urgent=judged.urgent,
        standing=author.standing,
        submission=sealed.submission,
        details=sealed.details,
        certificate=sealed.certificate,
    )  # fmt: skip
    session.add(kept)
    session.flush()
    archive_entry.note(session, kept.id)
    hashes = identities(app, author, opening.protected)
    if fields.message_id:
        hashes.append(_thread_hash(app, author.member_id, fields.message_id))
    posting.remember(session, kept, hashes)
    return kept


def tell_of_refusals(session: Session, app: App, judged: Judged, settled: Settled) -> None:
    """SMTP has one reply for all recipients: where some lists took a mail and some did not, the
    author learns of the latter by mail. Not where nothing was placed anew: else who has one mail of
    theirs could fill their mailbox with it."""
    if judged.author is not None and settled.placed:
        for one, rule in settled.refused:
            notice.refused_on(session, app, judged.author.member_id, one, rule)
