"""A gateway's database copied into another one: all of it or nothing, and served from there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text

from gateway import config, copying
from gateway.app import open_app
from gateway.errors import UsageError
from gateway.library import indexing as documents
from gateway.store import outbox, rows
from gateway.store.database import Database
from gateway.store.posting import Posting
from tests import postgresql
from tests.gateway import CommandFailed
from tests.unit.group import Group
from tests.unit.searchers import found

ROLES = {"ana": (), "ben": (), "mo": ("moderator:B",), "lia": ("librarian",)}
FORM = """\
title: Ivory and its likenesses
category: identification guide
topics: B
language: en

Hunter-Schreger lines.
"""
MARKED = {"archive_entry", "document_version"}
"""Tables whose rows are to be indexed anew where they were copied to."""
LARGE, LARGE_BYTES = 24, 4 * 2**20
AT_ONCE = 8 * rows.BATCH_BYTES
"""What was read, what is written, and what the drivers make of both."""

pytestmark = [
    postgresql.of_sqlite,
    pytest.mark.skipif(postgresql.programs() is None, reason="needs PostgreSQL"),
]


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Two postings in a thread, one held, one on its way, a document, and what the ledger says."""
    with Group(ROLES) as group:
        first = group.post("ana", text="84 raw tusks in a container.\n")
        (copy,) = [one for one in group.deliver() if one.to == "ben"]
        answer = group.write(
            "ben", "wildlife", text="And their carvings.\n",
            in_reply_to=copy.message_id,
            references=[copy.message_id],
        )  # fmt: skip
        assert group.submit(answer, "wildlife") == ["250 2.0.0"]
        group.deliver()
        label = group.hand_in("ana", FORM, [("likenesses.txt", "text/plain", b"Lines.\n")])
        group.say("lia", f"approve {label}")
        group.set_list("wildlife", moderation="all")
        group.post("ben", text="Held for Mo.\n")
        group.set_list("wildlife", moderation="open")
        group.post("mo", text="On its way.\n")
        assert found(group, "ana", "tusks") == [first]
        assert documents.run(group.app) == 1
        yield group


@pytest.fixture
def target() -> str:
    return postgresql.shared_server().fresh()


def copied(group: Group, url: str) -> dict[str, dict[str, object]]:
    """What the command says of each table."""
    group.app.close()  # no other process's connection is in its way
    listed = json.loads(group.gateway.environet("database", "copy", "--to", url, "--json"))
    return {one["table"]: one for one in listed}


def serve_from(group: Group, url: str) -> None:
    """Set it as the command says; what is not in the database stays."""
    file = group.gateway.state / config.FILE
    file.write_text(config.with_database(file.read_text(), url))
    group.app.close()
    group.app = open_app(group.gateway.state)


def waiting(group: Group) -> int:
    with group.app.database.reading() as session:
        return outbox.totals(session).get("waiting", 0)


def goes_on(group: Group, due: int) -> None:
    """Thread, search, hold, outbox, numbers and ledger are as they were."""
    with group.app.database.reading() as session:
        labels = [one.label for one in session.scalars(select(Posting).order_by(Posting.id))]
    assert "84 raw tusks" in group.gateway.environet("posting", "show", labels[0])
    assert found(group, "ana", "tusks") == [labels[0]]
    with group.app.database.reading() as session:
        thread = session.scalars(select(Posting.thread_id).order_by(Posting.id).limit(2)).all()
    assert len(set(thread)) == 1
    assert len(group.deliver()) == due > 0
    label = group.post("ana", text="After the move.\n")
    assert label not in labels
    assert sorted(one.to for one in group.deliver()) == sorted(ROLES)
    assert "unbroken" in group.gateway.environet("ledger", "verify")


