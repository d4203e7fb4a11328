"""`environet doctor`: what is broken is found, told with what to type, and nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway.app import utc_now
from gateway.config import FILE
from gateway.monitoring.doctor import CHECKS, examine
from gateway.monitoring.finding import Finding, State, run
from gateway.store import outbox
from gateway.store.ledger import LedgerEntry
from gateway.store.member import Member
from gateway.store.outbox import Notice, OutboxEntry
from tests import programs
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Officer
from tests.postgresql import of_sqlite
from tests.unit.nameserver import NameServer


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer(DOMAIN, "@ 300 IN MX 10 mail\nmail 300 IN A 192.0.2.1\n") as server:
        yield server


@pytest.fixture(scope="module")
def founded() -> Iterator[RunningGateway]:
    with RunningGateway(short_place("doctor")) as made:
        made.found()
        made.end_agent()
        yield made


@pytest.fixture
def gateway(founded: RunningGateway, names: NameServer) -> Iterator[RunningGateway]:
    settings = {"dkim.resolver": names.address}
    with RunningGateway(short_place("doctor"), settings=settings, sink=True) as made:
        made.found_as(founded)
        yield made


def told(gateway: RunningGateway) -> dict[str, list[dict[str, Any]]]:
    """What the command says of each check."""
    try:
        output, status = gateway.environet("doctor", "--json"), 0
    except CommandFailed as error:
        output, status = str(error), error.status
    found = json.loads(output)
    assert status == (0 if found["ok"] else 3)
    by_check: dict[str, list[dict[str, Any]]] = {}
    for one in found["findings"]:
        by_check.setdefault(one["check"], []).append(one)
    return by_check


def worst(found: list[dict[str, Any]]) -> str:
    states = [one["state"] for one in found]
    return str(max(states, key=["ok", "warning", "fault"].index))


def at(gateway: RunningGateway, moment: datetime) -> list[Finding]:
    """What is found at another time."""
    return examine(gateway.state, lambda: moment)


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All files but for gpg-agent's and SQLite's own, which are made by whoever looks."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))
    }


def test_a_sound_gateway_that_is_not_served_has_no_fault(gateway: RunningGateway) -> None:
    before = snapshot(gateway.state)
    found = told(gateway)
    assert {"configuration", "owner", *CHECKS} == set(found)
    assert [name for name, each in found.items() if worst(each) == "fault"] == []
    assert worst(found["server"]) == "warning"
    assert snapshot(gateway.state) == before
    (dns,) = found["dns"]
    assert "SPF missing" in dns["said"]
    assert "MX missing" not in dns["said"]
    assert all(one["todo"] for each in found.values() for one in each if one["state"] != "ok")


def test_of_bad_settings_each_fault_is_told_and_nothing_else_is_tried(
    gateway: RunningGateway,
) -> None:
    file = gateway.state / FILE
    text = file.read_text().replace("# digest_hour = 6", "digest_hour = 25")
    file.write_text(text.replace('# level = "info"', 'level = "loud"'))
    found = told(gateway)
    assert {"configuration", "owner"} == set(found)
    assert len(found["configuration"]) == 2


def test_files_that_others_may_read_are_faults(gateway: RunningGateway) -> None:
    (gateway.state / FILE).chmod(0o640)
    (one,) = told(gateway)["files"]
    assert one["state"] == "fault"
    assert FILE in one["said"]
    assert one["todo"] == f"chmod -R go= {gateway.state}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_who_does_not_own_the_state_is_told_so_before_anything_is_opened(
    gateway: RunningGateway,
) -> None:
    os.chown(gateway.state, 12345, 12345)
    found = told(gateway)
    assert set(found) == {"configuration", "owner"}
    assert "runuser -u '#12345'" in found["owner"][0]["todo"]


def test_a_missing_secret_key_is_found(gateway: RunningGateway) -> None:
    gateway.end_agent()
    shutil.rmtree(gateway.state / "gnupg" / "private-keys-v1.d")
    found = told(gateway)
    assert worst(found["keys"]) == worst(found["agent"]) == "fault"
    assert len([one for one in found["keys"] if "does not sign" in one["said"]]) == 9


def test_an_agent_that_hangs_is_found_in_time(gateway: RunningGateway) -> None:
    gateway.environet("key", "list")
    told(gateway)  # gpg has started its agent
    home = str(gateway.state / "gnupg")
    command = ["gpg-connect-agent", "--homedir", home, "GETINFO pid", "/bye"]
    pid = int(subprocess.run(command, capture_output=True, check=True).stdout.split()[1])
    programs.suspend(pid)
    try:
        begun = time.monotonic()
        found = examine(gateway.state, utc_now, seconds=2)
        assert time.monotonic() - begun < 4
    finally:
        os.kill(pid, signal.SIGCONT)
    late = {one.check for one in found if one.state is State.FAULT}
    assert {"agent", "keys"} <= late <= {"agent", "keys", "mail-server"}  # no sink is set here


def test_expired_keys_and_a_clock_that_went_back_are_found(gateway: RunningGateway) -> None:
    later = at(gateway, utc_now() + timedelta(days=4 * 365))
    expired = [one for one in later if "has expired" in one.said]
    assert len(expired) == 8  # the archive's key never does
    assert expired[0].todo == "environet key renew --all"
    back = at(gateway, datetime(2020, 1, 1, tzinfo=UTC))
    assert any(one.check == "clock" and one.state is State.FAULT for one in back)


@of_sqlite
def test_a_database_that_is_missing_or_damaged_is_found(gateway: RunningGateway) -> None:
    file = gateway.state / "environet.sqlite"
    content = bytearray(file.read_bytes())
    for page in range(6, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = bytes(64)
    file.write_bytes(content)
    (damaged,) = told(gateway)["database"]
    assert (damaged["state"], damaged["said"]) == ("fault", "it is damaged")
    for each in gateway.state.glob("environet.sqlite*"):
        each.unlink()
    found = told(gateway)
    assert {worst(found[name]) for name in ("database", "queue", "keys")} == {"fault"}
    assert not file.exists()


def test_the_mail_server_is_asked_for_what_copies_need(gateway: RunningGateway) -> None:
    found = told(gateway)["mail-server"]
    assert worst(found) == "warning"
    assert "33,554,432" in found[0]["said"]  # what it takes is less than smtp.message_bytes
    assert gateway.sink is not None
    gateway.sink.close()
    gateway.sink = None
    (gone,) = told(gateway)["mail-server"]
    assert gone["state"] == "fault"
    assert "Connection refused" in gone["said"]


def test_what_waits_too_long_and_what_is_parked_is_told(gateway: RunningGateway) -> None:
    with Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as ana:
        gateway.add_member(ana)
    assert worst(told(gateway)["queue"]) == "ok"
    now = utc_now()
    with gateway.writing() as session:
        member = session.query(Member).one()
        for state, due in (("waiting", now - timedelta(hours=3)), ("parked", now)):
            notice = Notice(token=state, template="x", body=b"", made_at=now)
            outbox.queue_notice(session, notice, member.id, now)
            session.execute(
                update(OutboxEntry)
                .where(OutboxEntry.notice_id == notice.id)
                .values(state=state, next_at=due, queued_at=due)
            )
    found = told(gateway)["queue"]
    assert [one["said"] for one in found] == [
        "copies have been due for 3 h 0 min", "1 copies are parked", "1 waiting, 0 under way",
    ]  # fmt: skip
    assert "ana.lind" not in str(found)


def test_backups_that_are_not_made_are_told(gateway: RunningGateway) -> None:
    assert "is not set" in told(gateway)["backup"][0]["said"]
    now = utc_now()
    with Officer.create(
        "gpg", "Administrators", "administrators@customs.example",
        created=now - timedelta(days=300), expires=now + timedelta(days=40),
    ) as administrators:  # fmt: skip
        (gateway.state / "administrators.asc").write_bytes(administrators.certificate)
    file = gateway.state / FILE
    chosen = 'certificate = "administrators.asc"'
    file.write_text(file.read_text().replace('# certificate = ""', chosen))
    assert told(gateway)["backup"][0]["said"] == "none was made yet"
    gateway.environet("backup", str(gateway.place / "backup.tar.gpg"))
    assert worst(told(gateway)["backup"]) == "ok"
    for days, states in ((3, ["warning"]), (20, ["warning", "warning"]), (50, ["fault"])):
        found = at(gateway, now + timedelta(days=days))
        assert [one.state for one in found if one.check == "backup"] == states


def test_beside_a_running_gateway_its_processes_and_doors_are_looked_at(
    founded: RunningGateway, names: NameServer
) -> None:
    settings = {"dkim.resolver": names.address}
    with RunningGateway(short_place("doctor"), settings=settings) as gateway:
        gateway.found_as(founded)
        gateway.start()
        found = told(gateway)
        assert found["server"][0]["said"] == "runs"
        assert found["workers"][0]["said"] == "1 running"
        assert worst(found["doors"]) == "ok"
        assert gateway.stop() == 0
        assert worst(told(gateway)["server"]) == "warning"


def test_a_finding_is_shown_with_what_to_type(gateway: RunningGateway) -> None:
    shown = gateway.environet("doctor")
    assert "warning server:         no 'environet serve' runs on this state\n" in shown
    assert f"{'':<24}-> systemctl start environet\n" in shown


def test_a_check_that_fails_unforeseen_says_where_and_not_what() -> None:
    secret = "ivory " * 2

    def broken() -> list[Finding]:
        raise ValueError(secret)

    (one,) = run({"broken": broken}, 5)
    assert one.state is State.FAULT
    assert "ValueError" in one.said
    assert "ivory ivory" not in one.said


def test_the_ledger_is_as_it_was(gateway: RunningGateway) -> None:
    with gateway.reading() as session:
        before = session.query(LedgerEntry).count()
    told(gateway)
    with gateway.reading() as session:
        assert session.query(LedgerEntry).count() == before
