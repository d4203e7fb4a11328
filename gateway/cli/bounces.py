"""`environet bounce`."""

from __future__ import annotations

from datetime import timedelta

import click

from gateway.app import App
from gateway.bounces import standing
from gateway.cli.common import as_json, example, opened, opened_with_vault, show_rows
from gateway.store import bounce as store
from gateway.store import member as members
from gateway.store import parked
from gateway.store.actor import OPERATOR
from gateway.store.bounce import Reachability
from gateway.store.member import Member


@click.group("bounce")
def bounces() -> None:
    """Members whose mails came back, and to whom delivery is stopped."""


@bounces.command("list")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet bounce list")
def bounce_list(ctx: click.Context, as_json: bool) -> None:
    """List the members whose mails came back lately, and how many copies wait for them."""
    with opened(ctx) as app, app.database.reading() as session:
        waiting = parked.counts(session, parked.DELIVERY_STOPPED)
        rows = [_describe(app, row, one, waiting) for row, one in store.all_of(session)]
    head = ("address", "score", "status", "bounced_at", "probed_at", "stopped_at", "waiting")
    show_rows(head, rows, "No mail came back lately.", as_json=as_json)


@bounces.command("resume")
@click.argument("address")
@click.pass_context
@example("environet --state /var/lib/environet bounce resume ana.lind@customs.example")
def bounce_resume(ctx: click.Context, address: str) -> None:
    """Deliver to a member again, what waits for them included."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        member = members.get(session, address)
        copies = standing.resume(session, app, OPERATOR, member)
        click.echo(f"Delivery to {member.address} is resumed; copies that waited: {copies}.")


def _describe(
    app: App, row: Reachability, member: Member, waiting: dict[int, int]
) -> dict[str, object]:
    half_life = timedelta(days=app.config.bounce.half_life_days)
    return {
        "address": member.address,
        "score": round(row.score_at(app.clock(), half_life), 1),
        "status": row.status or None,
        "bounced_at": row.scored_at,
        "probed_at": row.probed_at,
        "stopped_at": row.stopped_at,
        "waiting": waiting.get(member.id, 0),
    }
