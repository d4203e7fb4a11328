"""`environet backup` and `restore`: what is kept comes back, and nothing that is amiss does."""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from gateway import config as settings
from gateway.app import open_app, utc_now
from gateway.backup import kept, making
from gateway.backup.form import FORMAT, Header, Writer
from gateway.crypto import file_encryption, gpg_home
from gateway.crypto.certificate import read
from gateway.errors import Unavailable, UsageError
from gateway.store import ledger, rows
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.database import Database
from gateway.store.posting import Thread
from gateway.store.web_session import WebSession
from tests import postgresql
from tests.administrators import FILE, Administrators, administrators
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Officer
from tests.unit.test_upgrading import Old, found_as_it_was

LIST = f"wildlife@{DOMAIN}"
SETTINGS = {"backup.certificate": FILE, "handoff.to": "smtp://127.0.0.1:1"}
"""Nobody takes copies at that port, so they wait."""
SECRET = "Seventeen tusks in container MSKU"
Entries = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def keyholders() -> Iterator[Administrators]:
    with administrators() as made:
        yield made


@pytest.fixture(scope="module")
def source(keyholders: Administrators) -> Iterator[RunningGateway]:
    """A gateway with a member, who is logged in, and a posting whose copy waits; it is not
    running."""
    with (
        RunningGateway(short_place("source"), settings=SETTINGS) as made,
        Officer.create("gpg", "Ana Lind", "ana@customs.example") as ana,
    ):
        made.found()
        keyholders.give(made)
        made.add_member(ana)
        certificate = made.certificate(LIST)
        made.start()
        mail = ana.write(to=[LIST], certificates=[certificate], subject="Tusks", text=SECRET)
        assert made.send(mail, ana.address, [LIST])[0] == 250
        made.stop()
        now = utc_now()
        with made.writing() as session:
            session.execute(update(ArchiveEntry).values(indexed_at=now))
            session.add(
                WebSession(
                    token_hash="0", member_id=1, key_fingerprint=ana.fingerprint, agent=b"",
                    started_at=now, seen_at=now, ends_at=now + timedelta(hours=12),
                )
            )  # fmt: skip
        yield made


@pytest.fixture(scope="module")
def backup(source: RunningGateway) -> Path:
    file = source.place / "backup.tar.gpg"
    source.environet("backup", str(file))
    return file


@pytest.fixture
def other() -> Iterator[RunningGateway]:
    """Another machine."""
    with RunningGateway(short_place("other"), settings=SETTINGS) as made:
        yield made


def all_rows(gateway: RunningGateway) -> dict[str, list[dict[str, Any]]]:
    with gateway.reading() as session:
        return {
            table.name: [
                dict(row._mapping) for some in rows.batches(session, table) for row in some
            ]
            for table in rows.tables(session)
        }


def refused(gateway: RunningGateway, *words: str) -> str:
    with pytest.raises(CommandFailed) as failure:
        gateway.environet(*words)
    return str(failure.value)


def not_restored(other: RunningGateway, file: Path, key: Path | None, *words: str) -> str:
    """What is said of a backup that is not taken, of which nothing is left."""
    with pytest.raises(CommandFailed) as failure:
        other.restore(file, key, *words)
    assert not other.state.exists()
    if other._own_database:
        with closing(Database(other._own_database, other.place)) as database:
            assert database.is_empty()
    assert "Traceback" not in str(failure.value)
    return str(failure.value)


# What is kept


def test_what_is_kept_comes_back(
    source: RunningGateway, backup: Path, other: RunningGateway, keyholders: Administrators
) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    for word in (b"Ana Lind", b"ana@customs", DOMAIN.encode(), SECRET.encode(), b"PRIVATE KEY"):
        assert word not in backup.read_bytes()
    said = other.restore(backup, keyholders.key)
    before, after = all_rows(source), all_rows(other)
    assert [one["event"] for one in before["ledger"]][-1:] == ["backed-up"]
    assert said["head"] == before["ledger"][-2]["hash"]
    assert [one["event"] for one in after["ledger"]][-1:] == ["restored"]
    assert after["ledger"][:-1] == before["ledger"][:-1]
    (waiting,), (parked,) = before["outbox"], after["outbox"]
    assert (waiting["state"], parked["state"], said["parked"]) == ("waiting", "parked", 1)
    assert "may have been sent since" in parked["reason"]
    assert (parked["turn"], parked["lease_owner"]) == (None, None)
    assert before["archive_entry"][0].pop("indexed_at") is not None
    assert after["archive_entry"][0].pop("indexed_at") is None  # so it is indexed anew
    (logged_in,), (ended,) = before["web_session"], after["web_session"]
    assert (logged_in["ended_at"], ended["ended_at"]) == (None, after["ledger"][-1]["at"])
    changed = {"ledger", "ledger_head", "outbox", "web_session"}
    assert {n: r for n, r in before.items() if n not in changed} == {
        n: r for n, r in after.items() if n not in changed
    }
    assert SECRET in other.environet("posting", "show", "B-1")
    assert "unbroken" in other.environet("ledger", "verify")
    assert {p.stat().st_mode & 0o077 for p in other.state.rglob("*") if not p.is_socket()} == {0}
    assert json.loads(other.environet("keys", "--json"))


