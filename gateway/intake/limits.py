"""How much a client may ask of a door, and who counts as one client."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a door; bytes are bytes on the wire, times are seconds.

    message_bytes: a message, dot-stuffing undone; announced as SIZE (RFC 1870).
    held_bytes: the messages of all sessions together, from their first byte to their reply.
    recipients: of one transaction; RFC 5321 4.5.3.1.8 asks for at least 100.
    connections, connections_per_client: at one time.
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
    idle_seconds: float = 300
    data_seconds: float = 900
    line_bytes: int = 1000
    commands: int = 1000
    errors: int = 10


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
