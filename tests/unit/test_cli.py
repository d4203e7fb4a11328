"""The command line, on the state of a real gateway: what it does, says, and ends with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gateway import dispatch
from gateway.app import open_app, utc_now
from gateway.cli import main
from gateway.founding import found
from gateway.message.envelope import Envelope
from gateway.store import member
from gateway.store.bounce import Reachability
from tests import programs
from tests.officers import Officer
from tests.programs import KeyRequest

DOMAIN = "environet.example"
DETAILS = ("--organisation", "Revenue Authority", "--country", "KE")
HEADER = "address,name,organisation,country,kind,certificate,tick_off,roles"


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    output: str
    stdout: bytes

    def json(self) -> Any:
        return json.loads(self.stdout)


def environet(state: Path, *words: str) -> Done:
    """Run a command in this process. A traceback instead of an answer is a failure."""
    result = CliRunner().invoke(main, ["--state", str(state), *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.output, result.stdout_bytes)


def run(state: Path, *words: str) -> Done:
    """Run a command as its own process."""
    command = [sys.executable, "-m", "gateway", "--state", str(state), *words]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return Done(done.returncode, (done.stdout + done.stderr).decode(), done.stdout)


def good(state: Path, *words: str) -> Done:
    done = environet(state, *words)
    assert done.status == 0, done.output
    return done


def refused(state: Path, *words: str, status: int = 1) -> str:
    done = environet(state, *words)
    assert done.status == status, done.output
    return done.output


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with a path short enough for gpg-agent's socket."""
    made = Path(tempfile.mkdtemp(prefix="cli", dir="/tmp"))
    yield made
    for home in made.rglob("pubring.kbx"):
        programs.run(["gpgconf", "--homedir", str(home.parent), "--kill", "all"])
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def state(place: Path) -> Path:
    founded = place / "state"
    good(founded, "init", "--domain", DOMAIN, "--smtp", "127.0.0.1:0", "--handoff", "maildir:/none")
    return founded


@pytest.fixture
def own(state: Path, tmp_path: Path) -> Path:
    """A copy of the state, to be spoilt; its keys are not usable."""
    copy = tmp_path / "state"
    shutil.copytree(state, copy, ignore=shutil.ignore_patterns("S.*"))
    return copy


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], str]:
    """Makes a new officer's certificate: its file's path."""

    def make(name: str) -> str:
        file = tmp_path / f"{name}.asc"
        with Officer.create("sequoia", name, f"{name}@customs.example") as officer:
            file.write_bytes(officer.certificate)
        return str(file)

    return make


def member_add(state: Path, name: str, file: str, *words: str) -> Done:
    address = f"{name}@customs.example"
    given = ["--name", name.title(), *DETAILS, "--certificate", file, *words]
    return environet(state, "member", "add", address, *given)


@pytest.fixture(scope="module")
def author(state: Path, place: Path) -> Iterator[Officer]:
    """A member who writes."""
    with Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as officer:
        file = place / "ana.asc"
        file.write_bytes(officer.certificate)
        given = ["--name", officer.name, *DETAILS, "--certificate", str(file)]
        good(state, "member", "add", officer.address, *given)
        yield officer


def post(
    state: Path, author: Officer, local_part: str, text: str = "84 raw tusks.\n", **how: Any
) -> None:
    """A mail of the author's, taken as the server would take it."""
    to = f"{local_part}@{DOMAIN}"
    key = good(state, "key", "export", to).stdout
    mail = author.write(to=[to], certificates=[key], subject="Ivory at Mombasa", text=text, **how)
    app = open_app(state)
    try:
        envelope = Envelope(author.address, (to,), mail, "192.0.2.1", utc_now())
        (reply,) = dispatch.submit(app, envelope, 1 << 26) or ()
    finally:
        app.close()
    assert reply.code == 250, reply


def hold_one(state: Path, author: Officer) -> str:
    """The label of a new hold."""
    good(state, "list", "set", "D", "--moderation", "all")
    post(state, author, "ozone")
    return str(good(state, "hold", "list", "--json").json()[-1]["hold"])


