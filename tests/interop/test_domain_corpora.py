"""DKIM and ARC verdicts over other projects' test suites: those that they expect, or a difference
that is named here with its reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.crypto import domain
from gateway.message import entity


def crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def zone(records: Mapping[str, str]) -> Callable[[str], Sequence[str]]:
    """A DNS that has these records alone."""
    return lambda name: [records[name]] if name in records else []


def checked(mail: bytes, records: Mapping[str, str]) -> domain.Origin:
    return domain.check(entity.read(crlf(mail)), zone(records))


def arc_cases(folder: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """(name, case, records) of each that asks for a chain's verdict."""
    text = (folder / "tests" / "arc-draft-validation-tests.yml").read_text("utf-8")
    for scenario in yaml.safe_load_all(text):
        for name, case in scenario["tests"].items():
            yield name, case, scenario.get("txt-records") or {}


def test_a_chain_s_verdict_is_the_suite_s(corpora: Path) -> None:
    folder = present(corpora, "arc-test-suite")
    wrong, table = [], Counter[str]()
    for name, case, records in arc_cases(folder):
        # "" is of chains that say of themselves that they were broken: theirs to pass on.
        expected = str(case["cv"]).strip().lower() or "fail"
        found = checked(case["message"].encode(), records).arc
        table[found] += 1
        if found != expected:
            wrong.append(f"{name}: {found}")
    print("arc-test-suite: " + ", ".join(f"{number} {one}" for one, number in table.items()))
    assert wrong == []
    assert set(table) == {"none", "pass", "fail"}


def test_a_signature_passes_where_the_suite_says_so_and_rfc_8301_does(corpora: Path) -> None:
    folder = present(corpora, "perl-mail-dkim")
    records = fake_dns(folder / "t" / "FAKE_DNS.dat")
    table = Counter[str]()
    for file, expected in json.loads((folder / "expected.json").read_text("utf-8")).items():
        path = folder / "t" / "corpus" / file
        if not path.is_file():
            continue
        mail = path.read_bytes()
        passes = any(one.verdict == "pass" for one in checked(mail, records).signatures)
        reason = "" if passes else why_not(mail, records)
        table[f"{expected}: {'pass' if passes else f'no pass ({reason})' if reason else 'no'}"] += 1
        assert not passes or expected == "pass", file
        assert passes or reason or expected != "pass", file
    print("\n".join(f"perl-mail-dkim, {one}: {number}" for one, number in sorted(table.items())))
    assert table["pass: pass"]


def why_not(mail: bytes, records: Mapping[str, str]) -> str:
    """Why a mail that passed when its suite was written does not pass any more; "" for no reason
    that we know."""
    fields = entity.read(crlf(mail)).fields.get_all("dkim-signature", [])
    if not fields:
        return "DomainKeys alone"
    reasons = {_why_not(re.sub(r"\s", "", str(one)), records) for one in fields}
    return "" if "" in reasons else ", ".join(sorted(reasons))


def _why_not(field: str, records: Mapping[str, str]) -> str:
    tags = dict(one.split("=", 1) for one in field.split(";") if "=" in one)
    key = records.get(f"{tags.get('s')}._domainkey.{tags.get('d')}".lower(), "")
    if "d" not in tags:
        return "no signature"
    if tags.get("v") != "1":
        return "a draft's v="
    if tags.get("a") == "rsa-sha1":
        return "SHA-1: RFC 8301 3.1"
    if tags.get("q", "dns/txt") != "dns/txt":
        return "a q= that the library does not know"
    if len(key.partition("p=")[2]) < 200:
        return "a key below 1,024 bits: RFC 8301 3.2"
    return ""


def fake_dns(file: Path) -> dict[str, str]:
    lines = file.read_text("latin-1").splitlines()
    split = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return {pair[0].lower(): pair[1] for pair in split if len(pair) == 2}


def present(corpora: Path, name: str) -> Path:
    folder = corpora / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return folder
