"""`environet member`."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.administration import joining, people
from gateway.administration.people import Particulars
from gateway.app import App
from gateway.cli.common import (
    as_json,
    example,
    opened,
    opened_with_vault,
    show_json,
    show_table,
)
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.errors import BadCertificate, UsageError
from gateway.store import certificate as certificates
from gateway.store import mailing_list
from gateway.store import member as store
from gateway.store.actor import OPERATOR
from gateway.store.member import DeliveryMode, Kind, Member, State

MOST_CERTIFICATE_BYTES = 1024 * 1024
COLUMNS = ("address", "name", "organisation", "country", "kind", "certificate", "tick_off", "roles",
           "languages")  # fmt: skip


@click.group("member")
def members() -> None:
    """The members: who writes and reads, with which certificate."""


@members.command("add")
@click.argument("address")
@click.option("--name", required=True, help="The officer's name.")
@click.option("--organisation", required=True, help="The agency's name.")
@click.option("--country", required=True, metavar="CC", help="ISO 3166-1 alpha-2 code.")
@click.option(
    "--kind",
    type=click.Choice([one.value for one in Kind]),
    default="agency",
    show_default=True,
    help="Kind of organisation.",
)
@click.option(
    "--certificate",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="OpenPGP certificate, armored or binary.",
)
@click.option("--tick-off", default="", metavar="B,E", help="Topics the member does not want.")
@click.option(
    "--role", multiple=True, metavar="ROLE[:LIST]", help="Such as moderator:B; may be repeated."
)
@click.option("--language", multiple=True, metavar="CODE",
              help="ISO 639-1; the first is that of their notices; may be repeated.")  # fmt: skip
@click.option(
    "--delivery",
    type=click.Choice([one.value for one in DeliveryMode]),
    default="each",
    show_default=True,
    help="Each posting as it comes, or a digest.",
)
@click.option("--own-copies/--no-own-copies", default=True, help="Their own postings come back.")
@click.option("--welcome", is_flag=True, help="Send them the welcome: topics, certificates, terms.")
@click.pass_context
@example(
    "environet --state /var/lib/environet member add ana.lind@customs.example \\\n"
    '    --name "Ana Lind" --organisation "Revenue Authority" --country KE --kind customs \\\n'
    "    --certificate ana.asc --tick-off E,F --role moderator:B"
)
def add(
    ctx: click.Context,
    address: str,
    name: str,
    organisation: str,
    country: str,
    kind: str,
    certificate: Path,
    tick_off: str,
    role: tuple[str, ...],
    language: tuple[str, ...],
    delivery: str,
    own_copies: bool,
    welcome: bool,
) -> None:
    """Add a member. The certificate is checked: it must encrypt and sign now."""
    with opened_with_vault(ctx) if welcome else opened(ctx) as app:
        admitted = read_admitted(certificate, app.clock())
        with app.database.transaction() as session:
            added = people.add(
                session,
                app,
                OPERATOR,
                Particulars(address, name, organisation, country, kind, " ".join(language)),
                admitted,
                tick_off=_words(tick_off),
                roles=role,
                delivery=DeliveryMode(delivery),
                own_copies=own_copies,
            )
            if welcome:
                joining.welcome(session, app, added)
            click.echo(f"{added.address} is a member, with certificate {admitted.fingerprint}.")


@members.command("list")
@click.option("--all", "everybody", is_flag=True, help="Removed members too.")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet member list --json")
def show_all(ctx: click.Context, everybody: bool, as_json: bool) -> None:
    """List the members."""
    with opened(ctx) as app, app.database.reading() as session:
        query = select(Member).order_by(Member.address)
        if not everybody:
            query = query.where(Member.state != State.REMOVED)
        described = [_describe(session, one) for one in session.scalars(query)]
    if as_json:
        show_json(described)
        return
    columns = ("address", "name", "organisation", "country", "state", "ticked_off", "expires_at")
    rows = [[_flat(one[column]) for column in columns] for one in described]
    show_table(columns, rows, "There are no members yet; 'environet member add' adds one.")


@members.command("show")
@click.argument("address")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet member show ana.lind@customs.example")
def show(ctx: click.Context, address: str, as_json: bool) -> None:
    """Show one member."""
    with opened(ctx) as app, app.database.reading() as session:
        described = _describe(session, store.get(session, address))
    if as_json:
        show_json(described)
        return
    for label, value in described.items():
        click.echo(f"{label.replace('_', ' ') + ':':<16}{_flat(value)}")


@members.command("suspend")
@click.argument("address")
@click.pass_context
@example("environet --state /var/lib/environet member suspend ana.lind@customs.example")
def suspend(ctx: click.Context, address: str) -> None:
    """Suspend a member: no mail is taken from them and none sent, copies that wait included."""
    _change_state(ctx, address, State.SUSPENDED)


@members.command("restore")
@click.argument("address")
@click.pass_context
@example("environet --state /var/lib/environet member restore ana.lind@customs.example")
def restore(ctx: click.Context, address: str) -> None:
    """Make a suspended member active again."""
    _change_state(ctx, address, State.ACTIVE)


@members.command("remove")
@click.argument("address")
@click.pass_context
@example("environet --state /var/lib/environet member remove ana.lind@customs.example")
def remove(ctx: click.Context, address: str) -> None:
    """Remove a member and their certificate. What they wrote stays in the archive."""
    _change_state(ctx, address, State.REMOVED)


@members.command("set")
@click.argument("address")
@click.option("--name", help="The officer's name.")
@click.option("--organisation", help="The agency's name.")
@click.option("--country", metavar="CC", help="ISO 3166-1 alpha-2 code.")
@click.option("--kind", type=click.Choice([one.value for one in Kind]),
              help="Kind of organisation.")  # fmt: skip
@click.option("--language", multiple=True, metavar="CODE",
              help="ISO 639-1; the first is that of their notices; may be repeated.")  # fmt: skip
@click.pass_context
@example(
    "environet --state /var/lib/environet member set ana.lind@customs.example --country TZ \\\n"
    "    --language en --language sw"
)
def change(
    ctx: click.Context,
    address: str,
    name: str | None,
    organisation: str | None,
    country: str | None,
    kind: str | None,
    language: tuple[str, ...],
) -> None:
    """Change a member's particulars. They are told."""
    given = {"name": name, "organisation": organisation, "country": country, "kind": kind,
             "languages": " ".join(language) or None}  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("say what to change, such as --country TZ")
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = store.get(session, address)
        people.change_particulars(session, app, OPERATOR, found, changes)
        click.echo(f"{found.address}: {', '.join(changes)} changed.")


