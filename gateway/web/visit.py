"""One request of a logged-in member, and what a page is made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from urllib.parse import quote
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.app import App
from gateway.errors import UsageError
from gateway.notices.language import Language, language
from gateway.notices.zones import zone_of
from gateway.posting import visibility
from gateway.store import ledger, mailing_list
from gateway.store.actor import Actor, actor_of
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.posting import Posting
from gateway.store.web_session import WebSession
from gateway.web import rendering, sessions
from gateway.web.faults import plain_page
from gateway.web.login import safe_back
from gateway.web.numbers import number_in


class NotThere(Exception):
    """What was asked for is not there, or not theirs to know: 404 in either case."""


@dataclass(frozen=True)
class Visit:
    """A member's request, inside a session that only reads.

    What they read is entered in the ledger after the page was made and before it is sent: where
    that can't be written, nothing is shown.
    """

    request: Request
    app: App
    session: Session
    member: Member
    login: WebSession
    now: datetime
    entries: list[tuple[str, dict[str, str | int | None]]] = field(default_factory=list)

    @property
    def actor(self) -> Actor:
        return actor_of(self.member)

    @property
    def language(self) -> Language:
        """The member's; until they chose one, what their browser asks for."""
        chosen = self.member.languages.split()
        if chosen:
            return language(chosen[0])
        return rendering.negotiated(self.request.headers.get("accept-language", ""))

    @property
    def zone(self) -> ZoneInfo:
        return zone_of(self.member)

    def say(self, message: str, **values: object) -> str:
        return self.language.say(message, **values)

    def enter(self, event: str, **detail: str | int | None) -> None:
        """Have an entry made in the ledger, with who reads."""
        self.entries.append((event, {**detail, "by": self.actor.ledger}))

    def topics(self) -> list[MailingList]:
        """The lists that the member takes part in or may: the others do not exist for them."""
        return mailing_list.known_to(self.session, self.member.id)

    def topic(self, letter: str) -> MailingList:
        """One of them by its letter, as it stands in URLs. Raises NotThere."""
        for one in self.topics():
            if one.letter == letter:
                return one
        raise NotThere

    def posting(self, letter: str, number: str) -> Posting:
        """A posting that they may read. Raises NotThere; also where the letter is another list's,
        so that each posting has one URL."""
        try:
            found = visibility.get(self.session, self.member, f"{letter}-{number}")
        except UsageError:
            raise NotThere from None
        if found.label != f"{letter}-{number}":
            raise NotThere
        return found

    def number(self, name: str) -> int | None:
        """A number in the address's query; None where there is none. Raises UsageError."""
        typed = self.request.query_params.get(name, "")
        if not typed:
            return None
        number = number_in(typed)
        if number is None:
            raise UsageError("the address is broken: '%(name)s' must be a number", name=name)
        return number

    def page(self, template: str, status: int = 200, **values: object) -> Response:
        """A page from templates/web/TEMPLATE.html."""
        return rendering.page(
            self.app, self.language, template, status,
            visit=self, reader=self.member, zone=self.zone, now=self.now, **values,
        )  # fmt: skip


Endpoint = Callable[[Request], Response]


def for_members(handler: Callable[[Visit], Response]) -> Endpoint:
    """The endpoint of a page that members see: others are asked to log in, and brought back."""

    @wraps(handler)
    def endpoint(request: Request) -> Response:
        app: App = request.app.state.gateway
        now = app.clock()
        with app.database.reading() as session:
            login = sessions.current(session, app, request, now)
            if login is None:
                return _to_login(request)
            visit = Visit(request, app, session, login.member, login, now)
            try:
                response = handler(visit)
            except NotThere:
                return visit.page("not-there", 404, said="")
            except UsageError as error:
                return visit.page("amiss", 400, said=error.told(visit.say))
        _record(app, visit)
        return response

    return endpoint


def _record(app: App, visit: Visit) -> None:
    """What was read, and that they were here, in one transaction."""
    if not visit.entries and not sessions.is_stale(visit.login, visit.now):
        return
    with app.database.transaction() as session:
        sessions.seen(session, visit.login.id, visit.now)
        for event, detail in visit.entries:
            ledger.enter(session, visit.now, event, **detail)


def _to_login(request: Request) -> Response:
    """To the login page and back afterwards.

    A link from elsewhere, such as in a web mailer, comes without the session's cookie, which is
    SameSite=Strict: a page of ours that goes on to the same address by itself has it sent.
    """
    here = _here(request)
    if request.headers.get("sec-fetch-site") == "cross-site":
        return plain_page(request, "go-on", onward=here or "/")
    back = "" if here in ("", "/") else f"?back={quote(here, safe='/')}"
    return RedirectResponse(f"/login{back}", 303)


def _here(request: Request) -> str:
    """The path and query that were asked for, as they stand in a link; "" where no browser would
    come back to it. Not from request.url, which is made from the request's Host."""
    query = request.scope["query_string"].decode("latin-1")
    path = quote(request.scope["path"], safe="/")
    return safe_back(f"{path}?{query}" if query else path)
