"""Telling systemd how a service is doing (sd_notify(3)); nothing where systemd did not ask."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """state: "READY=1", "STOPPING=1" or "WATCHDOG=1"."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where[:1] not in ("/", "@"):
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    # A service goes on where systemd does not listen.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), address)


async def keep_watchdog() -> None:
    """Tell systemd that the event loop turns, twice in each of its periods; until cancelled."""
    period = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not period.isdigit():
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(period) / 2_000_000)
