"""Members as they are added, changed, suspended, restored and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gateway.administration import telling
from gateway.administration.certificates import resume
from gateway.app import App
from gateway.crypto.certificate import Certificate
from gateway.errors import Faults, UsageError
from gateway.notices.language import N_
from gateway.store import audience, collected, ledger, mailing_list, outbox, web_session
from gateway.store import certificate as certificates
from gateway.store import member as store
from gateway.store.actor import OPERATOR, Actor
from gateway.store.mailing_list import Invitation, MailingList, Trust
from gateway.store.member import DeliveryMode, Kind, Member, MemberRole, Role, State

_FROM = {
    State.SUSPENDED: (State.ACTIVE,),
    State.ACTIVE: (State.SUSPENDED,),
    State.REMOVED: (State.ACTIVE, State.SUSPENDED, State.APPLICANT),
}
"""A state -> those from which it can be reached by order."""
_NOT_FROM = {
    State.APPLICANT: N_("%(address)s is an applicant and no member yet; nothing was changed"),
    State.ACTIVE: N_("%(address)s is active; nothing was changed"),
    State.SUSPENDED: N_("%(address)s is suspended; nothing was changed"),
    State.REMOVED: N_("%(address)s is removed; nothing was changed"),
}
ROLES_FOR_A_LIST = frozenset({Role.EXPERT, Role.MODERATOR, Role.LIBRARIAN})
"""Those that may be given for one list alone."""


@dataclass(frozen=True, slots=True)
class Particulars:
    """Who somebody is, as whoever adds them says it. languages: ISO 639-1, blanks between."""

    address: str
    name: str
    organisation: str
    country: str
    kind: str = "agency"
    languages: str = ""


def add(
    session: Session,
    app: App,
    by: Actor,
    who: Particulars,
    admitted: Certificate,
    *,
    tick_off: Sequence[str] = (),
    roles: Sequence[str] = (),
    delivery: DeliveryMode = DeliveryMode.EACH,
    own_copies: bool = True,
) -> Member:
    """A member with certificate, topics ticked off and roles ("moderator:B").

    Raises UsageError with what is wrong.
    """
    now = app.clock()
    added = enrol(session, app, who, now)
    added.delivery, added.own_copies = delivery, own_copies
    certificates.admit(session, added, admitted, now)
    store.tick_off(session, added, [mailing_list.get_topic(session, one) for one in tick_off])
    for text in roles:
        store.grant(session, added, *role_of(session, text))
    ledger.enter(
        session, now, "member-added", member=added.id, key=admitted.fingerprint,
        roles=" ".join(roles), ticked_off=" ".join(tick_off), by=by.ledger,
    )  # fmt: skip
    return added


def enrol(session: Session, app: App, who: Particulars, now: datetime) -> Member:
    """The row of a new active member, without a certificate. Raises UsageError with every fault."""
    local, _, domain = who.address.lower().rpartition("@")
    if domain == app.config.domain and mailing_list.is_own(session, local):
        raise UsageError("address: %(address)s is the gateway's own", address=who.address)
    if who.kind not in set(Kind):
        raise _no_kind(who.kind)
    made = store.add(
        session, address=who.address, name=who.name, organisation=who.organisation,
        kind=Kind(who.kind), country=who.country, now=now,
    )  # fmt: skip
    made.languages = store.checked_languages(who.languages)
    return made


def change_state(
    session: Session, app: App, by: Actor, member: Member, new: State, *, for_country: bool = False
) -> None:
    """Suspend, restore or remove, and tell whom it concerns. Raises UsageError where that can't be.

    for_country: ordered by a contact point, who can restore only whom a contact point suspended.
    Nothing more is sent to who is not active: delivery looks again right before each copy.
    """
    before = member.state
    # What a contact point suspended, an administrator may make their own business.
    taken_over = new is before is State.SUSPENDED and member.suspended_by_country
    if before not in _FROM[new] and not (taken_over and not for_country):
        raise UsageError(_NOT_FROM[before], address=member.address)
    if new is not State.ACTIVE:
        _keep_an_administrator(session, by, member)
    elif for_country and not member.suspended_by_country:
        raise UsageError(
            "%(address)s was suspended by an administrator, who alone can restore them; write to "
            "%(desk)s",
            address=member.address,
            desk=_desk(app),
        )
    member.state = new
    member.suspended_by_country = for_country and new is State.SUSPENDED
    if new is not State.ACTIVE:
        # Nor does a login come back when they do.
        web_session.end(session, app.clock(), member_id=member.id)
    if new is State.REMOVED:
        held = certificates.of(session, member)
        if held is not None:
            session.delete(held)
        session.execute(delete(Invitation).where(Invitation.member_id == member.id))
        session.execute(delete(Trust).where(Trust.member_id == member.id))
        collected.drop(session, member.id, "the member is removed", app.clock())
    session.flush()
    resume(session, app, member)
    ledger.enter(session, app.clock(), f"member-{new}", member=member.id, by=by.ledger)
    if before is not State.APPLICANT and not taken_over:
        telling.state_changed(session, app, by, member, for_country=for_country)


def change_role(
    session: Session, app: App, by: Actor, member: Member, text: str, *, given: bool
) -> str:
    """Give a role ("moderator:wildlife") or take it, and tell the member: as "moderator:B".

    Raises UsageError where nothing would change.
    """
    role, on = role_of(session, text)
    list_id = None if on is None else on.id
    held = [one for one in member.roles if (one.role, one.list_id) == (role, list_id)]
    if bool(held) == given:
        message = (
            N_("%(address)s has the role %(role)s already")
            if given
            else N_("%(address)s does not have the role %(role)s")
        )
        raise UsageError(message, address=member.address, role=text)
    if given:
        member.roles.append(MemberRole(role=role, list_id=list_id))
    else:
        if role is Role.ADMINISTRATOR:
            _keep_an_administrator(session, by, member)
        member.roles.remove(held[0])
        desks = [
            one.id
            for one in mailing_list.desks(session)
            if audience.DESK_ROLES[one.audience] is role and list_id in (None, one.topic_id)
        ]
        outbox.drop_for(session, member.id, desks, "the role was taken back", app.clock())
    session.flush()
    name = f"{role}:{on.letter}" if on else str(role)
    event = "role-given" if given else "role-taken"
    ledger.enter(session, app.clock(), event, member=member.id, role=name, by=by.ledger)
    telling.role_changed(session, app, by, member, role, on, given=given)
    return name


def role_of(session: Session, text: str) -> tuple[Role, MailingList | None]:
    """ "moderator:B" -> role and list. Raises UsageError."""
    role, _, on = text.partition(":")
    role = role.lower()
    if role not in set(Role):
        raise UsageError("role: '%(role)s' is none of %(roles)s", role=role, roles=", ".join(Role))
    if on and Role(role) not in ROLES_FOR_A_LIST:
        raise UsageError("role: '%(role)s' is for no list in particular; leave it out", role=role)
    return Role(role), mailing_list.get_topic(session, on) if on else None


def change_particulars(
    session: Session, app: App, by: Actor, member: Member, changes: dict[str, str]
) -> None:
    """Change name, organisation, kind, country or languages, and tell the member.

    Raises UsageError with every fault.
    """
    values = {
        name: changes.get(name, str(getattr(member, name)))
        for name in ("name", "organisation", "country", "kind", "languages")
    }
    faults = store.profile_faults(values["name"], values["organisation"], values["country"])
    if values["kind"] not in set(Kind):
        faults.append(_no_kind(values["kind"]))
    if faults:
        raise Faults(faults)
    member.name, member.organisation = values["name"].strip(), values["organisation"].strip()
    member.country, member.kind = values["country"].upper(), Kind(values["kind"])
    member.languages = store.checked_languages(values["languages"])
    session.flush()
    ledger.enter(
        session, app.clock(), "member-changed", member=member.id,
        what=" ".join(sorted(changes)), by=by.ledger,
    )  # fmt: skip
    telling.particulars_changed(session, app, by, member)


def _keep_an_administrator(session: Session, by: Actor, member: Member) -> None:
    """Raises UsageError where nobody could order anything by mail any more; the operator of the
    machine can appoint somebody anew."""
    if by == OPERATOR or not member.has_role(Role.ADMINISTRATOR):
        return
    others = (
        select(MemberRole)
        .join(Member, Member.id == MemberRole.member_id)
        .where(
            MemberRole.role == Role.ADMINISTRATOR,
            Member.state == State.ACTIVE,
            Member.id != member.id,
        )
        # Of two administrators, each ordering the other away at once, one must fail.
        .with_for_update()
    )
    if session.scalars(others).first() is None:
        raise UsageError(
            "%(address)s is the last administrator: nobody could put anything right after that; "
            "make somebody else one first",
            address=member.address,
        )


def _no_kind(kind: str) -> UsageError:
    return UsageError("kind: '%(kind)s' is none of %(kinds)s", kind=kind, kinds=", ".join(Kind))


def _desk(app: App) -> str:
    return f"environet@{app.config.domain}"
