"""A member at the web archive, for tests that leave out the browser: requests go to the ASGI
application of a real App that is opened for the web, logins by the mail that a worker delivers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2 as httpx
from starlette.testclient import TestClient

from gateway.administration import logins
from gateway.app import open_app, utc_now
from gateway.web.site import site
from tests.unit.group import Group

HOST = "https://archive.environet.example"


class Visitor:
    """One browser. `who`: None for nobody logged in."""

    def __init__(self, client: TestClient, group: Group) -> None:
        self.client = client
        self.group = group

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.client.get(path, follow_redirects=False, **how)

    def post(self, path: str, form: dict[str, str] | None = None, **how: Any) -> httpx.Response:
        return self.client.post(path, data=form or {}, follow_redirects=False, **how)

    def text(self, path: str) -> str:
        """A page that must be there."""
        response = self.get(path)
        assert response.status_code == 200, (path, response.status_code, response.text[:500])
        return response.text

    def ask(self, who: str) -> str:
        """Ask for a login mail, and open it: the path of its link."""
        answer = self.post("/login", {"address": self.group.officers[who].address})
        assert answer.status_code == 200, answer.text
        logins.answer_due(self.group.app)
        (mail,) = [one for one in self.group.deliver() if one.to == who and "/login/" in one.text]
        found = re.search(r"https://[^/]+(/login/\S+)", mail.text)
        assert found, mail.text
        return found[1]

    def log_in(self, who: str) -> Visitor:
        answer = self.post(self.ask(who))
        assert answer.status_code == 303, answer.text
        return self


Browsers = Callable[[str], Visitor]


@contextmanager
def browsers(group: Group) -> Iterator[Browsers]:
    """Each member's browser by their name, logged in once."""
    there: dict[str, Visitor] = {}
    with ExitStack() as ends:

        def of(who: str) -> Visitor:
            if who not in there:
                there[who] = ends.enter_context(browser(group)).log_in(who)
            return there[who]

        yield of


@contextmanager
def browser(group: Group) -> Iterator[Visitor]:
    """A new browser at a group's archive; its clock is the group's."""
    app = open_app(group.gateway.state, lambda: utc_now() + group.later, web=True)
    try:
        with TestClient(site(app), base_url=HOST) as client:
            yield Visitor(client, group)
    finally:
        app.close()
