"""What a client sends: command lines, and the text of DATA up to its one true end.

Both are strict about line ends: only CRLF ends a line (RFC 5321 2.3.8). A server that takes a
bare LF or CR for a line end can be made to see commands inside another server's message.
"""

from __future__ import annotations

import asyncio
import io

from gateway.errors import Malformed, Reply, TooLarge

END_OF_DATA = b"\r\n.\r\n"
CHUNK_BYTES = 256 * 1024
LINES_BYTES = 4 * 1024
MESSAGE_TOO_LARGE = Reply(552, "5.3.4", "Message is larger than this server takes")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line of text is longer than RFC 5321 4.5.3.1.6 allows")


class Wire:
    """The bytes of one client, taken as lines or as chunks, whichever the dialogue asks for."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._ahead = bytearray()

    async def line(self, limit: int) -> bytes:
        """One command line without its CRLF.

        Raises EOFError when the client has ended, Malformed for a bare CR or LF, TooLarge for a
        line beyond limit bytes, which is then consumed to its end and dropped.
        """
        overlong = False
        while (end := self._ahead.find(b"\n")) < 0:
            if len(self._ahead) > limit:
                overlong = True
                self._ahead.clear()
            self._ahead += await self._more(LINES_BYTES)
        line = bytes(self._ahead[: end + 1])
        del self._ahead[: end + 1]
        if overlong or len(line) > limit:
            raise TooLarge("Command line too long")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Malformed("Only <CR><LF> ends a command line")
        return line[:-2]

    async def chunk(self) -> bytes:
        """What is at hand, at least one byte. Raises EOFError when the client has ended."""
        if not self._ahead:
            return await self._more(CHUNK_BYTES)
        chunk = bytes(self._ahead)
        self._ahead.clear()
        return chunk

    def put_back(self, rest: bytes) -> None:
        """Return what followed the end of a chunk's purpose: commands sent ahead (RFC 2920)."""
        self._ahead[:0] = rest

    def discard(self) -> None:
        """Forget what was sent ahead: nothing said before TLS counts after it (RFC 3207 6)."""
        self._ahead.clear()
        self._reader._buffer.clear()  # type: ignore[attr-defined]  # as aiosmtpd does

    async def _more(self, most: int) -> bytes:
        chunk = await self._reader.read(most)
        if not chunk:
            raise EOFError
        return chunk


class DataReader:
    """The text of one DATA command, fed in chunks cut anywhere.

    It finds the end, undoes dot-stuffing and holds the message once. After a fault it holds
    nothing more, yet goes on to the end, where the client waits for the reply.

    taken: bytes fed so far. fault: the refusal that awaits the end of data, if any.
    """

    def __init__(self, message_bytes: int, line_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._line_bytes = line_bytes
        # BytesIO and not bytearray: its getvalue() hands over the buffer without copying.
        self._text = io.BytesIO()
        # The CRLF of the DATA command counts as the one before the first line: RFC 5321 4.1.1.4.
        self._undecided = b"\r\n"
        self._not_text = 2
        self._open_line = 0
        self.taken = 0
        self.fault: Reply | None = None

    @property
    def held(self) -> int:
        """Bytes of the message in memory."""
        return self._text.tell()

    def feed(self, chunk: bytes) -> bytes | None:
        """None while the data goes on; at its end the bytes that follow, which may be b"".

        Raises Malformed for a bare CR, a bare LF or a NUL: the text can't be trusted to end
        where this reader and another one both say it ends.
        """
        self.taken += len(chunk)
        window = self._undecided + chunk
        end = window.find(END_OF_DATA)
        if end >= 0:
            self._take(window[: end + 2])
            return window[end + len(END_OF_DATA) :]
        cut = len(window) - _possible_end(window)
        self._undecided = window[cut:]
        self._take(window[:cut])
        return None

    def refuse(self, fault: Reply) -> None:
        """Hold no more; fault is the reply when the data ends. The first fault stands."""
        self.fault = self.fault or fault
        self._text = io.BytesIO()

    def message(self) -> bytes:
        """The message: CRLF line ends, dot-stuffing undone. Call it once, after the end."""
        return self._text.getvalue()

    def _take(self, lines: bytes) -> None:
        # A CR at the end of a chunk is undecided, so lines never splits a CRLF.
        if not lines:
            return
        if b"\0" in lines:
            raise Malformed("NUL in the message")
        pairs = lines.count(b"\r\n")
        if lines.count(b"\n") != pairs:
            raise Malformed("Bare <LF> in the message")
        if lines.count(b"\r") != pairs:
            raise Malformed("Bare <CR> in the message")
        text = lines.replace(b"\r\n.", b"\r\n")[self._not_text :]  # RFC 5321 4.5.2
        self._not_text = 0
        if self.fault:
            return
        if self._has_long_line(text):
            self.refuse(LINE_TOO_LONG)
        elif self.held + len(text) > self._message_bytes:
            self.refuse(MESSAGE_TOO_LARGE)
        else:
            self._text.write(text)

    def _has_long_line(self, text: bytes) -> bool:
        first_end = text.find(b"\n")
        if first_end < 0:
            self._open_line += len(text)
            return self._open_line > self._line_bytes
        if self._open_line + first_end + 1 > self._line_bytes:
            return True
        # Jump to the last line end within a line's length: all lines passed over are shorter.
        start = first_end + 1
        while len(text) - start > self._line_bytes:
            last_end = text.rfind(b"\n", start, start + self._line_bytes)
            if last_end < 0:
                return True
            start = last_end + 1
        self._open_line = len(text) - text.rfind(b"\n") - 1
        return False


def _possible_end(window: bytes) -> int:
    """How many last bytes of window may be the beginning of the end of data."""
    for size in range(len(END_OF_DATA) - 1, 0, -1):
        if window.endswith(END_OF_DATA[:size]):
            return size
    return 0
