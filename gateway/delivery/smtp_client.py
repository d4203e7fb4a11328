"""SMTP to the configured mail server: one round trip a copy (RFC 2920), several connections.

The content of a copy and MAIL, RCPT, DATA of the next travel as one group. The next copy's
content follows only when the outcome of the one before is recorded.
"""

from __future__ import annotations

import asyncio
import ssl

from gateway.delivery.handoff import (
    Copies,
    Copy,
    GroupCommit,
    Live,
    Lost,
    Record,
    Supply,
    always,
    share,
)
from gateway.delivery.smtp_wire import Timeouts, Wire, open_wire

PATIENCE = 3  # so many connections in a row that carried no copy, and a lane gives up


class _CalledBack(Exception):
    """A copy is not wanted any more, and the server waits for its content."""


class SmtpHandoff:
    """The configured mail server; connections stay open between deliveries for a while."""

    def __init__(
        self,
        host: str,
        port: int,
        hostname: str,
        *,
        connections: int = 4,
        tls: ssl.SSLContext | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._host, self._port, self._hostname, self._tls = host, port, hostname, tls
        self._connections = connections
        self._timeouts = timeouts or Timeouts()
        self._idle: dict[Wire, asyncio.TimerHandle] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._is_lost = False

    async def deliver(self, copies: Copies, record: Record, live: Live = always) -> None:
        async def lane(supply: Supply, commit: GroupCommit) -> Lost | None:
            return await _Lane(self, supply, commit).run()

        await share(copies, record, live, lane, self._connections)

    async def check(self) -> None:
        if self._is_lost:
            self.keep(await self.lend())

    async def close(self) -> None:
        for wire in list(self._idle):
            self._dismiss(wire)
        await asyncio.gather(*self._farewells)

    async def lend(self) -> Wire:
        """A connection past EHLO, kept or new; raises Lost when the server gives none."""
        while self._idle:
            wire, expiry = self._idle.popitem()
            expiry.cancel()
            if wire.quiet:
                return wire
            wire.abort()
        self._is_lost = True
        wire = await open_wire(self._host, self._port, self._hostname, self._tls, self._timeouts)
        self._is_lost = False
        return wire

    def keep(self, wire: Wire) -> None:
        """Take back a connection between two transactions."""
        loop = asyncio.get_running_loop()
        self._idle[wire] = loop.call_later(self._timeouts.idle, self._dismiss, wire)

    def _dismiss(self, wire: Wire) -> None:
        self._idle.pop(wire).cancel()
        farewell = asyncio.create_task(wire.quit())
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)


class _Lane:
    """One connection at a time, through which one copy after the other goes."""

    def __init__(self, server: SmtpHandoff, supply: Supply, commit: GroupCommit) -> None:
        self._server = server
        self._supply = supply
        self._commit = commit
        self._copy: Copy | None = None  # taken from the supply, its content not sent yet

    async def run(self) -> Lost | None:
        """Work until there are no more copies; Lost when the server can't be had any longer.

        A copy whose connection broke before its content was whole gets a second try on a new
        connection; only a copy that was the first on a connection is deferred by its loss.
        """
        failures = 0
        self._copy = await self._supply.take()
        while (first := self._copy) is not None:
            try:
                wire = await self._server.lend()
            except Lost as lost:
                self._supply.give_back(first)
                return lost
            kept = wire.served > 0
            try:
                await self._converse(wire)
                self._server.keep(wire)
            except _CalledBack:
                # RFC 5321 4.1.1.4: only the end of the connection takes back a DATA.
                wire.abort()
                failures = 0
                self._copy = await self._supply.take()
            except Lost as lost:
                failures = 0 if wire.served else failures + 1
                if self._copy is first and not kept:
                    await self._commit(lost.deferred(first))
                    self._copy = None
                if failures == PATIENCE:
                    if self._copy is not None:
                        self._supply.give_back(self._copy)
                    return lost
                if self._copy is None:
                    self._copy = await self._supply.take()
            except BaseException:
                wire.abort()
                raise
        return None

    async def _converse(self, wire: Wire) -> None:
        """One transaction after the other until there are no more copies; raises Lost."""
        announced = False
        while (copy := self._copy) is not None:
            if objection := wire.objection(copy):
                await self._commit(objection)
                self._copy = await self._supply.take()
                continue
            if not announced:
                wire.announce(copy)
            announced = False
            following: Copy | None = None
            outcome = await wire.agree(copy)
            if outcome is None:
                if not copy.wanted():
                    raise _CalledBack
                # Without pipelining the next copy waits: another lane may be free for it.
                following = self._supply.ready() if wire.pipelining else None
                announced = following is not None and wire.objection(following) is None
                try:
                    outcome = await wire.finish(copy, following if announced else None)
                except Lost:
                    if following:
                        self._supply.give_back(following)
                    raise
            self._copy = following
            await self._commit(outcome)
            if wire.lost:
                raise wire.lost
            if self._copy is None:
                self._copy = await self._supply.take()
