"""Copies stored in Maildirs: whole, once, and readable by what reads Maildirs."""

from __future__ import annotations

import asyncio
import mailbox
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.delivery.handoff import Copy, Outcome, parse
from gateway.delivery.maildir import folder_name

MAIL = (
    b"From: ENVIRONET Waste <waste@lists.example>\r\nSubject: [Waste] ...\r\n\r",
    b"\n-----BEGIN PGP MESSAGE-----\r\n\r\nwcBMA9TqVx0mNfYk\r\n-----END PGP MESSAGE-----\r\n",
)


def copy(number: int, recipient: str = "ana.lind@customs.example") -> Copy:
    return Copy(number, "bounce@lists.example", recipient, MAIL, sum(map(len, MAIL)))


def deliver(root: Path, *copies: Copy) -> list[Outcome]:
    outcomes: list[Outcome] = []
    asyncio.run(parse(f"maildir:{root}", "lists.example").deliver(copies, outcomes.extend))
    return sorted(outcomes, key=lambda one: one.id)


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_copy_is_a_mail_that_readers_know(tmp_path: Path) -> None:
    assert deliver(tmp_path / "mail", copy(7)) == [Outcome(7, "sent", None, "stored in a Maildir")]
    folder = tmp_path / "mail" / "ana.lind@customs.example"
    assert files(folder) == ["new/7.environet.lists.example"]
    stored = folder / "new" / "7.environet.lists.example"
    assert stored.read_bytes() == b"".join(MAIL).replace(b"\r\n", b"\n")
    assert stored.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    (message,) = mailbox.Maildir(folder, create=False)
    assert message["Subject"] == "[Waste] ..."


def test_every_recipient_has_a_maildir(tmp_path: Path) -> None:
    outcomes = deliver(tmp_path, *(copy(n, f"m{n % 5}@customs.example") for n in range(40)))
    assert [one.id for one in outcomes] == list(range(40))
    assert {one.state for one in outcomes} == {"sent"}
    assert [len(files(folder)) for folder in sorted(tmp_path.iterdir())] == [8] * 5


@pytest.mark.parametrize("moved", ["", ":2,S", ",S=213:2,RS"])
def test_a_repeat_after_a_crash_does_not_double(tmp_path: Path, moved: str) -> None:
    deliver(tmp_path, copy(7))
    folder = tmp_path / "ana.lind@customs.example"
    stored = folder / "new" / "7.environet.lists.example"
    if moved:
        stored = stored.rename(folder / "cur" / (stored.name + moved))
    assert deliver(tmp_path, copy(7), copy(77))[0].state == "sent"
    assert len(files(folder)) == 2
    assert stored.exists()


def test_what_a_crash_left_in_tmp_is_written_anew(tmp_path: Path) -> None:
    deliver(tmp_path, copy(1))
    folder = tmp_path / "ana.lind@customs.example"
    (folder / "tmp" / "7.environet.lists.example").write_bytes(b"x" * 10_000)
    deliver(tmp_path, copy(7))
    assert files(folder) == ["new/1.environet.lists.example", "new/7.environet.lists.example"]
    assert (folder / "new" / "7.environet.lists.example").stat().st_size < 1000


@pytest.mark.parametrize(
    ("recipient", "name"),
    [
        ("ana+x@customs.example", "ana+x@customs.example"),
        ("../../etc@customs.example", "%2E.%2F..%2Fetc@customs.example"),
        (".hidden@customs.example", "%2Ehidden@customs.example"),
        ('"a b/c"@customs.example', "%22a%20b%2Fc%22@customs.example"),
        ("björn@customs.example", "bj%C3%B6rn@customs.example"),
        ("a\0b:2,S@customs.example", "a%00b%3A2%2CS@customs.example"),
    ],
)
def test_an_address_is_one_folder_below_the_directory(
    tmp_path: Path, recipient: str, name: str
) -> None:
    assert folder_name(recipient) == name
    deliver(tmp_path / "mail", copy(1, recipient))
    assert os.listdir(tmp_path) == ["mail"]
    assert os.listdir(tmp_path / "mail") == [name]


def test_a_disk_that_refuses_one_folder_defers_one_copy(tmp_path: Path) -> None:
    (tmp_path / "m2@customs.example").write_bytes(b"not a folder")
    outcomes = deliver(tmp_path, *(copy(n, f"m{n}@customs.example") for n in (1, 2, 3)))
    assert [one.state for one in outcomes] == ["sent", "deferred", "sent"]
    assert outcomes[1].text == "Maildir: File exists"


def test_a_name_too_long_for_the_disk_is_deferred_and_leaves_nothing(tmp_path: Path) -> None:
    (outcome,) = deliver(tmp_path, copy(1, "ö" * 100 + "@customs.example"))
    assert outcome == Outcome(1, "deferred", None, "Maildir: File name too long")
    assert files(tmp_path) == []


def test_after_a_failed_record_no_more_is_taken(tmp_path: Path) -> None:
    def record(outcomes: Sequence[Outcome]) -> None:
        raise OSError("the database is gone")

    handoff = parse(f"maildir:{tmp_path}", "lists.example", connections=2)
    with pytest.raises(OSError, match="database"):
        asyncio.run(handoff.deliver((copy(n) for n in range(100)), record))
    assert len(files(tmp_path)) <= 4
