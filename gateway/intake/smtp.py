"""Opening the doors for mail: SMTP (RFC 5321) and LMTP (RFC 2033)."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from gateway.intake.dialogue import Dialogue, LmtpDialogue
from gateway.intake.door import Door, Reception
from gateway.intake.limits import Limits

__all__ = ["Door", "Reception", "listen"]


class Lobby(asyncio.Protocol):
    """Where a client waits to be let in. Who is not is told so and gone, before a session is made,
    which would cost many times as much."""

    def __init__(self, door: Door, dialogue: type[Dialogue]) -> None:
        self._door = door
        self._dialogue = dialogue

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        refusal = self._door.turns_away((transport.get_extra_info("peername") or ("",))[0])
        if refusal is not None:
            transport.write(f"{refusal}\r\n".encode("ascii"))
            transport.close()
            return
        session = self._dialogue(self._door)
        transport.set_protocol(session)
        session.connection_made(transport)


async def listen(
    host: str,
    port: int,
    reception: Reception,
    limits: Limits,
    *,
    hostname: str,
    tls: ssl.SSLContext | None,
    implicit_tls: bool,
    protocol: Literal["smtp", "lmtp"],
    clock: Callable[[], datetime],
) -> Door:
    """Open a door on the running event loop; port 0 picks a free one.

    hostname: the name said in the greeting. tls: offered by STARTTLS, or with implicit_tls spoken
    from the first byte (RFC 8314 3.3). clock: UTC. Raises OSError if the address can't be had.
    """
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd's, which tells addresses
    door = Door(reception, limits, hostname, tls, clock, implicit_tls=implicit_tls)
    dialogue = LmtpDialogue if protocol == "lmtp" else Dialogue
    server = await asyncio.get_running_loop().create_server(
        lambda: Lobby(door, dialogue), host, port
    )
    door.open(server)
    return door
