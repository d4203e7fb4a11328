"""The Web Key Directory: gpg's own hashes find the certificates, and strangers find no more."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import DOMAIN
from tests.programs import gpg
from tests.unit.group import Group
from tests.unit.visitor import Visitor, browser

PATH = "/.well-known/openpgpkey"


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group({"ana": ()}) as made:
        environet = made.gateway.environet
        environet("list", "add", "coral", "--letter", "COR", "--title", "Coral",
                  "--invite", made.officers["ana"].address)  # fmt: skip
        environet("list", "close", "logging")
        yield made


@pytest.fixture(scope="module")
def stranger(group: Group) -> Iterator[Visitor]:
    with browser(group) as made:
        yield made


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def hashes(home: Path) -> dict[str, str]:
    """Address -> the hash that gpg looks for it by, of each user ID in a keyring."""
    listed = gpg(home, "--with-wkd-hash", "--list-keys").decode()
    return {
        f"{found[1]}@{found[2]}": found[3]
        for found in re.finditer(r"<([^@>]+)@([^>]+)>\n\s+(\w{32})@", listed)
    }


@pytest.mark.parametrize("form", [f"{PATH}/{DOMAIN}/hu", f"{PATH}/hu"])
def test_what_gpg_looks_for_is_there(
    group: Group, stranger: Visitor, keyring: Path, form: str
) -> None:
    addresses = [f"{one}@{DOMAIN}" for one in
                 ("gateway", "register", "library", "wildlife", "wildlife-owner")]  # fmt: skip
    for one in addresses:
        gpg(keyring, "--import", data=group.gateway.environet("key", "export", one).encode())
    found = hashes(keyring)
    for one in addresses:
        answer = stranger.get(f"{form}/{found[one]}?l={one.partition('@')[0]}")
        assert answer.status_code == 200, one
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["access-control-allow-origin"] == "*"
        shown = gpg(keyring, "--show-keys", data=answer.content).decode()
        assert f"<{one}>" in shown


def test_what_strangers_hear_nothing_of_is_not(
    group: Group, stranger: Visitor, keyring: Path
) -> None:
    addresses = [f"{one}@{DOMAIN}" for one in ("coral", "coral-owner", "archive")]
    ana = group.officers["ana"].address
    for one in (*addresses, f"logging@{DOMAIN}", ana):
        gpg(keyring, "--import", data=group.gateway.environet("key", "export", one).encode())
    found = hashes(keyring)
    for one in (*addresses, f"logging@{DOMAIN}", ana):
        assert stranger.get(f"{PATH}/{DOMAIN}/hu/{found[one]}").status_code == 404, one


def test_another_domain_and_other_hashes_are_not_there(stranger: Visitor) -> None:
    for path in (f"{PATH}/other.example/policy", f"{PATH}/{DOMAIN}/hu/{'y' * 32}"):
        assert stranger.get(path).status_code == 404
    for path in (f"{PATH}/policy", f"{PATH}/{DOMAIN}/policy"):
        assert (stranger.get(path).status_code, stranger.get(path).text) == (200, "")
