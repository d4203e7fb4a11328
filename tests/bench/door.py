"""The door: what a 250 waits for, part by part, and how many postings a second are taken."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any
from unittest.mock import patch

from gateway import dispatch
from gateway.app import App
from gateway.crypto.keyring import Keyring
from gateway.message.envelope import Envelope
from gateway.posting import author as authors
from gateway.posting import evidence, pipeline
from tests.bench import floors, gateways
from tests.bench.smtp_floor import smtp_sink
from tests.officers import Officer

TRIALS = 5
_PARTS: tuple[tuple[str, Any, str], ...] = (
    ("gpg unwrap", Keyring, "unwrap"),
    ("verify", authors, "examine"),
    ("seal", evidence, "seal"),
    ("judge", pipeline, "judge"),
)


def parts(app: App, author: Officer, size: int) -> dict[str, float]:
    """Seconds of each part of the way from DATA to 250, medians; no server may run.

    rest of judging: parsing and checks; keep: the transaction with all entries of the outbox.
    """
    spent: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as ends:
        for name, where, attribute in _PARTS:
            timed = _timed(getattr(where, attribute), spent[name])
            ends.enter_context(patch.object(where, attribute, timed))
        for _ in range(TRIALS):
            mail = gateways.written(app, author, size)
            envelope = Envelope(author.address, (gateways.LIST,), mail, "127.0.0.1", app.clock())
            started = time.perf_counter()
            dispatch.submit(app, envelope, 1 << 28)
            spent["all"].append(time.perf_counter() - started)
            gateways.forget_outbox(app)
    found = {name: statistics.median(times) for name, times in spent.items() if times}
    judge = found.pop("judge", 0.0)
    inner = sum(found.get(name, 0.0) for name in ("gpg unwrap", "verify", "seal"))
    whole = found.pop("all")
    return {"all": whole, **found, "rest of judging": judge - inner, "keep": whole - judge}


def _timed(function: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            times.append(time.perf_counter() - started)

    return timed


def run(clients: int, mails: int) -> None:
    """Print postings a second that several clients at once get taken, to five subscribers."""
    from tests.bench.fanout import UNSIGNED, crowd

    with (
        crowd(5) as (place, author, people),
        smtp_sink() as sink,
        gateways.founded(place / "door", author, people, sink) as app,
    ):
        written = [gateways.written(app, author, 2000) for _ in range(mails)]
        with gateways.served(app.state, 1, **UNSIGNED) as serving:
            gateways.sent(serving.port, author.address, gateways.written(app, author, 100))
            before = gateways.cpu(serving.pid)
            started = time.perf_counter()
            threads = [
                threading.Thread(target=_send, args=(serving.port, author, written[at::clients]))
                for at in range(clients)
            ]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            seconds = time.perf_counter() - started
            server = gateways.cpu(serving.pid) - before
            gateways.delivered(app)
    print(f"\n{clients} clients at once, 2,000 bytes to 5 subscribers: {mails / seconds:.0f}"
          f" postings a second; {server / mails * 1e3:.1f} ms of the server's CPU each, of"
          f" {floors.PROCESSORS} processors", flush=True)  # fmt: skip


def _send(port: int, author: Officer, mails: list[bytes]) -> None:
    for one in mails:
        gateways.sent(port, author.address, one)
