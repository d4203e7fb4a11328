"""Telling somebody something: a template rendered in their language, sealed, and queued."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.message.thread import MOST_SUBJECT, plain
from gateway.notices.language import Language, language
from gateway.notices.layout import filled
from gateway.store import outbox
from gateway.store.member import Member, MemberRole, Role, State
from gateway.store.outbox import Notice


@dataclass(frozen=True, slots=True)
class Attachment:
    """content_type: such as "application/pgp-keys"."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Manner:
    """How a notice goes out.

    sender: local part of ours that answers go to. answers: Message-ID of what it answers. plain:
    signed and not encrypted, to who has no key that serves; nothing secret may be in it.
    regardless: also to who is not an active member. enclosed: ids of postings that go along.
    certificate: to encrypt to, stripped, where it is not the member's own, or not yet.
    """

    sender: str = "gateway"
    answers: str = ""
    plain: bool = False
    regardless: bool = False
    enclosed: tuple[int, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    certificate: bytes | None = None


USUAL = Manner()


def tell(
    session: Session,
    app: App,
    member: Member,
    template: str,
    manner: Manner = USUAL,
    **values: object,
) -> None:
    """Render templates/mail/TEMPLATE.txt for a member and queue it, in the caller's transaction."""
    subject, text = rendered(app, language(member.language), template, name=member.name, **values)
    queue(session, app, member, template, subject, text, manner)


def queue(
    session: Session,
    app: App,
    member: Member,
    kind: str,
    subject: str,
    text: str,
    manner: Manner = USUAL,
) -> None:
    """Queue a text that is rendered already. kind: names it in the outbox."""
    token = uuid.uuid4().hex
    now = app.clock()
    body = _entity(app, subject, text, manner)
    row = Notice(
        token=token,
        template=kind,
        body=app.vault.seal(f"notice/{token}/body", body),
        made_at=now,
        plain=manner.plain,
        regardless=manner.regardless,
        enclosed=" ".join(map(str, manner.enclosed)),
        certificate=manner.certificate,
    )
    outbox.queue_notice(session, row, member.id, now)


def rendered(app: App, to: Language, template: str, **values: object) -> tuple[str, str]:
    """(subject, text of 72 columns) of a template."""
    domain = app.config.domain
    text = to.templates.get_template(f"{template}.txt").render(
        gateway=app.config.name,
        gateway_address=f"gateway@{domain}",
        domain=domain,
        archive=app.config.archive_url,
        **values,
    )
    first, _, body = text.lstrip().partition("\n")
    return first.removeprefix("Subject:").strip(), filled(body)


def holders(
    session: Session, role: Role, list_id: int | None = None, country: str | None = None
) -> list[Member]:
    """Active members with a role: for one list (or for all), of one country where that is given."""
    query = (
        select(Member)
        .where(
            Member.state == State.ACTIVE,
            Member.id.in_(select(MemberRole.member_id).where(MemberRole.role == role)),
        )
        .order_by(Member.id)
    )
    if country is not None:
        query = query.where(Member.country == country)
    # For "no list in particular" only those count who have the role for all of them.
    return [one for one in session.scalars(query) if one.has_role(role, list_id)]


def tell_all(
    session: Session,
    app: App,
    members: Iterable[Member],
    template: str,
    manner: Manner = USUAL,
    **values: object,
) -> None:
    """Tell several people the same, each once."""
    for member in {one.id: one for one in members}.values():
        tell(session, app, member, template, manner, **values)


def quoted(lines: Sequence[str]) -> str:
    return "\n".join(f"> {line}" for line in lines)


def _entity(app: App, subject: str, text: str, manner: Manner) -> bytes:
    """A notice as it rests: a MIME entity with the fields that its letter takes from it."""
    made = EmailMessage(policy=SMTP)
    made["Subject"] = plain(subject)[:MOST_SUBJECT]
    made["From"] = f"{manner.sender}@{app.config.domain}"
    if manner.answers:
        made["In-Reply-To"] = f"<{manner.answers}>"
    made.set_content(text, cte="quoted-printable")
    for one in manner.attachments:
        maintype, _, subtype = one.content_type.partition("/")
        made.add_attachment(one.data, maintype=maintype, subtype=subtype, filename=one.name)
    return made.as_bytes()
