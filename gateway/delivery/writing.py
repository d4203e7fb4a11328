"""Writing the letter of a posting on one list, or of a notice: what each field and part says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session, defer

from gateway.app import App
from gateway.archive import harmless
from gateway.delivery.letter import (
    Field,
    Letter,
    autocrypt,
    date,
    letter,
    mailbox,
)
from gateway.message import entity
from gateway.message.armor import armor, dearmor
from gateway.message.composing import file_part, text_part, undotted
from gateway.message.protected import content_only
from gateway.message.submission import Content
from gateway.message.thread import plain
from gateway.notices.language import N_, language
from gateway.posting import evidence, presenting
from gateway.posting.evidence import Kept
from gateway.posting.opening import payload_limit
from gateway.posting.presenting import Subject
from gateway.store.mailing_list import GatewayKey, MailingList
from gateway.store.member import Member
from gateway.store.outbox import Notice
from gateway.store.posting import Posting, Standing


def posting_letter(
    session: Session, app: App, posting: Posting, on: MailingList, now: datetime
) -> Letter:
    """A posting as the subscribers of one list get it, signed by that list's key now.

    The Date is the moment of signing: Thunderbird calls a signature that is more than an hour from
    the Date a mismatch, so a held posting gets its date when it goes out.
    """
    config, author, domain = app.config, posting.author, app.config.domain
    kept, opened = evidence.opened(app.vault, posting)
    subject = presenting.subject_on(session, app, posting, kept, on)
    address = on.address(domain)
    threading = presenting.threading(posting, domain)
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
        ("Archived-At", f"<{presenting.url(app, posting)}>"),
        autocrypt(address, on.key.certificate),
    ]
    protected: list[Field] = [
        ("From", mailbox(f"{author.described} via {on.title}", address)),
        *own,
        ("Subject", f"[{on.title}] {subject.text} ({plain(author.name)}, {author.country})"),
    ]
    most = config.policy.evidence_bytes if on.evidence_bytes is None else on.evidence_bytes
    parts = _parts(app, posting, kept, opened, subject, most)
    del kept, opened  # each as large as the posting
    sign = partial(app.keyring.sign, fingerprint=on.key_fingerprint)
    return letter(posting.token, outer, protected, parts, sign)


def notice_letter(
    session: Session,
    app: App,
    notice: Notice,
    member: Member,
    keys: Sequence[GatewayKey],
    now: datetime,
) -> Letter:
    """A notice of the gateway's own. keys: all sign it; the last one is the one in use."""
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
    subject = ("Subject", f"[{app.config.name}] {body.field('subject')}")
    hidden = ("Subject", f"[{app.config.name}] ...")
    outer = [*own, subject if notice.plain else hidden, autocrypt(sender, keys[-1].certificate)]
    parts = (
        [undotted(content_only(body))]
        if not body.is_multipart
        else [undotted(content_only(one)) for one in body.parts()]
    )
    if not notice.plain:
        parts += _all_enclosed(session, app, notice, member)
    sign = partial(_signed, app, [one.fingerprint for one in keys])
    return letter(notice.token, outer, [*own, subject], parts, sign, encrypted=not notice.plain)


def _signed(app: App, fingerprints: Sequence[str], data: bytes) -> tuple[bytes, str]:
    """Detached signatures by several keys, in their order, in one block (RFC 9580 10.4)."""
    made = [app.keyring.sign(data, one) for one in fingerprints]
    packets = b"".join(dearmor(signature, "SIGNATURE") for signature, _ in made)
    # RFC 3156 5 has one micalg; the keyring always takes the same hash.
    return armor(packets, "SIGNATURE", b"\n"), made[0][1]


def _all_enclosed(session: Session, app: App, notice: Notice, member: Member) -> list[bytes]:
    """The postings that go along with a notice, and a line in place of each that can't."""
    say, most = language(member.language).say, payload_limit(app.config)
    parts: list[bytes] = []
    for posting_id in map(int, notice.enclosed.split()):
        posting = session.get_one(Posting, posting_id, options=[defer(Posting.submission)])
        if posting.withdrawn_at is not None:
            why = N_("%(label)s was withdrawn meanwhile.")
        # An opened posting may be larger than it is kept, but not than this.
        elif parts and sum(map(len, parts)) > most:
            why = N_("%(label)s is too large for this mail; ask for it in a mail of its own.")
        else:
            parts += _enclosed(session, app, posting)
            continue
        parts.append(text_part(say(why, label=posting.label) + "\n"))
    return parts


def _enclosed(session: Session, app: App, posting: Posting) -> list[bytes]:
    """A posting inside a notice: its attestation, its content, and the signed original."""
    kept, opened = evidence.opened(app.vault, posting)
    subject = presenting.subject(session, kept)
    return _parts(app, posting, kept, opened, subject, app.config.policy.evidence_bytes)


def _parts(
    app: App, posting: Posting, kept: Kept, opened: Content, subject: Subject, most: int
) -> list[bytes]:
    """Attestation, content, and the signed original where it has at most so many bytes."""
    original = _original(posting, kept, opened, most)
    parts = [
        text_part(
            presenting.attestation(app, posting, kept, subject, travels=original is not None)
        ),
        harmless.content(entity.read(opened.payload)),
    ]
    return parts if original is None else [*parts, file_part(*original)]


def _original(posting: Posting, kept: Kept, opened: Content, most: int) -> tuple[str, bytes] | None:
    """(file name, bytes) of the signed original; None where it has more than `most` bytes."""
    if posting.standing is Standing.UNVERIFIED:
        return None  # there is nothing that a signature would show
    if min(len(kept.source.data), len(opened.body)) > most:
        return None  # without making it first: it could be 50 MB
    name, original = evidence.signed_original(posting, kept, opened)
    return (name, original) if len(original) <= most else None


def _list_fields(app: App, on: MailingList) -> list[Field]:
    """RFC 2919 and RFC 2369. A desk is nothing to subscribe to, and has no archive for all."""
    domain = app.config.domain
    command = f"mailto:gateway@{domain}?subject="
    fields = [
        ("List-Id", f"{on.title} <{on.local_part}.{domain}>"),
        ("List-Post", f"<mailto:{on.address(domain)}>"),
        ("List-Help", f"<{command}help>"),
    ]
    if on.is_desk:
        return fields
    return [
        *fields,
        ("List-Unsubscribe", f"<{command}tick%20off%20{on.letter}>"),
        ("List-Archive", f"<{app.config.archive_url}/{on.letter}>"),
        ("List-Owner", f"<mailto:{on.local_part}-owner@{domain}>"),
    ]
