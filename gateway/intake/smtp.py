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

HANDSHAKE_SECONDS = 30.0
SHUTDOWN_SECONDS = 2.0


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
    spoken = tls if implicit_tls else None
    door = Door(reception, limits, hostname, None if implicit_tls else tls, clock)
    dialogue = LmtpDialogue if protocol == "lmtp" else Dialogue
    server = await asyncio.get_running_loop().create_server(
        lambda: dialogue(door),
        host,
        port,
        ssl=spoken,
        ssl_handshake_timeout=HANDSHAKE_SECONDS if spoken else None,
        ssl_shutdown_timeout=SHUTDOWN_SECONDS if spoken else None,
    )
    door.open(server)
    return door
