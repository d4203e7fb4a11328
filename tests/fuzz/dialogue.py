"""SMTP dialogues that no client would hold, made from a number, and what must hold of the replies.

The grammar is that of RFC 5321 4.1 with its extensions and its neighbours', written down as
commands with good and bad arguments; a line is damaged now and then, and the whole cut into writes
anywhere. The number alone makes the dialogue: a finding is told by it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.gateway import DOMAIN

WORD = b"Xylocopa"
"""Stands in every argument and every text, and in no reply: none tells anybody what it got."""
_SECONDS = 20
_MOST_REPLY_LINE = 512  # RFC 5321 4.5.3.1.5
_REPLY = re.compile(
    rb"(?P<code>[2-5][0-5]\d)(?P<more>[ -])(?:(?P<class>[245])\.\d{1,3}\.\d{1,3} )?"
)
_PLAIN = {b"220", b"250", b"354"}
"""Replies that may have no enhanced status: greetings, and what HELO and EHLO are answered."""

Line = Callable[[Random], bytes]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """writes: what is sent, each at once. resets: whether the client goes without a word."""

    writes: tuple[bytes, ...]
    resets: bool

    @property
    def lines(self) -> int:
        return sum(one.count(b"\n") + one.count(b"\r") for one in self.writes)


def made(number: int) -> Dialogue:
    random = Random(number)
    lines = [_line(random) for _ in range(random.randint(1, 16))]
    if random.random() < 0.7:
        lines.insert(0, b"EHLO client.example\r\n")
    wire = b"".join(_damaged(random, one) for one in lines)
    places = sorted(random.randrange(len(wire) + 1) for _ in range(random.choice((0, 0, 1, 5, 40))))
    edges = [0, *places, len(wire)]
    writes = tuple(wire[at:to] for at, to in pairwise(edges) if at < to)
    return Dialogue(writes, resets=random.random() < 0.1)


def held(address: tuple[str, int], dialogue: Dialogue) -> bytes:
    """What the server says until it closes. Raises TimeoutError where it does neither."""
    said = b""
    with socket.create_connection(address, _SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for one in dialogue.writes:
                connection.sendall(one)
            if dialogue.resets:
                return b""
            with suppress(OSError):  # ENOTCONN, which Python has no class for: it was closed
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                said += more
        except ConnectionError:  # it has had enough
            return said[: said.rfind(b"\n") + 1]
    return said


def faults(dialogue: Dialogue, said: bytes) -> list[str]:
    """What is wrong with the replies; empty where nothing is."""
    found = []
    if WORD.lower() in said.lower():
        found.append("a reply repeats what was sent")
    if said and not said.endswith(b"\r\n"):
        found.append("the last reply has no end")
    codes: list[bytes] = []
    for line in said.split(b"\r\n")[:-1]:
        reply = _REPLY.match(line)
        if reply is None or len(line) + 2 > _MOST_REPLY_LINE or not line.isascii():
            found.append(f"this is no reply: {line[:80]!r}")
            continue
        code, status = reply["code"], reply["class"]
        if (status is None and code not in _PLAIN) or status not in (None, code[:1]):
            found.append(f"a reply without its status: {line[:80]!r}")  # RFC 2034 3
        if reply["more"] == b" ":
            codes.append(code)
    if len(codes) > dialogue.lines + 2:
        found.append(f"{len(codes)} replies to {dialogue.lines} lines")
    if any(code in (b"221", b"421") for code in codes[:-1]):
        found.append("it went on after its last word")
    return found


def _line(random: Random) -> bytes:
    return random.choice(_LINES)(random)


def _damaged(random: Random, line: bytes) -> bytes:
    if random.random() > 0.15:
        return line
    octets = bytearray(line)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(octets) + 1)
        with_what = random.choice(_DAMAGE)
        octets[at : at + random.randint(0, 2)] = with_what
    return bytes(octets)


def _of(*texts: bytes) -> Line:
    return lambda random: random.choice(texts) + b"\r\n"


def _path(random: Random) -> bytes:
    return random.choice(_PATHS).replace(b"%", WORD)


def _mail(random: Random) -> bytes:
    parameters = b"".join(
        b" " + random.choice(_PARAMETERS) for _ in range(random.choice((0, 1, 3)))
    )
    return random.choice(
        (b"MAIL FROM:", b"mail from:", b"MAIL FROM: ", b"MAIL ", b"SEND FROM:")
    ) + (_path(random) + parameters + b"\r\n")


def _recipient(random: Random) -> bytes:
    return random.choice((b"RCPT TO:", b"rcpt to:", b"RCPT ", b"RCPT FROM:")) + (
        _path(random) + b"\r\n"
    )


def _content(random: Random) -> bytes:
    """DATA and a text, whose end may be none."""
    text = b"".join(random.choice(_TEXTS) for _ in range(random.randint(0, 8))).replace(b"%", WORD)
    return b"DATA\r\n" + text + random.choice((b"\r\n.\r\n", b"\r\n.\r\n", *_FALSE_ENDS))


def _whole(random: Random) -> bytes:
    """A transaction that gets as far as a stranger's does."""
    return (
        b"MAIL FROM:<" + WORD + b"@elsewhere.example>\r\n"
        + b"RCPT TO:<wildlife@" + DOMAIN.encode() + b">\r\n" * random.randint(1, 3)
        + _content(random)
    )  # fmt: skip


