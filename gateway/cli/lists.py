"""`environet list`."""

from __future__ import annotations

import click

from gateway.administration import lists as administration
from gateway.app import App
from gateway.cli.common import (
    as_json,
    example,
    opened,
    opened_with_vault,
    show_json,
    show_table,
)
from gateway.store import mailing_list
from gateway.store import member as store_member
from gateway.store.actor import OPERATOR
from gateway.store.mailing_list import MailingList, Moderation

moderation_option = click.option(
    "--moderation",
    type=click.Choice([one.value for one in Moderation]),
    help="Hold nothing, a new member's first postings, or all; or only moderators write.",
)


@click.group("list")
def lists() -> None:
    """The mailing lists: topics A to G and those added."""


@lists.command("show")
@click.argument("name", required=False)
@as_json
@click.pass_context
@example("environet --state /var/lib/environet list show wildlife")
def show(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Show all lists, or one by letter or local part."""
    with opened(ctx) as app, app.database.reading() as session:
        found = mailing_list.all_lists(session)
        if name is not None:
            found = [mailing_list.get(session, name)]
        described = [_describe(app, one) for one in found]
    if as_json:
        show_json(described if name is None else described[0])
    elif name is not None:
        for label, value in described[0].items():
            click.echo(f"{label.replace('_', ' ') + ':':<18}{'-' if value is None else value}")
    else:
        columns = ("letter", "address", "moderation", "closed_at", "fingerprint", "description")
        rows = [[one[column] for column in columns] for one in described]
        show_table(columns, rows, "There are no lists.")


@lists.command("add")
@click.argument("local_part")
@click.option("--letter", required=True, help="Short name for commands and URLs, such as OP1.")
@click.option("--title", required=True, help="Stands in subjects: [Title].")
@click.option("--description", default="", help="One line.")
@click.option("--invite", multiple=True, metavar="ADDRESS",
              help="Only these members write and read; may be repeated.")  # fmt: skip
@moderation_option
@click.pass_context
@example(
    "environet --state /var/lib/environet list add op-coral --letter OPC --title Coral \\\n"
    "    --invite ana.lind@customs.example --invite bo.berg@police.example"
)
def add(
    ctx: click.Context,
    local_part: str,
    letter: str,
    title: str,
    description: str,
    invite: tuple[str, ...],
    moderation: str | None,
) -> None:
    """Add a list, with a key of its own. Without --invite every member receives it."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        invited = [store_member.get(session, address) for address in invite]
        added = administration.add_list(
            session,
            app,
            letter=letter.upper(),
            local_part=local_part.lower(),
            title=title,
            description=description,
            moderation=Moderation(moderation or "open"),
            by_invitation=bool(invite),
            by=OPERATOR,
        )
        for one in invited:
            administration.invite(session, app, OPERATOR, added, one, invited=True)
        address = added.address(app.config.domain)
    click.echo(f"{address} is open. Its certificate: environet key export {address}")


@lists.command("set")
@click.argument("name")
@moderation_option
@click.option("--signed-only/--no-signed-only", default=None,
              help="Take mail that is signed but not encrypted.")  # fmt: skip
@click.option("--moderators-needed", type=click.IntRange(1, 2),
              help="Moderators who must approve a held posting.")  # fmt: skip
@click.option("--signature-days", type=click.IntRange(1, 36500),
              help="Hold what was signed longer ago.")  # fmt: skip
@click.option("--evidence-bytes", type=click.IntRange(0),
              help="Largest signed original that travels with a copy.")  # fmt: skip
@click.pass_context
@example("environet --state /var/lib/environet list set B --moderation new --signature-days 3")
def change(
    ctx: click.Context,
    name: str,
    moderation: str | None,
    signed_only: bool | None,
    moderators_needed: int | None,
    signature_days: int | None,
    evidence_bytes: int | None,
) -> None:
    """Change how a list judges mail."""
    given = {
        "moderation": Moderation(moderation) if moderation else None,
        "signed_only": signed_only,
        "moderators_needed": moderators_needed,
        "signature_days": signature_days,
        "evidence_bytes": evidence_bytes,
    }
    changes: dict[str, object] = {
        setting: value for setting, value in given.items() if value is not None
    }
    if not changes:
        raise click.UsageError("say what to change, such as --moderation new")
    with opened(ctx) as app, app.database.transaction() as session:
        found = mailing_list.get(session, name)
        administration.change(session, app, OPERATOR, found, changes)
        click.echo(f"{found.address(app.config.domain)}: {', '.join(changes)} changed.")


@lists.command("invite")
@click.argument("name")
@click.argument("addresses", nargs=-1, required=True)
@click.option("--out", is_flag=True, help="Take them off the list instead.")
@click.pass_context
@example("environet --state /var/lib/environet list invite OPC bo.berg@police.example")
def invite_(ctx: click.Context, name: str, addresses: tuple[str, ...], out: bool) -> None:
    """Invite members to a list by invitation, or take them off it (--out)."""
    with opened_with_vault(ctx) as app, app.database.transaction() as session:
        found = mailing_list.get_topic(session, name)
        for address in addresses:
            one = store_member.get(session, address)
            administration.invite(session, app, OPERATOR, found, one, invited=not out)
        done = "taken off" if out else "invited to"
        click.echo(f"{len(addresses)} {done} {found.address(app.config.domain)}.")


@lists.command("close")
@click.argument("name")
@click.pass_context
@example("environet --state /var/lib/environet list close OPC")
def close(ctx: click.Context, name: str) -> None:
    """Close a list: it takes no more mail; what it has sent stays in the archive."""
    with opened(ctx) as app, app.database.transaction() as session:
        found = mailing_list.get_topic(session, name)
        administration.close(session, app, OPERATOR, found)
        click.echo(f"{found.address(app.config.domain)} is closed.")


def _describe(app: App, one: MailingList) -> dict[str, object]:
    policy = app.config.policy
    return {
        "letter": one.letter,
        "address": one.address(app.config.domain),
        "title": one.title,
        "description": one.description,
        "fingerprint": one.key_fingerprint,
        "moderation": str(one.moderation),
        "moderators_needed": one.moderators_needed,
        "signed_only": one.signed_only,
        "by_invitation": one.by_invitation,
        "signature_days": one.signature_days or policy.signature_days,
        "evidence_bytes": policy.evidence_bytes
        if one.evidence_bytes is None
        else one.evidence_bytes,
        "closed_at": one.closed_at,
    }
