"""`environet doctor`: what is wrong with a gateway, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict

import click

from gateway.app import utc_now
from gateway.cli.common import EXIT_FAULTS, as_json, example, show_json, state_of
from gateway.monitoring.finding import Finding, State

_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.FAULT: "red"}


@click.command("doctor")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet doctor")
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check settings, keys, agent, disk, clock, database, mail server and what else mail needs.

    Changes nothing, runs beside the gateway or without it, and ends within 20 seconds. Exit
    status 3 where it finds a fault; a warning is none. docs/operating.md explains each check.
    """
    # What it looks at is most of the program, which no other command should wait for.
    from gateway.monitoring.doctor import examine

    found = examine(state_of(ctx), utc_now)
    faulty = any(one.state is State.FAULT for one in found)
    if as_json:
        show_json({"ok": not faulty, "findings": [asdict(one) for one in found]})
    else:
        for one in found:
            _show(one)
    if faulty:
        ctx.exit(EXIT_FAULTS)


def _show(one: Finding) -> None:
    state = click.style(f"{one.state:<8}", fg=_COLOURS[one.state])
    click.echo(f"{state}{one.check + ':':<15} {one.said}")
    if one.todo:
        click.echo(f"{'':<24}-> {one.todo}")
