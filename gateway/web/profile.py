"""One's own page: particulars, topics, certificate, sessions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from gateway.notices.words import word
from gateway.store import certificate as certificates
from gateway.store import mailing_list
from gateway.store.mailing_list import MailingList
from gateway.store.web_session import WebSession
from gateway.web import sessions
from gateway.web.visit import Visit, for_members

_BROWSERS = (
    # Each but the first calls itself the next ones too.
    ("Firefox", "Firefox/|FxiOS/"),
    ("Edge", "Edg(e|A|iOS)?/"),
    ("Opera", "OPR/"),
    ("Samsung Internet", "SamsungBrowser/"),
    ("Chrome", "Chrome/|CriOS/|Chromium/"),
    ("Safari", "Safari/"),
)
_SYSTEMS = (
    ("iPad", "iPad"),
    ("iPhone", "iPhone"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("macOS", "Mac OS X|Macintosh"),
    ("ChromeOS", "CrOS"),
    ("Linux", "Linux|X11"),
)


@dataclass(frozen=True, slots=True)
class TopicRow:
    """A topic and whether the member gets it."""

    topic: MailingList
    wanted: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A login that is under way. browser: in words, "" where it can't be told."""

    login: WebSession
    browser: str
    is_this: bool


def profile(visit: Visit) -> Response:
    """All that the gateway has about the reader."""
    session, member = visit.session, visit.member
    off = {one.list_id for one in member.ticked_off}
    letters = {one.id: one.letter for one in mailing_list.all_lists(session)}
    none_until = member.none_until
    return visit.page(
        "profile",
        topics=[
            TopicRow(one, one.id not in off) for one in visit.topics() if one.closed_at is None
        ],
        roles=[
            f"{word(visit.language, one.role)} ({letters[one.list_id]})"
            if one.list_id in letters
            else word(visit.language, one.role)
            for one in member.roles
        ],
        certificate=certificates.of(session, member),
        none_until=none_until if none_until is not None and none_until > visit.now else None,
        logins=[
            SessionRow(one, browser(sessions.agent(visit.app, one)), one.id == visit.login.id)
            for one in sessions.of_member(session, member.id, visit.now)
        ],
    )


def browser(agent: str) -> str:
    """What a browser calls itself (RFC 9110 10.1.5), in words: "Firefox, Linux"."""
    found = (
        next((name for name, sign in signs if re.search(sign, agent)), "")
        for signs in (_BROWSERS, _SYSTEMS)
    )
    return ", ".join(one for one in found if one)


ROUTES = (Route("/profile", for_members(profile)),)
