"""`environet archive import` and `archive export`: an old list's archive in, the postings out."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.archive import exporting, importing
from gateway.archive.importing import Outcome
from gateway.cli.common import as_json, example, opened_with_vault, show_json
from gateway.store import ledger, mailing_list
from gateway.store.actor import OPERATOR


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--list", "name", required=True, metavar="B", help="The list that it becomes part of."
)
@click.option("--by-subject", is_flag=True,
              help="Thread a reply that names nothing it answers by its subject.")  # fmt: skip
@as_json
@click.pass_context
@example("environet --state /var/lib/environet archive import old-list.mbox --list B")
def import_(ctx: click.Context, file: Path, name: str, by_subject: bool, as_json: bool) -> None:
    """Bring an old list's archive in, threaded, each mail marked as unverified.

    Nothing is sent to anybody. Run it again where it was cut off: a mail is taken once.
    """
    outcome = Outcome()
    with opened_with_vault(ctx) as app:
        with app.database.reading() as session:
            mailing_list.get_topic(session, name)
        size = file.stat().st_size
        with click.progressbar(length=size, label="Reading", hidden=as_json) as bar:
            found = importing.read(app, file, outcome, by_subject=by_subject, progress=bar.update)
        with click.progressbar(length=len(found), label="Importing", hidden=as_json) as bar:
            importing.keep(app, file, found, name, outcome, bar.update)
    if as_json:
        faults = [{"position": at, "why": why} for at, why in outcome.faults]
        show_json(
            {"imported": outcome.imported, "known": outcome.known, "failed": outcome.failed,
             "faults": faults}
        )  # fmt: skip
        return
    for at, why in outcome.faults:
        click.echo(f"mail {at} was not taken: {why}", err=True)
    click.echo(
        f"{outcome.imported} mails are imported, {outcome.known} were there already, "
        f"{outcome.failed} were not taken."
    )


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--list", "name", metavar="B", help="Of one list alone.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), help="Taken on this day (UTC) or later."
)
@click.option("--all", "strict", is_flag=True, help="TLP:AMBER+STRICT and TLP:RED too.")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet archive export wildlife.mbox --list B")
def export(
    ctx: click.Context,
    file: Path,
    name: str | None,
    since: datetime | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Write what the lists had to an mbox file, decrypted. Entered in the ledger.

    Whoever has the file reads it all: it is in the clear.
    """
    begin = None if since is None else since.replace(tzinfo=UTC)
    with opened_with_vault(ctx) as app:
        with app.database.reading() as session:
            on = None if name is None else mailing_list.get(session, name)
            ids = exporting.of_lists(session, on, begin, strict=strict)
        click.echo(f"{file} will be in the clear: keep it as its postings' markings ask.", err=True)
        # Never one that is there, nor where a link leads.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with app.database.transaction() as session:
            ledger.enter(
                session, app.clock(), "exported", form="mbox", postings=len(ids),
                which=exporting.ranges(ids), by=OPERATOR.ledger,
            )  # fmt: skip
        done = 0
        with (
            os.fdopen(handle, "wb") as out,
            click.progressbar(length=len(ids), label="Exporting", hidden=as_json) as bar,
        ):
            for entry in exporting.as_mbox(app, ids, None):
                out.write(entry)
                done += 1
                bar.update(1)
    if as_json:
        show_json({"postings": done, "file": str(file)})
    else:
        click.echo(f"{done} postings are in {file}.")
