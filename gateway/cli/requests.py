"""`environet request`."""

from __future__ import annotations

import click
from sqlalchemy.orm import Session

from gateway.cli.common import (
    as_json,
    example,
    opened,
    opened_with_vault,
    show_rows,
)
from gateway.errors import UsageError
from gateway.posting import requests as following
from gateway.store import posting as store_posting
from gateway.store import request as store
from gateway.store.actor import OPERATOR
from gateway.store.request import Request


@click.group("request")
def requests() -> None:
    """What members ask of a topic's experts."""


@requests.command("list")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet request list")
def request_list(ctx: click.Context, as_json: bool) -> None:
    """List the requests that are not answered. Nothing of the content is shown."""
    with opened(ctx) as app, app.database.reading() as session:
        rows = [_describe(session, one) for one in store.open_requests(session)]
    head = ("posting", "list", "asker", "answers", "opened_at", "answer_by", "escalated_at")
    show_rows(head, rows, "No request is open.", as_json=as_json)


@requests.command("close")
@click.argument("label")
@click.pass_context
@example("environet --state /var/lib/environet request close B-1234")
def request_close(ctx: click.Context, label: str) -> None:
    """Close a request as answered; who asked is told."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        posting = store_posting.get(session, label)
        found = store.in_thread(session, posting.thread_id)
        if not found:
            raise UsageError("%(label)s is no request", label=posting.label)
        for one in [each for each in found if each.closed_at is None] or found[:1]:
            following.close(session, app, one, OPERATOR)
        click.echo(f"{found[0].label} is closed.")


def _describe(session: Session, one: Request) -> dict[str, object]:
    return {
        "posting": one.label,
        "list": one.mailing_list.local_part,
        "asker": one.posting.author.address,
        "answers": len(store.answerers(session, one)),
        "opened_at": one.opened_at,
        "answer_by": one.answer_by,
        "reminded_at": one.reminded_at,
        "escalated_at": one.escalated_at,
    }
