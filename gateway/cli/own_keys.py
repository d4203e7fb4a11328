"""`environet key`: the gateway's own keys over time."""

from __future__ import annotations

from collections.abc import Callable

import click
from sqlalchemy.orm import Session

from gateway.administration import announcing, own_keys
from gateway.app import App
from gateway.cli.common import (
    as_json,
    example,
    opened,
    opened_with_vault,
    show_rows,
)
from gateway.errors import UsageError
from gateway.message.armor import armor
from gateway.store import mailing_list, own_key
from gateway.store import member as store_member
from gateway.store.actor import OPERATOR
from gateway.store.certificate import of as certificate_of
from gateway.store.mailing_list import GatewayKey, Purpose

_every = click.option("--all", "every", is_flag=True, help="All that are in use.")


@click.group("key")
def keys() -> None:
    """The gateway's own keys, and the certificates of its members."""


@keys.command("list")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet key list")
def key_list(ctx: click.Context, as_json: bool) -> None:
    """List the gateway's own keys: in use, or kept to read what was encrypted to them."""
    with opened(ctx) as app, app.database.reading() as session:
        used = {one.fingerprint for one in own_key.in_use(session)}
        rows = [_describe(one, used) for one in own_key.all_keys(session)]
    head = ("address", "use", "made_at", "expires_at", "announced_at", "fingerprint")
    show_rows(head, rows, "There are no keys.", as_json=as_json)


@keys.command("export")
@click.argument("address")
@click.pass_context
@example("environet --state /var/lib/environet key export wildlife@environet.example")
def export(ctx: click.Context, address: str) -> None:
    """Print the armored certificate of a list, of gateway@, of archive@ or of a member."""
    with opened(ctx) as app:
        with app.database.reading() as session:
            own = mailing_list.key_of(session, address, app.config.domain)
            found_member = None if own else store_member.find(session, address)
            theirs = certificate_of(session, found_member) if found_member else None
        if own is not None:
            click.echo(app.keyring.export_armored(own.fingerprint), nl=False)
        elif theirs is not None:
            click.echo(armor(theirs.data, "PUBLIC KEY BLOCK").decode(), nl=False)
        else:
            raise UsageError(
                f"{address} has no key here; 'environet list show' and 'environet member list' "
                "show who has"
            )


@keys.command("renew")
@click.argument("address", required=False)
@_every
@click.option("--years", type=click.IntRange(1, 20), help="From today (upkeep.key_years).")
@click.pass_context
@example("environet --state /var/lib/environet key renew --all --years 3")
def renew(ctx: click.Context, address: str | None, every: bool, years: int | None) -> None:
    """Make the key of an address good for longer. Members need the new certificate: announce it."""
    with opened(ctx) as app:
        chosen = years or app.config.upkeep.key_years
        found = _chosen(
            app, address, every, lambda session: own_keys.renewable(session, app, chosen)
        )
        with click.progressbar(found, label="Renewing", item_show_func=_shown) as bar:
            for one in bar:
                with app.database.transaction() as session:
                    key = session.get_one(GatewayKey, one.fingerprint)
                    own_keys.renew(session, app, OPERATOR, key, chosen)
    click.echo(f"{len(found)} renewed.")
    if found:
        _next("--all" if address is None else address)


@keys.command("rotate")
@click.argument("address")
@click.option("--again", is_flag=True, help="Even if it was replaced within the last day.")
@click.pass_context
@example("environet --state /var/lib/environet key rotate wildlife@environet.example")
def rotate(ctx: click.Context, address: str, again: bool) -> None:
    """Put a new key in the place of an address's; it signs from now on.

    What is encrypted to the old one is still read. May be run again after it was cut off.
    """
    with opened(ctx) as app, app.database.transaction() as session:
        old = own_keys.find(session, app, address)
        new = own_keys.replace(session, app, OPERATOR, old, again=again)
    click.echo(f"{new.address} has the new key {new.fingerprint}.")
    if new.purpose is not Purpose.ARCHIVE:
        _next(new.address)


@keys.command("announce")
@click.argument("address", required=False)
@_every
@click.pass_context
@example("environet --state /var/lib/environet key announce wildlife@environet.example")
def announce(ctx: click.Context, address: str | None, every: bool) -> None:
    """Send every active member the certificate of an address, in a signed mail.

    Goes on where it was cut off, when it is run again or in the server's next round of upkeep.
    """
    with opened_with_vault(ctx) as app:
        found = _chosen(app, address, every, announcing.all_keys)
        with app.database.transaction() as session:
            again = [session.get_one(GatewayKey, one.fingerprint) for one in found]
            announcing.begin(session, app, OPERATOR, again)
            left = announcing.left(session)
        with click.progressbar(length=left, label="Telling the members") as bar:
            while (told := announcing.tell_some(app)) is not None:
                bar.update(told)
    click.echo(f"{left} members are told of {', '.join(one.address for one in found)}.")


def _chosen(
    app: App, address: str | None, every: bool, all_of_them: Callable[[Session], list[GatewayKey]]
) -> list[GatewayKey]:
    if (address is None) != every:
        raise click.UsageError("name one address, or --all")
    with app.database.reading() as session:
        return all_of_them(session) if address is None else [own_keys.find(session, app, address)]


def _next(address: str) -> None:
    """Nobody encrypts to a certificate that they don't have."""
    click.echo(f"Next: 'environet key announce {address}'.")


def _shown(key: GatewayKey | None) -> str:
    return key.address if key else ""


def _describe(key: GatewayKey, used: set[str]) -> dict[str, object]:
    return {
        "address": key.address,
        "addresses": own_keys.addresses(key),
        "fingerprint": key.fingerprint,
        "purpose": str(key.purpose),
        "use": "in use" if key.fingerprint in used else "reads",
        "made_at": key.created_at,
        "expires_at": key.expires_at,
        "announced_at": key.announced_at,
    }
