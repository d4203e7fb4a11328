"""What stands over a posting where a reader has it as a mail: attestation, subject, threading."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.crypto import certificate as openpgp
from gateway.message.thread import answer_to, is_placeholder, own_subject, plain
from gateway.posting import subjects
from gateway.posting.evidence import Kept
from gateway.posting.visibility import TO_SUBSCRIBERS
from gateway.resources import mail_templates
from gateway.store import posting as store
from gateway.store.mailing_list import Audience, MailingList
from gateway.store.posting import Posting, Standing

UNVERIFIED = "UNVERIFIED, from an imported archive"
_MOST_SENDER = 300
_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """One line. signed: by its author, as it stands."""

    text: str
    signed: bool


def attestation(app: App, posting: Posting, kept: Kept, subject: Subject, *, travels: bool) -> str:
    """The first thing that a reader sees; most programs show neither the inner From nor, some of
    them, the protected subject. travels: whether the signed original goes along."""
    verified = posting.standing is not Standing.UNVERIFIED
    author = posting.author
    written_by = f"{author.name} <{author.address}>, {author.organisation}, {author.country}"
    archived_at = url(app, posting)
    unsigned = verified and not subject.signed
    return (
        mail_templates()
        .get_template("attestation.txt")
        .render(
            author=written_by if verified else claimed_author(kept),
            verified=verified,
            standing=_standing(posting, kept, app.clock()),
            subject=_folded(subject.text + ("   (not signed)" if unsigned else "")),
            signed_at=posting.signed_at.strftime("%Y-%m-%d %H:%M"),
            fingerprint=posting.key_fingerprint,
            label=posting.label,
            marking=posting.marking,
            url=archived_at,
            original_url=f"{archived_at}/raw" if verified and not travels else "",
            noted=kept.noted,
        )
    )


def _folded(subject: str) -> str:
    """In lines that no program breaks anew: a part of it at the begin of one could look like
    another line of the attestation."""
    is_wide = any(unicodedata.east_asian_width(char) in "WF" for char in subject)
    lines = wrap(subject, _WIDTH // 2 if is_wide else _WIDTH, break_on_hyphens=False)
    return "\n           ".join(lines)


def claimed_author(kept: Kept) -> str:
    """Who wrote an imported mail, as its From says."""
    return plain(kept.fields.sender)[:_MOST_SENDER] or "nobody named"


def subject(session: Session, kept: Kept) -> Subject:
    """What its author called it, without what the gateway put around a subject that they answer."""
    found = own_subject(kept.fields.subject, subjects.titles(session))
    return Subject(found or "(no subject)", kept.fields.subject_signed)


def subject_on(
    session: Session, app: App, posting: Posting, kept: Kept, on: MailingList
) -> Subject:
    """The same for the readers of a list. Many programs know the mail that they answer by its outer
    header alone, "Re: ...": its answer is called after what it answers, as far as every reader of
    the list may know of that."""
    titles = subjects.titles(session)
    is_for_all = on.audience is Audience.SUBSCRIBERS and bool(posting.ancestors)
    if is_for_all and is_placeholder(own_subject(kept.fields.subject, titles)):
        for one in store.ancestors_on(session, posting, on.id, TO_SUBSCRIBERS):
            name = subjects.listed(app.vault, one, titles)
            if name and not is_placeholder(name):
                return Subject(answer_to(name), signed=False)
    return subject(session, kept)


def threading(posting: Posting, domain: str) -> list[tuple[str, str]]:
    """In-Reply-To and References (RFC 5322 3.6.4), in the gateway's own Message-IDs."""
    if not posting.ancestors:
        return []
    ids = [f"<{token}@{domain}>" for token in posting.ancestors]
    return [("In-Reply-To", ids[-1]), ("References", "\r\n ".join(ids))]


def path(label: str) -> str:
    """Where a posting's page is in the archive, as docs/urls.md says."""
    return f"/{label.replace('-', '/')}"


def url(app: App, posting: Posting) -> str:
    """Where the archive shows it."""
    return f"{app.config.archive_url}{path(posting.label)}"


def _standing(posting: Posting, kept: Kept, now: datetime) -> str:
    """What a reader must know of an author who may not write to the lists, or is not known."""
    match posting.standing:
        case Standing.ACTIVE:
            return ""
        case Standing.SUSPENDED:
            return "SUSPENDED MEMBER"
        case Standing.UNVERIFIED:
            return UNVERIFIED
    certificate = openpgp.read(kept.certificate)
    ends = (certificate.expires_at, *(one.expires_at for one in certificate.keys if one.signs))
    past = [one for one in ends if openpgp.is_past(one, now)]
    return f"KEY EXPIRED ON {min(filter(None, past)):%Y-%m-%d}" if past else "KEY EXPIRED"
