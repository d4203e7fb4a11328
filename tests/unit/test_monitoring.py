"""Health, metrics and the log: what is told, by whom it can be asked, and what is never in it."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event
from sqlalchemy.engine import Engine

from gateway.app import App, open_app, utc_now
from gateway.monitoring import logs
from gateway.monitoring.board import SECONDS, Board
from gateway.monitoring.finding import Finding, State
from gateway.monitoring.health import NAMES, Health
from gateway.monitoring.listener import Listener
from gateway.monitoring.metrics import Child, Metrics
from gateway.monitoring.notify import notify
from gateway.monitoring.sampling import Queue, queue_now
from gateway.settings import LogSection
from gateway.store.leasing import Result
from gateway.store.outbox import Delivery
from gateway.tracing import about
from tests.gateway import RunningGateway, short_place
from tests.officers import Officer
from tests.postgresql import of_sqlite

LIST = "wildlife@environet.example"
WATCHED = {
    "monitoring.listen": "127.0.0.1:0", "web.listen": "127.0.0.1:0",
    "log.format": "json", "log.level": "debug",
}  # fmt: skip
SUBJECT, WORD = "Zebrawood at Mombasa", "kisiwani"


@pytest.fixture(scope="module")
def founded() -> Iterator[RunningGateway]:
    with RunningGateway(short_place("watched")) as made:
        made.found()
        yield made


@pytest.fixture(scope="module")
def app(founded: RunningGateway) -> Iterator[App]:
    """Of a gateway that is not served."""
    made = open_app(founded.state)
    yield made
    made.close()


class Scraped:
    """What a running gateway tells, and the metrics in it."""

    def __init__(self, port: int) -> None:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            self.text = answer.read().decode()
        self.samples = {
            (one.name, *sorted(one.labels.items())): one.value
            for family in text_string_to_metric_families(self.text)
            for one in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples.get((name, *sorted(labels.items())), 0.0)


def health(port: int) -> tuple[int, dict[str, str]]:
    """(status, check -> state)."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
            status, told = answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            status, told = error.code, json.load(error)
    return status, {one["check"]: one["state"] for one in told["checks"]}


def test_a_running_gateway_tells_what_it_did_and_of_nobody(founded: RunningGateway) -> None:
    with (
        RunningGateway(short_place("watched"), settings=WATCHED) as gateway,
        Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as ana,
        Officer.create("sequoia", "Bo Berg", "bo.berg@police.example") as bo,
    ):
        gateway.found_as(founded)
        gateway.add_member(ana)
        gateway.add_member(bo)
        gateway.start()
        port = gateway.monitoring_port
        begun = time.monotonic()
        mail = ana.write(
            to=[LIST], certificates=[gateway.certificate(LIST)], subject=SUBJECT, text=WORD
        )
        assert gateway.send(mail, ana.address, [LIST])[0] == 250
        assert gateway.send(mail, ana.address, ["nobody@environet.example"])[0] == 550
        gateway.wait_until_delivered()
        with urlopen(f"http://127.0.0.1:{gateway.web_port}/login", timeout=30) as page:
            page.read()
        told = Scraped(port)
        while not told("environet_delivery_seconds_count"):
            assert time.monotonic() - begun < 60
            time.sleep(0.2)
            told = Scraped(port)
        assert told("environet_mails_total", code="250") == 1
        assert told("environet_recipients_refused_total", code="550") == 1
        assert told("environet_decisions_total", event="accepted", rule="accept") == 1
        assert told("environet_copies_queued_total") == 2
        assert told("environet_copies_total", outcome="sent") == 2
        assert told("environet_opening_seconds_count") == 1
        assert told("environet_commit_seconds_count") >= 1
        assert told("environet_web_requests_total", status="2xx") >= 2
        assert told("environet_web_seconds_count") >= 2
        assert told("environet_queue_entries", state="waiting") == 0
        assert 1000 < told("environet_key_days", purpose="list") < 1100
        assert told("environet_process_bytes", process="worker 0") > 10 * 2**20
        assert told("environet_process_starts_total", process="worker 0") == 1
        for secret in ("@", "Lind", "customs", "Zebrawood", WORD):
            assert secret not in told.text
        assert health(port) == (200, dict.fromkeys(NAMES, "ok"))
        for one in re.findall(r"environet_\w+", Path("contrib/prometheus-rules.yml").read_text()):
            assert any(name[0] == one for name in told.samples), one
        assert gateway.stop() == 0
        _check_log(gateway.log_text)


def _check_log(text: str) -> None:
    """One object a line; the posting's lines have its token in common, from the door on."""
    lines = [json.loads(line) for line in text.splitlines()]
    kinds = {one.get("kind"): one for one in lines}
    decided = kinds["%s: %s by rule %s, member %s"]
    assert decided["values"][:3] == ["wildlife", "accept", "accept"]
    assert kinds["mail of %d bytes from %s: %s"]["mail"] == decided["mail"]
    assert re.fullmatch("[0-9a-f]{32}", decided["mail"])
    for secret in ("ana.lind", "Zebrawood", WORD):
        assert secret not in text


