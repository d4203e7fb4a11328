"""Two machines with one database: what each has to have, and what is done where one has not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import select

from gateway import dispatch
from gateway.app import App, open_app, utc_now
from gateway.delivery import machine
from gateway.delivery.preparing import Preparer, Work
from gateway.delivery.worker import Worker
from gateway.errors import Unavailable
from gateway.message.envelope import Envelope
from gateway.posting import pipeline
from gateway.store import clock, leasing
from gateway.store.leasing import Lease
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.upkeep import rounds
from tests import postgresql
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer
from tests.unit.group import Hand

LIST = f"wildlife@{DOMAIN}"
LEASE = timedelta(minutes=2)

pytestmark = pytest.mark.skipif(
    postgresql.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql"
)


class Machines:
    """first: where the gateway was founded; second: one more. Both on PostgreSQL."""

    def __init__(self, first: RunningGateway, second: RunningGateway, ana: Officer) -> None:
        self.first, self.second, self.ana = first, second, ana

    def copy_keys(self) -> None:
        home = self.second.state / "gnupg"
        shutil.rmtree(home, ignore_errors=True)
        sockets = shutil.ignore_patterns("S.*", "*.lock")
        shutil.copytree(self.first.state / "gnupg", home, ignore=sockets)

    def submit(self, app: App, address: str = LIST, subject: str = "Ivory") -> None:
        mail = self.ana.write(
            to=[address], certificates=[self.first.certificate(address)], subject=subject,
            text="84 tusks.\n",
        )  # fmt: skip
        envelope = Envelope(self.ana.address, (address,), mail, "127.0.0.1", app.clock())
        assert dispatch.submit(app, envelope, 1 << 26) == (pipeline.ACCEPTED,)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    settings = {"database.url": postgresql.shared_server().fresh()}
    with (
        RunningGateway(short_place("one"), settings=settings) as first,
        RunningGateway(short_place("other"), settings=settings) as second,
        Officer.create("sequoia", "Ana Lind", "ana@customs.example") as ana,
    ):
        first.environet("init", "--domain", DOMAIN, "--database", settings["database.url"])
        first.add_member(ana)
        second.state.mkdir(mode=0o700)
        for one in ("environet.toml", "tls-certificate.pem", "tls-key.pem"):
            shutil.copy(first.state / one, second.state / one)
        shutil.copytree(first.state / "dkim", second.state / "dkim")
        made = Machines(first, second, ana)
        made.copy_keys()
        yield made


def test_a_mail_for_a_key_that_another_machine_made_stays_with_its_sender(
    machines: Machines,
) -> None:
    machines.first.environet("list", "add", "coral", "--letter", "COR", "--title", "Coral")
    app = open_app(machines.second.state)
    with pytest.raises(Unavailable, match="made is missing here"):
        machines.submit(app, f"coral@{DOMAIN}")
    machines.copy_keys()
    machines.submit(app, f"coral@{DOMAIN}")
    hand = Hand()
    asyncio.run(Worker(app, "second/0", hand).drain())
    assert [copy.recipient for copy in hand.taken] == [machines.ana.address]
    app.close()


def test_a_machine_whose_clock_is_wrong_leaves_all_to_the_others(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_app(machines.second.state)
    machines.submit(app, subject="Before")
    hand = Hand()
    with monkeypatch.context() as patched:
        patched.setattr(clock, "APART", timedelta(0))  # what no two clocks come up to
        with pytest.raises(Unavailable, match="off the database's"):
            machines.submit(app, subject="Meanwhile")
        asyncio.run(Worker(app, "second/0", hand).drain())
        assert rounds.run_due(app) == {}
        assert hand.taken == []
    asyncio.run(Worker(app, "first/0", hand).drain())
    assert len(hand.taken) == 1
    assert rounds.run_due(app) != {}
    app.close()


def test_leases_run_out_by_the_clock_of_the_database(machines: Machines) -> None:
    right = open_app(machines.first.state)
    ahead = open_app(machines.second.state, lambda: utc_now() + timedelta(hours=1))
    machines.submit(right, subject="Leased")

    def lease(app: App, owner: str) -> int:
        with app.database.transaction() as session:
            found = leasing.lease(session, owner, app.clock(), LEASE, 10)
            return 0 if found is None else len(found.entries)

    assert lease(right, "first/0") == 1
    assert lease(ahead, "second/0") == 0
    with ahead.database.transaction() as session:
        leasing.release(session, "first/0")
    assert lease(ahead, "second/0") == 1
    with right.database.transaction() as session:
        leasing.renew(session, "second/0", right.clock(), -LEASE)
    assert lease(right, "first/0") == 1
    with right.database.transaction() as session:
        leasing.release(session, "first/0")
    for app in (right, ahead):
        app.close()


def test_a_machine_keeps_its_name_and_takes_none_that_was_copied(machines: Machines) -> None:
    first, second = machines.first.state, machines.second.state
    names = [machine.name(first), machine.name(first)]
    shutil.copy(first / "machine", second / "machine")
    names += [machine.name(second), machine.name(second), machine.name(first)]
    assert names[0] == names[1] == names[4] != names[2] == names[3]


def test_what_a_clock_that_goes_wrong_meanwhile_takes_for_expired_is_not_parked(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_month = utc_now() + timedelta(days=30)
    with Officer.create("gpg", "Bo Berg", "bo@police.example", expires=in_a_month) as bo:
        machines.first.add_member(bo)
    app = open_app(machines.second.state, lambda: utc_now() + timedelta(days=60))
    with closing(open_app(machines.first.state)) as right:
        machines.submit(right, subject="Before it went wrong")
    prepare = Preparer.prepare
    hand = Hand()
    with monkeypatch.context() as patched:

        def after_a_step(self: Preparer, lease: Lease) -> Work:
            if len(lease.entries) > 1:
                patched.setattr(clock, "APART", timedelta(0))
            return prepare(self, lease)

        patched.setattr(Preparer, "prepare", after_a_step)
        asyncio.run(Worker(app, "second/0", hand).drain())
    with app.database.reading() as session:
        parked = select(OutboxEntry).where(OutboxEntry.state == Delivery.PARKED)
        assert [one.reason for one in session.scalars(parked)] == []
    app.close()
