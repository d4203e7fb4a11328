"""Checks of the gateway's own processes, by the locks that they hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from gateway.monitoring.finding import Finding, fault, ok, warning
from gateway.monitoring.scene import Scene

_STARTING_SECONDS: Final = 5.0
"""A process that was started just now, or anew, has no lock yet."""


def server(scene: Scene) -> Iterator[Finding]:
    """Whether the gateway is served."""
    if scene.served:
        yield ok("runs")
    else:
        yield warning("no 'environet serve' runs on this state", "systemctl start environet")


def workers(scene: Scene) -> Iterator[Finding]:
    """Whether all delivery processes that there should be are there."""
    wanted = scene.config.delivery.workers
    if not scene.served:
        yield ok("not served now, so there are none")
        return
    until = time.monotonic() + _STARTING_SECONDS
    while missing := [one for one in range(wanted) if not scene.is_held(f"worker-{one}.lock")]:
        if time.monotonic() > until:
            break
        time.sleep(0.2)
    if missing:
        names = ", ".join(f"worker {one}" for one in missing)
        yield fault(f"{names} of {wanted} not running", "see the log for why they end")
    else:
        yield ok(f"{wanted} running")
