"""`environet` itself: founding, serving, keys and settings."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

import click
from sqlalchemy.engine import make_url

from gateway import config as settings
from gateway import upgrading
from gateway.app import utc_now
from gateway.cli.applications import applications
from gateway.cli.archive import archive
from gateway.cli.backup import backup, restore_command
from gateway.cli.bounces import bounces
from gateway.cli.common import (
    EXIT_FAULTS,
    EXIT_TEMPORARY,
    CommandGroup,
    as_json,
    example,
    opened,
    opened_as_it_is,
    opened_with_vault,
    show_json,
    state_of,
)
from gateway.cli.database import database as database_commands
from gateway.cli.dns import dns
from gateway.cli.doctor import doctor
from gateway.cli.imap import imap
from gateway.cli.judge import judge
from gateway.cli.keys import board
from gateway.cli.library import library
from gateway.cli.lists import lists
from gateway.cli.members import members
from gateway.cli.operating import holds, ledger, postings, queue
from gateway.cli.own_keys import keys
from gateway.cli.requests import requests
from gateway.config import ConfigError
from gateway.founding import found, steps
from gateway.monitoring import logs
from gateway.monitoring.board import Board


@click.group(cls=CommandGroup)
@click.option(
    "--state",
    envvar="ENVIRONET_STATE",
    type=click.Path(file_okay=False, path_type=Path),
    help="The gateway's state directory (or ENVIRONET_STATE).",
)
@click.version_option(package_name="environet-gateway", prog_name="environet")
def main(state: Path | None) -> None:
    """ENVIRONET, a secure mailing-list gateway for a closed group.

    \b
    A new gateway:
      environet --state /var/lib/environet init --domain environet.example
      environet --state /var/lib/environet member add ana.lind@customs.example ...
      environet --state /var/lib/environet serve
    """
    os.umask(0o077)  # whatever a command writes is its user's alone


main.add_command(lists)
main.add_command(members)
main.add_command(board)
main.add_command(applications)
main.add_command(holds)
main.add_command(queue)
main.add_command(ledger)
main.add_command(postings)
main.add_command(bounces)
main.add_command(keys)
main.add_command(requests)
main.add_command(library)
main.add_command(archive)
main.add_command(imap)
main.add_command(judge)
main.add_command(dns)
main.add_command(doctor)
main.add_command(database_commands)
main.add_command(backup)
main.add_command(restore_command)


@main.command()
@click.option("--domain", required=True, help="Mail domain of the lists.")
@click.option("--smtp", metavar="HOST:PORT", help="Where the SMTP door listens.")
@click.option("--lmtp", metavar="HOST:PORT", help="Where an LMTP door listens, for a mail server.")
@click.option("--web", metavar="HOST:PORT", help="Where the web archive listens.")
@click.option("--handoff", metavar="URL", help="smtp://HOST:PORT or maildir:DIR for the copies.")
@click.option("--database", metavar="URL", help="An empty PostgreSQL database, in place of a file.")
@click.pass_context
@example(
    "environet --state /var/lib/environet init --domain environet.example \\\n"
    "    --smtp 0.0.0.0:25 --handoff smtp://127.0.0.1:10025"
)
def init(
    ctx: click.Context,
    domain: str,
    smtp: str | None,
    lmtp: str | None,
    web: str | None,
    handoff: str | None,
    database: str | None,
) -> None:
    """Make a new gateway: settings, database, the seven topics, a key for each.

    Refuses a directory in which something is already.
    """
    given = {"domain": domain, "smtp.listen": smtp, "smtp.lmtp_listen": lmtp, "web.listen": web,
             "handoff.to": handoff, "database.url": database}  # fmt: skip
    chosen = {name: value for name, value in given.items() if value is not None}
    if handoff is not None and handoff.startswith("maildir:") and handoff != "maildir:":
        # A relative folder is meant from here, whatever directory the server will start in.
        folder = Path(str(handoff).removeprefix("maildir:")).absolute()
        chosen["handoff.to"] = f"maildir:{folder}"
    state = state_of(ctx)
    with click.progressbar(length=steps(), label="Founding", item_show_func=str) as bar:
        app = found(state, chosen, utc_now, lambda step: bar.update(1, step))
    app.close()
    click.echo(f"{state} is ready. Settings: {state / settings.FILE}")
    click.echo("Next: 'environet member add', then 'environet serve'.")


@main.command()
@click.pass_context
@example("environet --state /var/lib/environet upgrade")
def upgrade(ctx: click.Context) -> None:
    """Bring the state of an older version to this one. Make a backup first, and stop the gateway.
    On PostgreSQL the version before may go on meanwhile, on this machine and on others.

    Nothing where it is of this version already. May be run again after it was cut off.
    """
    with opened_as_it_is(ctx) as app:
        done = upgrading.upgrade(app, click.echo)
    click.echo("The state is of this version now." if done else "The state is of this version.")


@main.command()
@click.pass_context
@example("environet --state /var/lib/environet serve")
def serve(ctx: click.Context) -> None:
    """Take mail and deliver it, until SIGTERM or Ctrl-C.

    Prints a line "listening: DOOR HOST:PORT" for each open door, then "ready".
    """
    from gateway import server

    with opened(ctx) as app:
        logs.start(app.config.log, app.state)

        async def run() -> None:
            await server.serve(app, lambda text: click.echo(text))

        asyncio.run(run())


@main.command()
@as_json
@click.pass_context
@example("environet --state /var/lib/environet upkeep")
def upkeep(ctx: click.Context, as_json: bool) -> None:
    """Do now what is due: digests, reminders, warnings. 'serve' does it every minute."""
    from gateway.upkeep.rounds import ALL, run_due

    with opened_with_vault(ctx) as app:
        done = run_due(app)
    if as_json:
        show_json(done)
    else:
        click.echo("\n".join(f"{name}: {count}" for name, count in done.items()))
    if len(done) < len(ALL):
        ctx.exit(EXIT_TEMPORARY)


@main.command()
@click.option("--socket", type=int, hidden=True, help="A descriptor; ends with standard input.")
@click.option("--board", type=int, hidden=True, help="A descriptor, where answers are counted.")
@click.pass_context
@example("environet --state /var/lib/environet web")
def web(ctx: click.Context, socket: int | None, board: int | None) -> None:
    """Serve the web archive alone, until SIGTERM or Ctrl-C. 'serve' has it running beside it,
    unless web.listen is empty.

    Prints a line "listening: web HOST:PORT".
    """
    from gateway.web import serving

    with opened(ctx, web=True) as app:
        logs.start(app.config.log, app.state)
        if socket is not None:
            serving.end_with(sys.stdin.fileno())
        if board is None:
            serving.serve(app, lambda text: click.echo(text), socket)
        else:
            from gateway.monitoring.measuring import counted

            around = partial(counted, board=Board(board))
            serving.serve(app, lambda text: click.echo(text), socket, around)


@main.command(hidden=True)
@click.argument("number", type=int)
@click.option("--board", type=int, help="A descriptor, where copies are counted.")
@click.pass_context
def worker(ctx: click.Context, number: int, board: int | None) -> None:
    """One delivery process; `serve` starts it."""
    from gateway import server

    with opened(ctx) as app:
        logs.start(app.config.log, app.state)
        asyncio.run(server.work(app, number, None if board is None else Board(board)))


@main.group("config")
def configuration() -> None:
    """The settings in environet.toml."""


@configuration.command("check")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet config check")
def config_check(ctx: click.Context, as_json: bool) -> None:
    """Check every setting, and name every fault. Exit status 3 where there is one."""
    try:
        settings.load(state_of(ctx))
        faults: list[str] = []
    except ConfigError as error:
        faults = error.faults
    if as_json:
        show_json({"ok": not faults, "faults": faults})
    else:
        click.echo("\n".join(faults) or "The settings are good.", err=bool(faults))
    if faults:
        ctx.exit(EXIT_FAULTS)


@configuration.command("show")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet config show")
def config_show(ctx: click.Context, as_json: bool) -> None:
    """Print the settings in force, those of the environment included."""
    values = settings.load(state_of(ctx)).model_dump()
    values["database"]["url"] = str(make_url(values["database"]["url"]))  # hides a password
    if as_json:
        show_json(values)
        return
    for name, default, _ in settings.describe():
        section, _, last = name.rpartition(".")
        value = values[section][last] if section else values[last]
        shown = settings.in_toml(value)
        click.echo(f"{name} = {shown}" + ("" if shown != default else "   (default)"))
