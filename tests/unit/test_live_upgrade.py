"""An upgrade on PostgreSQL while processes of the version before go on."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, func, select, text

from gateway import dispatch, upgrading
from gateway.app import open_app
from gateway.delivery.worker import Worker
from gateway.message.envelope import Envelope
from gateway.posting import pipeline
from gateway.resources import migrations
from gateway.store.database import newest_schema
from gateway.store.outbox import OutboxEntry
from tests import postgresql
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Officer
from tests.unit.group import Hand
from tests.unit.schema import differences

LIST = f"wildlife@{DOMAIN}"
ONLY_ADD = {"create_table", "create_index", "f", "add_column"}
"""What a migration may do under processes of the version before: docs/upgrading.md."""
BACK_TO_0005 = """
ALTER TABLE outbox DROP COLUMN turn CASCADE;
DROP INDEX ix_outbox_notice, ix_notice_kind;
DROP TABLE bounce, reachability;
UPDATE alembic_version SET version_num = '0005'"""
CUT_OFF = """
CREATE INDEX ix_outbox_later ON outbox (id);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_outbox_later'::regclass"""
QUEUED_BY_0005 = """
INSERT INTO outbox (posting_id, list_id, member_id, state, queued_at, next_at, attempts)
SELECT posting_id, list_id, 2, 'waiting', queued_at, next_at, 0 FROM outbox WHERE member_id = 1"""
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    if postgresql.programs() is None:
        pytest.skip("needs PostgreSQL")
    settings = {"database.url": postgresql.shared_server().fresh()}
    with RunningGateway(short_place("live"), settings=settings) as gateway:
        gateway.environet("init", "--domain", DOMAIN, "--database", settings["database.url"])
        yield gateway


@pytest.fixture
def connection(gateway: RunningGateway) -> Iterator[Connection]:
    """That of a process of the version before."""
    app = open_app(gateway.state)
    with app.database.engine.connect() as connection:
        yield connection
        connection.rollback()
    app.close()


def test_who_writes_meanwhile_is_not_kept_and_all_that_waited_goes_out(
    gateway: RunningGateway, connection: Connection
) -> None:
    app = open_app(gateway.state)
    with (
        Officer.create("sequoia", "Ana Lind", "ana@customs.example") as ana,
        Officer.create("sequoia", "Bo Berg", "bo@police.example") as bo,
    ):
        gateway.add_member(ana)
        gateway.add_member(bo, tick_off="B")
        mail = ana.write(
            to=[LIST], certificates=[gateway.certificate(LIST)], subject="Ivory", text="84.\n"
        )
        sent = Envelope(ana.address, (LIST,), mail, "127.0.0.1", app.clock())
        assert dispatch.submit(app, sent, 1 << 26) == (pipeline.ACCEPTED,)
    connection.execute(text(BACK_TO_0005))
    connection.execute(text(CUT_OFF))
    connection.commit()
    connection.execute(text("UPDATE outbox SET attempts = attempts"))  # and is not done yet
    thread = threading.Thread(target=gateway.environet, args=("upgrade",))
    thread.start()
    with app.database.transaction() as session:
        while not session.scalar(text(WAITING)):
            time.sleep(0.01)
        # Not behind the migration, which waits for who is not done.
        session.execute(text(QUEUED_BY_0005))
    connection.commit()
    thread.join()
    assert app.database.schema() == newest_schema()
    assert differences(app.database) == []
    assert not connection.scalar(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
    hand = Hand()
    asyncio.run(Worker(app, "new/0", hand).drain())
    assert sorted(copy.recipient for copy in hand.taken) == [ana.address, bo.address]
    with app.database.reading() as session:
        states = session.execute(select(OutboxEntry.state, func.count()).group_by("state")).all()
    assert [tuple(one) for one in states] == [("sent", 2)]
    app.close()


def test_two_upgrades_come_one_after_the_other(gateway: RunningGateway) -> None:
    app = open_app(gateway.state)
    second = threading.Thread(target=gateway.environet, args=("upgrade",))
    with app.database.alone():
        second.start()
        second.join(1)
        assert second.is_alive()
    second.join()
    app.close()


def test_who_is_too_old_to_go_on_is_to_be_stopped_first(
    gateway: RunningGateway, connection: Connection
) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    connection.commit()
    with pytest.raises(CommandFailed, match="too old to go on meanwhile"):
        gateway.environet("upgrade")
    connection.execute(text(f"UPDATE alembic_version SET version_num = '{newest_schema()}'"))
    connection.commit()


@pytest.mark.parametrize(("schema", "works"), [("0099", True), ("0100", False)])
def test_a_program_goes_on_with_a_later_schema_that_only_adds(
    gateway: RunningGateway, connection: Connection, schema: str, works: bool
) -> None:
    connection.execute(text(f"UPDATE alembic_version SET version_num = '{schema}'"))
    connection.commit()
    try:
        if works:
            gateway.environet("list", "show")
            assert "is of this version" in gateway.environet("upgrade")
        else:
            with pytest.raises(CommandFailed, match="is of a newer version"):
                gateway.environet("list", "show")
    finally:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{newest_schema()}'"))
        connection.commit()


def test_migrations_under_running_processes_only_add() -> None:
    later = [
        file
        for file in (migrations() / "versions").glob("v[0-9]*.py")
        if file.name[1:5] > upgrading.LIVE_FROM
    ]
    for file in later:
        called = set(re.findall(r"\b(?:op|live)\.(\w+)\(", file.read_text()))
        assert called <= ONLY_ADD, file.name
    assert len(later) >= 2
