"""Deciding about held postings. What is approved goes the way that it would have gone."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.message.marking import Marking, of_label
from gateway.posting import moderators, notice, pipeline
from gateway.store import hold, ledger
from gateway.store.actor import Actor, actor_of
from gateway.store.hold import Approval, Decision, Hold
from gateway.store.mailing_list import Audience, MailingList, Trust
from gateway.store.member import Member, State
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Posting


def decide(
    session: Session, app: App, found: Hold, decision: Decision, by: Actor, reason: str = ""
) -> bool:
    """Approve, reject or discard a hold whose row is locked, in the caller's transaction. Returns
    False where it was approved and another moderator must approve it too.

    An author is told of an approval and of a rejection; a discarded posting's author is not: it is
    for what is not worth an answer. The moderators learn what another one did. Raises UsageError
    where the hold is decided, and where this approval can't be given.
    """
    hold.check_open(found)
    shown = by.shown
    if decision is Decision.APPROVED:
        _check_distributable(found)
        _check_not_own(session, found, by)
        if not _approved_by_enough(session, app, found, by):
            notice.approval_needed(session, app, found, by)
            return False
        names = [actor_of(one).shown for one in moderators.approvers(session, found)]
        shown = by.shown if by.member_id is None else ", ".join(names)
    now = app.clock()
    hold.decide(session, found, decision, shown, now)
    copies = 0
    if decision is Decision.APPROVED:
        copies = pipeline.distribute(session, app, found.posting, found.mailing_list, now)
    ledger.enter(
        session,
        now,
        str(decision),
        hold=found.label,
        posting=found.posting.label,
        list=found.mailing_list.local_part,
        by=by.ledger,
        copies=copies,
    )
    if decision is not Decision.DISCARDED:
        notice.decided(session, app, found, reason)
    notice.decided_by_other(session, app, found, by, reason)
    return True


def mark(session: Session, app: App, posting: Posting, new: Marking, by: Actor) -> None:
    """Give a posting another marking: of a moderator a stricter one, of its author any that is not
    laxer than what it answers. Copies that are not written yet have it; a laxer one is to be
    approved anew.

    Raises UsageError with what stands against it.
    """
    old, own = of_label(posting.marking), by.member_id == posting.author_id
    if posting.withdrawn_at is not None:
        raise UsageError("%(label)s is withdrawn", label=posting.label)
    if new is Marking.RED:
        raise UsageError("TLP:RED never goes to a list")
    if new is old:
        raise UsageError("%(label)s is %(marking)s already", label=posting.label, marking=old.label)
    if new < old and not own:
        raise UsageError("only its author may make the marking of %(label)s laxer",
                         label=posting.label)  # fmt: skip
    thread = pipeline.thread_marking(session, posting.thread_id, before=posting.id)
    if new < min(thread, old):
        raise UsageError(
            "the thread of %(label)s is %(marking)s", label=posting.label, marking=thread.label
        )
    posting.marking = new.label
    if new < old:  # Whoever approved it did not approve of more readers.
        hold.take_back_approvals(session, posting.id)
    if new is Marking.AMBER_STRICT:
        # It is in no digest.
        session.execute(
            update(OutboxEntry)
            .where(
                OutboxEntry.posting_id == posting.id, OutboxEntry.state == Delivery.COLLECTED
            )
            .values(state=Delivery.WAITING, next_at=app.clock())
        )  # fmt: skip
    ledger.enter(
        session, app.clock(), "marked",
        posting=posting.label, before=old.label, after=new.label, by=by.ledger,
    )  # fmt: skip
    if not own:
        notice.marked(session, app, posting, old.label, by)


def set_trust(
    session: Session, app: App, by: Actor, member: Member, one: MailingList, *, trusted: bool
) -> None:
    """Trust a member on a list, or no longer. Raises UsageError where nothing would change."""
    row = session.get(Trust, (one.id, member.id))
    address, on = member.address, one.local_part
    if trusted and row is not None:
        raise UsageError("%(address)s is trusted on %(list)s already", address=address, list=on)
    if not trusted and row is None:
        raise UsageError("%(address)s is not trusted on %(list)s", address=address, list=on)
    if row is None:
        session.add(Trust(list_id=one.id, member_id=member.id))
    else:
        session.delete(row)
    session.flush()
    event = "trusted" if trusted else "distrusted"
    ledger.enter(session, app.clock(), event, member=member.id, list=one.local_part, by=by.ledger)


def _check_distributable(found: Hold) -> None:
    one, posting = found.mailing_list, found.posting
    if one.closed_at is not None:
        raise UsageError("%(list)s is closed; reject or discard it", list=one.local_part)
    heard = (
        (State.ACTIVE, State.SUSPENDED)
        if one.audience in (Audience.ADMINISTRATORS, Audience.SUPPORT)
        else (State.ACTIVE,)
    )
    if posting.author.state not in heard:
        raise UsageError(
            "%(address)s is %(state)s; restore the member, or reject it",
            address=posting.author.address,
            state=posting.author.state,
        )
    if posting.marking == Marking.RED.label:
        raise UsageError(
            "it is marked TLP:RED, which never goes to a list; its author may write: "
            "mark %(label)s TLP:AMBER",
            label=posting.label,
        )


def _check_not_own(session: Session, found: Hold, by: Actor) -> None:
    """An author approves nothing of their own, but where nobody else is asked."""
    author = found.posting.author_id
    if by.member_id == author and author not in [
        one.id for one in moderators.asked(session, found)
    ]:
        raise UsageError(
            "you wrote %(hold)s yourself; another moderator decides about it", hold=found.label
        )


def _approved_by_enough(session: Session, app: App, found: Hold, by: Actor) -> bool:
    """Note an approval. Whether there are as many now as the list asks for; the operator's is."""
    if by.member_id is None:
        return True
    again = by.member_id in [one.member_id for one in found.approvals]
    if not again:
        found.approvals.append(Approval(hold_id=found.id, member_id=by.member_id, at=app.clock()))
        session.flush()
    if len(moderators.approvers(session, found)) >= found.mailing_list.moderators_needed:
        return True
    if again:
        raise UsageError(
            "you approved %(hold)s already; another moderator must approve it too",
            hold=found.label,
        )
    ledger.enter(
        session, app.clock(), "approval",
        hold=found.label, posting=found.posting.label, list=found.mailing_list.local_part,
        by=by.ledger,
    )  # fmt: skip
    return False
