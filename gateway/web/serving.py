"""`environet web`: the archive over HTTP, behind a proxy that has the certificate."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn

from gateway.app import App
from gateway.config import split_host_port
from gateway.errors import UsageError
from gateway.web.site import site

_MOST_AT_ONCE = 200
_GRACE_SECONDS = 10


def serve(app: App, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. `announce` is told the address once it is open."""
    _ = app.vault  # now and not at the first page: without it nothing can be shown
    host, port = split_host_port(app.config.web.listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            where = app.config.web.listen
            raise UsageError(f"can't listen on {where} (web): {error.strerror}") from None
        bound = listener.getsockname()
        config = uvicorn.Config(
            site(app),
            log_config=None,
            access_log=False,  # its lines would say who reads what; the ledger has that
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=app.config.web.proxies,
            limit_concurrency=_MOST_AT_ONCE,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            h11_max_incomplete_event_size=32 * 1024,
        )
        announce(f"listening: web {bound[0]}:{bound[1]}")
        uvicorn.Server(config).run(sockets=[listener])


def end_with(feed: int) -> None:
    """Stop when a pipe's other end is closed: whoever started this is gone."""

    def wait() -> None:
        while os.read(feed, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="fed").start()
