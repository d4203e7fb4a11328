"""The one way of a mail: opened once, judged once, kept in one transaction, and then answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.administration import certificates
from gateway.app import App
from gateway.bounces import counting, standing
from gateway.bounces import receiving as bounces
from gateway.bounces.receiving import Returned
from gateway.command import applying, receiving
from gateway.errors import Reply
from gateway.library import receiving as documents
from gateway.message.envelope import Envelope
from gateway.posting import directory, pipeline
from gateway.posting.directory import Service
from gateway.posting.pipeline import ACCEPTED, Judged, Settled
from gateway.store import clock
from gateway.store.actor import GATEWAY, actor_of
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.posting import Standing
from gateway.tracing import about

Destination = MailingList | Service | Returned


@dataclass(frozen=True, slots=True)
class Decision:
    """replies: one a recipient, in their order. by_member: whether its author is known."""

    replies: tuple[Reply, ...]
    by_member: bool


def submit(app: App, envelope: Envelope, limit: int) -> tuple[Reply, ...] | None:
    """The replies of a decision."""
    decision = decide(app, envelope, limit)
    return None if decision is None else decision.replies


def decide(app: App, envelope: Envelope, limit: int) -> Decision | None:
    """Judge a mail and keep what it leads to.

    limit: bytes that anything in the mail may inflate to. None where that is less than the settings
    allow and the mail needs more: nothing was kept then, and it is to be submitted with more.
    Returns after the commit. Raises Unavailable where the fault is ours: then nothing was kept, and
    the sender's server tries again.
    """
    with about(envelope.token):
        returned = bounces.read(app, envelope)
        judged = pipeline.judge(app, envelope, limit)
        if judged is None:
            return None
        try:
            replies = _keep_all(app, envelope, judged, returned)
        except IntegrityError:
            # The same mail was submitted twice at once, and the other one was first: it is known.
            replies = _keep_all(app, envelope, judged, returned)
        return Decision(replies, judged.author is not None)


def _keep_all(
    app: App, envelope: Envelope, judged: Judged, returned: Mapping[str, Returned]
) -> tuple[Reply, ...]:
    settled = Settled()
    replies: dict[object, Reply] = {}
    with app.database.transaction() as session:
        clock.check(session)
        counting.reserve(session, [one.entry_id for one in returned.values() if one.failure])
        named = [returned.get(one) or destination(session, app, one) for one in envelope.recipients]
        _update_certificates(session, app, judged, named)
        _hear(session, app, judged)
        for one in named:
            key = one.id if isinstance(one, MailingList) else one
            if key not in replies:
                replies[key] = _taken(session, app, judged, one, settled)
        pipeline.tell_of_refusals(session, app, judged, settled)
    return tuple(replies[one.id if isinstance(one, MailingList) else one] for one in named)


def _update_certificates(
    session: Session, app: App, judged: Judged, named: Sequence[Destination | None]
) -> None:
    """Keep what the verified author's mail adds to their certificate, whatever becomes of the mail;
    and a revocation by whomever, which only the owner can have made, where the gateway itself is
    written to."""
    author = judged.author
    if author is not None and author.update is not None:
        member = session.get_one(Member, author.member_id)
        certificates.update(session, app, member, author.update.after, actor_of(member))
    if any(isinstance(one, Service) for one in named):
        for one in judged.revocations:
            member = session.get_one(Member, one.member_id)
            certificates.update(session, app, member, one.after, GATEWAY)


def _hear(session: Session, app: App, judged: Judged) -> None:
    """Whoever signs a mail is there, though mails to them may have come back."""
    if judged.author is not None and judged.author.standing is Standing.ACTIVE:
        standing.heard(session, app, session.get_one(Member, judged.author.member_id))


def destination(session: Session, app: App, address: str) -> MailingList | Service | None:
    """The list, not closed, or the service at an address; None where there is nothing."""
    return directory.service(app, address) or directory.open_list(session, app, address)


def _taken(
    session: Session,
    app: App,
    judged: Judged,
    destination: Destination | None,
    settled: Settled,
) -> Reply:
    """What a destination makes of the mail: the door's reply."""
    match destination:
        case MailingList():
            return pipeline.settle(session, app, judged, destination, settled)
        case Returned():
            bounces.receive(session, app, destination)
            return ACCEPTED
        case Service.COMMANDS:
            return receiving.receive(session, app, judged)
        case Service.APPLICATIONS:
            return applying.receive(session, app, judged)
        case Service.LIBRARY:
            return documents.receive(session, app, judged)
        case _:
            return ACCEPTED if judged.robot else directory.UNKNOWN
