"""A browser at the web archive of a running gateway, by real HTTP: without TLS, so that cookies,
which are Secure, are carried here."""

from __future__ import annotations

import re
import time

import httpx2 as httpx

from tests.gateway import PATIENCE_SECONDS, RunningGateway
from tests.officers import Officer


class OverHttp:
    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.url = f"http://127.0.0.1:{gateway.web_port}"
        self.cookies: dict[str, str] = {}

    def send(self, method: str, path: str, **how: object) -> httpx.Response:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies, **how.pop("headers", {})}  # type: ignore[dict-item]
        answer = httpx.request(method, self.url + path, headers=headers, timeout=30, **how)  # type: ignore[arg-type]
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def log_in(self, officer: Officer) -> float:
        """Seconds from asking for the mail until it was there."""
        before = len(self.gateway.copies(officer.address))
        start = time.monotonic()
        assert self.send("POST", "/login", data={"address": officer.address}).status_code == 200
        while len(self.gateway.copies(officer.address)) == before:
            assert time.monotonic() < start + PATIENCE_SECONDS, self.gateway.log_text
            time.sleep(0.02)
        seconds = time.monotonic() - start
        mail = officer.read(self.gateway.copies(officer.address)[-1]).text
        link = re.search(r"https://[^/]+(/login/\S+)", mail)
        assert link, mail
        assert self.send("POST", link[1]).status_code == 303
        return seconds
