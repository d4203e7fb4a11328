"""`environet database`."""

from __future__ import annotations

import click

from gateway import copying
from gateway.cli.common import as_json, example, opened, show_json, show_table


@click.group("database")
def database() -> None:
    """Where all is kept: SQLite's file, or PostgreSQL."""


@database.command("copy")
@click.option("--to", "url", metavar="URL", required=True, help="An empty database.")
@as_json
@click.pass_context
@example(
    "environet --state /var/lib/environet database copy \\\n"
    "    --to postgresql+psycopg://environet@db.example/environet"
)
def copy(ctx: click.Context, url: str, as_json: bool) -> None:
    """Copy the whole database into another one, and compare the two. Stop the gateway first.

    Nothing changes here. A copy that was cut off leaves the other one empty: copy again.
    """
    with opened(ctx) as app:
        total = 2 * copying.rows_to_copy(app)  # written, and read back
        with click.progressbar(
            length=total, label="Copying", hidden=as_json, item_show_func=str
        ) as bar:
            done = copying.copy(app, url, lambda table, rows: bar.update(rows, table))
    rows = [{"table": one.table, "rows": one.rows, "sha256": one.digest} for one in done]
    if as_json:
        show_json(rows)
        return
    show_table(
        ("table", "rows", "sum of the rows' SHA-256"),
        [(one.table, one.rows, f"{one.digest[:16]}...") for one in done],
        "",
    )
    click.echo("Both have the same rows, and the ledger is unbroken. To serve from the copy, set:")
    click.echo(f'\n[database]\nurl = "{url}"')
