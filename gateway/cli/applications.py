"""`environet application`: nominations and new keys, as an operator decides them."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.administration import joining, proving
from gateway.administration.people import Particulars
from gateway.cli.common import (
    as_json,
    example,
    opened,
    opened_with_vault,
    show_json,
    show_rows,
)
from gateway.cli.members import read_admitted
from gateway.crypto import certificate as openpgp
from gateway.store import application as store
from gateway.store import member as members
from gateway.store.actor import OPERATOR
from gateway.store.application import Application
from gateway.store.member import Kind


@click.group("application")
def applications() -> None:
    """Nominations, and new keys of members who lost theirs."""


@applications.command("list")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet application list")
def show_all(ctx: click.Context, as_json: bool) -> None:
    """List what is not decided yet."""
    with opened(ctx) as app, app.database.reading() as session:
        rows = [_describe(one) for one in store.open_ones(session)]
    head = ("application", "address", "purpose", "step", "since", "fingerprint")
    show_rows(head, rows, "No application is open.", as_json=as_json)


@applications.command("show")
@click.argument("label")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet application show A-5")
def show(ctx: click.Context, label: str, as_json: bool) -> None:
    """Show one, with the certificate that was brought."""
    with opened(ctx) as app, app.database.reading() as session:
        described = _describe(store.get(session, label))
    if as_json:
        show_json(described)
        return
    for name, value in described.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' ') + ':':<14}{shown or '-'}")


@applications.command("accept")
@click.argument("label")
@click.pass_context
@example("environet --state /var/lib/environet application accept A-5")
def accept(ctx: click.Context, label: str) -> None:
    """Make the officer a member, or the new key the member's. Compare the fingerprint first."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = joining.accept(session, app, OPERATOR, label)
        click.echo(f"{found.label} ({found.member.address}) is {found.step}.")


@applications.command("decline")
@click.argument("label")
@click.option("--reason", default="", help="Told to the officer where it can be encrypted.")
@click.pass_context
@example('environet --state /var/lib/environet application decline A-5 --reason "left the agency"')
def decline(ctx: click.Context, label: str, reason: str) -> None:
    """End an application; the officer is told."""
    if len(reason) > 500 or not reason.isprintable():
        raise click.UsageError("--reason: at most 500 printable characters")
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = joining.decline(session, app, OPERATOR, label, reason)
        click.echo(f"{found.label} ({found.member.address}) is {found.step}.")


@applications.command("nominate")
@click.argument("address")
@click.option("--name", required=True, help="The officer's name.")
@click.option("--organisation", required=True, help="The agency's name.")
@click.option("--country", required=True, metavar="CC", help="ISO 3166-1 alpha-2 code.")
@click.option("--kind", type=click.Choice([one.value for one in Kind]), default="agency",
              show_default=True, help="Kind of organisation.")  # fmt: skip
@click.option("--fingerprint", default="", help="Of the only key that they may bring.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Their OpenPGP certificate, where it is known.")  # fmt: skip
@click.option("--language", multiple=True, metavar="CODE",
              help="ISO 639-1; the first is that of their notices; may be repeated.")  # fmt: skip
@click.pass_context
@example(
    "environet --state /var/lib/environet application nominate zoe.mwangi@harbour.example \\\n"
    '    --name "Zoe Mwangi" --organisation "Port Authority" --country KE'
)
def nominate(
    ctx: click.Context,
    address: str,
    name: str,
    organisation: str,
    country: str,
    kind: str,
    fingerprint: str,
    certificate: Path | None,
    language: tuple[str, ...],
) -> None:
    """Invite somebody to join, as a contact point does by mail."""
    who = Particulars(address, name, organisation, country, kind, " ".join(language))
    with opened_with_vault(ctx) as app:
        known = None if certificate is None else read_admitted(certificate, app.clock())
        with app.database.transaction() as session:
            found = joining.nominate(
                session, app, OPERATOR, who, fingerprint=fingerprint, certificate=known
            )
            click.echo(f"{found.member.address} is invited: {found.label}.")


@applications.command("vouch")
@click.argument("fingerprint")
@click.argument("address")
@click.pass_context
@example(
    "environet --state /var/lib/environet application vouch \\\n"
    "    5F2A0B1C77D043E98A6B91C3D4E5F60718293A4B bo.berg@police.example"
)
def vouch(ctx: click.Context, fingerprint: str, address: str) -> None:
    """Ask a member who lost their key for the one with this fingerprint."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        member = members.get(session, address)
        found = joining.vouch(session, app, OPERATOR, member, fingerprint)
        click.echo(f"{member.address} is asked for the new certificate: {found.label}.")


def _describe(one: Application) -> dict[str, object]:
    certificate = openpgp.read(one.certificate) if one.certificate else None
    return {
        "application": one.label,
        "address": one.member.address,
        "name": one.member.name,
        "organisation": one.member.organisation,
        "country": one.member.country,
        "purpose": str(one.purpose),
        "step": str(one.step),
        "since": one.changed_at,
        "fingerprint": certificate.fingerprint if certificate else one.fingerprint or None,
        "user_ids": proving.shown_user_ids(certificate) if certificate else [],
        "nominator": one.nominator.address if one.nominator else None,
        "ticked_off": one.tick_off.split(),
        "challenges": one.challenges,
        "decided_by": one.decided_by,
    }
