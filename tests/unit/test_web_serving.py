"""The web archive as a process: login mails at once, proxies, slow clients, an orderly end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx2 as httpx
import pytest
import uvicorn
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway.store.web_session import LoginRequest
from gateway.web import costly, patience
from gateway.web.costly import few_at_once
from gateway.web.patience import PatientProtocol
from tests.gateway import RunningGateway, short_place
from tests.officers import Officer
from tests.unit.over_http import OverHttp

WEB = {"web.listen": "127.0.0.1:0"}
AT_ONCE = 20.0
"""Seconds that a login mail may take on a busy machine; one on an idle one."""


@pytest.fixture(scope="module")
def founded() -> Iterator[RunningGateway]:
    with RunningGateway(short_place("web")) as made:
        made.found()
        yield made


@contextmanager
def running(founded: RunningGateway, **settings: object) -> Iterator[RunningGateway]:
    with RunningGateway(short_place("web"), settings={**WEB, **settings}) as gateway:
        gateway.found_as(founded)
        gateway.start()
        yield gateway


def web_alone(gateway: RunningGateway, listen: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "--state", str(gateway.state), "web"],
        env={**os.environ, "ENVIRONET_WEB_LISTEN": listen}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_login_mail_goes_out_at_once(founded: RunningGateway) -> None:
    with (
        running(founded) as gateway,
        Officer.create("sequoia", "Ana Lind", "ana@customs.example") as ana,
    ):
        gateway.add_member(ana)
        visitor = OverHttp(gateway)
        seconds = visitor.log_in(ana)
        assert seconds < AT_ONCE
        assert "Ana Lind" in visitor.send("GET", "/profile").text
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log_text


def clients_of(gateway: RunningGateway, *forwarded: str) -> int:
    """As how many clients those count who come with these addresses in X-Forwarded-For."""
    for number, value in enumerate(forwarded):
        answer = httpx.post(
            f"http://127.0.0.1:{gateway.web_port}/login",
            data={"address": f"n{number}@customs.example"}, headers={"X-Forwarded-For": value},
        )  # fmt: skip
        assert answer.status_code == 200
    with gateway.reading() as session:
        return len(set(session.scalars(select(LoginRequest.client_hash))))


def test_a_client_s_address_is_believed_from_the_proxy_alone(founded: RunningGateway) -> None:
    addresses = ("192.0.2.1", "192.0.2.2", "203.0.113.7, 192.0.2.1", "", "junk\tx")
    with running(founded) as gateway:
        assert clients_of(gateway, *addresses[:3]) == 2
        assert clients_of(gateway, *addresses[3:]) <= 4
    with running(founded, **{"web.proxies": "192.0.2.99"}) as gateway:
        assert clients_of(gateway, *addresses) == 1


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(founded: RunningGateway, name: signal.Signals) -> None:
    process = web_alone(founded, "127.0.0.1:0")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening: web 127.0.0.1:")
    with socket.create_connection(("127.0.0.1", int(line.rpartition(":")[2]))):
        process.send_signal(name)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_that_is_taken_is_said_to_be(founded: RunningGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        process = web_alone(founded, where)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"can't listen on {where} (web): Address already in use" in err
    process = web_alone(founded, "")
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "web.listen is empty" in err) == (1, True)


def test_it_does_not_outlive_the_gateway(founded: RunningGateway) -> None:
    with running(founded) as gateway:
        server = gateway._server
        assert server is not None
        (web,) = [pid for pid in gateway.workers() if b"--socket" in _command_line(pid)]
        server.send_signal(signal.SIGKILL)
        server.wait(30)
        deadline = time.monotonic() + 30
        while b"--socket" in _command_line(web):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""


# Slow clients


@contextmanager
def served(limit: int = 100) -> Iterator[tuple[str, int]]:
    """A page behind the protocol that the archive has: its address."""
    config = uvicorn.Config(
        PlainTextResponse("page"), http=PatientProtocol, log_config=None, limit_concurrency=limit,
        lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(30)


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def dribbled(client: socket.socket) -> bytes:
    """What comes until the other side closes, while a head is sent that never ends."""
    got = b""
    client.settimeout(0.05)
    try:
        client.sendall(b"GET / HTTP/1.1\r\nX")
        while True:
            client.sendall(b"X")
            with suppress(TimeoutError):
                part = client.recv(65536)
                if not part:
                    return got
                got += part
    except ConnectionError:
        return got


@pytest.mark.timeout(30)
@pytest.mark.parametrize("before", [b"", REQUEST, REQUEST * 3])
def test_who_dribbles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.5)
    with served() as address, socket.create_connection(address, 10) as client:
        client.sendall(before)
        assert dribbled(client).count(b"200 OK") == before.count(b"GET")


def test_who_asks_in_time_may_go_on_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 1.0)
    with served() as address, socket.create_connection(address, 10) as client:
        for _ in range(5):
            time.sleep(0.4)
            client.sendall(REQUEST)
            got = b""
            while not got.endswith(b"page"):
                piece = client.recv(65536)
                assert piece, "the connection was closed"
                got += piece


def test_more_connections_than_there_may_be_are_told_so() -> None:
    with served(limit=3) as address:
        idle = [socket.create_connection(address, 10) for _ in range(3)]
        answer = httpx.get(f"http://{address[0]}:{address[1]}/")
        for one in idle:
            one.close()
    assert answer.status_code == 503


def test_costly_pages_are_a_few_at_once_and_keep_no_other_waiting() -> None:
    may_end, running = threading.Event(), threading.Semaphore(0)

    def slow(_: Request) -> PlainTextResponse:
        running.release()
        assert may_end.wait(20)
        return PlainTextResponse("slow")

    made = Starlette(
        routes=[
            Route("/slow", few_at_once(slow)),
            Route("/quick", lambda _: PlainTextResponse("quick")),
        ]
    )
    made.state.costly = costly.limiter()
    with TestClient(made) as client, ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(client.get, "/slow") for _ in range(20)]
        for _ in range(costly.MOST_AT_ONCE):
            assert running.acquire(timeout=20)
        # By now each of them is asked for, or will be while this is answered.
        assert [client.get("/quick").text for _ in range(50)] == ["quick"] * 50
        assert not running.acquire(blocking=False)
        may_end.set()
        assert [one.result(20).text for one in asked] == ["slow"] * 20
