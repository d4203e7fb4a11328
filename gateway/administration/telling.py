"""Telling people of what was ordered about them, and those who answer for them."""

from __future__ import annotations

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.message.thread import plain
from gateway.notices.language import N_, language
from gateway.notices.notice import Manner, holders, tell, tell_all
from gateway.notices.words import country, language_name, word
from gateway.store.actor import OPERATOR, Actor
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member, Role, State

_TEMPLATES = {
    State.SUSPENDED: ("suspended", Manner(sender="environet", regardless=True)),
    State.ACTIVE: ("restored", Manner(sender="environet")),
    # Their certificate is gone with the membership.
    State.REMOVED: ("removed", Manner(sender="environet", plain=True, regardless=True)),
}

_MEMBERS = (State.ACTIVE, State.SUSPENDED)
_REGARDLESS = Manner(regardless=True)


def state_changed(
    session: Session, app: App, by: Actor, member: Member, *, for_country: bool
) -> None:
    """Tell a member, the contact points of their country, and the administrators."""
    template, manner = _TEMPLATES[member.state]
    contacts = holders(session, Role.CONTACT_POINT, country=member.country)
    tell(
        session, app, member, template, manner,
        who=who(by, for_country=for_country),
        contacts=[f"{one.name} <{one.address}>" for one in contacts if one.id != member.id],
    )  # fmt: skip
    concerned = [*contacts, *holders(session, Role.ADMINISTRATOR)]
    tell_all(
        session, app, [one for one in concerned if one.id not in (member.id, by.member_id)],
        "state-changed", who=by.shown, described=f"{member.described} <{member.address}>",
        address=member.address, state=str(member.state), country=member.country,
        for_country=member.suspended_by_country,
    )  # fmt: skip


def role_changed(
    session: Session,
    app: App,
    by: Actor,
    member: Member,
    role: Role,
    on: MailingList | None,
    *,
    given: bool,
) -> None:
    if member.state not in _MEMBERS:
        return
    name = word(language(member.language), role)
    shown = name if on is None else f"{name}: {on.letter} ({on.title})"
    template = "role-given" if given else "role-taken"
    tell(session, app, member, template, _REGARDLESS, role=shown, who=who(by))


def particulars_changed(session: Session, app: App, by: Actor, member: Member) -> None:
    if member.state not in _MEMBERS:
        return
    to = language(member.language)
    spoken = [language_name(to, one) for one in member.languages.split()]
    tell(
        session, app, member, "particulars", _REGARDLESS,
        who=who(by),
        own_name=plain(member.name),
        organisation=plain(member.organisation),
        kind=word(to, member.kind),
        country=country(to, member.country),
        languages=", ".join(spoken) or language_name(to, member.language),
    )  # fmt: skip


def invited(
    session: Session, app: App, by: Actor, member: Member, to: MailingList, *, in_: bool
) -> None:
    """Tell a member that they are on a list by invitation, or not any more."""
    if member.state not in _MEMBERS:
        return
    template = "list-invited" if in_ else "list-uninvited"
    tell(
        session, app, member, template, _REGARDLESS,
        who=who(by), letter=to.letter, title=to.title, description=to.description,
        address=to.address(app.config.domain),
    )  # fmt: skip


def who(by: Actor, *, for_country: bool = False) -> str:
    """A msgid for who ordered something, as those whom it concerns learn it."""
    if by == OPERATOR:
        return N_("the operator of the gateway")
    return N_("the contact point of your country") if for_country else N_("an administrator")
