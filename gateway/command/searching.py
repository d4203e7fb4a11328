"""Searching the archive by mail."""

from __future__ import annotations

from gateway.archive import searching
from gateway.archive.explaining import explained
from gateway.archive.hits import Hit
from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.store import ledger

MOST_LISTED = 30


def _search(context: Context, call: Call) -> Answer:
    if not call.rest.strip():
        raise UsageError("write it as: %(usage)s", usage="search ivory from:ana topic:B")
    found = searching.search(
        context.session, context.app, context.member, call.rest, most=MOST_LISTED
    )
    ledger.enter(
        context.session, context.now, "searched",
        found=found.count, numbers=found.numbers, by=context.actor.ledger,
    )  # fmt: skip
    what = explained(context.language, found.query)
    if not found.hits:
        return Answer(context.say("Nothing that you may read fits: %(what)s.", what=what))
    said = context.say("Found %(count)s: %(what)s.", count=found.count, what=what)
    if found.capped:
        said = context.say("Found more than %(count)s: %(what)s.", count=found.count, what=what)
    if found.count > len(found.hits):
        most = context.say("The best %(most)s:", most=MOST_LISTED)
        said = f"{said} {most}"
    lines = [_line(context, number, one) for number, one in enumerate(found.hits, 1)]
    first = found.hits[0]
    if first.hold:
        how = context.say("To have one of them sent to you, write for example: show %(hold)s",
                          hold=first.hold)  # fmt: skip
    else:
        how = context.say(
            "To have one of them sent to you, write for example: get %(label)s. For its thread: "
            "thread %(label)s",
            label=first.label,
        )
    return Answer("\n\n".join([said, *lines, how]))


def _line(context: Context, number: int, one: Hit) -> str:
    moment = context.language.moment(one.received_at)
    return (
        f"  {number}. {one.hold or one.label}  {moment}\n"
        f"      {one.author.described}\n"
        f"      {one.title or '-'}"
    )


COMMANDS = (
    Command(
        "search",
        "QUERY",
        frozenset(),
        N_("Searches the archive, in all that you may read."),
        "search ivory from:ana topic:B",
        _search,
        changes=False,
    ),
)
