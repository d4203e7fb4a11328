"""Who knows about what, and the requests to experts that wait for an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from starlette.responses import Response
from starlette.routing import Route

from gateway.command.experts import MOST_LISTED
from gateway.posting import presenting, requests, subjects, visibility
from gateway.store import audience, mailing_list
from gateway.store import posting as postings
from gateway.store import request as store
from gateway.store.mailing_list import Audience, MailingList
from gateway.store.member import Member
from gateway.store.posting import Posting
from gateway.store.request import Request
from gateway.web.visit import NotThere, Visit, for_members


@dataclass(frozen=True)
class Expert:
    """words: what they say that they know about; languages: codes."""

    member: Member
    words: tuple[str, ...]
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Experts:
    """Those of a topic. address: what is asked there goes to them, and to nobody else."""

    topic: MailingList
    address: str
    listed: tuple[Expert, ...]
    more: int


@dataclass(frozen=True)
class Asked:
    """An open request. subject: None where the reader may know that somebody asked, and not what,
    and where what is sealed is damaged; path: of its posting's page; closes: whether the reader may
    close it."""

    request: Request
    path: str
    topic: MailingList
    subject: str | None
    address: str
    answers: int
    answers_to: str
    closes: bool


def experts(visit: Visit) -> Response:
    """The experts of each topic, or of those and of the country that are asked for."""
    query = visit.request.query_params
    letter, country = query.get("topic", ""), query.get("country", "")
    topics = [one for one in visit.topics() if one.closed_at is None]
    if letter and letter not in [one.letter for one in topics]:
        raise NotThere
    all_of_them = {one: audience.experts(visit.session, one) for one in topics}
    chosen = [
        _of_topic(visit, one, found, country)
        for one, found in all_of_them.items()
        if letter in ("", one.letter)
    ]
    # Each filter says how many there are with the other one as it is.
    countries = Counter(
        member.country
        for member in _each_once(
            each for one, found in all_of_them.items() if letter in ("", one.letter)
            for each in found
        )
    )  # fmt: skip
    counts = {
        one.letter: sum(country in ("", each.country) for each in found)
        for one, found in all_of_them.items()
    }
    return visit.page(
        "experts", topics=topics, letter=letter, country=country,
        countries=sorted(countries.items()), counts=counts,
        shown=[one for one in chosen if one.listed or letter],
    )  # fmt: skip


def _of_topic(
    visit: Visit, one: MailingList, found: dict[Member, list[str]], country: str
) -> Experts:
    desk = mailing_list.desk_of(visit.session, one, Audience.EXPERTS)
    listed = [
        Expert(
            member,
            tuple(dict.fromkeys(each for each in words if each)),
            tuple((member.languages or member.language).split()),
        )
        for member, words in found.items()
        if country in ("", member.country)
    ]
    address = desk.address(visit.app.config.domain)
    return Experts(one, address, tuple(listed[:MOST_LISTED]), max(0, len(listed) - MOST_LISTED))


def _each_once(members: Iterable[Member]) -> list[Member]:
    return list({one.id: one for one in members}.values())


def open_requests(visit: Visit) -> Response:
    """The open requests that the reader may know of: theirs, and those to them."""
    session, member = visit.session, visit.member
    found = requests.known_to(session, member)
    listed = found[:MOST_LISTED]
    about = postings.without_content(session, [one.posting_id for one in listed])
    theirs = select(Posting.id).where(Posting.id.in_(about), visibility.readable(session, member))
    read = set(session.scalars(theirs))
    titles = subjects.titles(session)
    shown = []
    for one in listed:
        posting, desk = about[one.posting_id], one.mailing_list
        subject = None
        if posting.id in read:
            subject = subjects.listed(visit.app.vault, posting, titles)
        domain = visit.app.config.domain
        shown.append(
            Asked(
                one, presenting.path(posting.label), desk.parent or desk, subject,
                desk.address(domain),
                len(store.answerers(session, one)), posting.message_id(domain)[1:-1],
                requests.may_close(session, member, one),
            )
        )  # fmt: skip
    visit.enter("requests-read", count=len(shown))
    return visit.page("requests", shown=shown, more=len(found) - len(shown))


ROUTES = (
    Route("/experts", for_members(experts)),
    Route("/requests", for_members(open_requests)),
)
