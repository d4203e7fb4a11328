"""`environet archive`."""

from __future__ import annotations

import click

from gateway.cli import takeout
from gateway.cli.common import as_json, example, opened_with_vault, show_json


@click.group("archive")
def archive() -> None:
    """What the lists had: its search index, taking it out, bringing an old one in."""


archive.add_command(takeout.import_)
archive.add_command(takeout.export)


@archive.command("reindex")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet archive reindex")
def reindex(ctx: click.Context, as_json: bool) -> None:
    """Build the search index anew from the sealed postings, while the gateway runs.

    Searches find what they found meanwhile. Where this is cut off, the gateway goes on with it.
    """
    from gateway.archive import indexing
    from gateway.library import indexing as documents

    with opened_with_vault(ctx) as app:
        total = indexing.mark_all(app)
        left = total
        with click.progressbar(length=total, label="Indexing", hidden=as_json) as bar:
            while left:
                indexing.run(app)
                now_left = indexing.due_count(app)
                bar.update(max(left - now_left, 0))
                left = now_left
        with app.database.transaction() as session:
            count = documents.mark_all(session)
        while documents.run(app):
            pass
    if as_json:
        show_json({"postings": total, "documents": count})
    else:
        click.echo(f"{total} postings and {count} documents are indexed.")
