"""What all commands share: errors with an exit status, the state directory, JSON, tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from gateway.app import App, open_app
from gateway.errors import GatewayError, Unavailable, UsageError
from gateway.upgrading import check

EXIT_FAULTS = 3
EXIT_TEMPORARY = 75

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Failure(click.ClickException):
    """A named failure on its way to the terminal, with its exit status."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.exit_code = EXIT_TEMPORARY if temporary else 1  # type: ignore[misc]


class CommandGroup(click.Group):
    """A group whose commands tell a named failure in a line or several, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            raise Failure(str(error), temporary=isinstance(error, Unavailable)) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise Failure(f"{where}{error.strerror}", temporary=False) from error


@contextmanager
def opened(ctx: click.Context, *, web: bool = False) -> Iterator[App]:
    """The App of the state directory that the command line names, which is of this version. web:
    for the web archive, which may write little."""
    with opened_as_it_is(ctx, web=web) as app:
        check(app)
        yield app


@contextmanager
def opened_as_it_is(ctx: click.Context, *, web: bool = False) -> Iterator[App]:
    """The same of any version, to be upgraded."""
    app = open_app(state_of(ctx), web=web)
    file = app.database.url.database
    if app.database.url.get_backend_name() == "sqlite" and not Path(str(file)).exists():
        raise UsageError(f"the database {file} is missing: restore it from a backup")
    try:
        yield app
    finally:
        app.close()


@contextmanager
def opened_with_vault(ctx: click.Context) -> Iterator[App]:
    """The same with its vault open, so that no gpg runs inside a transaction."""
    with opened(ctx) as app:
        _ = app.vault
        yield app


def state_of(ctx: click.Context) -> Path:
    state = ctx.find_root().params.get("state")
    if state is None:
        raise click.UsageError(
            "name the gateway: --state DIR, or ENVIRONET_STATE in the environment"
        )
    return Path(state).absolute()


def show_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Columns as wide as they need; `empty` says what would be there."""
    if not rows:
        click.echo(empty)
        return
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    for row in cells:
        line = "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def show_rows(
    head: Sequence[str], rows: Sequence[Mapping[str, object]], empty: str, *, as_json: bool
) -> None:
    """A list: as JSON with all that is known of each, or as a table of the columns in `head`."""
    if as_json:
        show_json(rows)
    else:
        show_table(head, [[row[name] for name in head] for row in rows], empty)


def example(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds an example to a command's help, kept as it is typed."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
        function.__doc__ = f"{cleandoc(function.__doc__ or '')}\n\n\b\nExample:\n{lines}\n"
        return function

    return add


def _cell(value: object) -> str:
    if value is None:
        return "-"
    moment = getattr(value, "strftime", None)
    return str(moment("%Y-%m-%d %H:%M")) if moment else str(value)
