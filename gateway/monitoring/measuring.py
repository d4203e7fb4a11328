"""Measuring what the server does, from outside: its parts with a clock around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import App
from gateway.crypto.keyring import Keyring
from gateway.errors import OUR_FAULT, Reply
from gateway.intake.door import Reception, combine
from gateway.message.envelope import Envelope
from gateway.monitoring.board import Board
from gateway.monitoring.metrics import Metrics
from gateway.store.database import Database

Took = Callable[[float], None]
"""Told seconds."""


class TimedKeyring(Keyring):
    """A keyring that tells how long opening a mail took. It is the other one in all else."""

    def __init__(self, of: Keyring, took: Took) -> None:
        vars(self).update(vars(of))
        self._took = took

    def unwrap(self, message: bytes, max_output: int) -> bytes:
        begun = time.perf_counter()
        try:
            return super().unwrap(message, max_output)
        finally:
            self._took(time.perf_counter() - begun)


class TimedDatabase(Database):
    """A database that tells how long each commit took. It is the other one in all else."""

    def __init__(self, of: Database, took: Took) -> None:
        vars(self).update(vars(of))
        self._took = took

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with super().transaction() as session:
            yield session
            begun = time.perf_counter()
        self._took(time.perf_counter() - begun)


def measured(app: App, metrics: Metrics) -> App:
    """The same App, whose openings and commits are measured."""
    return replace(
        app,
        database=TimedDatabase(app.database, metrics.commit.observe),
        keyring=TimedKeyring(app.keyring, metrics.opening.observe),
    )


class MeasuredReception:
    """Who stands behind the doors and decides, with what comes of it counted."""

    def __init__(self, behind: Reception, metrics: Metrics) -> None:
        self._behind, self._metrics = behind, metrics

    async def recipient(self, address: str) -> Reply | None:
        refusal = await self._behind.recipient(address)
        if refusal is not None:
            self._metrics.recipients.labels(code=str(refusal.code)).inc()
        return refusal

    async def submit(self, envelope: Envelope) -> tuple[Reply, ...]:
        begun, told = time.perf_counter(), OUR_FAULT
        try:
            replies = await self._behind.submit(envelope)
            told = combine(replies)
        finally:
            self._metrics.deciding.observe(time.perf_counter() - begun)
            self._metrics.mails.labels(code=str(told.code)).inc()
        return replies


def counted(site: ASGIApp, board: Board) -> ASGIApp:
    """The web archive, whose answers are counted."""

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await site(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await site(scope, receive, watched)
        finally:
            board.request(status, time.perf_counter() - begun)

    return counting
