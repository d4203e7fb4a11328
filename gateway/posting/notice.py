"""What authors and moderators are told of a posting: what happened, why, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.message.thread import MOST_SUBJECT, plain
from gateway.notices.language import N_
from gateway.notices.links import mailto
from gateway.notices.notice import Manner, holders, tell, tell_all
from gateway.posting import evidence, moderators
from gateway.posting.policy import Rule
from gateway.store.actor import Actor
from gateway.store.hold import Hold
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member, Role
from gateway.store.posting import Posting

REASONS = {
    "malformed-marking": N_(
        "its handling marking is misspelt (write it as TLP:AMBER, in capitals)"
    ),
    "laxer-than-thread": N_(
        "its handling marking is laxer than that of the thread that it answers"
    ),
    "signed-for-others": N_("its signed headers name other recipients, but not the list"),
    "signed-before-restore": N_(
        "it was signed before the gateway was restored from a backup, and may have been sent out "
        "then"
    ),
    "signature-age": N_("its signature is older than the list accepts"),
    "rate": N_("its author has sent more postings within an hour than one member may"),
    "far-over-rate": N_("its author has sent more postings within an hour than one member may"),
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
MOST_LISTED = 100
"""Holds in one mail."""


def held(session: Session, app: App, hold: Hold) -> None:
    """Tell an author that a posting waits for a moderator."""
    posting = hold.posting
    # What was misspelt was read as the strictest that it could mean.
    marking = posting.marking if hold.rule == "malformed-marking" else ""
    tell(
        session, app, posting.author, "held", _manner(hold), rule=REASONS[hold.rule],
        hold=hold.label, marking=marking, **about(app, posting, hold.mailing_list),
    )  # fmt: skip


def to_decide(session: Session, app: App, hold: Hold) -> None:
    """Show a held posting to those who are asked to decide about it."""
    posting = hold.posting
    tell_all(
        session, app, moderators.asked(session, hold), "held-for-moderator",
        Manner(enclosed=(posting.id,)), rule=REASONS[hold.rule], hold=hold.label,
        needed=hold.mailing_list.moderators_needed, links=_links(app, hold),
        signed_at=posting.signed_at, marking=posting.marking, urgent=posting.urgent,
        **about(app, posting, hold.mailing_list),
    )  # fmt: skip


def shown_after(session: Session, app: App, posting: Posting, one: MailingList) -> None:
    """Show moderators a posting that went out without waiting for them."""
    tell_all(
        session, app, moderators.readers_of(session, one, posting.author_id), "shown-after",
        Manner(enclosed=(posting.id,)), author_address=posting.author.address,
        letter=one.letter, **about(app, posting, one),
    )  # fmt: skip


def approval_needed(session: Session, app: App, hold: Hold, by: Actor) -> None:
    """Tell the moderators that one approved a posting and another one must."""
    approved = {one.member_id for one in hold.approvals}
    to = [one for one in moderators.asked(session, hold) if one.id not in approved]
    tell_all(
        session, app, to, "approval-needed", by=by.shown, hold=hold.label,
        links=_links(app, hold), **about(app, hold.posting, hold.mailing_list),
    )  # fmt: skip


def decided(session: Session, app: App, hold: Hold, reason: str) -> None:
    """Tell an author what a moderator decided."""
    values = about(app, hold.posting, hold.mailing_list)
    tell(
        session, app, hold.posting.author, str(hold.decision), _manner(hold), reason=reason,
        hold=hold.label, **values,
    )  # fmt: skip


def decided_by_other(session: Session, app: App, hold: Hold, by: Actor, reason: str) -> None:
    """Tell those who were asked, but for who decided, that there is nothing left to do."""
    told = moderators.asked(session, hold)
    withdrawn = hold.posting.withdrawn_at is not None
    if hold.escalated_at is not None:
        told += holders(session, Role.ADMINISTRATOR)
    tell_all(
        session, app, [one for one in told if one.id != by.member_id], "decided-by-other",
        by=hold.decided_by, decision="withdrawn" if withdrawn else str(hold.decision),
        reason=reason, hold=hold.label, **about(app, hold.posting, hold.mailing_list),
    )  # fmt: skip


def marked(session: Session, app: App, posting: Posting, old: str, by: Actor) -> None:
    """Tell an author that a moderator made the marking of a posting stricter."""
    one = posting.placements[0].mailing_list
    tell(
        session, app, posting.author, "marked", by=by.shown, before=old, marking=posting.marking,
        **about(app, posting, one),
    )  # fmt: skip


def waiting(
    session: Session, app: App, member: Member, holds: Sequence[Hold], *, escalated: bool
) -> None:
    """Remind somebody of holds. escalated: that nobody who was asked decides them."""
    shown = [
        {"hold": one.label, "held_at": one.held_at, **about(app, one.posting, one.mailing_list)}
        for one in holds[:MOST_LISTED]
    ]
    template = "holds-escalated" if escalated else "holds-waiting"
    tell(session, app, member, template, holds=shown, more=len(holds) - len(shown))


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
    """What a notice says of a posting on a list: label, author, subject, title, address."""
    author = posting.author
    return {
        "label": posting.label,
        "author": f"{author.name} <{author.address}>, {author.organisation}, {author.country}",
        "subject": subject_of(app, posting),
        "title": mailing_list.title,
        "address": mailing_list.address(app.config.domain),
    }


def subject_of(app: App, posting: Posting) -> str:
    """In one line; "-" where there is none, or none any more."""
    if posting.withdrawn_at is not None:
        return "-"
    return plain(evidence.fields(app.vault, posting).subject)[:MOST_SUBJECT] or "-"


def command_link(app: App, line: str) -> str:
    """With which a mail program prepares a mail of one command. It stands in subject and text, as
    not all programs sign the subject."""
    return mailto(f"gateway@{app.config.domain}", line, line)


def _links(app: App, hold: Hold) -> dict[str, str]:
    label = hold.label
    return {
        "approve": command_link(app, f"approve {label}"),
        "reject": command_link(app, f"reject {label} "),
        "discard": command_link(app, f"discard {label}"),
        "show": command_link(app, f"show {label}"),
    }


def _manner(hold: Hold) -> Manner:
    """The gateway's own desks hear suspended members, who are to know what came of it."""
    return Manner(regardless=moderators.is_own_desk(hold.mailing_list))
