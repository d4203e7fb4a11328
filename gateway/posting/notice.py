"""What an author is told of a posting: what happened, why, and what to do next."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.message.thread import MOST_SUBJECT, plain
from gateway.notices.language import N_
from gateway.notices.notice import tell
from gateway.posting import evidence
from gateway.posting.policy import Rule
from gateway.store.hold import Hold
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.posting import Posting

REASONS = {
    "malformed-marking": N_(
        "its handling marking is misspelt (write it as TLP:AMBER, in capitals)"
    ),
    "signed-for-others": N_("its signed headers name other recipients, but not the list"),
    "signature-age": N_("its signature is older than the list accepts"),
    "rate": N_("its author has sent more postings within an hour than one member may"),
    "moderated-list": N_("all postings to this list are read by a moderator first"),
    "new-member": N_("a new member's first postings are read by a moderator first"),
    "not-encrypted": N_("this list takes encrypted mail only"),
    "no-good-signature": N_("its author may not write to this list"),
    "announcement-only": N_("only its moderators write to this list"),
    "for-another-list": N_("its signed headers or its encryption name another list"),
    "malformed": N_("its header can't be read"),
    "too-large": N_("its content is too large to be sent on"),
    "replay": N_("it went to another list already, and its signed headers do not name this one"),
    "red": N_("TLP:RED is for its named readers alone and never goes to a list"),
}
"""A rule's name -> the end of the sentence "..., because ..."."""


def held(session: Session, app: App, posting: Posting, hold: Hold) -> None:
    """Tell an author that a posting waits for a moderator."""
    values = about(app, posting, hold.mailing_list)
    rule = REASONS[hold.rule]
    tell(session, app, posting.author, "held", rule=rule, hold=hold.label, **values)


def decided(session: Session, app: App, posting: Posting, hold: Hold, reason: str) -> None:
    """Tell an author what a moderator decided."""
    values = about(app, posting, hold.mailing_list)
    tell(session, app, posting.author, str(hold.decision), reason=reason, hold=hold.label, **values)


def refused_on(
    session: Session, app: App, member_id: int, mailing_list: MailingList, rule: Rule
) -> None:
    """Tell an author that one of a mail's several lists did not take it."""
    tell(
        session,
        app,
        session.get_one(Member, member_id),
        "refused",
        rule=REASONS[rule.name],
        title=mailing_list.title,
        address=mailing_list.address(app.config.domain),
    )


def about(app: App, posting: Posting, mailing_list: MailingList) -> dict[str, Any]:
    """What a notice says of a posting on a list: label, subject, title, address."""
    return {
        "label": posting.label,
        "subject": subject_of(app, posting),
        "title": mailing_list.title,
        "address": mailing_list.address(app.config.domain),
    }


def subject_of(app: App, posting: Posting) -> str:
    if posting.withdrawn_at is not None:
        return "-"
    return plain(evidence.unseal(app.vault, posting).fields.subject)[:MOST_SUBJECT] or "-"
