"""A state of an older version: refused by every command, and upgraded with all that is in it."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, func, select, text

from gateway import config as settings
from gateway.app import KEYRING, open_app
from gateway.crypto import vault
from gateway.crypto.certificate import names, read, strip
from gateway.crypto.keyring import Keyring
from gateway.resources import gnupg_skeleton, migrations
from gateway.store import ledger, models
from gateway.store.database import Database, newest_schema
from gateway.store.mailing_list import TOPICS
from gateway.upgrading import upgrade
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Officer
from tests.unit.schema import differences

NOW = datetime(2026, 3, 14, 2, 8, tzinfo=UTC)
OLDER = "the database is of an older version: run 'environet upgrade'"


@dataclass(frozen=True)
class Old:
    """A gateway of version 0001 with one member, Ana, and one posting of hers."""

    gateway: RunningGateway
    ana: Officer

    @property
    def database(self) -> Database:
        return Database("sqlite:///environet.sqlite", self.gateway.state)


@pytest.fixture
def old() -> Iterator[Old]:
    with ExitStack() as ends:
        gateway = ends.enter_context(RunningGateway(short_place("old")))
        ana = ends.enter_context(Officer.create("gpg", "Ana Lind", "ana@customs.example"))
        made = Old(gateway, ana)
        found_as_it_was(made)
        yield made


def found_as_it_was(old: Old) -> None:
    """What the founding of version 0001 did, and what a member, a posting and a hold left."""
    state = old.gateway.state
    state.mkdir(mode=0o700)
    (state / settings.FILE).write_text(settings.render({"domain": DOMAIN}))
    keyring = Keyring.create(state / KEYRING, gnupg_skeleton())
    database = old.database
    migrate_to(database, "0001")
    with database.transaction() as session:
        ledger.start(session)
        connection = session.connection()
        data_key = vault.new_key()
        archive = make_key(connection, keyring, "archive", "archive", "ENVIRONET archive")
        sealed = keyring.encrypt_to_self(data_key, archive)
        insert(connection, "data_key", id=1, message=sealed, created_at=NOW)
        make_key(connection, keyring, "gateway", "command", "ENVIRONET")
        for number, (letter, local_part, title, description) in enumerate(TOPICS[:2], 1):
            key = make_key(connection, keyring, local_part, "list", f"ENVIRONET {title}")
            insert(
                connection, "mailing_list", id=number, letter=letter, local_part=local_part,
                title=title, description=description, key_fingerprint=key, moderation="open",
                signed_only=False, by_invitation=False,
            )  # fmt: skip
        key = make_key(connection, keyring, "op-coral", "list", "ENVIRONET Coral")
        insert(
            connection, "mailing_list", id=3, letter="ADM", local_part="op-coral", title="Coral",
            description="", key_fingerprint=key, moderation="all", signed_only=False,
            by_invitation=True, closed_at=NOW,
        )  # fmt: skip
        with_a_posting(connection, old.ana, vault.Vault({1: data_key}))
    database.close()


def make_key(
    connection: Connection, keyring: Keyring, local_part: str, purpose: str, name: str
) -> str:
    fingerprint = keyring.generate(name, f"{local_part}@{DOMAIN}")
    certificate = keyring.export(fingerprint)
    insert(
        connection, "gateway_key", fingerprint=fingerprint, address=f"{local_part}@{DOMAIN}",
        purpose=purpose, certificate=certificate, created_at=datetime.now(UTC),
        key_ids=" ".join(each for one in read(certificate).keys for each in names(one)),
    )  # fmt: skip
    return fingerprint


def with_a_posting(connection: Connection, ana: Officer, seals: vault.Vault) -> None:
    """Rows of every table that others refer to."""
    certificate = read(ana.certificate)
    insert(connection, "member", id=1, address=ana.address, name=ana.name, organisation="Revenue",
           kind="customs", country="KE", state="active", joined_at=NOW)  # fmt: skip
    insert(connection, "member_certificate", id=1, member_id=1, fingerprint=ana.fingerprint,
           data=certificate.data, stripped=strip(certificate), admitted_at=NOW)  # fmt: skip
    for key in certificate.keys:
        insert(connection, "certificate_key", fingerprint=key.fingerprint, key_id=key.key_id,
               certificate_id=1)  # fmt: skip
    insert(connection, "member_role", id=1, member_id=1, role="administrator")
    insert(connection, "tick_off", member_id=1, list_id=1)
    insert(connection, "thread", id=1, started_at=NOW)
    sealed = {
        part: seals.seal(f"posting/t/{part}", b"{}")
        for part in ("submission", "details", "certificate")
    }
    insert(connection, "posting", id=1, token="t", author_id=1, thread_id=1, references="",
           received_at=NOW, signed_at=NOW, key_fingerprint=ana.fingerprint, marking="TLP:AMBER",
           **sealed)  # fmt: skip
    insert(connection, "posting_list", posting_id=1, list_id=2, position=0, placement="held",
           rule="moderated-list")  # fmt: skip
    insert(connection, "hold", id=1, posting_id=1, list_id=2, rule="moderated-list", held_at=NOW,
           decision="open")  # fmt: skip
    insert(connection, "notice", id=1, token="n", template="held", body=b"", made_at=NOW)
    insert(connection, "outbox", id=1, notice_id=1, member_id=1, state="sent", queued_at=NOW,
           next_at=NOW, attempts=1)  # fmt: skip


def insert(connection: Connection, table: str, **values: object) -> None:
    there = Table(table, MetaData(), autoload_with=connection)
    connection.execute(there.insert(), values)


def migrate_to(database: Database, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    config.attributes["engine"] = database.engine
    command.upgrade(config, version)


def counts(database: Database) -> dict[str, int]:
    with database.reading() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in models.Base.metadata.sorted_tables
        }


def mail_to(old: Old, local_part: str, text: str) -> tuple[int, str]:
    address = f"{local_part}@{DOMAIN}"
    certificate = old.gateway.certificate(address)
    assert f"<{address}>" in " ".join(read(certificate).user_ids)
    mail = old.ana.write(to=[address], certificates=[certificate], subject="Ivory", text=text)
    return old.gateway.send(mail, old.ana.address, [address])


def test_every_command_but_one_says_that_the_state_is_older(old: Old) -> None:
    for words in (["serve"], ["member", "list"], ["hold", "list"], ["upkeep"], ["key", "list"]):
        with pytest.raises(CommandFailed, match=OLDER):
            old.gateway.environet(*words)
    assert old.database.schema() == "0001"


def test_an_upgraded_gateway_takes_mail_to_its_desks(old: Old) -> None:
    printed = old.gateway.environet("upgrade")
    assert f"key of wildlife-experts@{DOMAIN}" in printed
    assert "ready" not in printed
    old.gateway.start()
    for desk in ("wildlife-experts", "wildlife-owner", "environet", "support"):
        assert mail_to(old, desk, f"For {desk}.\n") == (250, "2.0.0 Accepted")
    assert mail_to(old, "gateway", "own keys\n") == (250, "2.0.0 Accepted")
    old.gateway.wait_until_delivered()
    wildlife = old.gateway.certificate(f"wildlife@{DOMAIN}")
    readings = [old.ana.read(one) for one in old.gateway.copies(old.ana.address)]
    said = "\n".join(one.text for one in readings)
    assert "For wildlife-experts." in said
    assert f"wildlife-owner@{DOMAIN}" in said
    assert read(wildlife).expires_at is None


def test_nothing_is_lost_and_the_schema_is_the_codes(old: Old) -> None:
    before = {"member": 1, "posting": 1, "hold": 1, "outbox": 1, "tick_off": 1, "gateway_key": 5}
    old.gateway.environet("upgrade")
    after = counts(old.database)
    assert {name: after[name] for name in before} == before
    database = old.database
    assert differences(database) == []
    with database.engine.connect() as connection:
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        lists = connection.execute(
            text("SELECT local_part, letter, closed_at IS NULL FROM mailing_list")
        ).all()
    assert {tuple(one) for one in lists} >= {
        ("op-coral", "ADM", 0), ("op-coral-owner", "ADM-OWNER", 0), ("environet", "ADM-DESK", 1),
        ("wildlife-experts", "B-EXPERTS", 1), ("support", "SUP", 1),
    }  # fmt: skip
    app = open_app(old.gateway.state)
    assert app.vault.open("posting/t/details", posting_details(app.database)) == b"{}"
    app.close()
    database.close()
    assert "unbroken" in old.gateway.environet("ledger", "verify")
    assert '"before":"0001"' in old.gateway.environet("ledger", "list")


def posting_details(database: Database) -> bytes:
    with database.reading() as session:
        found = session.scalar(text("SELECT details FROM posting"))
    assert isinstance(found, bytes)
    return found


def test_upgrading_twice_changes_nothing(old: Old) -> None:
    old.gateway.environet("upgrade")
    first = counts(old.database)
    assert "is of this version" in old.gateway.environet("upgrade")
    assert counts(old.database) == first


def test_a_running_gateway_is_not_upgraded(old: Old) -> None:
    with (old.gateway.state / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandFailed, match="the gateway is running: stop it first"):
            old.gateway.environet("upgrade")
    assert old.database.schema() == "0001"


def test_an_upgrade_goes_on_where_it_was_killed(old: Old) -> None:
    state = str(old.gateway.state)
    upgrading = [sys.executable, "-u", "-m", "gateway", "--state", state, "upgrade"]
    for step in ("database", "key of gateway@", "key of wildlife-owner@", "desks"):
        process = subprocess.Popen(upgrading, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(step):
                process.send_signal(signal.SIGKILL)
        process.stdout.close()
        if process.wait(60) == 0:
            assert step == "desks", f"it ended before {step}"  # the last one may be too quick
            break
        with pytest.raises(CommandFailed, match=OLDER):
            old.gateway.environet("list", "show")
    old.gateway.environet("upgrade")
    rows = old.gateway.lists()
    assert {one["letter"] for one in rows} == {"A", "B", "ADM"}
    certificate = read(old.gateway.certificate(f"wildlife@{DOMAIN}"))
    assert len(certificate.user_ids) == 3


def test_a_newer_state_is_left_alone(old: Old) -> None:
    old.gateway.environet("upgrade")
    database = old.database
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    for words in (["serve"], ["upgrade"]):
        with pytest.raises(CommandFailed, match=r"of a newer version \(9999\)"):
            old.gateway.environet(*words)


def test_an_empty_database_is_not_taken_for_a_state(old: Old) -> None:
    for file in old.gateway.state.glob("environet.sqlite*"):
        file.unlink()
    (old.gateway.state / "environet.sqlite").touch()
    for words in (["key", "list"], ["upgrade"]):
        with pytest.raises(CommandFailed, match="the database is empty"):
            old.gateway.environet(*words)


def test_a_broken_reference_stops_a_migration(old: Old) -> None:
    """Kept from the commit, so that the state is what it was."""
    database = old.database
    raw = database.engine.raw_connection()
    raw.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
    raw.driver_connection.execute("INSERT INTO tick_off VALUES (77, 1)")  # type: ignore[union-attr]
    raw.close()
    database.close()
    with (
        closing(open_app(old.gateway.state)) as app,
        pytest.raises(RuntimeError, match="breaks a reference of table tick_off"),
    ):
        upgrade(app, print)
    assert old.database.schema() == "0001"


def test_the_newest_schema_is_where_the_migrations_end() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    assert ScriptDirectory.from_config(config).get_heads() == [newest_schema()]
