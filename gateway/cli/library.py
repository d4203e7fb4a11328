"""`environet library`."""

from __future__ import annotations

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.cli.common import as_json, example, opened, opened_with_vault, show_json, show_rows
from gateway.errors import UsageError
from gateway.library import deciding, sealing
from gateway.store import ledger
from gateway.store import library as store
from gateway.store.actor import OPERATOR
from gateway.store.library import Status, Version

_MOST_REASON = 2000


@click.group("library")
def library() -> None:
    """Documents that members handed in for the Library."""


@library.command("list")
@click.option("--waiting", is_flag=True, help="Only what waits for a librarian.")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet library list --waiting")
def library_list(ctx: click.Context, waiting: bool, as_json: bool) -> None:
    """List documents, every version, the newest first. Nothing of the content is shown."""
    query = select(Version).order_by(Version.id.desc())
    if waiting:
        query = query.where(Version.status == Status.WAITING, Version.withdrawn_at.is_(None))
    with opened(ctx) as app, app.database.reading() as session:
        rows = [_described(one) for one in session.scalars(query)]
    head = ("document", "status", "category", "topics", "language", "author", "received_at", "size")
    show_rows(head, rows, "The Library has no documents.", as_json=as_json)


@library.command("show")
@click.argument("label")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet library show L-12")
def library_show(ctx: click.Context, label: str, as_json: bool) -> None:
    """Show what a document is called and has, decrypted. Entered in the ledger."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = _found(session, label)
        sheet = sealing.sheet(app.vault, found)
        ledger.enter(
            session, app.clock(), "document-read", document=found.label, by=OPERATOR.ledger
        )
        shown = _described(found) | {
            "decided_by": found.decided_by,
            "title": sheet.title,
            "description": sheet.description,
            "files": [f"{one.name} ({one.content_type}, {one.size} bytes)" for one in sheet.files],
        }
    if as_json:
        show_json(shown)
        return
    for name, value in shown.items():
        lines = (
            value if isinstance(value, list) else str("-" if value is None else value).split("\n")
        )
        click.echo(f"{name}: " + "\n    ".join(lines))


@library.command("approve")
@click.argument("label")
@click.pass_context
@example("environet --state /var/lib/environet library approve L-12")
def library_approve(ctx: click.Context, label: str) -> None:
    """Approve a document: it is in the Library then, and its author is told."""
    _decide(ctx, label, Status.APPROVED)


@library.command("reject")
@click.argument("label")
@click.option("--reason", default="", help="Told to the author.")
@click.pass_context
@example('environet --state /var/lib/environet library reject L-12 --reason "pages are missing"')
def library_reject(ctx: click.Context, label: str, reason: str) -> None:
    """Reject a document; its author is told, with the reason."""
    if len(reason) > _MOST_REASON or not reason.replace("\n", " ").isprintable():
        raise UsageError(f"--reason: at most {_MOST_REASON} printable characters")
    _decide(ctx, label, Status.REJECTED, reason)


@library.command("withdraw")
@click.argument("label")
@click.pass_context
@example("environet --state /var/lib/environet library withdraw L-12/2")
def library_withdraw(ctx: click.Context, label: str) -> None:
    """Erase one version of a document; that it was there stays to be seen."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = _found(session, label)
        deciding.withdraw(session, app, found, OPERATOR)
        click.echo(f"{found.label} is withdrawn.")


def _decide(ctx: click.Context, label: str, status: Status, reason: str = "") -> None:
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = _found(session, label)
        deciding.decide(session, app, found, status, OPERATOR, reason)
        click.echo(f"{found.label} is {status}.")


def _found(session: Session, label: str) -> Version:
    """The version of a label, as `list` has it: "L-12" is the first. Raises UsageError."""
    document, number = store.typed_label(label) or (0, None)
    query = select(Version).where(Version.document_id == document, Version.number == (number or 1))
    found = session.scalar(query)
    if found is None:
        raise store.no_such_document(label)
    return found


def _described(one: Version) -> dict[str, object]:
    return {
        "document": one.label,
        "status": "withdrawn" if one.withdrawn_at else str(one.status),
        "category": str(one.category),
        "topics": " ".join(each.letter for each in one.topics) or "-",
        "language": one.language,
        "marking": one.marking,
        "author": one.author.address,
        "received_at": one.received_at,
        "decided_at": one.decided_at,
        "files": one.files,
        "size": one.size,
        "until": one.until,
    }
