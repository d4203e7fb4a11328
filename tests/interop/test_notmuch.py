"""Mails of a kernel list and odd threads, from notmuch's own tests, brought into a real gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.app import open_app
from gateway.archive import outline
from gateway.archive.outline import Node
from gateway.posting import evidence
from gateway.store.posting import Posting
from tests.gateway import RunningGateway, short_place

SEPARATOR = b"From somebody@elsewhere.example Tue Nov 17 12:00:00 2009\n"


@dataclass(frozen=True)
class Answering:
    """A posting for outline.tree: message_id of the mail that it was."""

    message_id: str
    thread: int
    token: str
    ancestors: tuple[str, ...]


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(short_place("notmuch")) as made:
        made.found()
        yield made


def mails(corpora: Path, *folders: str) -> dict[str, bytes]:
    """Message-ID -> mail, with LF line ends."""
    found = {}
    for folder in folders:
        place = corpora / "notmuch/test/corpora" / folder
        if not place.is_dir():
            pytest.skip(f"{place} is missing")
        for file in sorted(place.rglob("*")):
            if file.is_file():
                data = file.read_bytes().replace(b"\r\n", b"\n")
                found[message_id(message_from_bytes(data))] = data
    return found


def message_id(mail: Message) -> str:
    return ids(mail, "Message-ID")[0]


def ids(mail: Message, field: str) -> list[str]:
    return re.findall(r"<([^<>\s]+@[^<>\s]+)>", str(mail[field] or ""))


def imported(gateway: RunningGateway, data: Mapping[str, bytes]) -> list[Answering]:
    """Import them in one file; the postings that they became, in their order."""
    file = gateway.place / "old.mbox"
    quoted = (re.sub(rb"^(>*From )", rb">\1", one, flags=re.M) for one in data.values())
    file.write_bytes(b"".join(SEPARATOR + one.rstrip(b"\n") + b"\n\n" for one in quoted))
    said = json.loads(gateway.environet("archive", "import", str(file), "--list", "G", "--json"))
    assert said == {"imported": len(data), "known": 0, "failed": 0, "faults": []}
    app = open_app(gateway.state)
    with app.database.reading() as session:
        found = [
            Answering(evidence.fields(app.vault, one).message_id, one.thread_id, one.token,
                      one.ancestors)
            for one in session.scalars(select(Posting).order_by(Posting.id))
        ]  # fmt: skip
    app.close()
    return found


def threads_by_references(data: Mapping[str, bytes]) -> set[frozenset[str]]:
    """The mails that any chain of Message-IDs, there or missing, holds together."""
    groups: list[tuple[set[str], set[str]]] = []
    for one, mail in data.items():
        parsed = message_from_bytes(mail)
        names, there = {one, *ids(parsed, "References"), *ids(parsed, "In-Reply-To")}, {one}
        apart = []
        for group in groups:
            if names & group[0]:
                names, there = names | group[0], there | group[1]
            else:
                apart.append(group)
        groups = [*apart, (names, there)]
    return {frozenset(there) for _, there in groups}


def shape(nodes: tuple[Node[Answering], ...]) -> dict[str, object]:
    return {node.one.message_id.partition("@")[0]: shape(node.answers) for node in nodes}


def test_a_kernel_lists_threads_are_those_of_its_references(
    gateway: RunningGateway, corpora: Path
) -> None:
    data = mails(corpora, "lkml")
    found = imported(gateway, data)
    by_thread: dict[int, set[str]] = {}
    for one in found:
        by_thread.setdefault(one.thread, set()).add(one.message_id)
    expected = threads_by_references(data)
    assert {frozenset(one) for one in by_thread.values()} == expected
    assert len(found) == len(data)
    # Each stands under the nearest mail of its References that is there.
    tokens = {one.token: one.message_id for one in found}
    answers = 0
    for one in found:
        parsed = message_from_bytes(data[one.message_id])
        nearest = [*reversed(ids(parsed, "In-Reply-To")), *reversed(ids(parsed, "References"))]
        parent = next((each for each in nearest if each in data), None)
        assert (tokens[one.ancestors[-1]] if one.ancestors else None) == parent
        answers += parent is not None
    print(f"{len(found)} mails, {len(expected)} threads, {answers} under what they answer")


def test_threads_with_missing_and_false_roots(gateway: RunningGateway, corpora: Path) -> None:
    found = imported(gateway, mails(corpora, "threading/ghost-root"))
    threads = {
        thread: shape(outline.tree([one for one in found if one.thread == thread]))
        for thread in {one.thread for one in found}
    }
    assert {
        "000-real-root": {
            "001-child": {
                "001-grand-child": {"001-great-grand-child": {}},
                "001-grand-child2": {},
                # It answers a mail that never was; the nearest that is there is the child.
                "001-fake-message-root": {},
            }
        }
    } in threads.values()
    # A ticket system's mails have a root in common that was never sent.
    assert {
        "87bmc6lp3h.fsf": {"rt-4.2.8-22046-1529425595-591.33575-211-0": {}},
        "rt-4.2.8-6644-1530017064-1465.33575-215-0": {},
    } in threads.values()
    assert len(threads) == 2


def test_what_is_answered_by_in_reply_to_goes_before_references(
    gateway: RunningGateway, corpora: Path
) -> None:
    found = imported(gateway, mails(corpora, "threading/parent-priority"))
    assert shape(outline.tree(found)) == {"B00-root": {"B01-child": {"B01-grand-child": {}}}}
