"""`environet keys`: how the keys of the members stand, and the gateway's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.administration.certificates import EXPIRES_SOON
from gateway.cli.common import EXIT_FAULTS, as_json, example, opened, show_json, show_table
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import is_past
from gateway.crypto.key_health import health
from gateway.errors import BadCertificate
from gateway.store import own_key, parked
from gateway.store.certificate import MemberCertificate
from gateway.store.mailing_list import GatewayKey
from gateway.store.member import Member, State

_BATCH = 500
_MANY = 1000
_MEMBERS = (State.ACTIVE, State.SUSPENDED)


class Standing(StrEnum):
    """How a key stands, the most urgent first."""

    EXPIRED = "expired"
    REVOKED = "revoked"
    FAILS = "fails"
    """It can't be used, for another reason."""
    SOON = "expires soon"
    WEAK = "weak"
    """It serves, and is shorter than advised."""
    GOOD = "good"

    @property
    def is_due(self) -> bool:
        """Whether something is to be done."""
        return self not in (Standing.WEAK, Standing.GOOD)


@dataclass(frozen=True, slots=True)
class Row:
    """state: of the member; "gateway" for a key of its own. expires_at: UTC, None for never.
    days_left: whole days, below zero since it has. waiting: mails that wait for it. why: what is
    wrong."""

    address: str
    state: str
    health: Standing
    expires_at: datetime | None
    days_left: int | None
    waiting: int
    algorithm: str
    fingerprint: str
    why: str

    @property
    def urgency(self) -> tuple[int, float, str]:
        days = float("inf") if self.days_left is None else self.days_left
        return list(Standing).index(self.health), days, self.address


@click.command("keys")
@click.option("--days", type=click.IntRange(1, 3650), default=EXPIRES_SOON.days, show_default=True,
              help="Before its expiry a key is said to expire soon.")  # fmt: skip
@click.option("--check", is_flag=True, help="Exit status 3 where a key needs something.")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet keys --days 60")
def board(ctx: click.Context, days: int, check: bool, as_json: bool) -> None:
    """How each key stands, of the members and the gateway's own in use, the most urgent first.

    A key that expires soon, has expired, is revoked or fails needs something of its owner.
    """
    soon = timedelta(days=days)
    with opened(ctx) as app, app.database.reading() as session:
        now = app.clock()
        count = session.scalar(
            select(func.count()).select_from(Member).where(Member.state.in_(_MEMBERS))
        )
        rows = [_own(one, now, soon) for one in own_key.in_use(session)]
        members = _members(session, now, soon)
        # Each is read anew, which takes a millisecond or two.
        hidden = (count or 0) < _MANY
        with click.progressbar(members, count, "Keys", hidden, file=sys.stderr) as bar:
            rows.extend(bar)
    rows.sort(key=lambda one: one.urgency)
    if as_json:
        show_json([asdict(one) for one in rows])
    else:
        head = ("address", "state", "health", "expires", "days", "waiting", "algorithm",
                "fingerprint")  # fmt: skip
        show_table(head, [_cells(one) for one in rows], "There are no keys.")
        for one in rows:
            if one.why:
                click.echo(f"{one.address}: {one.why}")
    if check and any(one.health.is_due for one in rows):
        ctx.exit(EXIT_FAULTS)


def _members(session: Session, now: datetime, soon: timedelta) -> Iterator[Row]:
    waiting = parked.counts(session)
    query = (
        select(Member.id, Member.address, Member.state, MemberCertificate)
        .outerjoin(MemberCertificate, MemberCertificate.member_id == Member.id)
        .where(Member.state.in_(_MEMBERS))
        .execution_options(yield_per=_BATCH)
    )
    for member_id, address, state, held in session.execute(query):
        yield _of_member(address, state, held, waiting.get(member_id, 0), now, soon)
        if held is not None:
            session.expunge(held)


def _of_member(
    address: str,
    state: State,
    held: MemberCertificate | None,
    waiting: int,
    now: datetime,
    soon: timedelta,
) -> Row:
    if held is None:
        why = "There is no certificate."
        return Row(address, state, Standing.FAILS, None, None, waiting, "", "", why)
    until = held.serves_until
    standing, algorithm, why = Standing.FAILS, "", ""
    try:
        found = health(openpgp.read(held.data), now)
    except BadCertificate as error:
        why = str(error)
    else:
        algorithm = found.algorithm
        if held.revoked_at is not None:
            standing = Standing.REVOKED
        elif is_past(until, now):
            standing = Standing.EXPIRED
        elif found.fault is not None:
            why = found.fault
        elif is_past(until, now + soon):
            standing = Standing.SOON
        elif found.weaknesses:
            standing, why = Standing.WEAK, " ".join(found.weaknesses)
        else:
            standing = Standing.GOOD
    days = _days(until, now)
    return Row(address, state, standing, until, days, waiting, algorithm, held.fingerprint, why)


def _own(key: GatewayKey, now: datetime, soon: timedelta) -> Row:
    until = key.expires_at
    standing = Standing.GOOD
    if is_past(until, now):
        standing = Standing.EXPIRED
    elif is_past(until, now + soon):
        standing = Standing.SOON
    algorithm = health(openpgp.read(key.certificate), now).algorithm
    days = _days(until, now)
    return Row(key.address, "gateway", standing, until, days, 0, algorithm, key.fingerprint, "")


def _days(until: datetime | None, now: datetime) -> int | None:
    return None if until is None else (until - now).days


def _cells(one: Row) -> tuple[object, ...]:
    expires = None if one.expires_at is None else f"{one.expires_at:%Y-%m-%d}"
    return (one.address, one.state, one.health, expires, one.days_left, one.waiting,
            one.algorithm or None, one.fingerprint or None)  # fmt: skip