@members.command("role")
@click.argument("address")
@click.option("--add", "added", multiple=True, metavar="ROLE[:LIST]",
              help="Give a role, such as moderator:B; may be repeated.")  # fmt: skip
@click.option("--drop", "dropped", multiple=True, metavar="ROLE[:LIST]",
              help="Take a role back; may be repeated.")  # fmt: skip
@click.pass_context
@example("environet --state /var/lib/environet member role ana.lind@customs.example "
         "--add moderator:B --drop auditor")  # fmt: skip
def role(
    ctx: click.Context,
    address: str,
    added: tuple[str, ...],
    dropped: tuple[str, ...],
) -> None:
    """Give a member roles, or take them back. They are told."""
    if not added and not dropped:
        raise click.UsageError("say which, such as --add moderator:B")
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = store.get(session, address)
        for given, texts in ((True, added), (False, dropped)):
            for text in texts:
                people.change_role(session, app, OPERATOR, found, text, given=given)
        click.echo(f"{found.address}: {_flat(_describe(session, found)['roles'])}")


@members.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--certificates",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the certificate files; the CSV file's own where not given.",
)
@click.pass_context
@example(
    "environet --state /var/lib/environet member import members.csv --certificates keys/\n"
    "\n"
    "members.csv, with this first line and a line for each member:\n"
    "address,name,organisation,country,kind,certificate,tick_off,roles,languages"
)
def import_(ctx: click.Context, file: Path, folder: Path | None) -> None:
    """Add many members from a CSV file in UTF-8: all of them, or none.

    Every bad row is named. kind, tick_off, roles and languages may be empty or left out; several
    are separated by spaces or commas.
    """
    rows = _read_csv(file)
    faults: list[str] = []
    good: list[tuple[str, dict[str, str], Certificate]] = []
    with opened(ctx) as app:
        with click.progressbar(rows, label="Certificates") as bar:
            for line, row in bar:
                name = f"line {line} ({row['address'] or 'no address'})"
                try:
                    path = (folder or file.parent) / row["certificate"]
                    good.append((name, row, read_admitted(path, app.clock())))
                except (UsageError, BadCertificate) as error:
                    faults.append(f"{name}: {error}")
        with app.database.transaction() as session:
            with click.progressbar(good, label="Members") as entries:
                for name, row, admitted in entries:
                    try:
                        with session.begin_nested():
                            _add_row(session, app, admitted, row)
                    except (UsageError, BadCertificate) as error:
                        faults.append(f"{name}: {error}")
            if faults:
                # Leaving the transaction by an exception takes back the good rows too.
                raise UsageError("\n".join(["Nothing was imported:", *sorted(faults, key=_line)]))
    click.echo(f"{len(rows)} members were added.")


