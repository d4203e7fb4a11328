"""A query as the database is asked: what the index finds, and what of that is meant exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, exists, not_, or_, select, true
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.archive import indexing, terms
from gateway.archive.query import All, Any, Dates, Filter, Name, Node, Not, QueryFault, Words
from gateway.archive.terms import Field
from gateway.errors import UsageError
from gateway.message.marking import typed as typed_marking
from gateway.posting import moderators, visibility
from gateway.store import archive_entry, mailing_list, search_index
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.hold import Decision, Hold
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member, State
from gateway.store.posting import Placement, Posting, PostingList
from gateway.store.search_index import AllOf, AnyOf, Match, Phrase, Without

FIELDS = {None: Field.WORD, Name.SUBJECT: Field.SUBJECT, Name.FILENAME: Field.NAME}
"""Where words may be looked for: a field of the index for each."""
_HELD = Filter(Name.IS, "held")


@dataclass(frozen=True, slots=True)
class Wanted:
    """match: finds all that is wanted, and perhaps more; exactly: which of those is, None where
    they all are."""

    match: Match
    exactly: ColumnElement[bool] | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Who searches where. lists: those that the member takes part in or may, with their desks.
    languages: those that the index has words of. allowed: for a where() on Posting."""

    session: Session
    app: App
    member: Member
    lists: Sequence[MailingList]
    languages: Sequence[str]
    allowed: ColumnElement[bool]
    is_held: bool

    def term(self, field: Field, value: str | int = "") -> Phrase:
        return Phrase((terms.hashed(self.app.vault, field, value),))

    @property
    def everything(self) -> Match:
        return self.term(Field.POSTING)

    @property
    def nothing(self) -> Match:
        return Without(self.everything, self.everything)


def scope(session: Session, app: App, member: Member, query: Node) -> Scope:
    """What a member may find: what they may read; with is:held what waits for their decision, and
    nothing else. Raises QueryFault where is:held stands in an alternative or a denial."""
    topics = mailing_list.known_to(session, member.id)
    desks = mailing_list.desks_of(session, topics)
    is_held = _is_held(query)
    allowed = _held_for(session, member) if is_held else visibility.readable(session, member)
    return Scope(
        session, app, member, [*topics, *desks], archive_entry.languages(session) or [""],
        and_(Posting.withdrawn_at.is_(None), allowed), is_held,
    )  # fmt: skip


def wanted(on: Scope, node: Node) -> Wanted:
    """Raises QueryFault where something is named that there is not for this member."""
    match node:
        case Words(text, where):
            return Wanted(of_words(on, text, FIELDS[where]))
        case Filter():
            return _FILTERS[node.name](on, node)
        case Dates(first, last):
            return Wanted(on.everything, between(Posting.received_at, first, last))
        case Not(part):
            inner = wanted(on, part)
            if inner.exactly is None:
                return Wanted(Without(on.everything, inner.match))
            return Wanted(on.everything, not_(_whole(on, inner)))
        case All(parts):
            return _each(on, [wanted(on, one) for one in parts])
        case Any(parts):
            inners = [wanted(on, one) for one in parts]
            match_ = AnyOf(tuple(one.match for one in inners))
            if all(one.exactly is None for one in inners):
                return Wanted(match_)
            return Wanted(match_, or_(*(_whole(on, one) for one in inners)))


def of_words(on: Scope, text: str, field: Field) -> Match:
    """Words next to each other, as the stems that they have in each of the index's languages."""
    typed = terms.words(text)
    forms = dict.fromkeys(tuple(terms.stems(typed, one)) for one in on.languages)
    phrases = [
        Phrase(tuple(terms.hashed(on.app.vault, field, stem) for stem in form)) for form in forms
    ]
    return phrases[0] if len(phrases) == 1 else AnyOf(tuple(phrases))


def days(node: Node) -> tuple[date | None, date | None]:
    """The first and the last day that a query as a whole is about."""
    parts = node.parts if isinstance(node, All) else (node,)
    found = [one for one in parts if isinstance(one, Dates)]
    first = max((one.first for one in found if one.first), default=None)
    return first, min((one.last for one in found if one.last), default=None)


def bounds(node: Node) -> tuple[int | None, int | None]:
    """Keys of the index between which all that is wanted stands."""
    first, last = days(node)
    above = None if first is None else indexing.first_of(first) - 1
    below = None if last is None or last == date.max else indexing.first_of(_next(last))
    return above, below


def between(
    at: SQLColumnExpression[datetime], first: date | None, last: date | None
) -> ColumnElement[bool]:
    """Whether a moment is on one of these days, UTC."""
    clauses: list[ColumnElement[bool]] = [true()]
    if first is not None:
        clauses.append(at >= datetime.combine(first, time(), UTC))
    if last is not None and last != date.max:
        clauses.append(at < datetime.combine(_next(last), time(), UTC))
    return and_(*clauses)


def sought(node: Node) -> list[Words]:
    """The words of a query that a posting should have, those denied left out."""
    match node:
        case Words():
            return [node]
        case All(parts) | Any(parts):
            return [each for one in parts for each in sought(one)]
        case _:
            return []


