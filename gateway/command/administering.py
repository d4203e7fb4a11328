"""Members and their roles, as administrators and contact points order it."""

from __future__ import annotations

from gateway.administration import people
from gateway.command.context import Answer, Call, Command, Context
from gateway.command.describing import described, roles
from gateway.command.layout import lines, rows
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.notices.words import country, word
from gateway.store import member as store
from gateway.store.member import Member, Role, State

_MOST_LISTED = 100
_PARTICULARS = ("name", "organisation", "country", "kind", "languages")


def _suspend(context: Context, call: Call) -> Answer:
    member, for_country = _charge(context, call.only("suspend ADDRESS"))
    people.change_state(
        context.session, context.app, context.actor, member, State.SUSPENDED,
        for_country=for_country,
    )  # fmt: skip
    return Answer(
        context.say(
            "%(member)s is suspended: nothing is taken from them, and nothing is sent to them, "
            "copies under way included. They were told, and so were the administrators and the "
            "contact points of %(country)s. To undo it, write: restore %(address)s",
            member=member.described,
            country=country(context.language, member.country),
            address=member.address,
        )
    )


def _restore(context: Context, call: Call) -> Answer:
    member, for_country = _charge(context, call.only("restore ADDRESS"))
    people.change_state(
        context.session, context.app, context.actor, member, State.ACTIVE, for_country=for_country
    )
    return Answer(
        context.say(
            "%(member)s is active again, and gets what is posted from now on. They were told, and "
            "so were the administrators and the contact points of %(country)s. To undo it, write: "
            "suspend %(address)s",
            member=member.described,
            country=country(context.language, member.country),
            address=member.address,
        )
    )


def _charge(context: Context, address: str) -> tuple[Member, bool]:
    """The member that somebody may suspend or restore, and whether it is for their country alone.

    Raises UsageError, which tells a contact point nothing of other countries' members.
    """
    if context.member.has_role(Role.ADMINISTRATOR):
        return store.get(context.session, address), False
    found = store.find(context.session, address)
    theirs = found is not None and found.country == context.member.country
    if found is None or not theirs or found.has_role(Role.ADMINISTRATOR):
        raise UsageError("%(address)s is no member of your country", address=address)
    return found, True


def _remove(context: Context, call: Call) -> Answer:
    member = store.get(context.session, call.only("member remove ADDRESS"))
    people.change_state(context.session, context.app, context.actor, member, State.REMOVED)
    return Answer(
        context.say(
            "%(member)s is removed, with their certificate, invitations and trust; what they wrote "
            "stays in the archive. They were told. This can't be undone: to come back they are "
            "nominated or added anew.",
            member=member.described,
        )
    )


def _show(context: Context, call: Call) -> Answer:
    found = store.get(context.session, call.only("member show ADDRESS"))
    return Answer(rows(described(context, found)))


def _members(context: Context, call: Call) -> Answer:
    found = store.search(context.session, call.words)
    shown = [
        f"{one.address}  {one.described}"
        + ("" if one.state is State.ACTIVE else f"  {word(context.language, one.state)}")
        for one in found[:_MOST_LISTED]
    ]
    said = context.say("Members found: %(count)s.", count=len(found))
    if len(found) > _MOST_LISTED:
        said += " " + context.say(
            "The first %(most)s are shown; add words that they must have, such as: members KE "
            "customs",
            most=_MOST_LISTED,
        )
    return Answer(f"{said}\n\n{lines(shown)}")


def _set(context: Context, call: Call) -> Answer:
    found = store.get(context.session, call.only("member set ADDRESS"))
    changes = {key: value for key, value in call.form.items() if value}
    if not changes:
        raise UsageError("write below it what to change, such as: organisation: Revenue Authority")
    people.change_particulars(context.session, context.app, context.actor, found, changes)
    said = context.say("It is now, and they were told:")
    return Answer(f"{said}\n\n{rows(described(context, found))}")


