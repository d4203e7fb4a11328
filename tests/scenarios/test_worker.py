"""The delivery worker on a real state: one posting's fault is not another's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import isawaitable

import pytest

from gateway import dispatch
from gateway.app import App, open_app, utc_now
from gateway.delivery.handoff import Copies, Copy, Live, Outcome, Record, always
from gateway.delivery.worker import Worker
from gateway.message.envelope import Envelope
from gateway.posting import pipeline
from gateway.store.posting import Posting
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"


@dataclass
class Hand:
    """A hand-off that says what it is told to, and keeps what it was given."""

    state: str = "sent"
    seen: list[Copy] = field(default_factory=list)

    async def deliver(self, copies: Copies, record: Record, live: Live = always) -> None:
        assert isinstance(copies, Iterable)
        for copy in copies:
            if not live():
                return
            self.seen.append(copy)
            told: Sequence[Outcome] = [Outcome(copy.id, self.state, 450, "said so")]  # type: ignore[arg-type]
            done = record(told)
            if isawaitable(done):
                await done

    async def close(self) -> None:
        pass


@pytest.fixture
def place() -> Iterator[tuple[RunningGateway, Officer]]:
    with (
        RunningGateway(short_place("work")) as gateway,
        Officer.create("sequoia", "Ana Lind", "ana@customs.example") as ana,
    ):
        gateway.found()
        gateway.add_member(ana)
        yield gateway, ana


def submit(app: App, gateway: RunningGateway, author: Officer, subject: str) -> None:
    certificate = gateway.certificate(LIST)
    mail = author.write(to=[LIST], certificates=[certificate], subject=subject, text="Ivory.\n")
    envelope = Envelope(author.address, (LIST,), mail, "127.0.0.1", app.clock())
    assert dispatch.submit(app, envelope, 1 << 26) == (pipeline.ACCEPTED,)


def test_a_posting_that_can_not_be_opened_does_not_stop_the_next(
    place: tuple[RunningGateway, Officer],
) -> None:
    gateway, ana = place
    app = open_app(gateway.state)
    submit(app, gateway, ana, "first")
    submit(app, gateway, ana, "second")
    with app.database.transaction() as session:
        session.get_one(Posting, 1).submission = b"damaged"
    hand = Hand()
    asyncio.run(Worker(app, "w", hand).drain())
    assert len(hand.seen) == 1
    assert gateway.totals() == {"sent": 1, "waiting": 1}
    app.close()


def test_failures_are_tried_ever_later_and_parked_at_last(
    place: tuple[RunningGateway, Officer],
) -> None:
    gateway, ana = place
    now = utc_now()
    app = open_app(gateway.state, lambda: now)
    submit(app, gateway, ana, "first")
    hand = Hand("deferred")
    worker = Worker(app, "w", hand)
    waits = []
    while gateway.totals() == {"waiting": 1}:
        tried = len(hand.seen)
        asyncio.run(worker.drain())
        start = now
        while len(hand.seen) == tried and now - start < timedelta(days=1):
            now += timedelta(seconds=5)
            asyncio.run(worker.drain())
        waits.append((now - start).total_seconds())
        assert len(waits) < 1000
        if waits[-1] >= 3600:
            now += timedelta(days=5)
    assert waits[1:5] == sorted(waits[1:5])
    assert gateway.totals() == {"parked": 1}
    assert "450 said so" in gateway.environet("queue")
    app.close()


def test_who_is_suspended_after_the_posting_gets_no_copy(
    place: tuple[RunningGateway, Officer],
) -> None:
    gateway, ana = place
    app = open_app(gateway.state)
    with Officer.create("sequoia", "Bo Berg", "bo@police.example") as bo:
        gateway.add_member(bo)
        submit(app, gateway, ana, "first")
        gateway.environet("member", "suspend", bo.address)
    hand = Hand()
    asyncio.run(Worker(app, "w", hand).drain())
    # Bo is told of it by a notice, which has the null sender.
    assert [(copy.recipient, copy.sender == "") for copy in hand.seen] == [
        (ana.address, False),
        (bo.address, True),
    ]
    assert gateway.totals() == {"sent": 2, "dropped": 1}
    app.close()