def _line(fault: str) -> int:
    return int(fault.split()[1])


def _read_csv(file: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = {*COLUMNS[:4], "certificate"} - set(reader.fieldnames or ())
            if missing:
                raise UsageError(
                    f"{file}: no column {', '.join(sorted(missing))} in the first line"
                )
            return [
                (reader.line_num, {name: (row.get(name) or "").strip() for name in COLUMNS})
                for row in reader
            ]
    except UnicodeDecodeError:
        raise UsageError(f"{file}: is not in UTF-8") from None
    except csv.Error as error:
        raise UsageError(f"{file}: {error}") from None


def _add_row(session: Session, app: App, admitted: Certificate, row: dict[str, str]) -> None:
    who = Particulars(
        row["address"], row["name"], row["organisation"], row["country"],
        row["kind"] or "agency", row["languages"],
    )  # fmt: skip
    people.add(
        session, app, OPERATOR, who, admitted,
        tick_off=_words(row["tick_off"]), roles=_words(row["roles"]),
    )  # fmt: skip


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def read_admitted(path: Path, now: datetime) -> Certificate:
    """The certificate in a file. Raises UsageError and BadCertificate."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_CERTIFICATE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"certificate: {path}: {error.strerror}") from None
    if len(data) > MOST_CERTIFICATE_BYTES:
        raise UsageError(f"certificate: {path} is larger than 1 MiB")
    try:
        return openpgp.admit(data, now)
    except BadCertificate as error:
        raise BadCertificate(f"certificate: {error}") from None


def _change_state(ctx: click.Context, address: str, new: State) -> None:
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = store.get(session, address)
        people.change_state(session, app, OPERATOR, found, new)
        click.echo(f"{found.address} is {new}.")


def _describe(session: Session, one: Member) -> dict[str, object]:
    letters = {entry.id: entry.letter for entry in mailing_list.all_lists(session)}
    held = certificates.of(session, one)
    return {
        "address": one.address,
        "number": one.id,  # by which the log and the ledger name a member
        "name": one.name,
        "organisation": one.organisation,
        "kind": str(one.kind),
        "country": one.country,
        "state": str(one.state),
        "joined_at": one.joined_at,
        "languages": one.languages.split(),
        "delivery": str(one.delivery),
        "none_until": one.none_until,
        "own_copies": one.own_copies,
        "ticked_off": [letters[entry.list_id] for entry in one.ticked_off],
        "roles": [
            str(entry.role) + (f":{letters[entry.list_id]}" if entry.list_id else "")
            for entry in one.roles
        ],
        "fingerprint": held.fingerprint if held else None,
        "expires_at": held.encrypts_until if held else None,
    }


def _flat(value: object) -> object:
    return (
        (",".join(value) or "-") if isinstance(value, list) else ("-" if value is None else value)
    )
