"""`environet backup` and `environet restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from gateway import config as settings
from gateway.app import utc_now
from gateway.backup.making import Progress, make
from gateway.backup.restoring import Restored, Source, restore
from gateway.cli.common import EXIT_FAULTS, as_json, example, opened_as_it_is, show_json, state_of
from gateway.config import ConfigError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("backup")
@click.argument("file", type=_FILE)
@as_json
@click.pass_context
@example("environet --state /var/lib/environet backup /var/lib/environet-backups/sunday.tar.gpg")
def backup(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Write a backup of everything to a new FILE, while the gateway runs.

    It is encrypted to the certificate that backup.certificate names, and is there under its name
    once it is whole. docs/backup.md tells how to keep and restore it.
    """
    with opened_as_it_is(ctx) as app, _bar("Keeping", hidden=as_json) as progress:
        made = make(app, file, progress)
    if as_json:
        show_json(asdict(made))
        return
    click.echo(f"{made.file}: {made.size:,} bytes, encrypted to {made.to}")
    click.echo(f"SHA-256 {made.sha256}")
    click.echo(f"The ledger in it has {made.entries} entries. Head: {made.head}")


@click.command("restore")
@click.argument("file", type=_FILE)
@click.option("--key", "key", type=_FILE, help="Secret key that opens it, in place of your own.")
@click.option("--database", metavar="URL", help="An empty one, in place of that in the settings.")
@click.option("--moved", is_flag=True, help="It was stopped before the backup: send what waits.")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet restore sunday.tar.gpg --key administrators.asc")
def restore_command(
    ctx: click.Context,
    file: Path,
    key: Path | None,
    database: str | None,
    moved: bool,
    as_json: bool,
) -> None:
    """Make a gateway of the backup in FILE, in an empty state directory and an empty database.

    Everything is compared with what the backup says of itself first; where something is amiss, or
    the restore is cut off, there is no gateway. What waited to be sent is parked, as it may have
    been sent since: docs/backup.md tells what to do before you start it. Exit status 3 where the
    ledger was broken when the backup was made.
    """
    state = state_of(ctx)
    source = Source(file, key, database)
    with _bar("Restoring", hidden=as_json) as progress:
        done = restore(state, source, utc_now, progress, moved=moved)
    faults = _faults(state)
    if as_json:
        show_json(_described(done, faults))
    else:
        _tell(done, state, faults)
    if done.ledger.fault is not None:
        ctx.exit(EXIT_FAULTS)


@contextmanager
def _bar(label: str, *, hidden: bool) -> Iterator[Progress]:
    with click.progressbar(
        length=1, label=label, hidden=hidden, item_show_func=lambda table: table or ""
    ) as bar:

        def told(table: str, rows: int, total: int) -> None:
            bar.length = total
            bar.update(rows, table)

        yield told


def _faults(state: Path) -> list[str]:
    """What of the settings is not good here, such as a file that lay elsewhere."""
    try:
        settings.load(state)
    except ConfigError as error:
        return error.faults
    return []


def _described(done: Restored, faults: list[str]) -> dict[str, object]:
    header = done.header
    return {
        "domain": header.domain, "made_at": header.made_at, "rows": header.rows,
        "entries": done.ledger.entries, "head": done.ledger.head,
        "ledger_fault": done.ledger.fault, "parked": done.parked, "is_older": done.is_older,
        "faults": faults,
    }  # fmt: skip


def _tell(done: Restored, state: Path, faults: list[str]) -> None:
    header, found = done.header, done.ledger
    click.echo(
        f"{state} is the gateway of {header.domain} as it was on "
        f"{header.made_at:%Y-%m-%d at %H:%M} UTC."
    )
    if found.fault is None:
        click.echo(f"The ledger has {found.entries} entries, unbroken. Head: {found.head}")
        click.echo("Compare it with the one that you noted elsewhere.")
    else:
        click.echo(f"The ledger was broken when the backup was made: {found.fault}.", err=True)
    if done.parked:
        click.echo(f"{done.parked} copies and notices are parked: they may have been sent since.")
    for one in faults:
        click.echo(f"Mend {state / settings.FILE}: {one}", err=True)
    if done.is_older:
        click.echo("It is of an older version: run 'environet upgrade'.")
    click.echo("Before you start it, read 'After a restore' in docs/backup.md.")
