"""What becomes of a document: approved or rejected once, and withdrawn for good."""

from __future__ import annotations

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.library import access, notices, sealing
from gateway.notices.notice import holders
from gateway.store import ledger, library, search_index
from gateway.store.actor import Actor
from gateway.store.library import INDEX, Status, Version
from gateway.store.member import Member, Role


def decide(
    session: Session, app: App, found: Version, status: Status, by: Actor, reason: str = ""
) -> None:
    """Approve or reject a version, in the caller's transaction: the first decision stands. Raises
    UsageError where there is one, and where it is not theirs to make."""
    version, label = library.locked(session, found.id), found.label
    if version.withdrawn_at is not None:
        raise UsageError("%(label)s is withdrawn", label=label)
    if version.status is Status.APPROVED:
        raise UsageError(
            "%(label)s was approved already, by %(by)s", label=label, by=version.decided_by
        )
    if version.status is Status.REJECTED:
        raise UsageError(
            "%(label)s was rejected already, by %(by)s", label=label, by=version.decided_by
        )
    asked = access.asked(session, version)
    if by.member_id is not None and by.member_id not in [one.id for one in asked]:
        if by.member_id != version.author_id:
            raise UsageError("only a librarian decides about %(label)s", label=label)
        raise UsageError("you wrote %(label)s yourself; a librarian decides about it", label=label)
    now = app.clock()
    version.status, version.decided_at, version.decided_by = status, now, by.shown
    session.flush()
    approved = status is Status.APPROVED
    event = "document-approved" if approved else "document-rejected"
    ledger.enter(
        session, now, event,
        document=label, member=version.author_id, by=by.ledger,
    )  # fmt: skip
    notices.decided(session, app, version, by, asked, reason)


def withdraw(session: Session, app: App, found: Version, by: Actor) -> None:
    """Erase what a version says and has; that it was there stays. Raises UsageError where it was
    withdrawn before."""
    version = library.locked(session, found.id)
    if version.withdrawn_at is not None:
        raise UsageError(
            "%(label)s was withdrawn already, on %(date)s",
            label=version.label,
            date=f"{version.withdrawn_at:%Y-%m-%d}",
        )
    now, title = app.clock(), sealing.listed(app.vault, version).title
    version.form = version.submission = version.details = version.certificate = b""
    version.withdrawn_at = now
    search_index.remove(session, INDEX, version.id)
    version.indexed_at = None  # its index is still to be purged
    session.flush()
    ledger.enter(
        session, now, "document-withdrawn",
        document=version.label, member=version.author_id, by=by.ledger,
    )  # fmt: skip
    if by.member_id != version.author_id:
        notices.withdrawn(session, app, version, title)


def may_withdraw(session: Session, member: Member, version: Version) -> bool:
    """Its author; librarians; where there is none, administrators."""
    if member.id == version.author_id or member.has_role(Role.LIBRARIAN):
        return True
    return member.has_role(Role.ADMINISTRATOR) and not holders(session, Role.LIBRARIAN)
