"""How much a client may ask of a door, how long it may keep a full one waiting, and who counts as
one client."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LEAST_RATE = 500.0
"""Bytes a second of a mail whose client is not slow; Postfix has the same (smtpd_min_data_rate)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a door; bytes are bytes on the wire, times are seconds.

    message_bytes: a message, dot-stuffing undone; announced as SIZE (RFC 1870).
    held_bytes: the messages of all sessions together, from their first byte to their reply; each
    may be as large as what it leaves free.
    recipients: of one transaction; RFC 5321 4.5.3.1.8 asks for at least 100.
    connections, connections_per_client: at one time.
    behind_seconds: so far behind (see Pace) a client keeps its place at a full door; a few round
    trips of a mail server far away.
    ousted_seconds: for so long a client that had to make room makes nobody else do so.
    idle_seconds: for one command line to arrive whole (RFC 5321 4.5.3.2.7).
    data_seconds: for one message to arrive whole.
    line_bytes: a line of text or of command with its CRLF (RFC 5321 4.5.3.1.6).
    commands, errors: of one session; errors are replies 500 to 504.
    """

    message_bytes: int = 50 * 1024 * 1024
    held_bytes: int = 150 * 1024 * 1024
    recipients: int = 100
    connections: int = 500
    connections_per_client: int = 20
    behind_seconds: float = 2
    ousted_seconds: float = 60
    idle_seconds: float = 300
    data_seconds: float = 900
    line_bytes: int = 1000
    commands: int = 1000
    errors: int = 10


class Pace:
    """How far a client is behind one that is slow and honest, in seconds.

    Time counts against it and the bytes of a mail for it, at LEAST_RATE. The time for which it
    waits for us does not count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._behind = 0.0
        self._waits_for_us = False

    def behind(self) -> float:
        return 0.0 if self._waits_for_us else self._behind + self._clock() - self._at

    def came(self, octets: int) -> None:
        """So many bytes of a mail came."""
        self._behind, self._at = max(0.0, self.behind() - octets / LEAST_RATE), self._clock()

    @contextmanager
    def our_turn(self) -> Iterator[None]:
        """While the client waits for us."""
        self._behind, self._waits_for_us = self.behind(), True
        try:
            yield
        finally:
            self._waits_for_us, self._at = False, self._clock()


class Lately:
    """What was added within the last seconds; of very much, the latest."""

    _MOST = 10_000

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, float] = {}

    def __contains__(self, one: str) -> bool:
        return self._until.get(one, 0.0) > self._clock()

    def add(self, one: str) -> None:
        self._until.pop(one, None)
        self._until[one] = self._clock() + self._seconds
        if len(self._until) > self._MOST:
            del self._until[next(iter(self._until))]


def client_of(peer: str) -> str:
    """The network that counts as one client: an IPv4 address, or the /64 of an IPv6 address.

    A single IPv6 host commonly commands a whole /64, so counting its addresses bounds nothing.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