def queued(state: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = good(state, "queue", "--json").json()["entries"]
    return entries


def events(state: Path, name: str) -> list[dict[str, Any]]:
    entries = good(state, "ledger", "list", "--json").json()
    return [json.loads(one["detail"]) for one in entries if one["event"] == name]


# init


def test_a_new_gateway_has_seven_topics_and_a_private_directory(state: Path) -> None:
    lists = good(state, "list", "show", "--json").json()
    assert [one["letter"] for one in lists] == list("ABCDEFG")
    assert len({one["fingerprint"] for one in lists}) == 7
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "tls-key.pem").stat().st_mode & 0o077 == 0


def test_init_leaves_an_existing_gateway_alone(state: Path) -> None:
    before = (state / "environet.toml").read_bytes()
    assert "is not empty" in refused(state, "init", "--domain", DOMAIN)
    assert (state / "environet.toml").read_bytes() == before
    assert good(state, "ledger", "verify")


def test_init_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", "init", "--domain", DOMAIN, status=2)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--domain", "no domain"), "domain: 'no domain' is no domain name"),
        (("--domain", DOMAIN, "--smtp", "25"), "smtp.listen: '25' is not HOST:PORT"),
        (("--domain", DOMAIN, "--handoff", "mx"), "handoff.to: 'mx' is none of"),
        (("--domain", DOMAIN, "--lmtp", "127.0.0.1:8025"), "two doors listen"),
    ],
)
def test_init_that_fails_leaves_nothing_behind(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    assert told in refused(tmp_path / "state", "init", *words)
    assert list(tmp_path.iterdir()) == []


def test_init_that_fails_leaves_an_empty_directory_empty(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    refused(tmp_path / "state", "init", "--domain", "no domain")
    assert list(tmp_path.rglob("*")) == [tmp_path / "state"]


def test_init_where_no_socket_can_be(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    assert "shorter path" in refused(deep, "init", "--domain", DOMAIN)
    assert list(tmp_path.iterdir()) == []


def test_init_interrupted_leaves_nothing_behind(place: Path) -> None:
    state = place / "interrupted"

    def progress(step: str) -> None:
        if step == "command key":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(state, {"domain": DOMAIN}, utc_now, progress)
    assert not state.exists()


def test_init_takes_a_domain_in_its_own_script(place: Path) -> None:
    good(place / "idn", "init", "--domain", "bücher.example")
    assert good(place / "idn", "config", "show", "--json").json()["domain"] == (
        "xn--bcher-kva.example"
    )


# Exit statuses


def test_without_a_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENVIRONET_STATE", raising=False)
    result = CliRunner().invoke(main, ["member", "list"])
    assert (result.exit_code, "ENVIRONET_STATE" in result.output) == (2, True)


def test_the_state_directory_from_the_environment(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONET_STATE", str(state))
    assert CliRunner().invoke(main, ["config", "check"]).exit_code == 0


def test_exit_statuses_of_a_process(state: Path, own: Path) -> None:
    done = run(state, "ledger", "verify")
    assert (done.status, "unbroken" in done.output) == (0, True)
    done = run(own.parent / "nowhere", "member", "list")
    assert (done.status, "run 'environet --state" in done.output) == (1, True)
    assert run(state, "member", "lst").status == 2
    (own / "environet.toml").write_text("domain = 7\n")
    assert run(own, "config", "check").status == 3


def test_a_database_that_does_not_serve_is_for_a_second_try(own: Path) -> None:
    (own / "environet.sqlite").unlink()
    (own / "environet.sqlite").mkdir()
    done = run(own, "member", "list")
    assert (done.status, done.output) == (75, "Error: database: OperationalError\n")


def test_one_gateway_is_served_once(state: Path) -> None:
    command = [sys.executable, "-m", "gateway", "--state", str(state), "serve"]
    environment = {**os.environ, "ENVIRONET_WEB_LISTEN": "127.0.0.1:0"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith(b"listening: smtp 127.0.0.1:")
            assert server.stdout.readline().startswith(b"listening: web 127.0.0.1:")
            assert server.stdout.readline() == b"ready\n"
            second = run(state, "serve")
            assert second.status == 1
            assert "is being served already" in second.output
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


# Members


def test_member_add_and_show(state: Path, certificate: Callable[[str], str]) -> None:
    file = certificate("chau")
    done = member_add(
        state, "chau", file, "--kind", "customs", "--tick-off", "E,waste", "--role", "moderator:B",
        "--role", "auditor",
    )  # fmt: skip
    assert done.status == 0
    shown = good(state, "member", "show", "CHAU@customs.example", "--json").json()
    assert shown["fingerprint"] == programs.fingerprint(Path(file).read_bytes())
    assert shown["fingerprint"] in done.output
    assert {key: shown[key] for key in ("name", "kind", "country", "state")} == {
        "name": "Chau", "kind": "customs", "country": "KE", "state": "active",
    }  # fmt: skip
    assert sorted(shown["ticked_off"]) == ["A", "E"]
    assert sorted(shown["roles"]) == ["auditor", "moderator:B"]
    assert events(state, "member-added")[-1]["member"] == shown["number"]
    assert shown["expires_at"] is None
    assert "chau@customs.example" in good(state, "member", "list").output


def test_a_certificate_that_ends_is_shown_with_its_end(state: Path, tmp_path: Path) -> None:
    end = datetime.now(UTC) + timedelta(days=30)
    with Officer.create("sequoia", "D", "dina@customs.example", expires=end) as officer:
        (tmp_path / "dina.asc").write_bytes(officer.certificate)
    assert member_add(state, "dina", str(tmp_path / "dina.asc")).status == 0
    shown = good(state, "member", "show", "dina@customs.example", "--json").json()
    assert abs(datetime.fromisoformat(shown["expires_at"]) - end) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--country", "XX"), "country: 'XX' is no ISO 3166-1"),
        (("--name", "A\nB"), "name: has control characters"),
        (("--name", " "), "name: must have 1 to 100 characters"),
        (("--organisation", "a <b>"), "organisation: has control characters, quotes or angle"),
        (("--tick-off", "Z"), "there is no list 'Z'"),
        (("--role", "king"), "role: 'king' is none of"),
        (("--role", "moderator:Z"), "there is no list 'Z'"),
    ],
)
def test_member_add_with_bad_particulars(
    words: tuple[str, ...], told: str, state: Path, certificate: Callable[[str], str]
) -> None:
    done = member_add(state, "eva", certificate("eva"), *words)
    assert (done.status, told in done.output) == (1, True), done.output
    assert "is no member's address" in refused(state, "member", "show", "eva@customs.example")


def test_every_fault_of_a_member_is_told_at_once(
    state: Path, certificate: Callable[[str], str]
) -> None:
    given = ["--name", "", "--organisation", "", "--country", "XX"]
    told = refused(
        state, "member", "add", "no address", *given, "--certificate", certificate("fay")
    )
    assert [part.partition(":")[0] for part in told.removeprefix("Error: ").split("; ")] == [
        "address", "name", "organisation", "country",
    ]  # fmt: skip


def test_an_address_belongs_to_one_member(state: Path, certificate: Callable[[str], str]) -> None:
    assert member_add(state, "gil", certificate("gil")).status == 0
    done = member_add(state, "gil", certificate("gil-again"))
    assert (done.status, "gil@customs.example is a member already" in done.output) == (1, True)


def test_a_certificate_belongs_to_one_member(
    state: Path, certificate: Callable[[str], str]
) -> None:
    file = certificate("hal")
    assert member_add(state, "hal", file).status == 0
    done = member_add(state, "ida", file)
    assert (done.status, "belongs to hal@customs.example already" in done.output) == (1, True)


def bad_certificate(kind: str, home: Path) -> bytes:
    now, user_id = datetime.now(UTC), "Bad <bad@customs.example>"
    if kind == "sign-only":
        made = ("--passphrase", "", "--quick-gen-key", user_id, "ed25519", "sign", "never")
        programs.gpg(home, *made)
        return programs.gpg(home, "--armor", "--export")
    if kind == "expired":
        past = KeyRequest(
            user_id, created=now - timedelta(days=20), expires=now - timedelta(days=10)
        )
        return programs.Gpg(home, past).certificate
    key = programs.Gpg(home, KeyRequest(user_id))
    if kind == "secret":
        return programs.gpg(home, "--passphrase", "", "--armor", "--export-secret-keys")
    revocation = home / "openpgp-revocs.d" / f"{key.fingerprint}.rev"
    # gpg writes a colon before the armor, so that nobody revokes a key by mistake.
    programs.gpg(home, "--import", data=revocation.read_bytes().replace(b":-----", b"-----"))
    return programs.gpg(home, "--armor", "--export")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("expired", "The certificate expired on"),
        ("revoked", "The certificate is revoked."),
        ("sign-only", "It has no key that can be encrypted to"),
        ("secret", "This is a secret key: keep it, and send the public one."),
    ],
)
def test_a_certificate_that_does_not_serve(
    kind: str, told: str, state: Path, place: Path, tmp_path: Path
) -> None:
    home = place / kind
    home.mkdir(mode=0o700)
    (tmp_path / "bad.asc").write_bytes(bad_certificate(kind, home))
    done = member_add(state, "bad", str(tmp_path / "bad.asc"))
    assert done.status == 1
    assert f"Error: certificate: {told}" in done.output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "It is not a certificate"),
        (b"hello\n", "It is not a certificate"),
        (b"\0" * (1 << 20) + b"\0", "is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_certificate(
    content: bytes, told: str, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content)
    done = member_add(state, "jan", str(tmp_path / "file"))
    assert (done.status, told in done.output) == (1, True), done.output


