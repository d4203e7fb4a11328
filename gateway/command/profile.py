"""A member's own settings."""

from __future__ import annotations

from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.store import ledger, mailing_list, member


def _tick_off(context: Context, call: Call) -> Answer:
    if not call.words:
        raise UsageError("name the topics, such as: tick off B E")
    lists = [mailing_list.get_topic(context.session, one) for one in call.words]
    member.tick_off(context.session, context.member, lists)
    letters = " ".join(one.letter for one in lists)
    ledger.enter(
        context.session, context.now, "ticked-off", member=context.member.id, lists=letters
    )
    return Answer(context.say("You get no more of: %(topics)s.", topics=letters))


COMMANDS = (
    Command(
        "tick off",
        "TOPIC ...",
        frozenset(),
        N_("You get nothing more of these topics, from the next posting on."),
        "tick off B E",
        _tick_off,
    ),
)
