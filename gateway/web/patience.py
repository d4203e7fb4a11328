"""How long a client may take to ask: uvicorn alone waits for as long as bytes dribble in."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 20.0
"""From a connection's beginning, or a response's end, until the next request's head is there."""


class PatientProtocol(H11Protocol):
    """A connection that ends where no request comes of it."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wait_no_more()

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_asked():
            self._wait_no_more()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_asked():  # what was sent ahead of time may be under way already
            self._wait()

    def _is_asked(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._wait_no_more()
        self._deadline = self.loop.call_later(SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        # A long response may still be on its way; uvicorn closes the connection behind it.
        if self.transport.get_write_buffer_size() == 0:
            self.transport.abort()
