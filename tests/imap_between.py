"""A cable between the gateway and an IMAP server, which does something at a chosen moment of their
talk: cuts it, kills somebody, tells a lie."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from tests.mail_servers import HOST

MOMENTS = ("before", "within", "after", "whole")


def nothing() -> None:
    """The cable is cut, and that is all."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When `act` is called, and the connection cut after that.

    command: what the client's line has in it. at, one of MOMENTS: "before" the server sees it;
    "within" its answer, of which the client has got a part; "after" it, of which the client has got
    nothing; "whole": the client has got all. act: may kill the client. lasting: not just once.
    """

    command: bytes
    at: str
    act: Callable[[], None] = nothing
    lasting: bool = False


class Between:
    """port: where the client connects to. told: what the client gets to see of each piece that the
    server says; asked: the other way."""

    def __init__(self, server_port: int) -> None:
        self.moment: Moment | None = None
        self.told: Callable[[bytes], bytes] = bytes
        self.asked: Callable[[bytes], bytes] = bytes
        self.connections = 0
        self._server_port = server_port
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join()

    def cut(self) -> None:
        """Cut what is connected now."""
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        talks = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                talks.append(threading.Thread(target=self._talk, args=(client,)))
                talks[-1].start()
        for talk in talks:
            talk.join()

    def _talk(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((HOST, self._server_port))
        except OSError:  # it is stopped
            client.close()
            return
        with client, server:
            self._open |= {client, server}
            said = _Said()
            answers = threading.Thread(target=self._pass_answers, args=(server, client, said))
            answers.start()
            self._pass_commands(client, server, said)
            answers.join()
            self._open -= {client, server}

    def _pass_commands(self, client: socket.socket, server: socket.socket, said: _Said) -> None:
        with suppress(OSError):
            while chunk := client.recv(65536):
                moment = self.moment
                if moment is not None and moment.command in chunk:
                    if moment.at == "before":
                        self._act(moment)
                        break
                    said.last = moment
                server.sendall(self.asked(chunk))
        _end(client, server)

    def _pass_answers(self, server: socket.socket, client: socket.socket, said: _Said) -> None:
        with suppress(OSError):
            while chunk := server.recv(65536):
                moment = said.last
                if moment is not None and moment.at in ("after", "within"):
                    client.sendall(chunk[: len(chunk) // 2] if moment.at == "within" else b"")
                    self._act(moment)
                    break
                client.sendall(self.told(chunk))
                if moment is not None:
                    self._act(moment)
                    break
        _end(client, server)

    def _act(self, moment: Moment) -> None:
        moment.act()
        if not moment.lasting:
            self.moment = None


@dataclass(slots=True)
class _Said:
    """last: the moment that the client's last line was for."""

    last: Moment | None = None


def _end(*ends: socket.socket) -> None:
    for one in ends:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
