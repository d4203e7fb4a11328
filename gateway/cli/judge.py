"""`environet judge`: what would become of a mail."""

from __future__ import annotations

from dataclasses import asdict
from typing import BinaryIO

import click

from gateway.cli.common import EXIT_FAULTS, as_json, example, opened_with_vault, show_json
from gateway.judging import Verdict, envelope_of
from gateway.judging import judge as judged


@click.command("judge")
@click.argument("file", type=click.File("rb"))
@click.option("--to", "recipients", metavar="ADDRESS", multiple=True, help="Recipient; repeatable.")
@click.option("--from", "sender", metavar="ADDRESS", help="Envelope sender; '' is the null one.")
@as_json
@click.pass_context
@example("environet --state /var/lib/environet judge mail.eml --to wildlife@environet.example")
def judge(
    ctx: click.Context,
    file: BinaryIO,
    recipients: tuple[str, ...],
    sender: str | None,
    as_json: bool,
) -> None:
    """Say what would become of a mail, and why, without doing it.

    FILE is the whole mail as a mail program saves it; '-' is standard input. Its content is not
    shown. Without --to its own header says whom it is for. Exit status 0 where it would be taken, 3
    where an address would refuse it.
    """
    with opened_with_vault(ctx) as app:
        verdict = judged(app, envelope_of(app, file.read(), recipients, sender))
    if as_json:
        shown = asdict(verdict) | {"taken": verdict.is_taken}
        for one in shown["destined"]:
            one["reply"] = "{code} {status} {text}".format(**one["reply"])
        show_json(shown)
    else:
        _show(verdict)
    if not verdict.is_taken:
        ctx.exit(EXIT_FAULTS)


def _show(verdict: Verdict) -> None:
    how = "encrypted as a whole" if verdict.encrypted else "not encrypted as a whole"
    to = f", to {', '.join(verdict.encrypted_to)}" if verdict.encrypted_to else ""
    opened = f"opened ({verdict.form})" if verdict.opened else "no signed content found"
    click.echo(f"A mail of {verdict.size:,} bytes, {how}{to}; {opened}.")
    signer = verdict.signer
    if signer is None:
        click.echo("Signed by nobody whom the gateway knows.")
    else:
        click.echo(
            f"Signed by {signer.address} (member {signer.member}, {signer.standing}), "
            f"{signer.signed_at:%Y-%m-%d %H:%M} UTC, by key {signer.key}."
        )
    if verdict.marking:
        click.echo(f"Marked {verdict.marking}.")
    if verdict.noted.partial:
        click.echo("Only a part of it is signed; the rest would be left out.")
    if verdict.noted.repaired:
        click.echo("A mail server had taken its frame apart.")
    if verdict.noted.imitates:
        click.echo("Its text has lines like those of an attestation.")
    if verdict.noted.names_other:
        click.echo("From names another member.")
    if verdict.noted.differs:
        click.echo(f"Other values stand outside for {', '.join(verdict.noted.differs)}.")
    for one in verdict.destined:
        rule = f" by rule {one.rule}" if one.rule else ""
        click.echo(f"{one.address} ({one.what}): {one.action}{rule}: {one.reply}")
    for line in verdict.said:
        click.echo(f"  log: {line}")
