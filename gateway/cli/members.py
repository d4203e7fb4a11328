"""`environet member`."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.cli.common import as_json, example, opened, show_json, show_table
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.errors import BadCertificate, UsageError
from gateway.store import certificate as certificates
from gateway.store import ledger, mailing_list
from gateway.store import member as store
from gateway.store.mailing_list import Invitation
from gateway.store.member import Kind, Member, Role, State

MOST_CERTIFICATE_BYTES = 1024 * 1024
COLUMNS = ("address", "name", "organisation", "country", "kind", "certificate", "tick_off", "roles")


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
) -> None:
    """Add a member. The certificate is checked: it must encrypt and sign now."""
    with opened(ctx) as app:
        admitted = _admitted(certificate, app.clock())
        with app.database.transaction() as session:
            added = _add(
                session, app, admitted, address=address, name=name, organisation=organisation,
                country=country, kind=kind, tick_off=tick_off, roles=",".join(role),
            )  # fmt: skip
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
    _change_state(ctx, address, (State.ACTIVE,), State.SUSPENDED)


@members.command("restore")
@click.argument("address")
@click.pass_context
@example("environet --state /var/lib/environet member restore ana.lind@customs.example")
def restore(ctx: click.Context, address: str) -> None:
    """Make a suspended member active again."""
    _change_state(ctx, address, (State.SUSPENDED,), State.ACTIVE)


@members.command("remove")
@click.argument("address")
@click.pass_context
@example("environet --state /var/lib/environet member remove ana.lind@customs.example")
def remove(ctx: click.Context, address: str) -> None:
    """Remove a member and their certificate. What they wrote stays in the archive."""
    _change_state(ctx, address, (State.ACTIVE, State.SUSPENDED), State.REMOVED)


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
    "address,name,organisation,country,kind,certificate,tick_off,roles"
)
def import_(ctx: click.Context, file: Path, folder: Path | None) -> None:
    """Add many members from a CSV file in UTF-8: all of them, or none.

    Every bad row is named. kind, tick_off and roles may be empty; several roles are separated by
    spaces or commas.
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
                    good.append((name, row, _admitted(path, app.clock())))
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
    kind = row["kind"] or "agency"
    if kind not in {one.value for one in Kind}:
        raise UsageError(f"kind: {kind!r} is none of {', '.join(Kind)}")
    _add(
        session, app, admitted, address=row["address"], name=row["name"],
        organisation=row["organisation"], country=row["country"], kind=kind,
        tick_off=row["tick_off"], roles=row["roles"],
    )  # fmt: skip


def _add(
    session: Session,
    app: App,
    admitted: Certificate,
    *,
    address: str,
    name: str,
    organisation: str,
    country: str,
    kind: str,
    tick_off: str,
    roles: str,
) -> Member:
    """A member with certificate, topics ticked off and roles, in the caller's transaction."""
    now = app.clock()
    local, _, domain = address.lower().rpartition("@")
    if domain == app.config.domain and mailing_list.is_own(session, local):
        raise UsageError(f"address: {address} is the gateway's own")
    added = store.add(
        session, address=address, name=name, organisation=organisation,
        kind=Kind(kind), country=country, now=now,
    )  # fmt: skip
    certificates.admit(session, added, admitted, now)
    store.tick_off(session, added, [mailing_list.get(session, one) for one in _words(tick_off)])
    for text in _words(roles):
        role, _, on = text.partition(":")
        if role not in {one.value for one in Role}:
            raise UsageError(f"role: {role!r} is none of {', '.join(Role)}")
        store.grant(session, added, Role(role), mailing_list.get(session, on) if on else None)
    ledger.enter(
        session, now, "member-added", member=added.id, key=admitted.fingerprint,
        roles=roles, ticked_off=tick_off, by="operator",
    )  # fmt: skip
    return added


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _admitted(path: Path, now: datetime) -> Certificate:
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


def _change_state(ctx: click.Context, address: str, allowed: tuple[State, ...], new: State) -> None:
    with opened(ctx) as app, app.database.transaction() as session:
        found = store.get(session, address)
        if found.state not in allowed:
            raise UsageError(f"{found.address} is {found.state}; nothing was changed")
        found.state = new
        if new is State.REMOVED:
            held = certificates.of(session, found)
            if held is not None:
                session.delete(held)
            session.execute(delete(Invitation).where(Invitation.member_id == found.id))
        ledger.enter(session, app.clock(), f"member-{new}", member=found.id, by="operator")
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
