"""What is going on and what went on, without any content: queue, ledger, statistics."""

from __future__ import annotations

import json

from gateway.command.context import Answer, Call, Command, Context
from gateway.command.layout import lines, rows
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.notices.words import country, word
from gateway.store import ledger, statistics
from gateway.store.member import Role
from gateway.store.outbox import Delivery

_MOST_PARKED = 50
_ENTRIES = 20
_MOST_ENTRIES = 200
_STATES = {
    Delivery.WAITING: N_("waiting"),
    Delivery.LEASED: N_("under way"),
    Delivery.COLLECTED: N_("collected for digests"),
    Delivery.PARKED: N_("parked"),
    Delivery.REFUSED: N_("refused by their mail servers"),
}


def _queue(context: Context, call: Call) -> Answer:
    counts = statistics.unfinished(context.session)
    shown = rows([(context.say(told), str(counts.get(one, 0))) for one, told in _STATES.items()])
    parked = statistics.parked(context.session, _MOST_PARKED)
    if not parked:
        return Answer(shown)
    head = context.say(
        "Parked, the oldest first (%(most)s at most): these wait until their cause is mended, and "
        "the operator has them tried again.",
        most=_MOST_PARKED,
    )
    each = [f"{one.at:%Y-%m-%d}  {one.subject}  {one.address}  {one.reason}" for one in parked]
    return Answer(f"{shown}\n\n{head}\n\n{lines(each)}")


def _verify(context: Context, call: Call) -> Answer:
    verdict = ledger.verify(context.session)
    if verdict.fault is not None:
        return Answer(
            context.say(
                "The ledger is broken: %(fault)s. Somebody changed the gateway's database; have "
                "its operator look at once.",
                fault=verdict.fault,
            )
        )
    said = context.say(
        "The ledger has %(entries)s entries and is unbroken. Note its head, below: a ledger that "
        "was cut back shows by its head alone.",
        entries=verdict.entries,
    )
    return Answer(f"{said}\n\n  {verdict.head}")


def _ledger(context: Context, call: Call) -> Answer:
    words = call.words or [str(_ENTRIES)]
    if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
        raise UsageError("write it as: %(usage)s", usage="ledger NUMBER")
    count = min(int(words[0][:9]), _MOST_ENTRIES)
    shown = []
    for one in ledger.newest(context.session, count):
        detail = " ".join(f"{name}={value}" for name, value in json.loads(one.detail).items())
        shown.append(f"  {one.sequence}  {one.at:%Y-%m-%d %H:%M}  {one.event}\n      {detail}")
    said = context.say("The newest %(count)s entries, oldest first. Times are UTC.", count=count)
    return Answer("\n\n".join([said, "\n".join(shown)]))


def _statistics(context: Context, call: Call) -> Answer:
    session, say, language = context.session, context.say, context.language
    blocks = [
        (
            say("Members by state"),
            [(word(language, one), str(count)) for one, count in statistics.states(session)],
        ),
        (
            say("Active members by country"),
            [(country(language, one), str(count)) for one, count in statistics.countries(session)],
        ),
        (
            say("Postings in the last twelve months, by list and month"),
            [
                (f"{letter} {year}-{month:02}", str(count))
                for letter, year, month, count in statistics.postings(session, context.now)
            ],
        ),
        (say("Holds"), [(say("not decided"), str(statistics.open_holds(session)))]),
        (
            say("Copies and notices"),
            [
                (say(told), str(statistics.unfinished(session).get(one, 0)))
                for one, told in _STATES.items()
            ],
        ),
    ]
    return Answer("\n\n".join(f"{head}:\n\n{rows(pairs) or '  -'}" for head, pairs in blocks))


READERS = frozenset({Role.ADMINISTRATOR, Role.AUDITOR})
"""Who may read the ledger."""

COMMANDS = (
    Command(
        "queue",
        "",
        frozenset({Role.ADMINISTRATOR}),
        N_("Shows how many copies wait, and what is parked and why."),
        "queue",
        _queue,
        changes=False,
    ),
    Command(
        "ledger verify",
        "",
        READERS,
        N_("Checks that no entry of the ledger was changed or taken out."),
        "ledger verify",
        _verify,
        changes=False,
    ),
    Command(
        "ledger",
        "[NUMBER]",
        READERS,
        N_("Shows the newest entries of the ledger, in which every decision is."),
        "ledger 50",
        _ledger,
        changes=False,
    ),
    Command(
        "statistics",
        "",
        READERS,
        N_("Counts members, postings, holds and copies."),
        "statistics",
        _statistics,
        changes=False,
    ),
)
