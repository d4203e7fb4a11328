"""Deciding about held postings. What is approved goes the way that it would have gone."""

from __future__ import annotations

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.posting import notice
from gateway.store import hold, ledger, outbox
from gateway.store.hold import Decision, Hold
from gateway.store.member import State


def decide(
    session: Session, app: App, label: str, decision: Decision, by: str, reason: str = ""
) -> Hold:
    """Approve, reject or discard a hold, in the caller's transaction.

    An author is told of an approval and of a rejection; a discarded posting's author is not: it is
    for what is not worth an answer. Raises UsageError where the hold is unknown or decided,
    and on approving for a closed list or an author who is not active any more.
    """
    now = app.clock()
    found = hold.get(session, label)
    if decision is Decision.APPROVED:
        if found.mailing_list.closed_at is not None:
            raise UsageError(f"{found.mailing_list.local_part} is closed; reject or discard it")
        if found.posting.author.state is not State.ACTIVE:
            author = found.posting.author
            raise UsageError(f"{author.address} is {author.state}; restore the member, or reject")
    hold.decide(session, found, decision, by, now)
    copies = 0
    if decision is Decision.APPROVED:
        copies = outbox.queue_posting(session, found.posting_id, found.mailing_list, now)
    ledger.enter(
        session,
        now,
        str(decision),
        hold=found.label,
        posting=found.posting.label,
        list=found.mailing_list.local_part,
        by=by,
        copies=copies,
    )
    if decision is not Decision.DISCARDED:
        notice.decided(session, app, found.posting, found, reason)
    return found
