"""Compressed OpenPGP packets that make far more than they are."""

from __future__ import annotations

import bz2
import zlib
from functools import cache

from gateway.message.packet import COMPRESSED, LITERAL, frame

_LITERAL_HEAD = b"b\0\0\0\0\0"
# What one block of bzip2 holds: 899,981 octets after its run-length step, which makes five of 255.
_BLOCK_BYTES = 899_980 // 5 * 255
_END = f"{0x177245385090:048b}"


def bzip2_bomb(before: bytes, after: bytes, size: int = 2 * 2**30) -> bytes:
    """A compressed packet of about 1.6 KB: `before`, a literal packet of `size` zeros, `after`.

    Compressing 2 GB takes a quarter of a minute, so one full block of zeros is compressed and its
    bits are repeated: a stream is its blocks, one after another, and a checksum over theirs.
    """
    full = -(-size // _BLOCK_BYTES)
    length = len(_LITERAL_HEAD) + full * _BLOCK_BYTES
    head = before + bytes([0xC0 | LITERAL, 0xFF]) + length.to_bytes(4, "big") + _LITERAL_HEAD
    blocks = [_block(head), *[_zeros()] * full, *([_block(after)] if after else [])]
    checksum = 0
    for _, crc in blocks:
        checksum = ((checksum << 1 | checksum >> 31) & 0xFFFFFFFF) ^ crc
    bits = "".join(bits for bits, _ in blocks) + _END + f"{checksum:032b}"
    bits += "0" * (-len(bits) % 8)
    stream = b"BZh9" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return frame(COMPRESSED, b"\3" + stream)


def zlib_bomb(before: bytes, after: bytes, size: int = 256 * 2**20) -> bytes:
    """The same by zlib, which makes a thousand octets of one."""
    stream = zlib.compressobj(9)
    length = len(_LITERAL_HEAD) + size
    head = before + bytes([0xC0 | LITERAL, 0xFF]) + length.to_bytes(4, "big") + _LITERAL_HEAD
    made = [stream.compress(head)]
    chunk = bytes(2**20)
    made += [stream.compress(chunk) for _ in range(size // len(chunk))]
    return frame(COMPRESSED, b"\2" + b"".join([*made, stream.compress(after), stream.flush()]))


@cache
def _zeros() -> tuple[str, int]:
    return _block(bytes(_BLOCK_BYTES))


def _block(content: bytes) -> tuple[str, int]:
    """The bits of the one block that this content makes, and its checksum."""
    stream = bz2.compress(content, 9)
    bits = f"{int.from_bytes(stream, 'big'):0{len(stream) * 8}b}"
    block = bits[32 : bits.rindex(_END)]
    return block, int(block[48:80], 2)