def test_all_rows_are_of_one_moment(
    source: RunningGateway,
    other: RunningGateway,
    keyholders: Administrators,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = list[str]()

    def meanwhile(table: str, *_: int) -> None:
        told.append(table)
        if len(told) == 1:
            with source.writing() as session:
                session.add(Thread(id=4711, started_at=utc_now()))
                ledger.enter(session, utc_now(), "read", posting="B-1", by="operator")

    monkeypatch.setenv("ENVIRONET_BACKUP_CERTIFICATE", FILE)
    with closing(open_app(source.state)) as app:
        file = source.place / "moment.tar.gpg"
        made = making.make(app, file, meanwhile)
    assert other.restore(file, keyholders.key)["head"] == made.head
    assert [one["event"] for one in all_rows(source)["ledger"]][-2:] == ["read", "backed-up"]
    after = all_rows(other)
    assert after["ledger"][-2]["hash"] == made.head
    assert 4711 not in [one["id"] for one in after["thread"]]


def test_no_file_of_a_state_is_forgotten(source: RunningGateway) -> None:
    there = {
        str(path.relative_to(source.state)) for path in source.state.rglob("*") if path.is_file()
    }
    found = {path for path, _ in kept.files(source.state, settings.load(source.state))}
    found |= {FILE}  # it is named by the environment here
    left = {
        "serve.lock", "worker-0.lock", "machine", "environet.sqlite", "environet.sqlite-wal",
        "environet.sqlite-shm", "gnupg/trustdb.gpg", "gnupg/tofu.db", "gnupg/random_seed",
        "gnupg/pubring.kbx~",
    }  # fmt: skip
    assert there - found <= left
    assert found <= there


def test_of_keys_there_is_what_is_between_two_changes(source: RunningGateway) -> None:
    home = source.state / "gnupg"
    whole = gpg_home.files(home)
    assert {"pubring.kbx", "gpg.conf"} <= whole.keys()
    assert not [name for name in whole if name.endswith(("~", ".lock")) or "S.gpg" in name]
    # As a change that was cut off between gpg's two renames has left it.
    (home / "pubring.kbx").rename(home / "pubring.kbx~")
    assert gpg_home.files(home) == whole
    read: list[dict[str, bytes]] = []
    reader = threading.Thread(target=lambda: read.append(gpg_home.files(home)))
    with gpg_home.changing(home):
        reader.start()
        reader.join(0.2)
        assert not read
    reader.join()
    assert read == [whole]


def test_the_file_is_told_of_and_is_in_the_ledger(source: RunningGateway, backup: Path) -> None:
    file = backup.with_name("second.tar.gpg")
    said = json.loads(source.environet("backup", str(file), "--json"))
    digest = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    assert digest.startswith(said["sha256"])
    assert said["size"] == file.stat().st_size
    assert json.loads(all_rows(source)["ledger"][-1]["detail"]) == {
        "by": "operator", "key": said["to"], "sha256": said["sha256"], "size": said["size"],
    }  # fmt: skip
    assert f"{file} is there already" in refused(source, "backup", str(file))


def test_the_command_of_the_systemd_unit_makes_one(source: RunningGateway, tmp_path: Path) -> None:
    unit = (Path(__file__).parents[2] / "contrib" / "environet-backup.service").read_text()
    start = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert start is not None
    command = start[1].replace("$$", "$").replace("%%", "%")  # systemd.service(5)
    for old, new in (
        ("/opt/environet/.venv/bin/environet", f"{sys.executable} -m gateway"),
        ("/var/lib/environet-backups", str(tmp_path)),
    ):
        assert old in command
        command = command.replace(old, new)
    environment = {**source._environment, "ENVIRONET_STATE": str(source.state)}
    subprocess.run(shlex.split(command), env=environment, check=True, capture_output=True)
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"environet-[0-9]{8}-[0-9]{6}\.tar\.gpg", file.name)