def _role_add(context: Context, call: Call) -> Answer:
    found, typed = _role(context, call, "role add ROLE[:LIST] ADDRESS")
    role = people.change_role(context.session, context.app, context.actor, found, typed, given=True)
    return _roles_now(context, found, f"role drop {role} {found.address}")


def _role_drop(context: Context, call: Call) -> Answer:
    found, typed = _role(context, call, "role drop ROLE[:LIST] ADDRESS")
    role = people.change_role(
        context.session, context.app, context.actor, found, typed, given=False
    )
    return _roles_now(context, found, f"role add {role} {found.address}")


def _role(context: Context, call: Call, usage: str) -> tuple[Member, str]:
    """Whose role, and which, in the order that somebody typed them: "moderator:B" or "moderator B",
    the address first or last."""
    addresses = [one for one in call.words if "@" in one]
    role = ":".join(one.rstrip(":") for one in call.words if "@" not in one)
    if len(addresses) != 1 or not role:
        raise UsageError("write it as: %(usage)s", usage=usage)
    return store.get(context.session, addresses[0]), role.lower()


def _roles_now(context: Context, found: Member, undo: str) -> Answer:
    return Answer(
        context.say(
            "The roles of %(member)s are now: %(roles)s. They were told. To undo it, write: "
            "%(line)s",
            member=found.described,
            roles=roles(context, found) or "-",
            line=undo,
        )
    )


_ADMINISTRATORS = frozenset({Role.ADMINISTRATOR})
_IN_CHARGE = frozenset({Role.ADMINISTRATOR, Role.CONTACT_POINT})

COMMANDS = (
    Command(
        "suspend",
        "ADDRESS",
        _IN_CHARGE,
        N_(
            "Takes a member off all lists at once, until they are restored. Contact points: of "
            "their own country."
        ),
        "suspend bo.berg@police.example",
        _suspend,
    ),
    Command(
        "restore",
        "ADDRESS",
        _IN_CHARGE,
        N_(
            "Makes a suspended member active again. Contact points: whom a contact point of their "
            "country suspended."
        ),
        "restore bo.berg@police.example",
        _restore,
    ),
    Command(
        "members",
        "[WORD ...]",
        _ADMINISTRATORS,
        N_("Lists the members, or those whose particulars have these words."),
        "members KE customs",
        _members,
        changes=False,
    ),
    Command(
        "member show",
        "ADDRESS",
        _ADMINISTRATORS,
        N_("Shows all that the gateway has about a member."),
        "member show ana.lind@customs.example",
        _show,
        changes=False,
    ),
    Command(
        "member set",
        "ADDRESS",
        _ADMINISTRATORS,
        N_("Changes a member's particulars, those that are named below it."),
        "member set ana.lind@customs.example\norganisation: Revenue Authority\nlanguages: en sw",
        _set,
        form=_PARTICULARS,
    ),
    Command(
        "member suspend",
        "ADDRESS",
        _ADMINISTRATORS,
        N_("The same as: suspend."),
        "member suspend bo.berg@police.example",
        _suspend,
    ),
    Command(
        "member restore",
        "ADDRESS",
        _ADMINISTRATORS,
        N_("The same as: restore."),
        "member restore bo.berg@police.example",
        _restore,
    ),
    Command(
        "member remove",
        "ADDRESS",
        _ADMINISTRATORS,
        N_("Ends a membership for good. What the member wrote stays in the archive."),
        "member remove bo.berg@police.example",
        _remove,
    ),
    Command(
        "role add",
        "ROLE[:LIST] ADDRESS",
        _ADMINISTRATORS,
        N_(
            "Gives a role: expert, contact-point, moderator, librarian, administrator, auditor or "
            "support; the first, third and fourth for a list, or for all."
        ),
        "role add moderator:B awa.diop@douane.example",
        _role_add,
    ),
    Command(
        "role drop",
        "ROLE[:LIST] ADDRESS",
        _ADMINISTRATORS,
        N_("Takes a role back."),
        "role drop moderator:B awa.diop@douane.example",
        _role_drop,
    ),
)
