"""The clock of all machines of a gateway: PostgreSQL's. SQLite, on one machine, has none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import DateTime, func, select
from sqlalchemy.orm import Session

from gateway.errors import Unavailable

APART = timedelta(minutes=5)


class WrongClock(Unavailable):
    """This machine's clock is further than APART from the database's."""


def agreed(session: Session, now: datetime) -> datetime:
    """What leases are counted by: the database's time, as machines' clocks may differ by more than
    a lease lasts; on SQLite `now`. Raises as `check` does."""
    at = _of_database(session)
    return now if at is None else at


def check(session: Session) -> None:
    """Raises WrongClock where this machine's clock is further than APART from the database's: it
    would refuse good signatures and park copies for good certificates, which others take as they
    are."""
    _of_database(session)


def _of_database(session: Session) -> datetime | None:
    if session.get_bind().dialect.name == "sqlite":
        return None
    at: datetime = session.execute(select(func.now(type_=DateTime(timezone=True)))).scalar_one()
    ahead = datetime.now(UTC) - at
    if abs(ahead) > APART:
        raise WrongClock(f"the clock is {ahead.total_seconds():+.0f} s off the database's")
    return at