def test_one_s_own_gnupg_home_opens_it(
    backup: Path, other: RunningGateway, keyholders: Administrators
) -> None:
    (other.temporary / ".gnupg").symlink_to(keyholders.home)
    other.quick = False  # HOME counts, and not what pytest has
    assert other.restore(backup, None)["domain"] == DOMAIN


def test_what_was_stopped_before_goes_on_as_if_nothing_had_been(
    backup: Path, other: RunningGateway, keyholders: Administrators
) -> None:
    assert other.restore(backup, keyholders.key, "--moved")["parked"] == 0
    after = all_rows(other)
    assert after["outbox"][0]["state"] == "waiting"
    assert after["web_session"][0]["ended_at"] is None
    assert after["ledger"][-1]["event"] == "moved"


def test_a_ledger_that_was_broken_before_is_told(
    source: RunningGateway, other: RunningGateway, keyholders: Administrators
) -> None:
    first = update(ledger.LedgerEntry).where(ledger.LedgerEntry.sequence == 1)
    file = source.place / "forged.tar.gpg"
    for event in ("forged", all_rows(source)["ledger"][0]["event"]):
        with source.writing() as session:
            session.execute(first.values(event=event))
        if event == "forged":
            source.environet("backup", str(file))
    with pytest.raises(CommandFailed) as failure:
        other.restore(file, keyholders.key)
    assert failure.value.status == 3
    assert "entry 1 was changed after it was written" in str(failure.value)
    assert SECRET in other.environet("posting", "show", "B-1")


# Who can't make one


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ("", "set backup.certificate to a file"),
        ("none.asc", "none.asc: No such file"),
        ("environet.toml", "environet.toml: "),
        ("newer.asc", "gpg can't encrypt to keys of version 6"),
    ],
)
def test_without_a_certificate_none_is_made(
    source: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, why: str
) -> None:
    monkeypatch.setitem(source._settings, "backup.certificate", chosen)
    with Officer.create("sequoia", "New", "new@customs.example", algorithm="v6") as newer:
        (source.state / "newer.asc").write_bytes(newer.certificate)
    said = refused(source, "backup", str(tmp_path / "backup"))
    (source.state / "newer.asc").unlink()
    assert why in said
    assert list(tmp_path.iterdir()) == []


