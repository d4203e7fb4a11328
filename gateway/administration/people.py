"""Members as they are added, changed, suspended, restored and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from gateway.app import App
from gateway.crypto.certificate import Certificate
from gateway.errors import UsageError
from gateway.store import certificate as certificates
from gateway.store import ledger, mailing_list
from gateway.store import member as store
from gateway.store.actor import Actor
from gateway.store.mailing_list import Invitation, MailingList, Trust
from gateway.store.member import DeliveryMode, Kind, Member, MemberRole, Role, State

_FROM = {
    State.SUSPENDED: (State.ACTIVE,),
    State.ACTIVE: (State.SUSPENDED,),
    State.REMOVED: (State.ACTIVE, State.SUSPENDED, State.APPLICANT),
}
"""A state -> those from which it can be reached by order."""


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
        raise UsageError(
            "kind: '%(kind)s' is none of %(kinds)s", kind=who.kind, kinds=", ".join(Kind)
        )
    made = store.add(
        session, address=who.address, name=who.name, organisation=who.organisation,
        kind=Kind(who.kind), country=who.country, now=now,
    )  # fmt: skip
    made.languages = store.checked_languages(who.languages)
    return made


def change_state(session: Session, app: App, by: Actor, member: Member, new: State) -> None:
    """Suspend, restore or remove. Raises UsageError where the member is not in a state for it.

    Nothing is sent to who is not active: delivery looks again right before each copy.
    """
    if member.state not in _FROM[new]:
        raise UsageError(
            "%(address)s is %(state)s; nothing was changed",
            address=member.address,
            state=str(member.state),
        )
    member.state = new
    if new is State.REMOVED:
        held = certificates.of(session, member)
        if held is not None:
            session.delete(held)
        session.execute(delete(Invitation).where(Invitation.member_id == member.id))
        session.execute(delete(Trust).where(Trust.member_id == member.id))
    ledger.enter(session, app.clock(), f"member-{new}", member=member.id, by=by.ledger)


def change_role(
    session: Session, app: App, by: Actor, member: Member, text: str, *, given: bool
) -> None:
    """Give a role ("moderator:B") or take it. Raises UsageError where nothing would change."""
    role, on = role_of(session, text)
    list_id = None if on is None else on.id
    held = [one for one in member.roles if (one.role, one.list_id) == (role, list_id)]
    if bool(held) == given:
        message = (
            "%(address)s has the role %(role)s already"
            if given
            else "%(address)s does not have the role %(role)s"
        )
        raise UsageError(message, address=member.address, role=text)
    if given:
        member.roles.append(MemberRole(role=role, list_id=list_id))
    else:
        member.roles.remove(held[0])
    session.flush()
    name = f"{role}:{on.letter}" if on else str(role)
    event = "role-given" if given else "role-taken"
    ledger.enter(session, app.clock(), event, member=member.id, role=name, by=by.ledger)


def role_of(session: Session, text: str) -> tuple[Role, MailingList | None]:
    """ "moderator:B" -> role and list. Raises UsageError."""
    role, _, on = text.partition(":")
    role = role.lower()
    if role not in set(Role):
        raise UsageError("role: '%(role)s' is none of %(roles)s", role=role, roles=", ".join(Role))
    return Role(role), mailing_list.get_topic(session, on) if on else None


def change_particulars(
    session: Session, app: App, by: Actor, member: Member, changes: dict[str, str]
) -> None:
    """Change name, organisation, kind, country or languages. Raises UsageError with every fault."""
    values = {
        name: changes.get(name, str(getattr(member, name)))
        for name in ("name", "organisation", "country", "kind", "languages")
    }
    faults = store.profile_faults(values["name"], values["organisation"], values["country"])
    if values["kind"] not in set(Kind):
        faults.append(f"kind: {values['kind']} is none of {', '.join(Kind)}")
    if faults:
        raise UsageError("; ".join(faults))
    member.name, member.organisation = values["name"].strip(), values["organisation"].strip()
    member.country, member.kind = values["country"].upper(), Kind(values["kind"])
    member.languages = store.checked_languages(values["languages"])
    session.flush()
    ledger.enter(
        session, app.clock(), "member-changed", member=member.id,
        what=" ".join(sorted(changes)), by=by.ledger,
    )  # fmt: skip
