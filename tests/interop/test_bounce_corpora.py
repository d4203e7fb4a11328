"""Real bounces of many mail servers, from other projects' test suites: how many are known for what
they are. `pytest -s` prints the table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from gateway.bounces import dialects, reading

NO_BOUNCES = {"feedback", "vacation", "delivered"}


def judged(path: Path) -> str:
    """hard, soft, or none: also a delay, which is no bounce. Without the process of its own that it
    is read in, as there are hundreds."""
    mail = path.read_bytes()
    mail = mail.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if mail.startswith(b"From "):  # of an mbox
        mail = mail.partition(b"\n")[2]
    mail = mail.replace(b"\n", b"\r\n")
    told = reading.of_good_form(mail) or dialects.scan(mail)
    if told is None or told.failure is None:
        return "none"
    return "hard" if told.failure.hard else "soft"


def shown(title: str, found: Counter[tuple[str, str]]) -> None:
    print(f"\n{title}, {found.total()} mails; expected by them, and judged here:")
    for (expected, got), count in sorted(found.items()):
        print(f"  {expected:<10} {got:<6} {count:>4}  {100 * count / found.total():5.1f} %")


def share(found: Counter[tuple[str, str]], *good: tuple[str, str]) -> float:
    """Of the mails that the first words of `good` expect."""
    among = sum(count for (expected, _), count in found.items() if expected in {x for x, _ in good})
    return sum(found[one] for one in good) / among


def folder(corpora: Path, name: str) -> Path:
    if not (corpora / name).is_dir():
        pytest.skip(f"{name} is missing")
    return corpora / name


def test_bounces_of_sisimai(corpora: Path) -> None:
    """Sisimai calls hard what speaks against an address; its expired ones with Action: delayed are
    warnings to us."""
    here = folder(corpora, "sisimai-set-of-emails")
    found: Counter[tuple[str, str]] = Counter()
    for name, expected in json.loads((here / "expected.json").read_text()).items():
        path = here / "maildir/bsd" / name
        if not path.is_file():
            continue
        if {one["reason"] for one in expected} <= NO_BOUNCES:
            kind = "no bounce"
        else:
            kind = "hard" if all(one["hardbounce"] for one in expected) else "soft"
        found[kind, judged(path)] += 1
    shown("sisimai/set-of-emails", found)
    bounces = [(one, got) for one in ("hard", "soft") for got in ("hard", "soft")]
    assert found["no bounce", "hard"] == found["no bounce", "soft"] == 0
    assert share(found, *bounces) >= 0.90
    assert share(found, ("hard", "hard"), ("soft", "soft"), ("soft", "none")) >= 0.75


def test_bounces_of_flufl(corpora: Path) -> None:
    """It calls temporary what is a warning."""
    here = folder(corpora, "flufl-bounce")
    paths = {path.name: path for path in (here / "tests").rglob("*.txt")}
    found: Counter[tuple[str, str]] = Counter()
    for name, expected in json.loads((here / "expected.json").read_text()).items():
        found["warning" if expected["temporary"] else "failure", judged(paths[name])] += 1
    shown("flufl.bounce", found)
    assert found["warning", "hard"] == found["warning", "soft"] == 0
    assert share(found, ("failure", "hard"), ("failure", "soft")) >= 0.95


def test_what_is_no_bounce_of_sisimai_is_none(corpora: Path) -> None:
    here = folder(corpora, "sisimai-set-of-emails")
    mails = [*(here / "maildir/not").iterdir(), *(here / "maildir/bsd").glob("rfc3834-*")]
    assert mails
    assert {judged(one) for one in mails} == {"none"}


def test_the_same_bounce_is_judged_the_same_whatever_its_line_ends(corpora: Path) -> None:
    here = folder(corpora, "sisimai-set-of-emails") / "maildir"
    others = [one for kind in ("dos", "mac") for one in (here / kind).iterdir()]
    pairs = [
        (one, here / "bsd" / one.name) for one in others if (here / "bsd" / one.name).is_file()
    ]
    assert len(pairs) > 50
    assert [one.name for one, other in pairs if judged(one) != judged(other)] == []
