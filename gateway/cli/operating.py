"""`environet hold`, `queue`, `posting` and `ledger`: what an operator looks at and decides."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.cli.common import (
    EXIT_FAULTS,
    as_json,
    example,
    opened,
    opened_with_vault,
    show_json,
    show_rows,
    show_table,
)
from gateway.errors import UsageError
from gateway.message import entity, submission
from gateway.posting import evidence, moderation
from gateway.store import hold as store_hold
from gateway.store import ledger as store_ledger
from gateway.store import outbox
from gateway.store import posting as store_posting
from gateway.store.actor import OPERATOR
from gateway.store.hold import Decision, Hold
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Posting

ENTRY = click.IntRange(1, 2**63 - 1)


@click.group("hold")
def holds() -> None:
    """Postings that wait for a decision."""


@holds.command("list")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet hold list")
def hold_list(ctx: click.Context, as_json: bool) -> None:
    """List what is held, and why. Nothing of the content is shown."""
    with opened(ctx) as app, app.database.reading() as session:
        rows = [_describe_hold(one) for one in store_hold.held(session)]
    head = ("hold", "posting", "list", "author", "rule", "held_at")
    show_rows(head, rows, "Nothing is held.", as_json=as_json)


@holds.command("show")
@click.argument("label")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet hold show H-17")
def hold_show(ctx: click.Context, label: str, as_json: bool) -> None:
    """Show a held posting, decrypted. Entered in the ledger."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = store_hold.get(session, label)
        described = _describe_hold(found) | _read(session, app, found.posting)
    _show_posting(described, as_json)


@holds.command("approve")
@click.argument("label")
@click.pass_context
@example("environet --state /var/lib/environet hold approve H-17")
def hold_approve(ctx: click.Context, label: str) -> None:
    """Approve a held posting: it goes out as it would have, and its author is told.

    The operator's word is enough where a list wants two moderators; they learn of it.
    """
    _decide(ctx, label, Decision.APPROVED)


@holds.command("reject")
@click.argument("label")
@click.option("--reason", default="", help="Told to the author.")
@click.pass_context
@example('environet --state /var/lib/environet hold reject H-17 --reason "already known"')
def hold_reject(ctx: click.Context, label: str, reason: str) -> None:
    """Reject a held posting; its author is told, with the reason."""
    if len(reason) > 2000 or not reason.replace("\n", " ").isprintable():
        raise UsageError("--reason: at most 2000 printable characters")
    _decide(ctx, label, Decision.REJECTED, reason)


@holds.command("discard")
@click.argument("label")
@click.pass_context
@example("environet --state /var/lib/environet hold discard H-17")
def hold_discard(ctx: click.Context, label: str) -> None:
    """Discard a held posting; its author is not told."""
    _decide(ctx, label, Decision.DISCARDED)


@click.group("queue", invoke_without_command=True)
@as_json
@click.pass_context
@example("environet --state /var/lib/environet queue")
def queue(ctx: click.Context, as_json: bool) -> None:
    """What is waiting to be delivered, parked or refused, and why."""
    if ctx.invoked_subcommand is not None:
        return
    with opened(ctx) as app, app.database.reading() as session:
        rows = [_describe_entry(entry, address) for entry, address in outbox.unfinished(session)]
        totals = outbox.totals(session)
    if as_json:
        show_json({"totals": totals, "entries": rows})
        return
    head = ("id", "posting", "member", "state", "attempts", "next_at", "reason")
    show_table(head, [[row[name] for name in head] for row in rows], "The queue is empty.")


@queue.command("retry")
@click.argument("ids", type=ENTRY, nargs=-1)
@click.option("--parked", is_flag=True, help="All that is parked.")
@click.pass_context
@example("environet --state /var/lib/environet queue retry 4711")
def queue_retry(ctx: click.Context, ids: tuple[int, ...], parked: bool) -> None:
    """Try entries again at once; their days are counted anew."""
    with opened(ctx) as app, app.database.transaction() as session:
        if not ids and not parked:
            raise click.UsageError("name the entries, or --parked")
        chosen = [*ids, *(_parked(session) if parked else ())]
        for entry_id in chosen:
            outbox.retry(session, entry_id, app.clock())
            store_ledger.enter(session, app.clock(), "retried", entry=entry_id, by=OPERATOR.ledger)
    click.echo(f"{len(chosen)} to be tried again.")


@queue.command("drop")
@click.argument("ids", type=ENTRY, nargs=-1, required=True)
@click.option("--reason", required=True, help="Kept in the ledger.")
@click.pass_context
@example('environet --state /var/lib/environet queue drop 4711 --reason "left the agency"')
def queue_drop(ctx: click.Context, ids: tuple[int, ...], reason: str) -> None:
    """Give entries up for good: those copies are never sent."""
    with opened(ctx) as app, app.database.transaction() as session:
        for entry_id in ids:
            outbox.drop(session, entry_id, reason, app.clock())
            store_ledger.enter(
                session, app.clock(), "dropped", entry=entry_id, reason=reason, by=OPERATOR.ledger
            )
    click.echo(f"{len(ids)} dropped.")


@click.group("posting")
def postings() -> None:
    """Postings in the archive."""


@postings.command("list")
@click.option("--most", type=click.IntRange(1), default=50, show_default=True,
              help="How many, the newest first.")  # fmt: skip
@as_json
@click.pass_context
@example("environet --state /var/lib/environet posting list --most 10")
def posting_list(ctx: click.Context, most: int, as_json: bool) -> None:
    """List the newest postings. Nothing of the content is shown."""
    with opened(ctx) as app, app.database.reading() as session:
        found = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(most))
        rows = [_describe_posting(one) for one in found]
    head = ("posting", "author", "received_at", "marking", "thread", "placed")
    show_rows(head, rows, "There are no postings.", as_json=as_json)


