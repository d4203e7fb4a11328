"""Writing the letter of a posting on one list, or of a notice: what each field and part says."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.delivery.letter import (
    Field,
    Letter,
    attachment,
    autocrypt,
    date,
    letter,
    mailbox,
    text_part,
    undotted,
)
from gateway.message import entity, submission
from gateway.message.entity import crlf
from gateway.message.protected import Fields, content_only
from gateway.message.submission import Content
from gateway.message.thread import MOST_SUBJECT, own_subject, plain
from gateway.posting import evidence
from gateway.posting.evidence import Kept
from gateway.resources import mail_templates
from gateway.store import mailing_list
from gateway.store.mailing_list import GatewayKey, MailingList
from gateway.store.member import Member
from gateway.store.outbox import Notice
from gateway.store.posting import Posting


def posting_letter(
    session: Session, app: App, posting: Posting, on: MailingList, now: datetime
) -> Letter:
    """A posting as the subscribers of one list get it, signed by that list's key now.

    The Date is the moment of signing: Thunderbird calls a signature that is more than an hour from
    the Date a mismatch, so a held posting gets its date when it goes out.
    """
    config, author, domain = app.config, posting.author, app.config.domain
    kept = evidence.unseal(app.vault, posting)
    opened = submission.content(kept.source, evidence.KEPT_LIMIT)
    titles = [one.title for one in mailing_list.all_lists(session)]
    subject = own_subject(kept.fields.subject, titles) or "(no subject)"
    address = on.address(domain)
    threading = _threading(posting, domain)
    own: list[Field] = [
        ("To", address),
        ("Date", date(now)),
        ("Message-ID", posting.message_id(domain)),
        *threading,
    ]
    outer: list[Field] = [
        ("From", mailbox(f"{config.name} {on.title}", address)),
        *own,
        ("Subject", f"[{on.title}] ..."),
        *_list_fields(app, on),
        ("Archived-At", f"<{_url(app, posting)}>"),
        autocrypt(address, on.key.certificate),
    ]
    protected: list[Field] = [
        ("From", mailbox(f"{author.described} via {on.title}", address)),
        *own,
        ("Subject", f"[{on.title}] {subject} ({plain(author.name)}, {author.country})"),
    ]
    most = config.policy.evidence_bytes if on.evidence_bytes is None else on.evidence_bytes
    original = _original(posting, kept, opened, most)
    parts = [
        text_part(_attestation(app, posting, kept.fields, subject, original is not None)),
        crlf(content_only(entity.read(opened.payload))),
    ]
    if original is not None:
        parts.append(attachment(*original))
    return letter(
        posting.token,
        outer,
        protected,
        parts,
        partial(app.keyring.sign, fingerprint=on.key_fingerprint),
    )


def notice_letter(
    session: Session, app: App, notice: Notice, member: Member, key: GatewayKey, now: datetime
) -> Letter:
    """A notice of the gateway's own, signed by the command address's key."""
    body = entity.read(app.vault.open(f"notice/{notice.token}/body", notice.body))
    sender, answered = body.field("from"), body.field("in-reply-to")
    own: list[Field] = [
        ("From", mailbox(app.config.name, sender)),
        ("To", member.address),
        ("Date", date(now)),
        ("Message-ID", f"<{notice.token}@{app.config.domain}>"),
        # RFC 3834 5.1 and 3.1.5
        ("Auto-Submitted", "auto-replied" if answered else "auto-generated"),
        *([("In-Reply-To", answered)] if answered else []),
    ]
    outer = [*own, ("Subject", f"[{app.config.name}] ..."), autocrypt(sender, key.certificate)]
    protected = [*own, ("Subject", f"[{app.config.name}] {body.field('subject')}")]
    parts = (
        [undotted(content_only(body))]
        if not body.is_multipart
        else [undotted(content_only(one)) for one in body.parts()]
    )
    for posting_id in map(int, notice.enclosed.split()):
        parts += _enclosed(app, session.get_one(Posting, posting_id))
    sign = partial(app.keyring.sign, fingerprint=key.fingerprint)
    return letter(notice.token, outer, protected, parts, sign)


def _enclosed(app: App, posting: Posting) -> list[bytes]:
    """A posting inside a notice: its attestation, its content, and the signed original."""
    if posting.withdrawn_at is not None:
        return []
    kept = evidence.unseal(app.vault, posting)
    opened = submission.content(kept.source, evidence.KEPT_LIMIT)
    subject = plain(kept.fields.subject)[:MOST_SUBJECT] or "(no subject)"
    original = _original(posting, kept, opened, app.config.policy.evidence_bytes)
    parts = [
        text_part(_attestation(app, posting, kept.fields, subject, original is not None)),
        crlf(content_only(entity.read(opened.payload))),
    ]
    return parts if original is None else [*parts, attachment(*original)]


def _original(posting: Posting, kept: Kept, opened: Content, most: int) -> tuple[str, bytes] | None:
    """(file name, bytes) of the signed original; None where it has more than `most` bytes."""
    if min(len(kept.source.data), len(opened.body)) > most:
        return None  # without making it first: it could be 50 MB
    name, original = signed_original(posting, kept, opened)
    return (name, original) if len(original) <= most else None


def signed_original(posting: Posting, kept: Kept, opened: Content) -> tuple[str, bytes]:
    """The evidence for whoever checks it with a program of their own. Over it stand the verified
    author and what else is under the signature; nothing that the author's mail said outside."""
    fields = (
        ("From", mailbox(posting.author.name, posting.author.address)),
        ("To", ", ".join(kept.protected.to)),
        ("Cc", ", ".join(kept.protected.cc)),
        ("Date", date(posting.signed_at)),
        ("Subject", kept.protected.subject),
    )
    return submission.evidence(kept.source, opened, fields)