def test_one_that_has_expired_is_refused(
    source: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(source._settings, "backup.certificate", "brief.asc")
    created = datetime.now(UTC) - timedelta(days=10)
    with Officer.create(
        "gpg", "Brief", "brief@customs.example", created=created,
        expires=created + timedelta(days=5),
    ) as brief:  # fmt: skip
        (source.state / "brief.asc").write_bytes(brief.certificate)
        said = refused(source, "backup", str(tmp_path / "backup"))
    (source.state / "brief.asc").unlink()
    assert "expired on" in said
    assert list(tmp_path.iterdir()) == []


def test_what_gpg_refuses_ends_it(backup: Path, keyholders: Administrators) -> None:
    (entry, header), *_ = content(backup, keyholders)
    assert entry.name == "backup.json"
    bad = replace(read(keyholders.certificate), data=b"no certificate")
    with (
        pytest.raises(Unavailable, match="gpg can't encrypt"),
        file_encryption.encrypting(bad, bytearray().extend) as clear,
        Writer(clear, Header.model_validate_json(header)) as writer,
    ):
        writer.add_file("large", bytes(10**7))
    gc.collect()  # nothing is written any more, which would be told as an error here


def test_a_full_disk_leaves_nothing(source: RunningGateway, tmp_path: Path) -> None:
    (tmp_path / "backup.part").symlink_to("/dev/full")
    with pytest.raises(CommandFailed) as failure:
        source.environet("backup", str(tmp_path / "backup"))
    assert failure.value.status == 75
    assert "can't be written: No space left on device" in str(failure.value)
    assert list(tmp_path.iterdir()) == []


# What is not restored


def test_another_key_does_not_open_it(backup: Path, other: RunningGateway) -> None:
    with administrators() as strangers:
        assert "no key here opens it" in not_restored(other, backup, strangers.key)
    certificate = other.place / "certificate.asc"
    certificate.write_bytes(strangers.certificate)
    assert "has no secret key" in not_restored(other, backup, certificate)
    assert "No such file" in not_restored(other, backup, other.place / "none")
    assert "No such file" in not_restored(other, other.place / "none", certificate)


def flipped(at: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        place = min(int(len(data) * at), len(data) - 1)
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return flip


@pytest.mark.parametrize(
    "spoilt",
    [
        *(pytest.param(flipped(at), id=f"a bit at {at}") for at in (0, 0.01, 0.3, 0.6, 0.99, 1)),
        *(pytest.param(lambda data, at=at: data[: int(len(data) * at)], id=f"cut off at {at}")
          for at in (0, 0.0005, 0.5, 0.999)),
        pytest.param(lambda data: data[:-1], id="without its last byte"),
        pytest.param(lambda data: b"not encrypted at all\n" * 99, id="text"),
    ],
)  # fmt: skip
def test_a_file_that_was_changed_is_not_restored(
    backup: Path,
    other: RunningGateway,
    keyholders: Administrators,
    spoilt: Callable[[bytes], bytes],
) -> None:
    file = other.place / "spoilt"
    file.write_bytes(spoilt(backup.read_bytes()))
    said = not_restored(other, file, keyholders.key)
    assert "is damaged" in said or "is not an encrypted file" in said or "no key here" in said


def test_only_an_empty_place_is_restored_to(
    source: RunningGateway, backup: Path, other: RunningGateway, keyholders: Administrators
) -> None:
    before = {p: p.stat().st_mtime_ns for p in source.state.rglob("*")}
    words = ["restore", str(backup), "--key", str(keyholders.key)]
    assert "is not empty; 'restore' wants a new directory" in refused(source, *words)
    assert {p: p.stat().st_mtime_ns for p in source.state.rglob("*")} == before
    url = source._own_database or f"sqlite:///{source.state}/environet.sqlite"
    said = refused(other, *words, "--database", url)
    assert "the database is not empty" in said
    said = refused(other, *words, "--database", "postgresql+psycopg://environet:word@/environet")
    assert "leave the password out" in said
    assert not other.state.exists()


# What somebody could have made who has the certificate


def content(file: Path, keyholders: Administrators) -> Entries:
    words = ["gpg", "--homedir", str(keyholders.home), "--quiet", "--decrypt", str(file)]
    clear = subprocess.run(words, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(clear)) as tar:
        return [(one, (tar.extractfile(one) or BytesIO()).read()) for one in tar]


def made(entries: Entries, file: Path, keyholders: Administrators) -> Path:
    clear = BytesIO()
    with tarfile.open(fileobj=clear, mode="w") as tar:
        for entry, data in entries:
            entry.size = len(data)
            tar.addfile(entry, BytesIO(data))
    words = ["gpg", "--homedir", str(keyholders.home), "--quiet", "--trust-model", "always",
             "--recipient", "administrators@environet.example", "--encrypt"]  # fmt: skip
    done = subprocess.run(words, input=clear.getvalue(), capture_output=True, check=True)
    file.write_bytes(done.stdout)
    return file


def replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[Entries], Entries]:
    return lambda entries: [
        (one, change(data) if one.name == name else data) for one, data in entries
    ]


def renamed(old: str, new: str) -> Callable[[Entries], Entries]:
    def change(entries: Entries) -> Entries:
        for one, _ in entries:
            one.name = new if one.name == old else one.name
        return entries

    return change


def of_header(**changes: object) -> Callable[[Entries], Entries]:
    return replaced("backup.json", lambda data: json.dumps(json.loads(data) | changes).encode())


def without_secrets(entries: Entries) -> Entries:
    """Whole in itself, but of a gateway that had lost its secret keys."""
    left = [(one, data) for one, data in entries if "private-keys" not in one.name]
    manifest = {name: sums for name, sums in json.loads(left[-1][1]).items()
                if "private-keys" not in name}  # fmt: skip
    return [*left[:-1], (left[-1][0], json.dumps(manifest).encode())]


AMISS = {
    "a value": replaced("database/member/1", lambda data: data.replace(b"Ana", b"Eve")),
    "a row of nobody": replaced(
        "database/posting/1", lambda data: re.sub(rb"(\[\d+, \"\w+\"), 1,", rb"\1, 99,", data)
    ),
    "settings that are no text": replaced("state/environet.toml", lambda data: b"\xff" + data),
    "a row less": replaced("database/ledger/1", lambda data: data.partition(b"\n")[2]),
    "a key": replaced("state/gnupg/pubring.kbx", lambda data: data[:-1]),
    "no secret keys": without_secrets,
    "no manifest": lambda entries: entries[:-1],
    "something after it": lambda entries: [*entries, entries[1]],
    "a file less": lambda entries: [one for one in entries if one[0].name != "state/tls-key.pem"],
    "no settings": renamed("state/environet.toml", "state/other.toml"),
    "a file outside": renamed("state/tls-key.pem", "state/../tls-key.pem"),
    "another table": renamed("database/member/1", "database/officer/1"),
    "no header": lambda entries: entries[1:],
    "nothing": lambda entries: [],
    "a newer format": of_header(format=FORMAT + 1),
    "a newer schema": of_header(schema_version="9999"),
    "no schema": of_header(schema_version="../head"),
    "a table too many": of_header(
        tables=[{"name": "rogue", "columns": {"id": "plain"}, "rows": 0}]
    ),
}


WHY = {
    "a row of nobody": "that posting does not take",
    "no settings": "has no settings",
    "settings that are no text": "that are no text",
    "a file outside": "outside of the state",
    "no secret keys": "secret keys are missing",
    "a newer format": "use the newer program",
    "a newer schema": "use the newer one",
}


@pytest.mark.parametrize("amiss", AMISS)
def test_a_backup_that_is_amiss_is_not_restored(
    backup: Path, other: RunningGateway, keyholders: Administrators, amiss: str
) -> None:
    entries = AMISS[amiss](content(backup, keyholders))
    file = made(entries, other.place / "amiss", keyholders)
    said = not_restored(other, file, keyholders.key)
    assert WHY.get(amiss, "the backup ") in said
    assert not (other.place / "tls-key.pem").exists()


def test_one_that_is_put_together_again_unchanged_is_restored(
    backup: Path, other: RunningGateway, keyholders: Administrators
) -> None:
    file = made(content(backup, keyholders), other.place / "same", keyholders)
    assert other.restore(file, keyholders.key)["domain"] == DOMAIN


# Cut off


def test_what_was_cut_off_is_no_gateway(
    backup: Path, other: RunningGateway, keyholders: Administrators
) -> None:
    pipe = other.place / "pipe"
    os.mkfifo(pipe)
    command = [*other._command, "restore", str(pipe)]
    environment = {**other._environment, "GNUPGHOME": str(keyholders.home)}
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process,
        pipe.open("wb", buffering=0) as stream,
    ):
        stream.write(backup.read_bytes()[:-1000])
        deadline = time.monotonic() + 60
        while not (other.state / "gnupg").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert list(other.state.iterdir())
    assert "environet.toml is missing" in refused(other, "member", "list")
    assert "is not empty" in refused(other, "restore", str(backup))


