"""Nothing of a mail's content lies readable on a disk, whatever becomes of it or of the server."""

from __future__ import annotations

import bz2
import gzip
import json
import quopri
import secrets
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import postgresql
from tests.gateway import RunningGateway, short_place
from tests.officers import Officer
from tests.scenarios.traces import traces

LIST = "wildlife@environet.example"
WORD = "Zwyrtkglimpf"
NOISE = bytes(range(255)) * 20


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "other case": lambda text: text.upper(),
    "base64 0": b64encode,
    "base64 1": lambda text: b64encode(b"x" + text),
    "base64 2": lambda text: b64encode(b"xy" + text),
    "base64 in short lines": lambda text: b"\r\n".join(
        b64encode(text)[at : at + 10] for at in range(0, 100, 10)
    ),
    "quoted-printable": lambda text: quopri.encodestring(b"=" * 27 + text),
    "folded": lambda text: text[:15] + b"\r\n " + text[15:],
    "UTF-16 LE": lambda text: text.decode().encode("utf-16-le"),
    "UTF-16 BE": lambda text: text.decode().encode("utf-16-be"),
    "hex": lambda text: text.hex().encode(),
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "deflate": deflated,
    "bzip2": bz2.compress,
    "zlib of base64": lambda text: zlib.compress(b64encode(text)),
    "base64 of the word alone": lambda text: b64encode(WORD.encode()),
}


@pytest.mark.parametrize("how", PLANTED)
def test_the_search_finds_what_is_planted(how: str, tmp_path: Path) -> None:
    text = f"an officer's {WORD} at the border".encode()
    (tmp_path / "innocent").write_bytes(NOISE)
    assert traces(tmp_path, [WORD]) == []
    (tmp_path / "guilty").write_bytes(NOISE + PLANTED[how](text) + NOISE)
    assert {one.path.name for one in traces(tmp_path, [WORD])} == {"guilty"}


def test_the_search_reads_names_of_files(tmp_path: Path) -> None:
    (tmp_path / f"{WORD}.csv").write_bytes(b"")
    assert traces(tmp_path, [WORD]) != []


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(
        short_place("secrecy"), settings={"log.level": "debug", "log.format": "json"}
    ) as made:
        made.found()
        yield made


class Words:
    """Words that occur nowhere else, one for each place that content stands in."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def new(self) -> str:
        letters = "bcdfghjklmnpqrstvwxz"
        word = "".join(secrets.choice(letters) for _ in range(14))
        self.all.append(word)
        return word


def written(author: Officer, words: Words, certificate: bytes, **more: object) -> bytes:
    """A mail with a new word in subject, text, attachment's name and attachment."""
    attachment = (f"{words.new()}.csv", "text/csv", f"seal;{words.new()}\r\n".encode())
    options: dict[str, object] = {"subject": f"About {words.new()}", **more}
    return author.write(
        to=[LIST],
        certificates=[certificate],
        text=f"Dear colleagues,\n\nthere is {words.new()} at the border.\n",
        attachments=[attachment],
        **options,  # type: ignore[arg-type]
    )


def test_no_content_on_any_disk(gateway: RunningGateway) -> None:
    words = Words()
    with (
        Officer.create("gpg", "Ana Lind", "ana.lind@customs.example") as ana,
        Officer.create("sequoia", "Bo Berg", "bo.berg@police.example") as bo,
    ):
        gateway.add_member(ana)
        gateway.add_member(bo, country="SE")
        gateway.start()
        certificate = gateway.certificate(LIST)

        def send(mail: bytes) -> int:
            return gateway.send(mail, ana.address, [LIST])[0]

        assert send(written(ana, words, certificate)) == 250
        assert words.all[0] in gateway.environet("posting", "show", "B-1", "--original")
        shown = json.loads(gateway.environet("posting", "show", "B-1", "--json"))
        assert words.all[2] in shown["subject"]

        held = written(ana, words, certificate, subject=f"tlp: amber {words.new()}")
        assert send(held) == 250
        assert words.all[-1] in gateway.environet("hold", "show", "H-1")
        gateway.environet("hold", "approve", "H-1")
        assert send(written(ana, words, certificate, subject=f"tlp: amber {words.new()}")) == 250
        gateway.environet("hold", "reject", "H-2", "--reason", f"No {words.new()} here.")

        assert send(written(ana, words, certificate, sign=False)) == 550
        assert send(written(ana, words, certificate, subject=f"TLP:RED {words.new()}")) == 550
        gateway.wait_until_delivered()

        assert send(written(ana, words, certificate)) == 250
        gateway.kill()
        assert traces(gateway.place, words.all) == []
        gateway.start()
        gateway.wait_until_delivered()
        assert len(bo_texts := [bo.read(one).text for one in gateway.copies(bo.address)]) == 3
        assert words.all[3] in bo_texts[0]
        assert gateway.stop() == 0
    assert traces(gateway.place, words.all) == []
    kept = gateway.dump()
    assert not [word for word in words.all if word.encode() in kept]
    assert b"bo.berg@police.example" in kept
    if not postgresql.is_chosen():
        # The search looks where the gateway writes: content that is not secret is found there.
        assert {one.path.name for one in traces(gateway.place, ["bo.berg@police.example"])} >= {
            "environet.sqlite"
        }
