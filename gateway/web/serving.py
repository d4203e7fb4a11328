"""`environet web`: the archive over HTTP, behind a proxy that has the certificate."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from gateway.app import App
from gateway.web import patience
from gateway.web.listening import described, listening
from gateway.web.patience import PatientProtocol
from gateway.web.site import site

_MOST_AT_ONCE = 200
"""Connections; who comes then is answered 503."""
_MOST_HEAD_BYTES = 32 * 1024
_GRACE_SECONDS = 8
"""For responses under way when it is to stop: less than `serve` waits for its processes."""


def serve(
    app: App,
    announce: Callable[[str], None],
    descriptor: int | None = None,
    around: Callable[[ASGIApp], ASGIApp] = lambda made: made,
) -> None:
    """Run until SIGTERM or SIGINT. `announce` is told the address once it is open. descriptor: of a
    socket that listens already, and whose address was announced. around: put around the archive, to
    count its answers. Raises UsageError where it can't be opened."""
    _ = app.vault  # now and not at the first page: without it nothing can be shown
    with (
        listening(app.config.web.listen) if descriptor is None else socket.socket(fileno=descriptor)
    ) as listener:
        config = uvicorn.Config(
            around(site(app)),
            http=PatientProtocol,
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,  # its lines would say who reads what; the ledger has that
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=app.config.web.proxies,
            limit_concurrency=_MOST_AT_ONCE,
            timeout_keep_alive=int(patience.SECONDS),
            timeout_graceful_shutdown=_GRACE_SECONDS,
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
        )
        # uvicorn raises the signal that ended it once more, when all is done.
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: sys.exit(0))
        told = described(listener) if descriptor is None else ""
        _Server(config, lambda: announce(told) if told else None).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's, which tells when it takes requests, and signals."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()


def end_with(feed: int) -> None:
    """Stop when a pipe's other end is closed: whoever started this is gone."""

    def wait() -> None:
        while os.read(feed, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="fed").start()