# Of an older version


def test_an_older_one_is_restored_and_then_upgraded(
    other: RunningGateway, keyholders: Administrators
) -> None:
    with (
        RunningGateway(short_place("old"), settings=SETTINGS) as gateway,
        Officer.create("gpg", "Ana Lind", "ana@customs.example") as ana,
    ):
        found_as_it_was(Old(gateway, ana))
        keyholders.give(gateway)
        gateway.environet("backup", str(gateway.place / "old.tar.gpg"))
        url = [] if not postgresql.is_chosen() else ["--database", "sqlite:///environet.sqlite"]
        said = other.environet(
            "restore", str(gateway.place / "old.tar.gpg"), "--key", str(keyholders.key), *url
        )
    assert "It is of an older version: run 'environet upgrade'" in said
    assert "run 'environet upgrade'" in refused(other, "posting", "list")
    assert "is of this version now" in other.environet("upgrade")
    assert "B-1" in other.environet("posting", "list")
    assert "unbroken" in other.environet("ledger", "verify")


# The settings


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        (settings.render({"domain": "a.example"}), None),
        (settings.render({"domain": "a.example", "database.url": "sqlite:///old"}), None),
        ('domain = "a.example"\n', 'domain = "a.example"\n\n[database]\nurl = "sqlite:///new"\n'),
        ('[database]\n\nurl="x"  # why\n[smtp]\nkey = "url"\n',
         '[database]\n\nurl = "sqlite:///new"\n[smtp]\nkey = "url"\n'),
    ],
)  # fmt: skip
def test_another_database_is_set_and_nothing_else(text: str, changed: str | None) -> None:
    done = settings.with_database(text, "sqlite:///new")
    assert changed is None or done == changed
    others = [line for line in text.splitlines() if "url" not in line]
    assert [line for line in done.splitlines() if line in others] == others
    assert settings.database_url(done) == "sqlite:///new"


def test_a_form_of_settings_that_is_not_changed_is_told() -> None:
    with pytest.raises(UsageError, match="can't be set"):
        settings.with_database('database.url = "sqlite:///old"\n', "sqlite:///new")