def test_a_certificate_file_that_is_not_there(state: Path, tmp_path: Path) -> None:
    assert member_add(state, "jan", str(tmp_path / "none.asc")).status == 2
    assert member_add(state, "jan", str(tmp_path)).status == 2


def test_suspend_restore_remove(state: Path, certificate: Callable[[str], str]) -> None:
    address, file = "kim@customs.example", certificate("kim")
    assert member_add(state, "kim", file).status == 0
    assert "is active; nothing was changed" in refused(state, "member", "restore", address)
    good(state, "member", "suspend", address)
    assert "is suspended; nothing was changed" in refused(state, "member", "suspend", address)
    good(state, "member", "restore", address)
    good(state, "member", "remove", address)
    shown = good(state, "member", "show", address, "--json").json()
    assert (shown["state"], shown["fingerprint"]) == ("removed", None)
    assert address not in good(state, "member", "list").output
    assert address in good(state, "member", "list", "--all").output
    assert "has no key here" in refused(state, "key", "export", address)
    assert "is removed" in refused(state, "member", "restore", address)
    assert member_add(state, "kim", file).status == 0, "who was removed may come back"
    for event in ("suspended", "active", "removed"):
        assert events(state, f"member-{event}")[-1]["by"] == "operator"


@pytest.mark.parametrize("command", ["show", "suspend", "restore", "remove"])
def test_nobody(command: str, state: Path) -> None:
    assert "is no member's address" in refused(state, "member", command, "nobody@x.example")


