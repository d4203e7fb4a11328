"""What a deployment installs is pinned with hashes, is what the gateway asks for, and has a licence
that is named."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINS = (ROOT / "contrib" / "requirements.txt").read_text()


def pinned() -> dict[str, str]:
    """Name -> version; each with at least one hash."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w)", PINS.partition("\n#\n")[2].lstrip("#\n")):
        first = re.match(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)", entry)
        if first is not None:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), first[1]
            found[canonicalize_name(first[1])] = first[2]
    return found


def test_all_that_is_asked_for_is_pinned_in_a_version_that_will_do() -> None:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    found = pinned()
    asked = [Requirement(one) for one in settings["options"]["install_requires"].split("\n") if one]
    assert len(asked) > 20
    for one in asked:
        assert one.specifier.contains(found[canonicalize_name(one.name)], prereleases=True), one


def test_no_pin_names_where_it_came_from() -> None:
    assert "http" not in PINS
    assert "file:" not in PINS
    assert "index-url" not in PINS


def test_each_has_its_licence_named() -> None:
    table = (ROOT / "docs" / "licences.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
            if line.startswith("|")][2:]  # fmt: skip
    assert {canonicalize_name(one[0]) for one in rows} == set(pinned())
    assert not [name for name, licence, _ in rows if licence in ("", "UNKNOWN")]