def test_all_moves_to_postgresql_and_back_and_goes_on_there(
    group: Group, target: str, tmp_path: Path
) -> None:
    due = waiting(group)
    there = copied(group, target)
    assert {name: there[name]["rows"] for name in ("member", "hold", "document")} == {
        "member": 4, "hold": 1, "document": 1,
    }  # fmt: skip
    with pytest.raises(CommandFailed, match="the target is not empty"):
        copied(group, target)
    serve_from(group, target)
    again = copied(group, f"sqlite:///{tmp_path / 'again.sqlite'}")
    assert {name for name in there if again[name] != there[name]} == MARKED
    goes_on(group, due)
    (hold,) = json.loads(group.gateway.environet("hold", "list", "--json"))
    group.gateway.environet("hold", "approve", hold["hold"])
    due = waiting(group)
    back = f"sqlite:///{tmp_path / 'back.sqlite'}"
    copied(group, back)
    serve_from(group, back)
    goes_on(group, due)
    serve_from(group, "sqlite:///environet.sqlite")


def test_a_served_gateway_is_not_copied(group: Group, target: str) -> None:
    with (group.gateway.state / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandFailed, match="the gateway is running: stop it first"):
            copied(group, target)


def test_another_machine_that_serves_is_noticed(group: Group, target: str) -> None:
    copied(group, target)
    serve_from(group, target)
    try:
        with (
            closing(Database(target, group.gateway.state)) as other,
            other.reading(),
            pytest.raises(CommandFailed, match="stop the gateway on every machine"),
        ):
            copied(group, postgresql.shared_server().fresh())
    finally:
        serve_from(group, "sqlite:///environet.sqlite")


def test_a_password_is_not_typed_into_a_command(group: Group) -> None:
    with pytest.raises(CommandFailed, match="leave the password out of the URL"):
        copied(group, "postgresql+psycopg://environet:secret@db.example/environet")


def test_a_copy_that_is_cut_off_leaves_nothing_and_may_be_made_again(
    group: Group, target: str
) -> None:
    def cut_off(table: str, _: int) -> None:
        if table == "ledger":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.copy(group.app, target, cut_off)
    with closing(Database(target, group.gateway.state)) as there:
        assert there.is_empty()
    assert copied(group, target)["member"]["rows"] == 4


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS "
         "'BEGIN NEW.name := NEW.name || ''.''; RETURN NEW; END'",
         "has something else in member"),
        ("CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
         "does not take a row of|has something else in"),
    ],
    ids=["changed", "left out"],
)  # fmt: skip
def test_what_became_another_on_the_way_is_noticed(
    group: Group, target: str, harm: str, said: str
) -> None:
    with closing(Database(target, group.gateway.state)) as there:
        there.migrate()
        with there.transaction() as session:
            session.execute(text(harm))
            session.execute(
                text("CREATE TRIGGER harm BEFORE INSERT ON member "
                     "FOR EACH ROW EXECUTE FUNCTION harm()")
            )  # fmt: skip
        with pytest.raises(CommandFailed, match=said):
            copied(group, target)
        assert there.is_empty()


@contextmanager
def changed(group: Group) -> Iterator[Connection]:
    """A connection to the gateway's database, which is what it was before in the end."""
    file = group.gateway.state / "environet.sqlite"
    group.app.close()
    before = file.read_bytes()
    try:
        with group.app.database.engine.connect() as connection:
            yield connection
    finally:
        group.app.close()
        file.write_bytes(before)


def test_a_ledger_that_was_changed_is_not_copied(group: Group, target: str) -> None:
    with changed(group) as connection:
        connection.execute(text("UPDATE ledger SET detail = '{}' WHERE sequence = 3"))
        connection.commit()
        with pytest.raises(UsageError, match="the ledger is not sound: entry 3"):
            copying.copy(group.app, target, lambda *_: None)


def test_memory_is_that_of_a_mail_and_not_of_all(group: Group, target: str) -> None:
    with changed(group) as connection:
        table = Posting.__table__
        (row,) = connection.execute(select(table).limit(1)).mappings()
        for number in range(LARGE):
            connection.execute(
                insert(Posting),
                {**row, "id": 1000 + number, "token": f"t{number}",
                 "submission": os.urandom(LARGE_BYTES)},
            )  # fmt: skip
        connection.commit()
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        copying.copy(group.app, target, lambda *_: None)
        assert peak() - before < AT_ONCE < LARGE * LARGE_BYTES


def peak() -> int:
    """The most bytes that this process has had in memory since that was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [one for one in lines if one.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def test_all_tables_are_copied(group: Group, target: str) -> None:
    with group.app.database.reading() as session:
        there = {one.name for one in rows.tables(session)}
    assert set(copied(group, target)) == there
