"""Lists, as administrators order it."""

from __future__ import annotations

from collections.abc import Callable

from gateway.administration import lists as administration
from gateway.command.context import Answer, Call, Command, Context
from gateway.command.layout import rows
from gateway.errors import UsageError
from gateway.message.armor import armor
from gateway.notices.language import N_
from gateway.notices.notice import Attachment
from gateway.notices.words import word
from gateway.store import mailing_list
from gateway.store import member as members
from gateway.store.mailing_list import MailingList, Moderation
from gateway.store.member import Member, Role

_NEW = ("local part", "letter", "title", "description", "moderation", "invited")
_NEEDED = ("local part", "letter", "title")
_YES_NO = {"yes": True, "on": True, "no": False, "off": False}
_LONGEST_SIGNATURE_DAYS = 36500


def _add(context: Context, call: Call) -> Answer:
    domain = context.app.config.domain
    values = {**call.form, **({"local part": call.words[0]} if call.words else {})}
    missing = [key for key in _NEEDED if not values.get(key)]
    if missing:
        raise UsageError(
            "write below it, a line each, such as title: Coral; there are: %(keys)s",
            keys=", ".join(_NEW),
        )
    invited = _members(context, values.get("invited", ""))
    added = administration.add_list(
        context.session,
        context.app,
        letter=values["letter"].upper(),
        local_part=values["local part"].lower().removesuffix(f"@{domain}"),
        title=values["title"],
        description=values.get("description", ""),
        moderation=_moderation(values.get("moderation") or str(Moderation.OPEN)),
        by_invitation="invited" in values,
        by=context.actor,
    )
    _invite_all(context, added, invited, in_=True)
    address = added.address(domain)
    key = armor(added.key.certificate, "PUBLIC KEY BLOCK")
    said = context.say(
        "The list is open. Its certificate is attached; whoever wants to write to it gets it by: "
        "get key %(address)s",
        address=address,
    )
    return Answer(
        f"{said}\n\n{rows(_described(context, added))}",
        (Attachment(f"{added.local_part}.asc", "application/pgp-keys", key),),
    )


def _close(context: Context, call: Call) -> Answer:
    found = mailing_list.get_topic(context.session, call.only("list close LIST"))
    administration.close(context.session, context.app, context.actor, found)
    return Answer(
        context.say(
            "%(list)s is closed, with its desks: it takes no more mail. What it sent stays in the "
            "archive. This can't be undone.",
            list=found.local_part,
        )
    )


def _set(context: Context, call: Call) -> Answer:
    if not call.words:
        raise UsageError("write it as: %(usage)s", usage="list set LIST")
    found = mailing_list.get_topic(context.session, call.words[0])
    values = {**call.form, **_in_line(call.words[1:])}
    if not values:
        raise UsageError(
            "write below it what to change, such as moderation: all; there are: %(keys)s",
            keys=", ".join(_SETTINGS),
        )
    changes = {_SETTINGS[key][0]: _SETTINGS[key][1](value) for key, value in values.items()}
    administration.change(context.session, context.app, context.actor, found, changes)
    return Answer(rows(_described(context, found)))


def _in_line(words: list[str]) -> dict[str, str]:
    """A setting that stands behind the list's name: "moderation: all"."""
    typed = " ".join(words).casefold().replace("-", " ")
    for key in _SETTINGS:
        if typed.startswith(key):
            return {key: typed.removeprefix(key).strip(" :=")}
    if typed:
        raise UsageError("there is no setting %(name)s", name=typed)
    return {}


def _invite(context: Context, call: Call) -> Answer:
    return _invited(context, call, "list invite LIST ADDRESS ...", in_=True)


def _uninvite(context: Context, call: Call) -> Answer:
    return _invited(context, call, "list uninvite LIST ADDRESS ...", in_=False)