def _each(on: Scope, parts: Sequence[Wanted]) -> Wanted:
    found, denied = [], []
    for one in parts:
        match one.match:
            case Without(part, but) if part == on.everything and but != on.everything:
                denied.append(but)
            case other if other != on.everything:
                found.append(other)
    whole: Match = on.everything
    if found:
        whole = found[0] if len(found) == 1 else AllOf(tuple(found))
    if denied:
        whole = Without(whole, denied[0] if len(denied) == 1 else AnyOf(tuple(denied)))
    clauses = [one.exactly for one in parts if one.exactly is not None]
    return Wanted(whole, and_(*clauses) if clauses else None)


def _whole(on: Scope, one: Wanted) -> ColumnElement[bool]:
    """All that a part of a query means, for a where()."""
    if one.match == on.everything:
        return true() if one.exactly is None else one.exactly
    inner = search_index.matching(on.session, search_index.POSTINGS, one.match)
    found = Posting.id.in_(
        select(ArchiveEntry.posting_id).where(ArchiveEntry.place.in_(inner.scalar_subquery()))
    )
    return found if one.exactly is None else and_(found, one.exactly)


def _next(day: date) -> date:
    return day + timedelta(days=1)


def _from(on: Scope, node: Filter) -> Wanted:
    typed = node.value.casefold()
    searched = terms.words(node.value)
    columns = (Member.id, Member.address, Member.name, Member.organisation, Member.country)
    rows = on.session.execute(select(*columns).where(Member.state != State.APPLICANT))
    found = []
    for id_, address, name, organisation, country in rows:
        if "@" in typed:
            fits = typed == address or (typed[0] == "@" and address.endswith(typed))
        else:
            local_part, _, domain = address.partition("@")
            names = [terms.unaccented(one) for one in
                     terms.words(f"{name} {organisation} {local_part}")]  # fmt: skip
            fits = (
                typed == country.casefold()
                or typed == domain
                or all(_begins(terms.unaccented(word), names) for word in searched)
            )
        if fits:
            found.append(on.term(Field.AUTHOR, id_))
    if not found or not searched:
        return Wanted(on.nothing)
    return Wanted(found[0] if len(found) == 1 else AnyOf(tuple(found)))


def _begins(word: str, names: Sequence[str]) -> bool:
    """Whether a name begins with a word; two letters must be the whole of it."""
    return any(one == word or (len(word) > 2 and one.startswith(word)) for one in names)


def _topic(on: Scope, node: Filter) -> Wanted:
    typed = node.value.casefold().removesuffix(f"@{on.app.config.domain}")
    topics = [one for one in on.lists if not one.is_desk]
    named = [one for one in topics if typed in one.called]
    if not named:
        raise QueryFault(
            "At character %(position)s: there is no list '%(name)s'; there are %(names)s.",
            node.at,
            name=node.value,
            names=", ".join(f"{one.letter} ({one.local_part})" for one in topics),
        )
    ids = [one.id for one in on.lists if named[0].id in (one.id, one.parent_id)]
    placed = exists().where(
        PostingList.posting_id == Posting.id,
        PostingList.list_id.in_(ids),
        or_(
            PostingList.placement == Placement.ACCEPTED,
            Posting.author_id == on.member.id,
            PostingList.placement == Placement.HELD if on.is_held else not_(true()),
        ),
    )
    return Wanted(AnyOf(tuple(on.term(Field.LIST, one) for one in ids)), placed)


def _has(on: Scope, node: Filter) -> Wanted:
    return Wanted(on.term(Field.ATTACHMENT))


def _marking(on: Scope, node: Filter) -> Wanted:
    found = typed_marking(node.value)
    return Wanted(on.everything, Posting.marking == ("" if found is None else found.label))


def _thread(on: Scope, node: Filter) -> Wanted:
    try:
        found = visibility.get(on.session, on.member, node.value)
    except UsageError:
        return Wanted(on.nothing)
    return Wanted(on.term(Field.THREAD, found.thread_id))


def _is(on: Scope, node: Filter) -> Wanted:
    return Wanted(on.everything)


_FILTERS: dict[Name, Callable[[Scope, Filter], Wanted]] = {
    Name.FROM: _from,
    Name.TOPIC: _topic,
    Name.HAS: _has,
    Name.MARKING: _marking,
    Name.THREAD: _thread,
    Name.IS: _is,
}


def _is_held(query: Node) -> bool:
    """Whether a query as a whole is about what is held. Raises QueryFault where a part is."""
    parts = query.parts if isinstance(query, All) else (query,)
    rest = [one for one in parts if one != _HELD]
    for one in rest:
        _refuse_held(one)
    return len(rest) < len(parts)


def _refuse_held(node: Node) -> None:
    match node:
        case Filter(name=Name.IS):
            raise QueryFault(
                "At character %(position)s: is:held stands outside OR, NOT and parentheses.",
                node.at,
            )
        case Not(part):
            _refuse_held(part)
        case All(parts) | Any(parts):
            for one in parts:
                _refuse_held(one)


def decided_by(session: Session, member: Member) -> list[int]:
    """Ids of the lists and desks about whose holds a member decides."""
    return [
        one.id
        for one in (*mailing_list.all_lists(session), *mailing_list.desks(session))
        if moderators.moderates(session, member, one)
    ]


def _held_for(session: Session, member: Member) -> ColumnElement[bool]:
    """What waits for a member's decision."""
    return exists().where(
        Hold.posting_id == Posting.id,
        Hold.decision == Decision.OPEN,
        Hold.list_id.in_(decided_by(session, member)),
    )
