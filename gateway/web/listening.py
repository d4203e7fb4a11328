"""The socket of the web archive, which several processes may take connections from."""

from __future__ import annotations

import socket

from gateway.config import ConfigError
from gateway.errors import UsageError
from gateway.settings import split_host_port

_BACKLOG = 256
_STALLED_SECONDS = 60


def listening(where: str) -> socket.socket:
    """A socket that takes connections from now on. where: "HOST:PORT". Raises UsageError."""
    if not where:
        raise ConfigError(["web.listen is empty: the web archive has no address to listen on"])
    host, port = split_host_port(where)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Whoever takes nothing of a response for so long is gone (tcp(7)); connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_SECONDS * 1000)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(f"can't listen on {where} (web): {error.strerror}") from None
    return listener


def described(listener: socket.socket) -> str:
    """The line that tells where it listens."""
    host, port = listener.getsockname()[:2]
    return f"listening: web {host}:{port}"