def _invited(context: Context, call: Call, usage: str, *, in_: bool) -> Answer:
    if len(call.words) < 2:
        raise UsageError("write it as: %(usage)s", usage=usage)
    found = mailing_list.get_topic(context.session, call.words[0])
    _invite_all(context, found, _members(context, " ".join(call.words[1:])), in_=in_)
    return Answer(rows(_described(context, found)))


def _invite_all(context: Context, to: MailingList, whom: list[Member], *, in_: bool) -> None:
    for one in whom:
        administration.invite(context.session, context.app, context.actor, to, one, invited=in_)


def _members(context: Context, addresses: str) -> list[Member]:
    words = addresses.replace(",", " ").replace(";", " ").split()
    return [members.get(context.session, one.strip("<>")) for one in words]


def _described(context: Context, one: MailingList) -> list[tuple[str, str]]:
    say = context.say
    yes_no = {True: say("yes"), False: say("no")}
    invited = members.invited(context.session, one.id) if one.by_invitation else []
    pairs = [
        (say("List"), f"{one.letter}  {one.title} <{one.address(context.app.config.domain)}>"),
        (say("Description"), one.description or "-"),
        (say("Moderation"), f"{one.moderation}: {word(context.language, one.moderation)}"),
        (say("Moderators needed"), str(one.moderators_needed)),
        (say("Signed only"), yes_no[one.signed_only]),
        (
            say("Signature days"),
            str(one.signature_days or context.app.config.policy.signature_days),
        ),
        (say("Certificate"), one.key_fingerprint),
    ]
    if one.by_invitation:
        pairs.append((say("Invited"), ", ".join(each.address for each in invited) or "-"))
    return pairs


def _moderation(text: str) -> Moderation:
    if text.casefold() not in set(Moderation):
        raise UsageError(
            "moderation: '%(value)s' is none of %(values)s",
            value=text, values=", ".join(Moderation),
        )  # fmt: skip
    return Moderation(text.casefold())


def _yes_no(text: str) -> bool:
    if text.casefold() not in _YES_NO:
        raise UsageError("'%(value)s' is neither yes nor no", value=text)
    return _YES_NO[text.casefold()]


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
        if not 1 <= number <= most:
            raise UsageError("'%(value)s' is no number from 1 to %(most)s", value=text, most=most)
        return number

    return read


_SETTINGS: dict[str, tuple[str, Callable[[str], object]]] = {
    "moderation": ("moderation", _moderation),
    "signed only": ("signed_only", _yes_no),
    "moderators needed": ("moderators_needed", _number(2)),
    "signature days": ("signature_days", _number(_LONGEST_SIGNATURE_DAYS)),
}
"""As typed -> column, and how its value is read."""
_ADMINISTRATORS = frozenset({Role.ADMINISTRATOR})

COMMANDS = (
    Command(
        "list add",
        "",
        _ADMINISTRATORS,
        N_(
            "Adds a list with a key of its own; every member gets it, or those alone who are "
            "named as invited."
        ),
        "list add\nlocal part: op-coral\nletter: OPC\ntitle: Coral\n"
        "description: Operation Coral\nmoderation: open\n"
        "invited: ana.lind@customs.example, bo.berg@police.example",
        _add,
        form=_NEW,
    ),
    Command(
        "list set",
        "LIST",
        _ADMINISTRATORS,
        N_("Changes how a list judges mail: what is held, and how many must approve it."),
        "list set B\nmoderation: new\nmoderators needed: 2",
        _set,
        form=tuple(_SETTINGS),
    ),
    Command(
        "list invite",
        "LIST ADDRESS ...",
        _ADMINISTRATORS,
        N_("Puts members on a list by invitation."),
        "list invite OPC bo.berg@police.example",
        _invite,
    ),
    Command(
        "list uninvite",
        "LIST ADDRESS ...",
        _ADMINISTRATORS,
        N_("Takes members off a list by invitation."),
        "list uninvite OPC bo.berg@police.example",
        _uninvite,
    ),
    Command(
        "list close",
        "LIST",
        _ADMINISTRATORS,
        N_("Closes a list: it takes no more mail."),
        "list close OPC",
        _close,
    ),
)