def test_the_log_lines_of_a_copy_name_the_mail_that_it_is_of(founded: RunningGateway) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings = {"handoff.to": f"smtp://127.0.0.1:{unused.getsockname()[1]}"}
        with (
            RunningGateway(short_place("watched"), settings=settings) as gateway,
            Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as ana,
        ):
            gateway.found_as(founded)
            gateway.add_member(ana)
            gateway.start()
            mail = ana.write(
                to=[LIST], certificates=[gateway.certificate(LIST)], subject=SUBJECT, text=WORD
            )
            assert gateway.send(mail, ana.address, [LIST])[0] == 250
            deadline = time.monotonic() + 60
            while "outbox 1: waiting" not in gateway.log_text:
                assert time.monotonic() < deadline, gateway.log_text
                time.sleep(0.1)
            named = {
                line.partition(": ")[0].split()[-1]: line.rpartition(" mail=")[2]
                for line in gateway.log_text.splitlines()
                if " mail=" in line
            }
    assert {"gateway.intake.door", "gateway.posting.pipeline", "gateway.delivery.worker"} <= set(
        named
    )
    assert len(set(named.values())) == 1


# Health


class Nowhere:
    """A gateway's parts as health sees them, with what is broken in them."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.children: list[Child] = [Child("worker 0", os.getpid(), 1, Board.new())]
        self.doors: list[tuple[str, int, bool]] = []
        self.queue: Queue | None = Queue({}, timedelta())

    def broken(self, seconds: float = 5.0) -> set[str]:
        asked = Health(
            self.app, lambda: self.doors, lambda: self.children, lambda: self.queue, seconds
        )
        found = asked.findings()
        assert {one.check for one in found} == set(NAMES)
        return {one.check for one in found if one.state is State.FAULT}


def test_each_of_healths_checks_can_fail(app: App) -> None:
    nowhere = Nowhere(app)
    assert nowhere.broken() == set()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        nowhere.doors = [("127.0.0.1", unused.getsockname()[1], False)]
        assert nowhere.broken() == {"doors"}
    nowhere.doors = []
    nowhere.children = [Child(name, None, 3, Board.new()) for name in ("worker 0", "web 0", "imap")]
    assert nowhere.broken() == {"workers", "web", "imap"}
    nowhere.children = []
    nowhere.queue = Queue({}, timedelta(hours=2))
    assert nowhere.broken() == {"queue"}
    nowhere.queue = None
    assert nowhere.broken() == {"queue"}


@of_sqlite
def test_health_writes_to_the_database_and_changes_nothing(app: App) -> None:
    with closing(sqlite3.connect(app.state / "environet.sqlite")) as other:

        def version() -> int:
            return int(other.execute("PRAGMA data_version").fetchone()[0])

        before, ledger = version(), other.execute("SELECT * FROM ledger_head").fetchall()
        assert Nowhere(app).broken() == set()
        assert version() != before
        assert other.execute("SELECT * FROM ledger_head").fetchall() == ledger


@of_sqlite
def test_a_database_that_takes_no_writes_is_no_health(app: App) -> None:
    with closing(sqlite3.connect(app.state / "environet.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        assert Nowhere(app).broken(seconds=1.0) == {"database"}
        assert time.monotonic() - begun < 3
        other.execute("ROLLBACK")


def test_a_check_that_hangs_is_not_begun_again(app: App) -> None:
    nowhere = Nowhere(app)
    asked: list[int] = []

    def hang() -> Sequence[Child]:
        asked.append(1)
        time.sleep(4)
        return []

    slow = Health(app, list, hang, lambda: nowhere.queue, 0.3, every=0)
    first = slow.findings()
    second = slow.findings()
    assert {one.said for one in first if one.check == "web"} == {"no answer within 0 seconds"}
    assert {one.said for one in second if one.check == "web"} == {
        "no answer since it was last asked"
    }
    assert len(asked) == 3  # one each for workers, web and imap


# The listener


@pytest.fixture
def sick() -> Iterator[Listener]:
    found = [Finding("agent", State.FAULT, "does not sign")]
    with Listener("127.0.0.1:0", CollectorRegistry(), lambda: found) as listener:
        yield listener


def test_a_fault_is_503_and_named(sick: Listener) -> None:
    assert health(sick.address[1]) == (503, {"agent": "fault"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/metrics", 501), ("GET", "/metrics?x=1", 200)],
)
def test_nothing_else_is_answered(sick: Listener, method: str, path: str, status: int) -> None:
    with closing(HTTPConnection(*sick.address, timeout=5)) as client:
        client.request(method, path)
        assert client.getresponse().status == status


def test_who_opens_many_connections_and_asks_nothing_is_dropped(sick: Listener) -> None:
    silent = [socket.create_connection(sick.address) for _ in range(60)]
    for one in silent:
        one.settimeout(5)
    try:
        assert any(one.recv(1) == b"" for one in silent[-30:])
    finally:
        for one in silent:
            one.close()
    assert answered_after_some_time(sick.address[1]) == 503


def answered_after_some_time(port: int) -> int:
    """The status, once those who are gone have been noticed."""
    for _ in range(200):
        with suppress(RemoteDisconnected, ConnectionResetError):
            return health(port)[0]
        time.sleep(0.05)
    raise AssertionError("it answers nobody any more")


# Counting


def test_what_a_child_counts_its_server_reads() -> None:
    server = Board.new()
    child = Board(os.dup(server.descriptor))
    now = utc_now()
    child.copies([Result(1, Delivery.SENT, now, None), Result(2, Delivery.WAITING, now, "x")])
    child.request(200, 0.03)
    child.request(404, 99.0)
    child.mail(250)
    child.mail(523)
    assert (server["mail 2xx"], server["mail 4xx"], server["mail 5xx"]) == (1, 0, 1)
    assert (server["sent"], server["deferred"], server["parked"]) == (1, 1, 0)
    assert (server["2xx"], server["4xx"]) == (1, 1)
    assert server.buckets[SECONDS.index(0.05)] == 1
    assert server.buckets[-1] == 1
    assert server.seconds == pytest.approx(99.03)


@of_sqlite
def test_the_database_is_asked_for_metrics_by_its_indexes_and_not_often(app: App) -> None:
    statements: list[str] = []

    @event.listens_for(app.database.engine, "before_cursor_execute")
    def note(_: object, __: object, statement: str, values: object, *___: object) -> None:
        if "outbox" in statement:
            statements.append(statement)

    assert isinstance(app.database.engine, Engine)
    metrics = Metrics(app, list, list)
    list(metrics.collect())
    asked = len(statements)
    assert asked > 5
    list(metrics.collect())
    assert len(statements) == asked
    with app.database.reading() as session:
        queue_now(session, utc_now())
        for statement in set(statements):
            plan = session.connection().exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", ("x",) * statement.count("?")
            )
            steps = [str(row[3]) for row in plan]
            assert not [one for one in steps if re.fullmatch(r"SCAN outbox", one)], steps
    event.remove(app.database.engine, "before_cursor_execute", note)


# The log


@pytest.fixture
def _logging() -> Iterator[None]:
    """Leaves logging as it was."""
    root, own = logging.getLogger(), logging.getLogger("gateway")
    before = root.handlers[:], root.level, own.level, logging.raiseExceptions
    yield
    for one in root.handlers:
        if one not in before[0]:
            one.close()
    root.handlers[:], level, own_level, logging.raiseExceptions = before
    root.setLevel(level)
    own.setLevel(own_level)


@pytest.mark.usefixtures("_logging")
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_librarys_fault_says_is_not_in_the_log(form: str, tmp_path: Path) -> None:
    logs.start(LogSection.model_validate({"format": form, "file": "log"}), tmp_path)
    secret = "ivory " * 2
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("asyncio").exception("Task failed\nfuture: ValueError(%r)", secret)
    logging.getLogger("aiosmtpd").info("RCPT TO:<ana@customs.example>")
    text = (tmp_path / "log").read_text()
    assert "ivory ivory" not in text
    assert "Task failed" in text
    assert "ValueError" in text
    assert "customs" not in text


@pytest.mark.usefixtures("_logging")
def test_a_log_file_that_was_moved_is_made_anew_for_its_owner_alone(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        logs.start(LogSection(file="log"), tmp_path)
        log = logging.getLogger("gateway.test")
        log.warning("one")
        (tmp_path / "log").rename(tmp_path / "log.1")
        with about("ab12"):
            log.warning("two")
    finally:
        os.umask(umask)
    assert (tmp_path / "log.1").read_text().endswith("WARNING gateway.test: one\n")
    assert (tmp_path / "log").read_text().endswith("WARNING gateway.test: two mail=ab12\n")
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_a_log_that_cant_be_written_disturbs_nobody() -> None:
    program = (
        "import logging; from pathlib import Path; from gateway.monitoring import logs;"
        "from gateway.settings import LogSection;"
        "logs.start(LogSection(file='/dev/full'), Path('/'));"
        "logging.getLogger('gateway.test').warning('a line'); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_for_the_journal_each_line_has_its_priority() -> None:
    record = logging.LogRecord("gateway.x", logging.ERROR, "", 1, "first\nsecond", (), None)
    assert logs.TextLines(journal=True).format(record) == "<3>gateway.x: first\n<3>second"


def test_systemd_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
    notify("READY=1")  # nobody listens any more, and nothing happens
