"""A look into the demonstration's web archive, as a browser without pictures or scripts has it."""

from __future__ import annotations

import re
from http.client import HTTPConnection, HTTPResponse
from http.cookies import SimpleCookie
from urllib.parse import quote, urlsplit


class Visit:
    """One browser at an http archive. It keeps cookies, also those for https alone, as browsers do
    for localhost."""

    def __init__(self, archive: str) -> None:
        self._place = urlsplit(archive).netloc
        self._cookies: dict[str, str] = {}

    def log_in(self, link: str) -> None:
        """Open a login mail's link, and press its button."""
        path = urlsplit(link).path
        self.page(path)
        answer, _ = self._ask("POST", path)
        if answer.status != 303:
            raise SystemExit(f"The login's button was answered {answer.status}.")

    def page(self, path: str) -> str:
        answer, text = self._ask("GET", path)
        if answer.status != 200:
            raise SystemExit(f"{path} was answered {answer.status}.")
        return text

    def search(self, query: str) -> list[str]:
        """The first page of what is found: paths of postings."""
        text = self.page(f"/search?q={quote(query)}")
        return list(dict.fromkeys(re.findall(r'href="(/[A-Z][A-Z0-9]*/[0-9]+)[#"]', text)))

    def _ask(self, method: str, path: str) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection(self._place, timeout=30)
        try:
            kept = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            connection.request(method, path, headers={"Cookie": kept} if kept else {})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        for one in answer.headers.get_all("Set-Cookie", []):
            self._cookies |= {name: each.value for name, each in SimpleCookie(one).items()}
        return answer, text