@postings.command("show")
@click.argument("label")
@click.option("--original", is_flag=True, help="Write the author's signed original to the output.")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet posting show B-1234")
def posting_show(ctx: click.Context, label: str, original: bool, as_json: bool) -> None:
    """Show a posting, decrypted. Entered in the ledger."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = store_posting.get(session, label)
        described = _describe_posting(found) | _read(session, app, found)
        name, data = _original(app, found)
    if original:
        if os.isatty(1) and not name.endswith(".eml"):
            raise UsageError(f"send {name} to a file: it is not text")
        sys.stdout.buffer.write(data)
    else:
        _show_posting(described, as_json)


@click.group("ledger")
def ledger() -> None:
    """The chain of every decision."""


@ledger.command("verify")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet ledger verify")
def ledger_verify(ctx: click.Context, as_json: bool) -> None:
    """Recompute the chain. Exit status 3 where it was changed.

    Note the head elsewhere: a ledger cut back to an earlier head would verify too.
    """
    with opened(ctx) as app, app.database.reading() as session:
        verdict = store_ledger.verify(session)
    if as_json:
        show_json({"ok": verdict.fault is None, "entries": verdict.entries, "head": verdict.head,
                   "fault": verdict.fault})  # fmt: skip
    elif verdict.fault is None:
        click.echo(f"{verdict.entries} entries, unbroken. Head: {verdict.head}")
    else:
        click.echo(f"The ledger is broken: {verdict.fault}.", err=True)
    if verdict.fault is not None:
        ctx.exit(EXIT_FAULTS)


@ledger.command("list")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet ledger list --json")
def ledger_list(ctx: click.Context, as_json: bool) -> None:
    """Print every entry, oldest first."""
    with opened(ctx) as app, app.database.reading() as session:
        rows = [
            [one.sequence, one.at, one.event, one.detail] for one in store_ledger.entries(session)
        ]
    head = ("sequence", "at", "event", "detail")
    if as_json:
        show_json([dict(zip(head, row, strict=True)) for row in rows])
    else:
        show_table(head, rows, "The ledger is empty.")


def _decide(ctx: click.Context, label: str, decision: Decision, reason: str = "") -> None:
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = store_hold.get(session, label)
        moderation.decide(session, app, found, decision, OPERATOR, reason)
        click.echo(f"{found.label} ({found.posting.label}) is {decision}.")


def _parked(session: Session) -> list[int]:
    query = select(OutboxEntry.id).where(OutboxEntry.state == Delivery.PARKED)
    return list(session.scalars(query.order_by(OutboxEntry.id)))


def _read(session: Session, app: App, posting: Posting) -> dict[str, object]:
    """The content of a posting, and the ledger entry that it was read. Raises UsageError where it
    was withdrawn."""
    if posting.withdrawn_at is not None:
        raise UsageError(
            f"{posting.label} was withdrawn on {posting.withdrawn_at:%Y-%m-%d}; "
            "nothing of it is left"
        )
    kept, opened = evidence.opened(app.vault, posting)
    payload = entity.read(opened.payload)
    store_ledger.enter(session, app.clock(), "read", posting=posting.label, by=OPERATOR.ledger)
    return {
        "subject": kept.fields.subject,
        "subject_signed": kept.fields.subject_signed,
        "text": "\n\n".join(submission.text_parts(payload)),
        "attachments": list(submission.attachment_names(payload)),
        "origin": str(evidence.origin(app.vault, posting) or "not checked"),
    }


def _original(app: App, posting: Posting) -> tuple[str, bytes]:
    kept, opened = evidence.opened(app.vault, posting)
    return evidence.signed_original(posting, kept, opened)


def _show_posting(described: dict[str, object], as_json: bool) -> None:
    if as_json:
        show_json(described)
        return
    # Foreign text must not speak to the terminal.
    described = {label: _printable(value) for label, value in described.items()}
    for label, value in described.items():
        if label != "text":
            shown = (
                ", ".join(map(str, value))
                if isinstance(value, Iterable) and not isinstance(value, str)
                else value
            )
            click.echo(f"{label.replace('_', ' ') + ':':<16}{shown}")
    click.echo(f"\n{described['text']}")


def _printable(value: object) -> object:
    if isinstance(value, list):
        return [_printable(one) for one in value]
    if not isinstance(value, str):
        return value
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\ufffd"
        for char in value.replace("\r\n", "\n")
    )


def _describe_posting(one: Posting) -> dict[str, object]:
    return {
        "posting": one.label,
        "author": one.author.address,
        "key": one.key_fingerprint,
        "signed_at": one.signed_at,
        "received_at": one.received_at,
        "marking": one.marking,
        "thread": one.thread_id,
        "withdrawn_at": one.withdrawn_at,
        "placed": ", ".join(
            f"{at.mailing_list.local_part} {at.placement}" for at in one.placements
        ),
    }


def _describe_hold(one: Hold) -> dict[str, object]:
    return {
        "hold": one.label,
        "posting": one.posting.label,
        "list": one.mailing_list.local_part,
        "author": one.posting.author.address,
        "rule": one.rule,
        "held_at": one.held_at,
        "approvals": [each.member.address for each in one.approvals],
    }


def _describe_entry(one: OutboxEntry, address: str) -> dict[str, object]:
    subject = one.posting_id if one.posting_id is not None else f"notice {one.notice_id}"
    return {
        "id": one.id,
        "posting": subject,
        "member": address,
        "state": str(one.state),
        "attempts": one.attempts,
        "queued_at": one.queued_at,
        "next_at": one.next_at,
        "reason": one.reason,
    }
