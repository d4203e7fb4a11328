"""Commands for joining: contact points nominate and vouch, administrators decide."""

from __future__ import annotations

import re

from gateway.administration import joining, people, proving
from gateway.administration.people import Particulars
from gateway.command.context import Answer, Call, Command, Context
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.errors import UsageError
from gateway.message.address import normalise
from gateway.notices.language import N_
from gateway.store import application as applications
from gateway.store import member as members
from gateway.store.application import Application, Purpose, Step
from gateway.store.member import Member, Role, State

_CONTACT = frozenset({Role.CONTACT_POINT, Role.ADMINISTRATOR})
_ADMINISTRATOR = frozenset({Role.ADMINISTRATOR})
_NEEDED = ("name", "address", "organisation")
_FORM = (*_NEEDED, "kind", "country", "fingerprint", "language")
_LABEL = re.compile(r"(A?[ \-–—]{0,3}\d+)[.,:;]?(?:\s+(.*))?", re.IGNORECASE)
_MOST_LISTED = 100
_MOST_REASON = 500
_STEPS = {
    Step.INVITED: N_("invited, has not answered"),
    Step.CHALLENGED: N_("has to prove the key"),
    Step.PROVED: N_("the key is proved, an administrator decides"),
}
_PURPOSES = {
    Purpose.JOIN: N_("to join"),
    Purpose.REPLACE: N_("a new key, in place of the old one"),
    Purpose.VOUCHED: N_("a new key, the old one lost"),
}


def _nominate(context: Context, call: Call) -> Answer:
    form = _form(call, context.member.country)
    if form["country"] != context.member.country and not _decides(context):
        raise UsageError(
            "you are a contact point of %(own)s, and can't nominate anybody of %(country)s",
            own=context.member.country,
            country=form["country"],
        )
    certificate = attached(context, form["address"])
    found = joining.nominate(
        context.session, context.app, context.actor, _particulars(form),
        fingerprint=form.get("fingerprint", ""), certificate=certificate,
    )  # fmt: skip
    said = context.say(
        "%(who)s is nominated and invited; the number of it is %(label)s.",
        who=found.member.described,
        label=found.label,
    )
    if certificate is not None:
        how = context.say(
            "The invitation is encrypted to the certificate that you attached (%(fingerprint)s).",
            fingerprint=certificate.fingerprint,
        )
    else:
        how = context.say("The invitation is not encrypted, and asks for their certificate.")
    then = context.say(
        "Once they have proved that the key is theirs, you and the administrators are told; please "
        "compare the fingerprint with them by telephone then. An administrator decides."
    )
    return Answer(f"{said} {how} {then}")


def _vouch(context: Context, call: Call) -> Answer:
    words = [one for one in call.words if one.casefold() != "for"]
    addresses = [one.strip("<>") for one in words if "@" in one]
    fingerprint = "".join(one for one in words if "@" not in one)
    if len(addresses) != 1 or not fingerprint:
        raise UsageError("write it as: %(usage)s", usage="vouch FINGERPRINT for ADDRESS")
    member = members.find(context.session, addresses[0])
    if member is None or not _is_theirs(context, member) or member.state is State.APPLICANT:
        raise _not_theirs(context, addresses[0])
    found = joining.vouch(context.session, context.app, context.actor, member, fingerprint)
    return Answer(
        context.say(
            "%(who)s is asked to send the certificate with the fingerprint %(fingerprint)s; the "
            "number of it is %(label)s. Until it is proved and an administrator has confirmed it, "
            "the old key stays in force: if somebody else may have it, write as well: %(command)s",
            who=member.described,
            fingerprint=found.fingerprint,
            label=found.label,
            command=f"suspend {member.address}",
        )
    )


def _list(context: Context, call: Call) -> Answer:
    country = None if _decides(context) else context.member.country
    found = applications.open_ones(context.session, country)
    if not found:
        return Answer(context.say("No application is open."))
    shown = [_described(context, one) for one in found[:_MOST_LISTED]]
    if len(found) > _MOST_LISTED:
        shown.append(context.say("There are %(count)s more.", count=len(found) - _MOST_LISTED))
    return Answer("\n\n".join(shown))


def _accept(context: Context, call: Call) -> Answer:
    label, _ = _typed(call, "accept A-5")
    found = joining.accept(context.session, context.app, context.actor, label)
    if found.purpose is Purpose.JOIN:
        text = N_("%(who)s is a member now, and gets a welcome with all that they need.")
    elif found.member.state is State.SUSPENDED:
        text = N_("%(who)s has the new key now, and is suspended still.")
    else:
        text = N_("%(who)s has the new key now; the old one is worth nothing any more.")
    return Answer(context.say(text, who=found.member.described))


def _decline(context: Context, call: Call) -> Answer:
    label, reason = _typed(call, "decline A-5 REASON")
    if len(reason) > _MOST_REASON:
        raise UsageError("a reason has at most %(most)s characters", most=_MOST_REASON)
    made_by = applications.get(context.session, label).made_by
    if not _decides(context) and made_by != context.member.id:
        raise applications.no_such_application(label)
    found = joining.decline(context.session, context.app, context.actor, label, reason)
    return Answer(
        context.say(
            "%(label)s of %(who)s is declined, and they are told.",
            label=found.label,
            who=found.member.described,
        )
    )


