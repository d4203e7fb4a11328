"""Mails to one of the gateway's own services: whether what they ask may be done at all."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import Reply
from gateway.posting import directory
from gateway.posting.author import Author
from gateway.posting.directory import Service
from gateway.posting.opening import Opening
from gateway.posting.pipeline import Judged
from gateway.posting.policy import ENCRYPTION_NEEDED, NO_SIGNATURE, NOT_READ
from gateway.store import mailing_list
from gateway.store.member import Member, State
from gateway.store.posting import Standing

FOR_ANOTHER = Reply(550, "5.7.1", "This mail was signed for or encrypted to another address")


def refusal(
    session: Session, app: App, judged: Judged, to: Service, too_old: Reply, *, plain: bool = False
) -> tuple[str, Reply] | None:
    """(rule, reply) where a mail is no active member's own, meant for this service and new.

    too_old: what is answered to a mail that was signed too long ago. plain: whether it may come
    without encryption.
    """
    opening, author = judged.opening, judged.author
    if judged.malformed or opening is None:
        return "malformed", NOT_READ
    if not opening.encrypted and not plain:
        return "not-encrypted", ENCRYPTION_NEEDED
    member = session.get(Member, author.member_id) if author else None
    if (
        author is None
        or member is None
        or member.state is not State.ACTIVE
        or author.standing is not Standing.ACTIVE
    ):
        return "no-good-signature", NO_SIGNATURE
    if _is_for_another(session, app, opening, author, to):
        return "for-another-list", FOR_ANOTHER
    if is_too_old(app, author.signed_at):
        return "signature-age", too_old
    return None


def is_too_old(app: App, signed_at: datetime) -> bool:
    """Whether a mail could have been taken before, without that being known still."""
    window = timedelta(hours=app.config.policy.command_hours)
    return app.clock() - signed_at > window or app.is_from_before_restore(signed_at)


def names(app: App, addressed: tuple[str, ...], service: Service) -> bool:
    """Whether one of these addresses is the service's."""
    return any(directory.service(app, one) is service for one in addressed)


def _is_for_another(
    session: Session, app: App, opening: Opening, author: Author, to: Service
) -> bool:
    """Whether what its carrier can't change names somebody else: then nothing is done, whatever its
    text looks like."""
    ours = mailing_list.service_key_ids(session)
    # A hidden recipient ("") may be us: gpg-agent found a key of ours for it.
    if opening.encrypted and not (ours | {""}) & set(opening.encrypted_to):
        return True
    if author.intended and not ours & set(author.intended):
        return True
    addressed = opening.protected.recipients if opening.protected else ()
    return bool(addressed) and not names(app, addressed, to)