# member import


def write_csv(folder: Path, *rows: str, head: str = HEADER) -> str:
    file = folder / "members.csv"
    file.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return str(file)


def test_import(state: Path, tmp_path: Path, certificate: Callable[[str], str]) -> None:
    for name in ("lea", "max"):
        certificate(name)
    file = write_csv(
        tmp_path,
        'lea@customs.example,Léa,"Douanes, Paris",FR,customs,lea.asc,B E,moderator:A expert',
        "max@customs.example,Max,Zoll,DE,,max.asc,,",
    )
    assert "2 members were added." in good(state, "member", "import", file).output
    lea = good(state, "member", "show", "lea@customs.example", "--json").json()
    assert (lea["organisation"], lea["ticked_off"]) == ("Douanes, Paris", ["B", "E"])
    assert sorted(lea["roles"]) == ["expert", "moderator:A"]
    assert good(state, "member", "show", "max@customs.example", "--json").json()["kind"] == "agency"


def test_import_from_another_folder_with_a_byte_order_mark(
    state: Path, tmp_path: Path, certificate: Callable[[str], str]
) -> None:
    certificate("nia")
    (tmp_path / "lists").mkdir()
    head = "\ufeffcertificate,address,name,organisation,country"
    file = write_csv(tmp_path / "lists", "nia.asc,nia@customs.example,Nia,RA,KE", head=head)
    good(state, "member", "import", file, "--certificates", str(tmp_path))


