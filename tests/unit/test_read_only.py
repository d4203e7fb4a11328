"""The web archive's database takes logins and ledger entries and nothing else, whatever a page
might try: SQLite by its authorizer, PostgreSQL by its grants."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Table, inspect, text
from sqlalchemy.exc import DBAPIError

from gateway.administration import logins
from gateway.app import App, open_app, utc_now
from gateway.config import Config
from gateway.errors import Unavailable
from gateway.monitoring import of_database
from gateway.monitoring.scene import Scene
from gateway.settings import DatabaseSection, WebSection
from gateway.store import ledger, member, models
from gateway.store.database import Database
from gateway.store.web_session import WRITTEN_BY_THE_WEB
from tests import postgresql
from tests.gateway import RunningGateway, short_place
from tests.officers import Officer
from tests.unit.group import Group
from tests.unit.over_http import OverHttp

ROLE_SQL = Path(__file__).parents[2] / "contrib" / "postgresql" / "web-role.sql"
TABLES = sorted(models.Base.metadata.tables)
KINDS = ("INSERT", "UPDATE", "DELETE")
OF_ALL = (
    "CREATE TABLE other (id integer)",
    "CREATE TEMPORARY TABLE other (id integer)",
    "CREATE VIEW other AS SELECT 1",
    "CREATE INDEX other ON posting (id)",
    "DROP TABLE posting",
    "ALTER TABLE posting ADD COLUMN other integer",
    "ALTER TABLE ledger RENAME TO other",
    "ANALYZE",
    "REINDEX TABLE posting",
    "DELETE FROM alembic_version",
)
OF_SQLITE = (
    "ATTACH ':memory:' AS other",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 9",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA incremental_vacuum",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "VACUUM",
    "VACUUM INTO '/tmp/other.sqlite'",
    "UPDATE sqlite_master SET sql = ''",
    "DELETE FROM posting_index",
    "INSERT INTO posting_index (posting_index) VALUES ('delete-all')",
    "INSERT INTO posting_index (posting_index) VALUES ('optimize')",
    "CREATE TRIGGER other AFTER INSERT ON ledger BEGIN DELETE FROM posting; END",
    "REPLACE INTO ledger_head (id, sequence, hash) VALUES (1, 0, '')",
    "REPLACE INTO tick_off (member_id, list_id) VALUES (1, 1)",
    "WITH other AS (SELECT 1) DELETE FROM posting",
)
OF_POSTGRESQL = (
    "TRUNCATE posting",
    "TRUNCATE web_session",
    "TRUNCATE ledger",
    "DELETE FROM posting_index",
    "COPY member FROM STDIN",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/other'",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT setval('posting_id_seq', 1)",
    "SELECT nextval('posting_id_seq')",
    "SELECT pg_read_file('/etc/passwd')",
    "CREATE FUNCTION other() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA other",
    "CREATE ROLE other",
    "ALTER ROLE environet_web SUPERUSER",
    "SET ROLE environet",
    "SET SESSION AUTHORIZATION environet",
    "SELECT * INTO other FROM member",
    "SELECT * FROM posting FOR UPDATE",
    "DO $$ BEGIN DELETE FROM posting; END $$",
)


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group({"ana": ()}) as made:
        made.post("ana")
        made.say("ana", "tick off E")
        yield made


@pytest.fixture(scope="module")
def on_sqlite(group: Group) -> Iterator[Database]:
    if postgresql.is_chosen():
        pytest.skip("the group's database is not SQLite's")
    app = open_app(group.gateway.state, web=True)
    yield app.database
    app.close()


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Server]:
    with postgresql.running_server() as made:
        yield made


def with_role(server: postgresql.Server, name: str) -> tuple[str, str]:
    """A new database: the URLs of its owner, and of the role for the web."""
    server.database(name)
    psql = [f"{server.bin}/psql", "-qh", f"{server.socket}", "-U", "postgres", "-d", name]
    owner = "SELECT 'CREATE ROLE environet LOGIN' WHERE to_regrole('environet') IS NULL \\gexec\n"
    owner += f"ALTER DATABASE {name} OWNER TO environet; GRANT ALL ON SCHEMA public TO environet;"
    subprocess.run(psql, input=owner, text=True, check=True)
    return server.url(name, "environet"), server.url(name, "environet_web")


def give_role(server: postgresql.Server, name: str) -> None:
    """As contrib/postgresql/web-role.sql says, and again, which does no harm."""
    command = [
        f"{server.bin}/psql", "-qh", f"{server.socket}", "-U", "postgres", "-d", name,
        "-v", "owner=environet", "-v", "role=environet_web", "-f", f"{ROLE_SQL}",
    ]  # fmt: skip
    for _ in range(2):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def on_postgresql(
    server: postgresql.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    owners, webs = with_role(server, "grants")
    state = tmp_path_factory.mktemp("state")
    owner = Database(owners, state)
    owner.migrate()
    with owner.transaction() as session:
        ledger.start(session)
    give_role(server, "grants")
    web = Database(webs, state, WRITTEN_BY_THE_WEB)
    yield web
    web.close()
    owner.close()


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def fails(database: Database, statement: str, *, reading: bool = False) -> str:
    """Why the database refuses a statement."""
    opened = database.reading if reading else database.transaction
    with pytest.raises((DBAPIError, Unavailable)) as caught, opened() as session:
        session.execute(text(statement.replace(":", "\\:")))
    cause = caught.value.orig if isinstance(caught.value, DBAPIError) else caught.value.__cause__
    return str(cause).lower()


def statement_of(kind: str, table: Table) -> str:
    column = next(iter(table.primary_key)).name
    return {
        "INSERT": f"INSERT INTO {table.name} DEFAULT VALUES",
        "UPDATE": f"UPDATE {table.name} SET {column} = {column}",
        "DELETE": f"DELETE FROM {table.name}",
    }[kind]


REFUSALS = ("not authorized", "permission denied", "must be owner", "prohibited")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_written_as_the_web_may_and_not_otherwise(database: Database, name: str) -> None:
    for kind in set(KINDS) - WRITTEN_BY_THE_WEB.get(name, frozenset()):
        said = fails(database, statement_of(kind, models.Base.metadata.tables[name]))
        assert any(one in said for one in REFUSALS), (kind, name, said)


@pytest.mark.parametrize("name", TABLES)
def test_nothing_at_all_is_written_while_reading(database: Database, name: str) -> None:
    for kind in KINDS:
        said = fails(database, statement_of(kind, models.Base.metadata.tables[name]), reading=True)
        assert any(one in said for one in (*REFUSALS, "readonly", "read-only")), (kind, name, said)


@pytest.mark.parametrize("statement", OF_ALL)
@pytest.mark.parametrize("reading", [False, True])
def test_nothing_else_changes_the_database(
    database: Database, statement: str, reading: bool
) -> None:
    if statement == "ANALYZE" and database.url.get_backend_name() != "sqlite":
        return  # skips what is not its own, with a warning
    assert fails(database, statement, reading=reading)


@pytest.mark.parametrize("statement", OF_SQLITE)
def test_sqlite_takes_no_way_around(on_sqlite: Database, statement: str) -> None:
    said = fails(on_sqlite, statement)
    assert any(one in said for one in (*REFUSALS, "may not be modified", "vacuum")), said
    assert not Path("/tmp/other.sqlite").exists()


@pytest.mark.parametrize("statement", OF_POSTGRESQL)
def test_postgresql_takes_no_way_around(on_postgresql: Database, statement: str) -> None:
    said = fails(on_postgresql, statement)
    assert "permission denied" in said or "must be" in said, said


def test_all_tables_are_read(database: Database) -> None:
    with database.reading() as session:
        for name in inspect(session.connection()).get_table_names():
            session.execute(text(f"SELECT * FROM {name} LIMIT 1"))


def test_an_entry_is_made_in_the_ledger_and_never_changed(database: Database, group: Group) -> None:
    with database.transaction() as session:
        ledger.enter(session, group.app.clock(), "read", posting="B-1", by=1)
    with database.reading() as session:
        assert ledger.verify(session).fault is None


def test_the_list_of_tables_is_the_roles_as_well() -> None:
    granted: dict[str, set[str]] = {}
    for line in ROLE_SQL.read_text().splitlines():
        words = line.replace(",", "").split()
        if words[:1] == ["GRANT"] and set(words[1:]) & set(KINDS):
            at = words.index("ON")
            for name in words[at + 1 : words.index("TO")]:
                granted.setdefault(name, set()).update(words[1:at])
    assert granted == {name: set(kinds) for name, kinds in WRITTEN_BY_THE_WEB.items()}


def test_a_gateway_on_postgresql_has_the_role_for_its_archive(server: postgresql.Server) -> None:
    owners, webs = with_role(server, "gateway")
    settings = {"database.url": owners, "web.database_url": webs, "web.listen": "127.0.0.1:0"}
    with (
        RunningGateway(short_place("role"), settings=settings) as gateway,
        Officer.create("sequoia", "Ana Berg", "ana@customs.example") as ana,
    ):
        gateway.found()
        give_role(server, "gateway")
        gateway.add_member(ana)
        gateway.start()
        visitor = OverHttp(gateway)
        visitor.log_in(ana)
        assert "Ana Berg" in visitor.send("GET", "/profile").text
        assert "Wildlife" in visitor.send("GET", "/B").text
        with gateway.reading() as session:
            used = session.scalars(
                text("SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'gateway'")
            )
            assert set(used) >= {"environet", "environet_web"}
        assert visitor.send("POST", "/logout", data={"which": "all"}).status_code == 200
        assert visitor.send("GET", "/profile").status_code == 303
        with gateway.reading() as session:
            assert ledger.verify(session).fault is None
        assert gateway.stop() == 0
        _the_doctor_looks_at_the_roles(gateway, owners, webs)


def _the_doctor_looks_at_the_roles(gateway: RunningGateway, owners: str, webs: str) -> None:
    chosen = Config(
        domain=gateway.domain,
        database=DatabaseSection(url=owners),
        web=WebSection(database_url=webs),
    )
    owner = Database(owners, gateway.state)
    scene = Scene(gateway.state, chosen, owner, utc_now)
    assert [one.state for one in of_database.database(scene)] == ["ok"]
    for change, said in (
        ("GRANT DELETE ON posting TO environet_web", "may DELETE on posting"),
        ("REVOKE INSERT ON ledger FROM environet_web", "may too little on ledger"),
        ("REVOKE UPDATE ON posting FROM environet", "the role may not UPDATE on posting"),
    ):
        with owner.transaction() as session:
            session.execute(text(change))
        assert [one.said for one in of_database.database(scene) if said in one.said], change
    owner.close()


def test_two_machines_answer_a_request_once_and_take_a_link_once(
    server: postgresql.Server, group: Group
) -> None:
    """On PostgreSQL, where rows are locked and not the database."""
    settings = {"database.url": server.database("twice")}
    with (
        RunningGateway(short_place("twice"), settings=settings) as gateway,
        Officer.create("sequoia", "Ana Berg", "ana@customs.example") as ana,
    ):
        gateway.found()
        gateway.add_member(ana)
        apps = [opened_on(gateway, settings["database.url"]) for _ in range(4)]
        first = apps[0]
        with first.database.transaction() as session:
            for number in range(8):
                logins.ask(session, first, address=ana.address, client=str(number), browser="mine")
            found = member.get(session, ana.address)
            code = logins.link_for(session, first, found).rpartition("/")[2]

        def use(app: App) -> bool:
            with app.database.transaction() as session:
                row = logins.usable(session, app, code, app.clock())
                if row is not None:
                    row.used_at = app.clock()
                return row is not None

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(logins.answer_due, apps)) == 8
            assert sum(pool.map(use, apps)) == 1
        for app in apps:
            app.close()


def opened_on(gateway: RunningGateway, url: str) -> App:
    app = open_app(gateway.state)
    app.database.close()
    return replace(app, database=Database(url, gateway.state))
