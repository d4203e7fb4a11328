"""`environet imap`: the mailbox that mail is taken from."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from gateway.cli.common import as_json, example, opened, show_json, show_table
from gateway.errors import UsageError
from gateway.monitoring import logs
from gateway.monitoring.board import Board

_NEEDED = {
    "IDLE": "it is asked for new mail every imap.poll_seconds",
    "MOVE": "mails are copied and marked as deleted",
    "UIDPLUS": "without MOVE: mails marked as deleted stay until somebody expunges them",
}


@click.group("imap")
def imap() -> None:
    """The mailbox elsewhere that mail is taken from."""


@imap.command("check")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet imap check")
def check(ctx: click.Context, as_json: bool) -> None:
    """Log in to the mailbox, change nothing, and say what is there.

    Exit status 75 where the server can't be reached or refuses, 1 where a setting is wrong.
    """
    from gateway.intake.imap import look

    with opened(ctx) as app:
        if not app.config.imap.host:
            raise UsageError("no mail is taken from a mailbox: set imap.host in environet.toml")
        seen = look(app)
    if as_json:
        show_json(asdict(seen))
        return
    click.echo(f"Logged in to {seen.host} as {seen.user}, {seen.security}.")
    rows = [
        (one.name, one.purpose, "-" if one.count is None else one.count) for one in seen.folders
    ]
    show_table(("folder", "for", "mails"), rows, "")
    for one in seen.folders:
        if one.count is None:
            click.echo(f"{one.name} is not there yet: it is made when mail is taken.")
    for name, without in _NEEDED.items():
        if name not in seen.capabilities:
            click.echo(f"The server has no {name}: {without}.")
    if seen.too_large:
        click.echo(f"{seen.too_large} of the mails that wait are larger than smtp.message_bytes.")


@imap.command("take", hidden=True)
@click.option("--board", type=int, help="A descriptor, which `serve` gives to each process.")
@click.pass_context
def take(ctx: click.Context, board: int | None) -> None:
    """The process that takes mail from the mailbox; `serve` starts it."""
    from gateway.intake.imap import run

    with opened(ctx) as app:
        logs.start(app.config.log, app.state)
        run(app, sys.stdin.fileno(), None if board is None else Board(board).mail)
