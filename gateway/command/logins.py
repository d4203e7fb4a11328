"""The web archive by mail: a link to log in with, an end of all sessions, the time zone there."""

from __future__ import annotations

from gateway.administration import logins, profiles
from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.notices.zones import named, zone_of

_OF_COUNTRY = "country"


def _login(context: Context, call: Call) -> Answer:
    url = logins.link_for(context.session, context.app, context.member)
    said = context.say(
        "This link logs you in to the archive, once, within %(minutes)s minutes. Open it in any "
        "browser, and press the button there. Whoever opens it first is logged in as you, so pass "
        "it to nobody.",
        minutes=context.app.config.web.login_minutes,
    )
    return Answer(f"{said}\n\n    {url}")


def _logout(context: Context, call: Call) -> Answer:
    count = logins.log_out_everywhere(
        context.session, context.app, context.member, context.actor
    )  # fmt: skip
    return Answer(
        context.say(
            "You are logged out of the archive everywhere. Sessions that ended: %(count)s. Links "
            "that were sent to you before are of no use any more.",
            count=count,
        )
    )


def _time_zone(context: Context, call: Call) -> Answer:
    before = context.member.time_zone
    typed = " ".join(call.words)
    if not typed:
        raise UsageError("say which, such as: timezone Europe/Paris")
    name = "" if typed.casefold() == _OF_COUNTRY else named(typed)
    profiles.change_time_zone(context.session, context.app, context.actor, context.member, name)
    said = context.say("The archive shows you times in %(zone)s.", zone=zone_of(context.member).key)
    undo = context.say(
        "To undo it, write: %(line)s", line=f"timezone {before or _OF_COUNTRY}"
    )  # fmt: skip
    return Answer(f"{said} {undo}")


COMMANDS = (
    # Changes nothing, whoever may have carried the mail: the link goes to its author alone.
    Command(
        "login",
        "",
        frozenset(),
        N_("Sends you a link that logs you in to the archive on the web."),
        "login",
        _login,
        changes=False,
    ),
    Command(
        "logout everywhere",
        "",
        frozenset(),
        N_("Ends all your sessions in the archive on the web."),
        "logout everywhere",
        _logout,
    ),
    Command(
        "timezone",
        "ZONE | country",
        frozenset(),
        N_("The time zone in which the archive shows you times; your country's, until you say."),
        "timezone Europe/Paris",
        _time_zone,
    ),
)