def test_import_of_a_file_with_bad_rows_adds_nobody(
    state: Path, tmp_path: Path, certificate: Callable[[str], str]
) -> None:
    for name in ("olu", "pia", "quy"):
        certificate(name)
    before = (
        good(state, "member", "list", "--all", "--json").json(),
        good(state, "ledger", "verify").output,
    )
    file = write_csv(
        tmp_path,
        "olu@customs.example,Olu,RA,KE,,olu.asc,,",
        "olu@customs.example,Olu,RA,KE,,pia.asc,,",
        "pia@customs.example,Pia,RA,KE,,olu.asc,,",
        "pia@customs.example,Pia,RA,Kenya,,pia.asc,,",
        "quy@customs.example,Quy,RA,VN,king,quy.asc,,",
        "quy@customs.example,Quy,RA,VN,,none.asc,,",
        ",Quy,RA,VN,,quy.asc,,",
        "quy@customs.example,Quy,RA,VN,,quy.asc,Z,",
    )
    told = refused(state, "member", "import", file)
    lines = told[told.index("Nothing was imported:") :].splitlines()[1:]
    expected = (
        "line 3 (olu@customs.example): address: olu@customs.example is a member already",
        "line 4 (pia@customs.example): certificate: a key of it belongs to olu@customs.example",
        "line 5 (pia@customs.example): country: 'Kenya'",
        "line 6 (quy@customs.example): kind: 'king' is none of",
        f"line 7 (quy@customs.example): certificate: {tmp_path / 'none.asc'}: No such file",
        "line 8 (no address): address: '' is no mail address",
        "line 9 (quy@customs.example): there is no list 'Z'",
    )
    assert len(lines) == len(expected), told
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)
    after = (
        good(state, "member", "list", "--all", "--json").json(),
        good(state, "ledger", "verify").output,
    )
    assert before == after


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no column address, certificate, country, name, organisation in the first line"),
        (b"address,name\n", "no column certificate, country, organisation"),
        ("address,name,organisation,country,certificate\na,Inés\n".encode("latin-1"), "in UTF-8"),
    ],
)
def test_import_of_a_file_that_is_no_such_table(
    content: bytes, told: str, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "members.csv").write_bytes(content)
    assert told in refused(state, "member", "import", str(tmp_path / "members.csv"))


# Lists and keys


def test_list_add_set_close(state: Path, certificate: Callable[[str], str]) -> None:
    assert member_add(state, "rex", certificate("rex")).status == 0
    invited = ("--invite", "rex@customs.example")
    good(state, "list", "add", "op-coral", "--letter", "opc", "--title", "Coral", *invited)
    shown = good(state, "list", "show", "OP-CORAL", "--json").json()
    assert (shown["letter"], shown["by_invitation"], shown["closed_at"]) == ("OPC", True, None)
    for words in (("op-coral", "--letter", "X"), ("coral", "--letter", "OPC")):
        assert "already" in refused(state, "list", "add", *words, "--title", "Coral")
    settings = ("--moderation", "new", "--signature-days", "3", "--evidence-bytes", "0")
    good(state, "list", "set", "OPC", *settings, "--signed-only")
    shown = good(state, "list", "show", "opc", "--json").json()
    assert [shown[one] for one in ("moderation", "signature_days", "evidence_bytes")] == (
        ["new", 3, 0]
    )
    assert shown["signed_only"] is True
    for out in (["--out"], [], []):
        good(state, "list", "invite", "opc", "rex@customs.example", *out)
    assert len(events(state, "uninvited")) == 1
    assert "for every member" in refused(state, "list", "invite", "B", "rex@customs.example")
    good(state, "list", "close", "opc")
    assert "was closed on" in refused(state, "list", "close", "opc")
    assert [one["setting"] for one in events(state, "list-changed")[-4:]] == [
        "moderation", "signed_only", "signature_days", "evidence_bytes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("gateway", "--letter", "X", "--title", "X"), "an address that every gateway has"),
        (("a-owner", "--letter", "X", "--title", "X"), "an address that every gateway has"),
        (("x y", "--letter", "X", "--title", "X"), "can't be a list's name"),
        (("xyz", "--letter", "1", "--title", "X"), "can't be a list's letter"),
        (("xyz", "--letter", "X", "--title", "[X]"), "title '[X]'"),
        (("xyz", "--letter", "X", "--title", "X", "--invite", "n@x.example"), "no member's"),
    ],
)
def test_a_list_that_can_not_be(words: tuple[str, ...], told: str, state: Path) -> None:
    assert told in refused(state, "list", "add", *words)
    assert "there is no list 'X'" in refused(state, "list", "show", "X")


