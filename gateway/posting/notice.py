"""The gateway's own mails to a member: what happened, why, and what to do next."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.message.thread import MOST_SUBJECT, plain
from gateway.posting import evidence
from gateway.posting.policy import Rule
from gateway.resources import mail_templates
from gateway.store import outbox
from gateway.store.hold import Hold
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.outbox import Notice
from gateway.store.posting import Posting

REASONS = {
    "malformed-marking": "its handling marking is misspelt (write it as TLP:AMBER, in capitals)",
    "signed-for-others": "its signed headers name other recipients, but not the list",
    "signature-age": "its signature is older than the list accepts",
    "rate": "you have sent more postings within an hour than one member may",
    "moderated-list": "all postings to this list are read by a moderator first",
    "new-member": "a new member's first postings are read by a moderator first",
    "not-encrypted": "this list takes encrypted mail only",
    "no-good-signature": "you may not write to this list",
    "for-another-list": "its signed headers or its encryption name another list",
    "malformed": "its header can't be read",
    "too-large": "its content is too large to be sent on",
    "replay": "it went to another list already, and its signed headers do not name this one",
    "red": "TLP:RED is for its named readers alone and never goes to a list",
}
"""A rule's name -> the end of the sentence "..., because ..."."""


def held(session: Session, app: App, posting: Posting, hold: Hold) -> None:
    """Tell an author that a posting waits for a moderator."""
    values = _about(app, posting, hold.mailing_list)
    _queue(session, app, posting.author, "held", rule=REASONS[hold.rule], hold=hold.label, **values)


def decided(session: Session, app: App, posting: Posting, hold: Hold, reason: str) -> None:
    """Tell an author what a moderator decided."""
    values = _about(app, posting, hold.mailing_list)
    _queue(
        session, app, posting.author, str(hold.decision), reason=reason, hold=hold.label, **values
    )


def refused_on(
    session: Session, app: App, member_id: int, mailing_list: MailingList, rule: Rule
) -> None:
    """Tell an author that one of a mail's several lists did not take it."""
    member = session.get_one(Member, member_id)
    _queue(
        session,
        app,
        member,
        "refused",
        rule=REASONS[rule.name],
        title=mailing_list.title,
        address=mailing_list.address(app.config.domain),
    )


def _about(app: App, posting: Posting, mailing_list: MailingList) -> dict[str, str]:
    return {
        "label": posting.label,
        "subject": plain(evidence.unseal(app.vault, posting).fields.subject)[:MOST_SUBJECT]
        or "(no subject)",
        "title": mailing_list.title,
        "address": mailing_list.address(app.config.domain),
    }


def _queue(session: Session, app: App, member: Member, template: str, **values: str) -> None:
    """Render a notice and queue it, sealed, in the caller's transaction."""
    text = (
        mail_templates()
        .get_template(f"{template}.txt")
        .render(name=member.name, gateway=app.config.name, **values)
    )
    token = uuid.uuid4().hex
    now = app.clock()
    row = Notice(
        token=token,
        template=template,
        body=app.vault.seal(f"notice/{token}/body", text.encode()),
        made_at=now,
    )
    outbox.queue_notice(session, row, member.id, now)
