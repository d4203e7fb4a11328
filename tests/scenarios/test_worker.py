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
from gateway.delivery.handoff import Copies, Copy, Live, Lost, Outcome, Record, always
from gateway.delivery.worker import Worker
from gateway.errors import Unavailable
from gateway.message.envelope import Envelope
from gateway.posting import pipeline
from gateway.store.leasing import Lease
from gateway.store.posting import Posting
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"


@dataclass
class Hand:
    """A hand-off that says what it is told to, and keeps what it was given."""

    state: str = "sent"
    seen: list[Copy] = field(default_factory=list)
    lost: Lost | None = None

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

    async def check(self) -> None:
        if self.lost is not None:
            raise self.lost

    async def close(self) -> None:
        pass


@dataclass
class Sleeper(Hand):
    """Stands still after the first copy, for longer than the lease lasts by the worker's clock."""

    worker: Worker | None = None

    async def deliver(self, copies: Copies, record: Record, live: Live = always) -> None:
        def once() -> bool:
            if self.worker is not None and self.seen:
                self.worker._renewed_at = float("-inf")
                self.worker = None
            return live()

        await super().deliver(copies, record, once)


class Unheard(Worker):
    """Its first lease is committed, and the answer to the commit lost."""

    def _lease(self) -> Lease | None:
        lease = super()._lease()
        if not self._fault:
            raise Unavailable("database: gone")
        return lease


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
    assert sorted((copy.recipient, copy.sender == "") for copy in hand.seen) == [
        (ana.address, False),
        (bo.address, True),
    ]
    assert gateway.totals() == {"sent": 2, "dropped": 1}
    app.close()


def test_without_a_way_out_what_is_due_is_left_to_others(
    place: tuple[RunningGateway, Officer],
) -> None:
    gateway, ana = place
    app = open_app(gateway.state)
    submit(app, gateway, ana, "first")
    cut_off, other = Hand(lost=Lost("cannot reach the mail server")), Hand()
    asyncio.run(Worker(app, "v", cut_off).drain())
    assert gateway.totals() == {"waiting": 1}
    asyncio.run(Worker(app, "w", other).drain())
    assert (len(cut_off.seen), len(other.seen)) == (0, 1)
    app.close()


def test_a_lease_of_which_nothing_was_heard_is_no_longer_held(
    place: tuple[RunningGateway, Officer],
) -> None:
    gateway, ana = place
    app = open_app(gateway.state)
    submit(app, gateway, ana, "first")
    hand = Hand()
    worker = Unheard(app, "w", hand)
    asyncio.run(worker.drain())
    assert gateway.totals() == {"leased": 1}
    asyncio.run(worker.drain())
    assert (len(hand.seen), gateway.totals()) == (1, {"sent": 1})
    app.close()


def test_what_is_left_of_a_lease_that_ran_out_is_no_longer_held(
    place: tuple[RunningGateway, Officer],
) -> None:
    gateway, ana = place
    app = open_app(gateway.state)
    with Officer.create("sequoia", "Bo Berg", "bo@police.example") as bo:
        gateway.add_member(bo)
    submit(app, gateway, ana, "first")
    hand = Sleeper()
    hand.worker = worker = Worker(app, "w", hand)
    asyncio.run(worker.drain())
    assert sorted(copy.recipient for copy in hand.seen) == [ana.address, bo.address]
    assert gateway.totals() == {"sent": 2}
    app.close()
