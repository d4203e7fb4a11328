"""Health and metrics over HTTP, for this machine alone: GET /health and GET /metrics."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gateway.errors import UsageError
from gateway.monitoring.finding import Finding, State
from gateway.settings import split_host_port

_AT_ONCE: Final = 4
_WAITING: Final = 16
_BACKLOG: Final = 64
_SECONDS: Final = 10


class Listener:
    """Open from its making until `close`. address: (host, port) as bound. Raises UsageError."""

    def __init__(
        self,
        where: str,
        registry: CollectorRegistry,
        findings: Callable[[], Sequence[Finding]],
    ) -> None:
        host, port = split_host_port(where)
        self._server = _server(where, host, port)
        self._server.registry, self._server.findings = registry, findings
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True, name="monitoring"
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(HTTPServer):
    """A few requests at once; who comes then is dropped."""

    request_queue_size = _BACKLOG

    registry: CollectorRegistry
    findings: Callable[[], Sequence[Finding]]

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self._pool = ThreadPoolExecutor(_AT_ONCE, "monitoring")
        self._places = threading.BoundedSemaphore(_AT_ONCE + _WAITING)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._pool.submit(self._answer, request, client_address)

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # who asked is gone
        finally:
            self.shutdown_request(request)
            self._places.release()

    def server_close(self) -> None:
        super().server_close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS
    server_version, sys_version = "environet", ""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._say(HTTPStatus.OK, content_type, encode(self.server.registry))
            case "/health":
                found = self.server.findings()
                sound = all(one.state is not State.FAULT for one in found)
                status = HTTPStatus.OK if sound else HTTPStatus.SERVICE_UNAVAILABLE
                told = {
                    "ok": sound,
                    "checks": [
                        {"check": one.check, "state": one.state, "said": one.said} for one in found
                    ],
                }
                self._say(status, "application/json", json.dumps(told, indent=2).encode() + b"\n")
            case _:
                self._say(HTTPStatus.NOT_FOUND, "text/plain", b"/health or /metrics\n")

    def _say(self, status: HTTPStatus, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asks is no decision."""


def _server(where: str, host: str, port: int) -> _Server:
    kind = _Server6 if ipaddress.ip_address(host).version == 6 else _Server
    try:
        return kind((host, port))
    except OSError as error:
        raise UsageError(f"can't listen on {where} (monitoring): {error.strerror}") from None
