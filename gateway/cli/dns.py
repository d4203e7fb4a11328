"""`environet dns`: what should stand in the DNS for the gateway's domain, and whether it does."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from gateway.app import App
from gateway.cli.common import EXIT_FAULTS, as_json, example, opened, show_json
from gateway.crypto import domain_key
from gateway.errors import UsageError
from gateway.naming import checking
from gateway.naming.checking import State, Verdict
from gateway.naming.records import Record, Wanted, policy, policy_url, records, zone
from gateway.naming.resolver import Names
from gateway.settings import DkimSection, domain_name


@click.command()
@click.option("--check", "ask", is_flag=True, help="Ask the DNS, and say what to do.")
@click.option(
    "--mx",
    "exchanges",
    multiple=True,
    metavar="HOST",
    help="A server that takes the mail; again for each. Without: the domain itself.",
)
@click.option(
    "--reports",
    metavar="ADDRESS",
    help="Where other servers send reports. Without: postmaster of the domain.",
)
@click.option(
    "--selector",
    metavar="NAME",
    help="Of DKIM keys other than dkim.selector; made where they are not there yet.",
)
@click.option("--resolver", metavar="ADDRESS:PORT", help="The DNS server that --check asks.")
@as_json
@click.pass_context
@example(
    "environet --state /var/lib/environet dns --mx mail.environet.example\n"
    "environet --state /var/lib/environet dns --mx mail.environet.example --check"
)
def dns(
    ctx: click.Context,
    ask: bool,
    exchanges: tuple[str, ...],
    reports: str | None,
    selector: str | None,
    resolver: str | None,
    as_json: bool,
) -> None:
    """Print the DNS records of the gateway's domain, as part of a zone file. With --check: what
    the DNS says in place of each. Exit status 3 where one is missing, different or not to be had.
    """
    with opened(ctx) as app:
        wanted = _wanted(app, exchanges, reports, selector)
        server = _section(resolver=resolver).resolver if resolver else app.config.dkim.resolver
    if not ask:
        if as_json:
            file = {"url": policy_url(wanted.domain), "text": policy(wanted)}
            show_json({"records": [_described(one) for one in records(wanted)], "policy": file})
        else:
            click.echo(zone(wanted), nl=False)
        return
    verdicts = checking.check(Names(server), wanted, any_exchange=not exchanges)
    if as_json:
        show_json([_judged(one) for one in verdicts])
    else:
        click.echo("\n".join(map(_shown, verdicts)))
    if any(one.state is not State.RIGHT for one in verdicts):
        ctx.exit(EXIT_FAULTS)


def _wanted(
    app: App, exchanges: tuple[str, ...], reports: str | None, selector: str | None
) -> Wanted:
    domain, dkim = app.config.domain, app.config.dkim
    if selector is not None:
        selector = _section(selector=selector).selector
        domain_key.make(app.state, selector)
    try:
        hosts = tuple(domain_name(one) for one in exchanges) or (domain,)
    except ValueError as error:
        raise UsageError(f"--mx: {error}") from None
    if reports is not None and not _is_address(reports):
        raise UsageError(f"--reports: {reports!r} is no mail address")
    return Wanted(
        domain,
        hosts,
        urlsplit(app.config.archive_url).hostname or domain,
        reports or f"postmaster@{domain}",
        tuple(
            (one.selector, one.record)
            for one in domain_key.load(app.state, selector or dkim.selector, dkim.sign)
        ),
    )


def _is_address(text: str) -> bool:
    local, at, host = text.partition("@")
    return bool(local and at and host) and not set(text) & set(' ;,"\\!?<>\n\t') and text.isascii()


def _section(**values: str) -> DkimSection:
    """A value from the command line, checked as one of the settings is."""
    try:
        return DkimSection(**values)
    except ValueError:
        name, value = next(iter(values.items()))
        raise UsageError(f"--{name}: {value!r} can't be used as dkim.{name}") from None


def _described(one: Record) -> dict[str, object]:
    return {"purpose": one.purpose, "name": one.name, "type": one.kind, "value": one.value,
            "line": one.line, "about": one.about}  # fmt: skip


def _judged(one: Verdict) -> dict[str, object]:
    record = one.record
    return {"purpose": record.purpose, "name": record.name, "type": record.kind,
            "state": one.state, "there": one.there, "todo": one.todo}  # fmt: skip


def _shown(one: Verdict) -> str:
    lines = [f"{one.record.purpose + ':':<22}{one.state}"]
    if one.state is not State.RIGHT:
        lines += [f"    there is: {_printable(text)}" for text in one.there]
        lines += [f"    {one.todo}"]
    return "\n".join(lines)


def _printable(text: str) -> str:
    """The DNS must not speak to the terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
