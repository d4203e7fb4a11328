"""Every check of a gateway, for `environet doctor`. docs/operating.md has an entry for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from gateway import config as settings
from gateway.app import Clock
from gateway.config import ConfigError
from gateway.monitoring import (
    of_backup,
    of_database,
    of_keys,
    of_names,
    of_network,
    of_processes,
    of_state,
)
from gateway.monitoring.finding import Check, Finding, State, fault, ok, run
from gateway.monitoring.scene import Scene
from gateway.store.database import Database

SECONDS: Final = 20.0
"""For all checks, which run at the same time."""

CHECKS: Final[dict[str, Callable[[Scene], Iterable[Finding]]]] = {
    "files": of_state.files,
    "disk": of_state.disk,
    "clock": of_state.clock,
    "sockets": of_state.sockets,
    "agent": of_keys.agent,
    "keys": of_keys.keys,
    "database": of_database.database,
    "server": of_processes.server,
    "workers": of_processes.workers,
    "doors": of_network.doors,
    "queue": of_database.queue,
    "mail-server": of_network.mail_server,
    "web": of_network.web,
    "imap": of_names.imap,
    "dns": of_names.dns,
    "backup": of_backup.backup,
}
"""Those that need settings that are good. Before them come "configuration" and "owner"."""


def examine(state: Path, clock: Clock, seconds: float = SECONDS) -> list[Finding]:
    """All findings, in the order of the checks. Changes nothing, and returns in that time."""
    first: dict[str, Check] = {
        "configuration": partial(_configuration, state),
        "owner": partial(of_state.owner, state),
    }
    found = run(first, seconds)
    if any(one.state is State.FAULT for one in found):
        return found
    config = settings.load(state)
    database = Database(config.database.url, state)
    scene = Scene(state, config, database, clock)
    found += run({name: partial(check, scene) for name, check in CHECKS.items()}, seconds)
    database.close()
    return found


def _configuration(state: Path) -> Iterator[Finding]:
    try:
        settings.load(state)
    except ConfigError as error:
        for one in error.faults:
            yield fault(one, f"edit {state / settings.FILE}, then: environet config check")
    else:
        yield ok("the settings are good")