def test_list_set_without_anything_to_set(state: Path) -> None:
    assert "say what to change" in refused(state, "list", "set", "B", status=2)


@pytest.mark.parametrize("address", ["wildlife", "b", "gateway", "archive"])
def test_gpg_imports_an_exported_key(address: str, state: Path, place: Path) -> None:
    exported = good(state, "key", "export", f"{address}@{DOMAIN}").stdout
    assert exported.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
    home = place / f"import-{address}"
    home.mkdir(mode=0o700)
    programs.gpg(home, "--import", data=exported)
    listed = programs.gpg(home, "--with-colons", "--list-keys").decode()
    assert f":{programs.fingerprint(exported)}:" in listed
    assert f"<{address.replace('b', 'wildlife', 1) if address == 'b' else address}@" in listed


def test_a_members_key_is_exported_as_it_was_given(
    state: Path, certificate: Callable[[str], str]
) -> None:
    file = certificate("sam")
    assert member_add(state, "sam", file).status == 0
    exported = good(state, "key", "export", "sam@customs.example").stdout
    assert programs.fingerprint(exported) == programs.fingerprint(Path(file).read_bytes())


@pytest.mark.parametrize("address", ["nobody@customs.example", "wildlife@other.example", "x"])
def test_who_has_no_key_here(address: str, state: Path) -> None:
    assert "has no key here" in refused(state, "key", "export", address)


# Settings


def test_config_check_names_every_fault(own: Path) -> None:
    (own / "environet.toml").write_text('name = ""\n[smtp]\nlisten = "x"\n')
    told = refused(own, "config", "check", status=3)
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "domain", "name", "smtp.listen",
    ]  # fmt: skip
    done = environet(own, "config", "check", "--json")
    assert (done.status, done.json()["ok"], len(done.json()["faults"])) == (3, False, 3)
    assert "domain: is not set" in refused(own, "member", "list")


def test_config_show_tells_defaults_from_what_was_set(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONET_LOG_LEVEL", "warning")
    lines = good(state, "config", "show").output.splitlines()
    assert f'domain = "{DOMAIN}"' in lines
    assert 'smtp.listen = "127.0.0.1:0"' in lines
    assert 'log.level = "warning"' in lines
    assert 'name = "ENVIRONET"   (default)' in lines


# Ledger


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        ("update ledger set detail = '{}' where sequence = 3", "entry 3 was changed"),
        ("update ledger set event = 'x' where sequence = 4", "entry 4 was changed"),
        ("update ledger set at = datetime(at, '-1 day') where sequence = 2", "entry 2 was changed"),
        ("delete from ledger where sequence = 5", "entry 5 is missing"),
        ("delete from ledger where sequence > 10", "the newest entries are missing"),
        ("delete from ledger", "the newest entries are missing"),
        ("delete from ledger_head", "the newest entries are missing"),
    ],
)
def test_ledger_verify_finds_what_was_done_to_it(spoil: str, fault: str, own: Path) -> None:
    assert "unbroken" in good(own, "ledger", "verify").output
    change(own, spoil)
    assert f"The ledger is broken: {fault}" in refused(own, "ledger", "verify", status=3)
    done = environet(own, "ledger", "verify", "--json")
    assert (done.status, done.json()["ok"]) == (3, False)
    assert fault in done.json()["fault"]


def test_a_ledger_cut_back_with_its_head_shows_only_by_the_head(own: Path) -> None:
    """The limit that the help of `ledger verify` tells of."""
    before = good(own, "ledger", "verify", "--json").json()
    change(own, "delete from ledger where sequence > 10")
    change(own, "update ledger_head set sequence = 10,"
                " hash = (select hash from ledger where sequence = 10)")  # fmt: skip
    after = good(own, "ledger", "verify", "--json").json()
    assert after["ok"]
    assert after["head"] != before["head"]


