"""Searching a disk for words that must not be on it, however they are written."""

from __future__ import annotations

import bz2
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MOST_INFLATED = 1 << 20
# A stream of deflate has no mark, so it is tried at every octet; a bit a microsecond.
_MOST_RAW = 2 << 20
_MOST_DEPTH = 2
_NO_LINE_ENDS = re.compile(rb"=?\r?\n[ \t>]*")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a word was found: file, and how it was written there ("zlib, base64")."""

    word: str
    path: Path
    how: str


def traces(root: Path, words: Sequence[str]) -> list[Trace]:
    """Every word in every file under `root`, names of files included. words: ASCII letters."""
    found = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root)).encode(errors="surrogateescape")
        found += [Trace(word, path, f"name, {how}") for word, how in _search(name, words)]
        if path.is_file():
            data = path.read_bytes()
            found += [Trace(word, path, how) for word, how in _search(data, words)]
    return found


def _search(data: bytes, words: Sequence[str], depth: int = 0) -> Iterator[tuple[str, str]]:
    yield from _plain_search(data, words)
    if depth < _MOST_DEPTH:
        for how, inflated in _streams(data, raw=depth == 0):
            for word, inner in _search(inflated, words, depth + 1):
                yield word, f"{how}, {inner}"


def _plain_search(data: bytes, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    # Lines are broken anywhere, by quoted-printable, base64, folding and quoting.
    joined = _NO_LINE_ENDS.sub(b"", data)
    folded = {data.lower(), joined.lower()}
    exact = {data, joined}
    for word in words:
        for how, pattern in _spellings(word).items():
            texts = exact if how.startswith("base64") else folded
            if any(pattern in text for text in texts):
                yield word, how


def _spellings(word: str) -> Mapping[str, bytes]:
    """How a word may stand in octets: name -> pattern, lower case but for base64."""
    lower = word.lower()
    found = {
        "plain": lower.encode(),
        "UTF-16 LE": lower.encode("utf-16-le"),
        "UTF-16 BE": lower.encode("utf-16-be"),
    }
    for form in {word.encode(), lower.encode(), word.upper().encode(), word.capitalize().encode()}:
        found[f"hex {form.decode()}"] = form.hex().encode()
        for shift in range(3):
            # Characters that the octets before and after have no part in.
            first, last = -(-shift * 8 // 6), (shift + len(form)) * 8 // 6
            encoded = b64encode(bytes(shift) + form + bytes(3))[first:last]
            found[f"base64 {shift} {form.decode()}"] = encoded
    return found


def _streams(data: bytes, *, raw: bool) -> Iterator[tuple[str, bytes]]:
    """Whatever inflates to something, at any offset."""
    for match in re.finditer(rb"(?=x[\x01\x5e\x9c\xda]|\x1f\x8b\x08)", data):
        yield from _inflated(
            "zlib", zlib.decompressobj(zlib.MAX_WBITS | 32).decompress, data, match.start()
        )
    for match in re.finditer(rb"BZh[1-9]", data):
        yield from _inflated("bzip2", bz2.BZ2Decompressor().decompress, data, match.start())
    if raw and len(data) <= _MOST_RAW:
        for start in range(len(data)):
            # The first octet tells the block's type; 3 is none, and a stored block is plain.
            if data[start] & 6 in (2, 4):
                inflate = zlib.decompressobj(-zlib.MAX_WBITS).decompress
                yield from _inflated("deflate", inflate, data[start : start + 65536], 0)


def _inflated(
    how: str, inflate: Callable[[bytes, int], bytes], data: bytes, start: int
) -> Iterator[tuple[str, bytes]]:
    try:
        made = inflate(data[start:], _MOST_INFLATED)
    except (zlib.error, OSError, ValueError, EOFError):
        return
    if len(made) > 8:
        yield how, made
