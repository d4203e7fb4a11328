"""What authors and librarians are told of a document: what happened, why, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.library import access, sealing
from gateway.library.checking import MOST_FILES
from gateway.notices import words
from gateway.notices.language import language
from gateway.notices.links import mailto
from gateway.notices.notice import Manner, tell
from gateway.store.actor import Actor
from gateway.store.library import Category, Status, Version
from gateway.store.member import Member

_SENDER = "library"


def amiss(session: Session, app: App, member: Member, answered: str, faults: Sequence[str]) -> None:
    """Tell somebody what is wrong with what they handed in. answered: its Message-ID."""
    spoken = language(member.language)
    tell(
        session, app, member, "document-amiss", Manner(_SENDER, answers=answered), faults=faults,
        categories=", ".join(words.word(spoken, one) for one in Category),
    )  # fmt: skip


def taken(session: Session, app: App, version: Version, answered: str) -> None:
    """Tell an author that a document waits for a librarian."""
    manner = Manner(_SENDER, answers=answered)
    tell(
        session, app, version.author, "document-taken", manner,
        **about(session, app, version, version.author),
    )  # fmt: skip


def to_decide(session: Session, app: App, version: Version) -> None:
    """Show a document's form to those who are asked to decide about it."""
    for one in access.asked(session, version):
        tell(
            session, app, one, "document-to-decide", links=links(app, version),
            **about(session, app, version, one),
        )  # fmt: skip


def decided(
    session: Session, app: App, version: Version, by: Actor, asked: Sequence[Member], reason: str
) -> None:
    """Tell the author, and those who were asked beside who decided, what became of a document."""
    manner = Manner(_SENDER)
    approved = version.status is Status.APPROVED
    if by.member_id != version.author_id:
        tell(
            session, app, version.author, "document-decided", manner, approved=approved,
            reason=reason, **about(session, app, version, version.author),
        )  # fmt: skip
    for one in asked:
        if one.id not in (by.member_id, version.author_id):
            tell(
                session, app, one, "document-decided-by-other", manner, approved=approved,
                reason=reason, by=by.shown, **about(session, app, version, one),
            )  # fmt: skip


def withdrawn(session: Session, app: App, version: Version, title: str) -> None:
    """Tell an author that somebody else withdrew their document."""
    tell(
        session, app, version.author, "document-withdrawn", Manner(_SENDER),
        label=version.label, title=title,
    )  # fmt: skip


def about(session: Session, app: App, version: Version, reader: Member) -> dict[str, Any]:
    """What a notice says of a version, in its reader's language where that matters."""
    spoken, sheet = language(reader.language), sealing.sheet(app.vault, version)
    author = version.author
    return {
        "label": version.label,
        "exact": version.exact,
        "title": sheet.title,
        "author": f"{author.name} <{author.address}>, {author.organisation}, {author.country}",
        "category": words.word(spoken, version.category),
        "topics": ", ".join(one.title for one in access.topics(session, reader, version)),
        "spoken": words.language_name(spoken, version.language),
        "marking": version.marking,
        "last_day": version.last_day,
        "replaces": _replaced(session, version, reader),
        "description": sheet.description,
        "files": [f"{one.name}  ({one.content_type}, {-(-one.size // 1000)} kB)"
                  for one in sheet.files[:MOST_FILES]],
        "url": f"{app.config.archive_url}{path(version)}",
    }  # fmt: skip


def _replaced(session: Session, version: Version, reader: Member) -> str:
    """The document that a version replaces; with its author's name where that is somebody else, as
    far as the reader may know."""
    if version.number == 1:
        return ""
    label = version.document.label
    for one in access.versions(session, reader, version.document):
        if one.number < version.number and one.status is Status.APPROVED:
            is_theirs = one.author_id == version.author_id
            return label if is_theirs else f"{label} ({one.author.described})"
    return label


def path(version: Version) -> str:
    """Where a version's page is, as docs/urls.md says."""
    return f"/library/L-{version.document_id}/{version.number}"


def links(app: App, version: Version) -> dict[str, str]:
    """Mails of one command that decide about a version, or send it."""
    label = version.label
    lines = {
        "approve": f"approve {label}",
        "reject": f"reject {label} ",
        "get": f"get {version.exact}",
    }
    return {name: mailto(f"gateway@{app.config.domain}", line, line)
            for name, line in lines.items()}  # fmt: skip