def change(state: Path, statement: str) -> None:
    connection = sqlite3.connect(state / "environet.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


# Postings, holds, the queue


def test_a_posting_is_listed_shown_and_given_back(state: Path, author: Officer) -> None:
    post(state, author, "wildlife", text="Unmistakable text.\n")
    newest = good(state, "posting", "list", "--most", "1", "--json").json()
    assert [one["placed"] for one in newest] == ["wildlife accepted"]
    label = newest[0]["posting"]
    assert "Unmistakable" not in good(state, "posting", "list").output
    reads = len(events(state, "read"))
    shown = good(state, "posting", "show", label).output
    assert "Ivory at Mombasa" in shown
    assert "Unmistakable text." in shown
    original = good(state, "posting", "show", label, "--original").stdout
    assert b"multipart/signed" in original
    assert [one["posting"] for one in events(state, "read")[reads:]] == [label, label]


@pytest.mark.parametrize("label", ["B-4711", "x", "", "A-1", "²", "9" * 30])
def test_a_posting_that_is_not_there(label: str, state: Path, author: Officer) -> None:
    post(state, author, "wildlife")
    assert f"there is no posting {label!r}" in refused(state, "posting", "show", label)


@pytest.mark.parametrize(
    ("command", "state_after", "told"),
    [("approve", "approved", 2), ("reject", "rejected", 2), ("discard", "discarded", 1)],
)
def test_a_hold_is_decided_once(
    command: str, state_after: str, told: int, state: Path, author: Officer
) -> None:
    label = hold_one(state, author)
    assert "84 raw tusks." in good(state, "hold", "show", label).output
    before = len(queued(state))
    good(state, "hold", command, label)
    decided = events(state, state_after)[-1]
    assert (decided["hold"], decided["by"]) == (label, "operator")
    notices = [one for one in queued(state)[before:] if str(one["posting"]).startswith("notice")]
    # The notice that it is held is there already: what comes is the notice of the decision.
    assert len(notices) == told - 1
    copies = [one for one in queued(state)[before:] if one not in notices]
    assert len(copies) == decided["copies"]
    assert bool(copies) == (command == "approve")
    assert f"{label} was {state_after} already, by operator" in refused(
        state, "hold", "approve", label
    )
    assert label not in good(state, "hold", "list").output


@pytest.mark.parametrize("label", ["H-4711", "x", "", "-", "²", "9" * 30])
def test_a_hold_that_is_not_there(label: str, state: Path) -> None:
    assert "there is no hold" in refused(state, "hold", "approve", "--", label)


def test_a_reason_is_text_and_short(state: Path, author: Officer) -> None:
    label = hold_one(state, author)
    for reason in ("x" * 2001, "a\x1b[31m"):
        assert "2000 printable" in refused(state, "hold", "reject", label, "--reason", reason)
    good(state, "hold", "reject", label, "--reason", "Known already.\nSee B-1.")


def test_queue_retry_and_drop(state: Path, author: Officer) -> None:
    post(state, author, "wildlife")
    first, second = (one["id"] for one in queued(state)[-2:])
    change(
        state, f"update outbox set state = 'parked', reason = 'x' where id in ({first}, {second})"
    )
    assert {one["id"]: one["state"] for one in queued(state)}[first] == "parked"
    good(state, "queue", "retry", str(first))
    assert {one["id"]: one["state"] for one in queued(state)}[first] == "waiting"
    assert "1 to be tried again" in good(state, "queue", "retry", "--parked").output
    assert events(state, "retried")[-1]["entry"] == second
    good(state, "queue", "drop", str(first), str(second), "--reason", "left the agency")
    assert {first, second}.isdisjoint(one["id"] for one in queued(state))
    assert events(state, "dropped")[-1] == {
        "by": "operator", "entry": second, "reason": "left the agency",
    }  # fmt: skip
    for words in (("retry", str(first)), ("drop", str(first), "--reason", "again")):
        assert f"entry {first} is dropped" in refused(state, "queue", *words)


def test_queue_changes_all_or_nothing(state: Path, author: Officer) -> None:
    post(state, author, "wildlife")
    entry = queued(state)[-1]["id"]
    assert "no entry 4711" in refused(
        state, "queue", "drop", str(entry), "4711", "--reason", "left"
    )
    assert queued(state)[-1]["id"] == entry


def test_queue_retry_without_an_entry(state: Path) -> None:
    assert "name the entries, or --parked" in refused(state, "queue", "retry", status=2)
    assert refused(state, "queue", "drop", "1", status=2)
    assert refused(state, "queue", "retry", "9" * 30, status=2)


# What holds for every command


def leaves(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            if not one.hidden:
                yield from leaves(one, (*path, name))


COMMANDS = {" ".join(path): command for path, command in leaves()}
WITH_JSON = [
    name
    for name, command in COMMANDS.items()
    if any("--json" in one.opts for one in command.params)
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split(), "--help"])
    assert result.exit_code == 0
    _, _, after = result.output.partition("\n  Example:\n")
    assert after.startswith(f"    environet --state /var/lib/environet {name}"), result.output


@pytest.fixture(scope="module")
def application(state: Path) -> str:
    """Somebody is nominated."""
    words = ["application", "nominate", "zoe@harbour.example", "--name", "Zoe", *DETAILS]
    return good(state, *words).output.rpartition(" ")[2].strip(".\n")


@pytest.fixture(scope="module")
def document(state: Path, author: Officer) -> str:
    """A document waits for a librarian."""
    form = "title: Tusks\ncategory: manual\nlanguage: en\n"
    post(state, author, "library", form, attachments=[("tusks.txt", "text/plain", b"Tusks.\r\n")])
    return str(good(state, "library", "list", "--json").json()[0]["document"])


@pytest.fixture(scope="module")
def bounced(state: Path, author: Officer) -> None:
    """Mails to a member came back."""
    now = datetime.now(UTC)
    app = open_app(state)
    with app.database.transaction() as session:
        row = Reachability(
            member_id=member.get(session, author.address).id, score=2.0, scored_at=now,
            counted=2.0, counted_at=now, status="5.1.1",
        )  # fmt: skip
        session.add(row)
    app.close()


# The mailbox is a real one in tests/interop; the others have files of their own (test_backup.py,
# test_judging.py).
ELSEWHERE = ("imap check", "backup", "restore", "judge")


@pytest.mark.parametrize("name", [name for name in WITH_JSON if name not in ELSEWHERE])
def test_json_is_json(
    name: str,
    state: Path,
    author: Officer,
    application: str,
    document: str,
    bounced: None,
    tmp_path: Path,
) -> None:
    label = hold_one(state, author)
    post(state, author, "waste-experts")
    old = tmp_path / "old.mbox"
    old.write_text("From x Mon Mar  2 09:00:00 2026\nSubject: Old\n\nText.\n")
    arguments = {
        "library show": [document],
        "archive import": [str(old), "--list", "wildlife"],
        "archive export": [str(tmp_path / "new.mbox")],
        "application show": [application],
        "database copy": ["--to", f"sqlite:///{tmp_path}/copy.sqlite"],
        "member show": [author.address],
        "hold show": [label],
        "posting show": [good(state, "hold", "show", label, "--json").json()["posting"]],
    }
    assert good(state, *name.split(), *arguments.get(name, []), "--json").json()


def test_help_stands_at_the_margin() -> None:
    for name in COMMANDS:
        text = CliRunner().invoke(main, [*name.split(), "--help"]).output
        paragraphs = text.partition("\n\n")[2].partition("\n  Example:")[0]
        assert not any(line.startswith("   ") for line in paragraphs.splitlines()), name


def test_a_table_is_plain_text_in_columns(state: Path) -> None:
    lines = good(state, "list", "show").output.splitlines()
    at = lines[0].index("address")
    assert all(line[at - 1] == " " and f"@{DOMAIN}" in line[at:] for line in lines[1:])


def test_the_module_is_the_command() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ENVIRONET_STATE"}
    command = [sys.executable, "-m", "gateway", "--version"]
    done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=60)
    assert done.stdout.startswith(b"environet, version ")


def test_a_database_that_is_gone_is_not_made_anew(own: Path) -> None:
    (own / "environet.sqlite").unlink()
    assert "is missing" in refused(own, "member", "list")
    assert not (own / "environet.sqlite").exists()


def test_an_address_of_the_gateways_is_no_members(
    state: Path, certificate: Callable[[str], str]
) -> None:
    for local in ("wildlife", "b", "gateway", "bounce+1"):
        words = ("--name", "N", "--organisation", "O", "--country", "KE")
        told = refused(
            state, "member", "add", f"{local}@{DOMAIN}", *words, "--certificate", certificate("own")
        )
        assert "the gateway's own" in told


def test_a_port_that_is_taken_is_said(own: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "gateway", "--state", str(own), "serve"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "ENVIRONET_SMTP_LISTEN": where},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"Error: can't listen on {where}")
    assert "Traceback" not in done.stderr
