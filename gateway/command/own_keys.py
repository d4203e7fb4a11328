"""The gateway's own keys, as administrators order it."""

from __future__ import annotations

from gateway.administration import announcing, own_keys
from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.store import own_key
from gateway.store.mailing_list import GatewayKey, Purpose
from gateway.store.member import Role

_ADMINISTRATORS = frozenset({Role.ADMINISTRATOR})
_ALL = "all"


def _list(context: Context, call: Call) -> Answer:
    used = {one.fingerprint for one in own_key.in_use(context.session)}
    keys = own_key.all_keys(context.session)
    shown = [_described(context, one, in_use=one.fingerprint in used) for one in keys]
    return Answer("\n\n".join(shown))


def _renew(context: Context, call: Call) -> Answer:
    session, app, years = context.session, context.app, context.app.config.upkeep.key_years
    name = call.only("renew key ADDRESS")
    keys = (
        own_keys.renewable(session, app, years)
        if name.casefold() == _ALL
        else [own_keys.find(session, app, name)]
    )
    if not keys:
        raise UsageError("no key can be made good for longer today")
    for key in keys:
        own_keys.renew(session, app, context.actor, key, years)
    shown = [_described(context, one, in_use=True) for one in keys]
    return Answer("\n\n".join([*shown, _then(context, name)]))


def _rotate(context: Context, call: Call) -> Answer:
    session, app = context.session, context.app
    again = [one.casefold() for one in call.words[1:]] == ["again"]
    if len(call.words) != 1 + again:
        raise UsageError("write it as: %(usage)s", usage="rotate key ADDRESS")
    old = own_keys.find(session, app, call.words[0])
    new = own_keys.replace(session, app, context.actor, old, again=again)
    said = context.say(
        "There is a new key, in use from now on. What is encrypted to the old one is still read."
    )
    then = [] if new.purpose is Purpose.ARCHIVE else [_then(context, call.words[0])]
    return Answer("\n\n".join([said, _described(context, new, in_use=True), *then]))


def _announce(context: Context, call: Call) -> Answer:
    session, app = context.session, context.app
    name = call.only("announce key ADDRESS")
    keys = (
        announcing.all_keys(session)
        if name.casefold() == _ALL
        else [own_keys.find(session, app, name)]
    )
    announcing.begin(session, app, context.actor, keys)
    return Answer(
        context.say(
            "The members are told within minutes, and get the certificates of: %(addresses)s",
            addresses=", ".join(one.address for one in keys),
        )
    )


def _then(context: Context, name: str) -> str:
    return context.say(
        "To have every member told, and sent the certificate, write: %(command)s",
        command=f"announce key {name}",
    )


def _described(context: Context, key: GatewayKey, *, in_use: bool) -> str:
    main, *others = own_keys.addresses(key)
    say, date = context.say, context.language.date
    until = date(key.expires_at) if key.expires_at else say("does not expire")
    lines = [main, *others, key.fingerprint, say("made: %(date)s", date=date(key.created_at))]
    if in_use:
        lines.append(say("in use, good until: %(date)s", date=until))
    else:
        lines.append(say("replaced or of a closed list; it reads what was encrypted to it"))
    if key.announced_at:
        lines.append(say("members were told on: %(date)s", date=date(key.announced_at)))
    first, *rest = lines
    return "\n".join([f"  {first}", *(f"      {one}" for one in rest)])


COMMANDS = (
    Command(
        "own keys",
        "",
        _ADMINISTRATORS,
        N_("Lists the gateway's own keys, what they are for and until when they are good."),
        "own keys",
        _list,
        changes=False,
    ),
    Command(
        "renew key",
        "ADDRESS",
        _ADMINISTRATORS,
        N_('Makes a key of the gateway good for longer; "all" for all that expire.'),
        "renew key wildlife@environet.example",
        _renew,
    ),
    Command(
        "rotate key",
        "ADDRESS",
        _ADMINISTRATORS,
        N_("Puts a new key in the place of one of the gateway's; the old one still reads."),
        "rotate key wildlife@environet.example",
        _rotate,
    ),
    Command(
        "announce key",
        "ADDRESS",
        _ADMINISTRATORS,
        N_('Sends every member the certificate of a key of the gateway; "all" for all of them.'),
        "announce key wildlife@environet.example",
        _announce,
    ),
)