_ADDRESS = b"<wildlife@" + DOMAIN.encode() + b">"
_PATHS = (
    b"<%@elsewhere.example>", b"<>", b"<wildlife@" + DOMAIN.encode() + b">", b"<Postmaster>",
    _ADDRESS.upper(), b"<@relay.example:%@elsewhere.example>", b'<"% x"@elsewhere.example>',
    b"<%@[127.0.0.1]>", b"<%@[IPv6:::1]>", b"%@elsewhere.example", b"<%>",
    b"<%@" + b"a" * 300 + b">",
    b"<%@-.example>", b"<bounce+1-%@" + DOMAIN.encode() + b">", "<%@\u0430.example>".encode(),
    b"<%\x00@elsewhere.example>", b"<%\r@elsewhere.example>", b"<<%@elsewhere.example>>", b"",
)  # fmt: skip
_PARAMETERS = (
    b"SIZE=100", b"SIZE=99999999999999999999", b"SIZE=-1", b"SIZE=", b"BODY=8BITMIME", b"BODY=7BIT",
    b"BODY=BINARYMIME", b"BODY=", b"SMTPUTF8", b"SMTPUTF8=1", b"RET=FULL", b"ENVID=" + WORD,
    b"AUTH=<>", b"NOTIFY=NEVER", b"X=" + b"y" * 600, b"=", b"\xff=\xfe", b"REQUIRETLS",
)  # fmt: skip
_TEXTS = (
    b"Subject: %\r\n", b"\r\n", b"% % %\r\n", b".\r\n", b"..\r\n", b".%\r\n", b"\n", b"\r", b"\x00",
    b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"x" * 999 + b"\r\n", b"x" * 5000, b"\xff\xfe\r\n",
    b"Content-Type: multipart/mixed; boundary=\xe2\xe2\r\n", b"MAIL FROM:<%@evil.example>\r\n",
    b"-----BEGIN PGP MESSAGE-----\r\n", b"QUIT\r\n", b"DATA\r\n",
)  # fmt: skip
_FALSE_ENDS = (b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.", b"\r\n. \r\n", b"")
_DAMAGE = (
    b"",
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\xff",
    b"\x80",
    b"<",
    b">",
    b":",
    b"%",
)
_LINES: Sequence[Line] = (
    _of(b"EHLO " + WORD + b".example", b"EHLO", b"EHLO [127.0.0.1]", b"EHLO " + b"a" * 600,
        b"HELO " + WORD, b"HELO", b"LHLO " + WORD, b"ehlo \xff", b"EHLO a b"),
    _mail, _mail, _recipient, _recipient, _content, _whole, _whole,
    _of(b"RSET", b"NOOP", b"NOOP " + WORD, b"RSET " + WORD, b"QUIT", b"QUIT " + WORD, b"HELP",
        b"HELP " + WORD, b"VRFY " + WORD, b"VRFY wildlife", b"EXPN wildlife", b"TURN", b"ETRN x"),
    _of(b"STARTTLS", b"STARTTLS " + WORD, b"AUTH PLAIN AHg=", b"AUTH LOGIN", b"BDAT 5 LAST",
        b"BDAT 99999999999", b"BURL " + WORD, b"XCLIENT NAME=" + WORD, b"XFORWARD ADDR=127.0.0.1"),
    _of(b"GET /" + WORD + b" HTTP/1.1", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2", b"", b" ", b"\xff",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"x" * 3000, WORD, b"{100}", b"* OK"),
)  # fmt: skip
