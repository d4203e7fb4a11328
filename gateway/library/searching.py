"""Documents that a search finds, beside the postings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, select, true
from sqlalchemy.orm import Session, selectinload

from gateway.app import App
from gateway.archive import snippets, wanting
from gateway.archive.query import All, Any, Dates, Filter, Name, Node, Not, Words
from gateway.archive.snippets import Piece
from gateway.archive.wanting import Scope
from gateway.library import documents, sealing
from gateway.library.sealing import Sheet
from gateway.message import marking
from gateway.store import search_index
from gateway.store.library import INDEX, Version
from gateway.store.member import Member


@dataclass(frozen=True, slots=True)
class Found:
    """A document that was found: its title and a passage of its description, in pieces."""

    version: Version
    sheet: Sheet
    title: tuple[Piece, ...]
    passage: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class FoundDocuments:
    """count: of all that are found; listed: the newest of them."""

    count: int
    listed: tuple[Found, ...]


def found(session: Session, app: App, member: Member, query: Node, most: int) -> FoundDocuments:
    """The newest `most` of the documents that a member may read and finds; none are looked for
    where that is 0. Raises QueryFault where the query names what there is not for them."""
    if query == All(()) or most == 0:
        return FoundDocuments(0, ())
    on = wanting.scope(session, app, member, query)
    languages = session.scalars(select(Version.language).distinct())
    on = replace(on, languages=list(dict.fromkeys([*on.languages, *languages])))
    clauses = (*documents.current(session, member), _are(on, query))
    count = session.scalar(select(func.count(Version.id)).where(*clauses)) or 0
    newest = (
        select(Version)
        .where(*clauses)
        .options(selectinload(Version.author), selectinload(Version.topics))
        .order_by(Version.id.desc())
        .limit(most)
    )
    sought = wanting.sought(query)
    return FoundDocuments(
        count,
        tuple(_opened(app, one, sought) for one in (session.scalars(newest) if count else ())),
    )


def _opened(app: App, version: Version, sought: list[Words]) -> Found:
    sheet = sealing.listed(app.vault, version)
    return Found(
        version,
        sheet,
        snippets.marked(sheet.title, sought, version.language),
        snippets.snippet(sheet.description, sought, version.language),
    )


def _are(on: Scope, node: Node) -> ColumnElement[bool]:
    """What a query means of documents, for a where() on Version."""
    match node:
        case Words(text, where):
            words = wanting.of_words(on, text, wanting.FIELDS[where])
            return Version.id.in_(search_index.matching(on.session, INDEX, words))
        case Filter():
            return _is(on, node)
        case Dates(first, last):
            return wanting.between(Version.received_at, first, last)
        case Not(part):
            return not_(_are(on, part))
        case All(parts):
            return and_(true(), *(_are(on, one) for one in parts))
        case Any(parts):
            return or_(false(), *(_are(on, one) for one in parts))


def _is(on: Scope, node: Filter) -> ColumnElement[bool]:
    match node.name:
        case Name.FROM | Name.TOPIC:
            wanted = wanting.wanted(on, node).match
            return Version.id.in_(search_index.matching(on.session, INDEX, wanted))
        case Name.HAS:
            return true()
        case Name.MARKING:
            known = marking.typed(node.value)
            return Version.marking == ("" if known is None else known.label)
        case _:
            # Threads, and what is held: of postings alone.
            return false()