def _add(context: Context, call: Call) -> Answer:
    form = _form(call, context.member.country)
    certificate = attached(context, form["address"])
    if certificate is None:
        raise UsageError("attach the certificate of %(address)s", address=form["address"])
    now = context.now
    added = people.add(
        context.session, context.app, context.actor, _particulars(form),
        openpgp.admit(certificate.data, now),
        tick_off=_words(form.get("tick off", "")), roles=_words(form.get("role", "")),
    )  # fmt: skip
    joining.welcome(context.session, context.app, added)
    return Answer(
        context.say(
            "%(who)s is a member now, with the certificate %(fingerprint)s, and gets a welcome "
            "with all that they need.",
            who=added.described,
            fingerprint=certificate.fingerprint,
        )
    )


def _typed(call: Call, usage: str) -> tuple[str, str]:
    """The application that a command names, and what is written behind it."""
    found = _LABEL.fullmatch(call.rest.strip())
    if found is None:
        raise UsageError("write it as: %(usage)s", usage=usage)
    return found[1], found[2] or ""


def _form(call: Call, country: str) -> dict[str, str]:
    """The lines of a form, the address from the command's own line where it stands there."""
    form = {"address": call.rest, "country": country, **call.form}
    missing = [one for one in _NEEDED if not form.get(one)]
    if missing:
        raise UsageError(
            "below the command there must be a line each for: %(keys)s", keys=", ".join(missing)
        )
    form["address"] = form["address"].strip("<> ")
    form["country"] = form["country"].upper()
    return form


def _particulars(form: dict[str, str]) -> Particulars:
    return Particulars(
        form["address"], form["name"], form["organisation"], form["country"],
        form.get("kind", "agency").casefold(), form.get("language", ""),
    )  # fmt: skip


def attached(context: Context, address: str) -> Certificate | None:
    """The certificate of somebody else that the mail brings along: a mail program may attach its
    user's own."""
    found: dict[str, Certificate] = {}
    for data in context.certificates:
        one = openpgp.read(data)
        if one.fingerprint != context.author.fingerprint:
            found[one.fingerprint] = one
    wanted = [one for one in found.values() if normalise(address) in proving.addresses_of(one)]
    if found and len(wanted) != 1:
        raise UsageError(
            "attach the one certificate that has a user ID with the address %(address)s",
            address=address,
        )
    return wanted[0] if wanted else None


def _described(context: Context, found: Application) -> str:
    fingerprint = found.fingerprint
    if found.certificate:
        fingerprint = openpgp.read(found.certificate).fingerprint
    lines = [
        f"  {found.label}: {found.member.described} <{found.member.address}>",
        f"      {context.say(_PURPOSES[found.purpose])}",
        f"      {context.say(_STEPS[found.step])}, {context.language.date(found.changed_at)}",
    ]
    if fingerprint:
        lines.append(f"      {fingerprint}")
    if found.nominator is not None:
        vouched = found.purpose is Purpose.VOUCHED
        by = N_("%(who)s vouches for it") if vouched else N_("nominated by %(who)s")
        lines.append(f"      {context.say(by, who=found.nominator.described)}")
    return "\n".join(lines)


def _decides(context: Context) -> bool:
    return context.member.has_role(Role.ADMINISTRATOR)


def _is_theirs(context: Context, member: Member) -> bool:
    return _decides(context) or member.country == context.member.country


def _not_theirs(context: Context, address: str) -> UsageError:
    """The same of who is a member elsewhere and of who is none."""
    if _decides(context):
        return UsageError("%(address)s is no member's address", address=address)
    return UsageError("%(address)s is no member of your country", address=address)


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


COMMANDS = (
    Command(
        "nominate",
        "",
        _CONTACT,
        N_("Invites an officer of your country to join; attach their certificate if you have it."),
        "nominate\nname: Zoe Mwangi\naddress: zoe.mwangi@harbour.example\n"
        "organisation: Port Authority\nkind: agency\n"
        "fingerprint: 5F2A 0B1C 77D0 43E9 8A6B  91C3 D4E5 F607 1829 3A4B",
        _nominate,
        form=_FORM,
    ),
    Command(
        "vouch",
        "FINGERPRINT for ADDRESS",
        _CONTACT,
        N_("Says that a member of your country who lost their key goes on with another one."),
        "vouch 5F2A0B1C77D043E98A6B91C3D4E5F60718293A4B for bo.berg@police.example",
        _vouch,
    ),
    Command(
        "applications",
        "",
        _CONTACT,
        N_("Lists the nominations and new keys that are not decided yet."),
        "applications",
        _list,
        changes=False,
    ),
    Command(
        "accept",
        "A-NUMBER",
        _ADMINISTRATOR,
        N_("Makes an officer a member, or a new key a member's, once the key is proved."),
        "accept A-5",
        _accept,
    ),
    Command(
        "decline",
        "A-NUMBER REASON",
        _CONTACT,
        N_(
            "Ends a nomination or the way of a new key, a contact point's own; the officer is told."
        ),
        "decline A-5 the agency asked us to wait",
        _decline,
    ),
    Command(
        "member add",
        "",
        _ADMINISTRATOR,
        N_("Makes somebody a member at once; attach their certificate."),
        "member add\nname: Zoe Mwangi\naddress: zoe.mwangi@harbour.example\n"
        "organisation: Port Authority\nkind: agency\ncountry: KE\nlanguage: en\ntick off: B E",
        _add,
        form=(*_NEEDED, "kind", "country", "language", "tick off", "role"),
    ),
)
