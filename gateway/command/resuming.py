"""Delivery that was stopped as mails came back: resumed by its member, or by who is in charge."""

from __future__ import annotations

from gateway.bounces import standing
from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.store import member as store
from gateway.store.member import Member, Role


def _resume(context: Context, call: Call) -> Answer:
    word = call.only("resume CODE")
    if "@" not in word:
        copies = standing.confirm(context.session, context.app, context.actor, context.member, word)
        return Answer(
            context.say(
                "Thank you: mails reach you, and those that came back are forgotten. Copies that "
                "waited for you and are sent now: %(count)s.",
                count=copies,
            )
        )
    member = _in_charge_of(context, word)
    copies = standing.resume(context.session, context.app, context.actor, member)
    return Answer(
        context.say(
            "Delivery to %(member)s is resumed. Copies that waited for them and are sent now: "
            "%(count)s.",
            member=member.described,
            count=copies,
        )
    )


def _in_charge_of(context: Context, address: str) -> Member:
    """The member whose delivery somebody may resume: administrators everybody's, contact points
    that of their country. Raises UsageError, which tells nothing of others."""
    if context.member.has_role(Role.ADMINISTRATOR):
        return store.get(context.session, address)
    found = store.find(context.session, address)
    theirs = found is not None and found.country == context.member.country
    if found is None or not theirs or not context.member.has_role(Role.CONTACT_POINT):
        raise UsageError("%(address)s is no member whom you are in charge of", address=address)
    return found


COMMANDS = (
    Command(
        "resume",
        "CODE or ADDRESS",
        frozenset(),
        N_(
            "Says by the code of a mail that asked for it that mails reach you, so that postings "
            "are sent to you again. Administrators and contact points: by the address of a member, "
            "whose mails came back."
        ),
        "resume k3vq7zpd2m",
        _resume,
    ),
)
