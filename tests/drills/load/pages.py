"""Load on the web archive: clients that dawdle, and floods of login requests."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections import Counter
from urllib.parse import urlencode

from tests.drills.load.clients import Crowd, Talk
from tests.drills.load.doors import Make
from tests.drills.load.ground import Ground
from tests.drills.load.row import Row

SETTINGS = {"web.listen": "127.0.0.1:0", "web.processes": 2}
PAGES = 10
ASKING = 8
ASKED_FOR = 50
PAUSE_SECONDS = 3.0


def slow_readers(make: Make, size: float) -> Row:
    number = int(300 * size)
    row = Row(
        "web: slow clients",
        f"{number} clients of the web archive: silent; a byte of a request a second; the half of a "
        "form. Seconds are an honest client's for a page.",
    )
    with make(**SETTINGS) as ground:
        ground.start()
        row.before = _pages(ground, row)
        ground.forget_peaks()
        acts = (_silent, _dribbling, _half_a_form)
        with Crowd(
            ground.web_port, number, acts, addresses=number, again=1, greeted=False
        ) as crowd:
            time.sleep(PAUSE_SECONDS)
            row.during = _pages(ground, row)
            row.told.append(f"connections at once: {crowd.most_held}")
        row.server, row.worker, row.bound = ground.memory()
    return row


def login_requests(make: Make, size: float) -> Row:
    number = ASKING * ASKED_FOR
    row = Row(
        "web: logins",
        f"{number} requests for login mails, {ASKING} at once: half of them from one client with "
        "many addresses, half from many clients with a member's.",
    )
    with make(**SETTINGS) as ground:
        ground.start()
        row.before = _pages(ground, row)
        ground.forget_peaks()
        threads = [
            threading.Thread(target=_ask, args=(ground, at, row.replies)) for at in range(ASKING)
        ]
        for one in threads:
            one.start()
        while any(one.is_alive() for one in threads):
            row.during += _pages(ground, row, 1)
        time.sleep(PAUSE_SECONDS)
        ground.wait_until_delivered()
        mails = sum(1 for one in ground.mail_server.handed)
        row.told.append(f"login mails sent: {mails}")
        if mails > 5:
            row.wrong.append("a member got more login mails than an address may be asked for")
        row.server, row.worker, row.bound = ground.memory()
    return row


def _pages(ground: Ground, row: Row, number: int = PAGES) -> list[float]:
    """Seconds that so many pages took."""
    seconds = []
    for _ in range(number):
        begun = time.monotonic()
        status = _request(ground, "GET", "/login")
        seconds.append(time.monotonic() - begun)
        if status != 200:
            row.wrong.append(f"an honest client was answered {status}")
        time.sleep(0.1)
    return seconds


def _ask(ground: Ground, at: int, counted: Counter[str]) -> None:
    for number in range(ASKED_FOR):
        unlike = at * ASKED_FOR + number
        if at % 2:
            address, client = f"somebody{unlike}@elsewhere.example", "192.0.2.1"
        else:
            address, client = ground.author.address, f"198.51.{unlike // 250}.{unlike % 250 + 1}"
        status = _request(ground, "POST", "/login", urlencode({"address": address}), client)
        counted[str(status)] += 1


def _request(ground: Ground, method: str, path: str, form: str = "", client: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", ground.web_port, timeout=60)
    fields = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    if client:
        fields["X-Forwarded-For"] = client
    try:
        connection.request(method, path, form or None, fields)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


async def _silent(talk: Talk) -> None:
    await asyncio.sleep(3600)


async def _dribbling(talk: Talk) -> None:
    await talk.put(b"GET /login HTTP/1.1\r\nX-Slow: ")
    while True:
        await talk.put(b"x")
        await asyncio.sleep(1)


async def _half_a_form(talk: Talk) -> None:
    await talk.put(b"POST /login HTTP/1.1\r\nHost: archive.environet.example\r\n"
                   b"Content-Length: 30\r\n\r\naddress=")  # fmt: skip
    await asyncio.sleep(3600)
