"""Mails of other projects' MIME tests: as a stranger sends them, and as what a member signed and
encrypted. None is our fault, and what is taken is shown as its own project reads it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import judging
from gateway.app import App, open_app
from gateway.archive import parts
from gateway.errors import Malformed
from gateway.message import entity, submission
from gateway.message.entity import crlf
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer, encrypted_entity

LIST = f"wildlife@{DOMAIN}"
SETS = (
    "stalwart-mail-parser", "mime-tools", "ruby-mail", "cpython-email", "thunderbird-mailnews",
    "mox",
)  # fmt: skip
MAIL = re.compile(r".*\.(eml|msg|txt|mbox|out)|\d+\.M.*|\d+\..*:2,.*")
MOST_TEXT = 1_000_000
OTHERWISE = {
    # Text in a charset that is none: each shows other marks for its odd bytes.
    "thirdparty/002.eml",
    # Hypertext alone, which the archive shows as text and the copy as it is.
    "thirdparty/018.eml",
}
"""Of stalwart's, those that it reads otherwise."""


@dataclass(frozen=True, slots=True)
class Ground:
    app: App
    gateway: RunningGateway
    ana: Officer

    def signed(self, payload: bytes) -> bytes:
        """A mail in which Ana signed exactly that."""
        message = self.ana.program.encrypt(payload, [self.gateway.certificate(LIST)], True)
        head = f"From: {self.ana.address}\r\nTo: {LIST}\r\nMIME-Version: 1.0\r\n"
        return head.encode() + encrypted_entity(message)

    def verdict(self, mail: bytes) -> judging.Destined:
        (found,) = judging.judge(
            self.app, judging.envelope_of(self.app, mail, [LIST], self.ana.address)
        ).destined
        return found


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with (
        RunningGateway(short_place("mime")) as gateway,
        Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as ana,
    ):
        gateway.found()
        gateway.add_member(ana)
        gateway.environet("list", "set", "wildlife", "--moderation", "open")
        app = open_app(gateway.state)
        try:
            yield Ground(app, gateway, ana)
        finally:
            app.close()


def mails(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(path, mail with CRLF) of each in a set."""
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        if MAIL.fullmatch(path.name):
            data = path.read_bytes()
            data = data.partition(b"\n")[2] if data.startswith(b"From ") else data
            yield str(path.relative_to(folder)), crlf(data)


@pytest.mark.parametrize("name", SETS)
def test_a_stranger_s_mail_is_refused_and_a_member_s_judged(
    ground: Ground, corpora: Path, name: str
) -> None:
    table = Counter[str]()
    for path, data in mails(corpora / name):
        found = ground.verdict(data)
        # Robots' and lists' mail is thrown away: an answer would go to the wrong person.
        assert found.action in ("refuse", "discard"), path
        found = ground.verdict(ground.signed(data))
        assert found.action in ("accept", "hold", "refuse"), path
        assert found.reply.code == 250 or 500 <= found.reply.code < 600, path
        table[f"{found.action} ({found.rule})"] += 1
        shows(data, taken=found.action != "refuse")
    told = ", ".join(f"{number} × {verdict}" for verdict, number in table.most_common())
    print(f"{name}, as a member signed it: {told}")
    assert table.total()


def shows(data: bytes, *, taken: bool) -> None:
    """What was taken has parts that can be shown; what was not fails cleanly."""
    try:
        found = parts.sorted_out(entity.read(data))
        parts.text(found, MOST_TEXT)
        for number, one in enumerate(found.attachments, 1):
            assert parts.file_name(one, number)
            assert len(parts.data(one)) <= len(data)
    except Malformed:
        assert not taken


def test_what_is_taken_reads_as_stalwart_reads_it(ground: Ground, corpora: Path) -> None:
    folder = corpora / "stalwart-mail-parser" / "resources" / "eml"
    same, refused, wrong = 0, list[str](), list[str]()
    for path, data in mails(folder):
        file = folder / path
        expected = file.with_suffix(".json")
        if not expected.is_file():
            continue
        try:
            submission.check_payload(submission.Content(data, (), data))
            found = parts.sorted_out(entity.read(data))
        except Malformed as error:
            refused.append(f"{path} ({error})")
            continue
        if parts.text(found, MOST_TEXT)[0] == wanted(json.loads(expected.read_bytes())):
            same += 1
        else:
            wrong.append(path)
    print(f"stalwart-mail-parser: {same} read the same, {len(wrong)} otherwise, refused:")
    print("\n".join(refused))
    assert set(wrong) <= OTHERWISE
    # A mail that was cut off must not pass for a whole one, nor one that programs read otherwise.
    odd = ("malformed/", "thirdparty/002", "thirdparty/004", "thirdparty/012")
    assert all(one.startswith(odd) for one in refused)
    assert same >= 20


def wanted(expected: dict[str, Sequence[object]]) -> str:
    """The text of a mail as stalwart's expected parse has it: its text parts, in order."""
    bodies = [expected["parts"][number]["body"] for number in expected["text_body"]]  # type: ignore[call-overload]
    texts = [one["Text"] for one in bodies if "Text" in one]
    return "\n\n".join(one.replace("\r\n", "\n").strip("\n") for one in texts)
