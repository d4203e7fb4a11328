"""A round of all that falls due; `serve` makes one every minute, on any number of machines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from gateway.administration import logins
from gateway.app import App
from gateway.archive import indexing
from gateway.errors import GatewayError, trace
from gateway.library import indexing as documents
from gateway.store import clock as database_clock
from gateway.upkeep import applications, bounces, clock, digests, expiry, holds, own_keys, requests

log = logging.getLogger(__name__)

Task = tuple[str, Callable[[App], int]]

TASKS: tuple[Task, ...] = (
    ("digests", digests.run),
    ("holds", holds.run),
    ("requests", requests.run),
    ("applications", applications.run),
    ("certificates", expiry.run),
    ("own-keys", own_keys.run),
    ("bounces", bounces.run),
    ("old-logins", logins.forget),
    ("clock", clock.run),
)
"""Name -> what does it: in transactions of its own, returning how much it did. Rows that fall due
are locked, so that of two rounds at once only one acts on each."""

SOON: tuple[Task, ...] = (("logins", logins.answer_due),)
"""The same, of what somebody waits for: each second."""

INDEXING: tuple[Task, ...] = (("index", indexing.run), ("library-index", documents.run))
"""The same, each second too, and beside the others: a hostile attachment may take it a while."""

ALL = (*SOON, *INDEXING, *TASKS)


def run_due(app: App, tasks: Sequence[Task] = ALL) -> dict[str, int]:
    """Do all that is due now. A task that fails is logged, and does not stop the others. Nothing is
    done where it can't be told what is due, as the clock is wrong."""
    done: dict[str, int] = {}
    try:
        with app.database.reading() as session:
            database_clock.check(session)
    except GatewayError as error:
        log.error("nothing that is due is done: %s", error)  # noqa: TRY400  its text says all
        return done
    for name, task in tasks:
        try:
            done[name] = task(app)
        except Exception as error:
            said = str(error) if isinstance(error, GatewayError) else trace(error)
            log.error("upkeep of %s failed: %s", name, said)  # noqa: TRY400  its text says all
        else:
            if done[name]:
                log.info("upkeep of %s: %d", name, done[name])
    return done
