"""What a clock that was wrong has put off."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text, update

from gateway.app import App
from gateway.store.outbox import LATER, OutboxEntry


def run(app: App) -> int:
    """Let copies go out that are due later than any pause between two tries lasts: they were put
    off while the clock was ahead. How many."""
    now = app.clock()
    furthest = now + timedelta(seconds=app.config.delivery.longest_retry_seconds)
    with app.database.transaction() as session:
        result = session.execute(
            update(OutboxEntry)
            .where(text(LATER), OutboxEntry.next_at > furthest)
            .values(next_at=now)
            .execution_options(synchronize_session=False)
        )
    return int(getattr(result, "rowcount", 0))