def _threading(posting: Posting, domain: str) -> list[Field]:
    """RFC 5322 3.6.4, in the gateway's own Message-IDs."""
    if not posting.ancestors:
        return []
    ids = [f"<{token}@{domain}>" for token in posting.ancestors]
    return [("In-Reply-To", ids[-1]), ("References", "\r\n ".join(ids))]


def _list_fields(app: App, on: MailingList) -> list[Field]:
    """RFC 2919 and RFC 2369."""
    domain = app.config.domain
    command = f"mailto:gateway@{domain}?subject="
    return [
        ("List-Id", f"{on.title} <{on.local_part}.{domain}>"),
        ("List-Post", f"<mailto:{on.address(domain)}>"),
        ("List-Help", f"<{command}help>"),
        ("List-Unsubscribe", f"<{command}tick%20off%20{on.letter}>"),
        ("List-Archive", f"<{app.config.archive_url}/{on.letter}>"),
        ("List-Owner", f"<mailto:{on.local_part}-owner@{domain}>"),
    ]


def _attestation(app: App, posting: Posting, fields: Fields, subject: str, travels: bool) -> str:
    """The first thing that a reader sees; most programs show neither the inner From nor, some of
    them, the protected subject."""
    author = posting.author
    url = _url(app, posting)
    return (
        mail_templates()
        .get_template("attestation.txt")
        .render(
            author=f"{author.name} <{author.address}>, {author.organisation}, {author.country}",
            subject=subject + ("" if fields.subject_signed else "   (not signed)"),
            signed_at=posting.signed_at.strftime("%Y-%m-%d %H:%M"),
            fingerprint=posting.key_fingerprint,
            label=posting.label,
            marking=posting.marking,
            url=url,
            original_url="" if travels else f"{url}/raw",
        )
    )


def _url(app: App, posting: Posting) -> str:
    letter_, _, number = posting.label.partition("-")
    return f"{app.config.archive_url}/{letter_}/{number}"
