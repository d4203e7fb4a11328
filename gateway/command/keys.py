"""Certificates: a member's own over time, and those that members write to."""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.administration import joining, proving
from gateway.administration.certificates import EXPIRES_SOON, described
from gateway.command.context import Answer, Call, Command, Context
from gateway.command.joining import attached
from gateway.command.layout import in_fours, lines, rows
from gateway.crypto import certificate as openpgp
from gateway.crypto.certificate import Certificate
from gateway.crypto.key_health import Health, health, signs_until
from gateway.crypto.signature import Verified, examine
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.notices.notice import Attachment
from gateway.store import certificate as certificates
from gateway.store import mailing_list
from gateway.store import member as members
from gateway.store.application import Purpose, Step
from gateway.store.mailing_list import MailingList
from gateway.store.member import Role, State

_SERVICES = frozenset({"gateway", "register", "library"})
"""What has no desk, and is served by the key for commands."""
_MOST_KEYS = 20
"""In one line of "get key"."""


def _key(context: Context, call: Call) -> Answer:
    if call.words:
        raise UsageError("write it as: %(usage)s", usage="key, key replace, or get key NAME")
    held = certificates.of(context.session, context.member)
    if held is None:
        raise UsageError("you have no certificate here")
    certificate = openpgp.read(held.data)
    found = health(certificate, context.now)
    pairs = [
        (context.say("Fingerprint"), in_fours(certificate.fingerprint)),
        (context.say("Algorithm"), found.algorithm),
        *((context.say("User ID"), one) for one in proving.shown_user_ids(certificate)),
        (context.say("Signs"), _until(context, signs_until(certificate))),
        (context.say("Is encrypted to"), _until(context, held.encrypts_until)),
        (context.say("Health"), _health(context, found)),
    ]
    merged = _merged(context)
    how = context.say(
        "A new expiry, a new subkey or a revocation is taken from any signed mail that brings the "
        "certificate along. For another key, write: key replace"
    )
    return Answer(f"{merged}{rows(pairs)}\n\n{how}")


def _merged(context: Context) -> str:
    """What this very mail has changed, if it brought a certificate."""
    update, own = context.author.update, context.author.fingerprint
    if update is not None and (changed := described(context.language, update.changes)):
        said = context.say("Your certificate was updated by this mail:")
        return f"{said}\n\n{lines(changed)}\n\n"
    read = [openpgp.read(one) for one in context.certificates]
    if any(one.fingerprint == own for one in read):
        said = context.say("There is nothing new in the certificate that this mail brought.")
        return f"{said}\n\n"
    return ""


def _until(context: Context, until: datetime | None) -> str:
    if until is None:
        return context.say("does not expire")
    date = context.language.date(until)
    if until <= context.now:
        return context.say("expired on %(date)s", date=date)
    return context.say("until %(date)s", date=date)


def _health(context: Context, found: Health) -> str:
    if not found.encrypts:
        return context.say("it can't be encrypted to: what comes for you waits")
    if found.expires_at is not None and found.expires_at <= context.now + EXPIRES_SOON:
        return context.say("good, but it expires soon: please extend it")
    if found.weaknesses:
        return context.say("good, but short by today's measure: make a longer one when you can")
    return context.say("good")


def _replace(context: Context, call: Call) -> Answer:
    certificate = attached(context, context.member.address)
    if certificate is None:
        raise UsageError("attach the new certificate (the new public key) to the mail")
    found = joining.propose(
        context.session, context.app, context.member, certificate, Purpose.REPLACE, context.actor,
        proved=_has_signed(context, certificate),
    )  # fmt: skip
    if found.step is Step.ACCEPTED:
        text = N_(
            "Your new key is in force from now on, and the old one is worth nothing here any more: "
            "%(fingerprint)s"
        )
    else:
        text = N_(
            "A mail that is encrypted to the new key is on its way to you (%(label)s). Answer it, "
            "signed with the new key, and it takes the place of the old one, which stays in force "
            "until then: %(fingerprint)s"
        )
    fingerprint = in_fours(certificate.fingerprint)
    return Answer(context.say(text, fingerprint=fingerprint, label=found.label))


def _has_signed(context: Context, certificate: Certificate) -> bool:
    """Whether the mail has a fresh signature by this certificate over the same content too."""
    policy, opening = context.app.config.policy, context.judged.opening
    content = opening.content if opening else None
    if content is None:
        return False
    future = timedelta(minutes=policy.future_minutes)
    verdicts = (
        examine(content.body, packet, [certificate], context.now, future)
        for packet in content.signatures
    )
    window = timedelta(hours=policy.command_hours)
    return any(
        isinstance(one, Verified) and context.now - one.created_at <= window for one in verdicts
    )


def _get_key(context: Context, call: Call) -> Answer:
    names = [one for one in call.words if one.casefold() not in ("for", "of")]
    if not 0 < len(names) <= _MOST_KEYS:
        raise UsageError("write it as: %(usage)s", usage="get key wildlife")
    found = [_found(context, one) for one in dict.fromkeys(names)]
    said = [
        context.say("The certificate of %(name)s is attached. Its fingerprint:", name=name)
        + f"\n\n    {in_fours(openpgp.read(data).fingerprint)}"
        for name, data in found
    ]
    return Answer("\n\n".join(said), tuple(_attachment(*one) for one in found))


def _attachment(address: str, data: bytes) -> Attachment:
    return proving.attachment(address.partition("@")[0], data)


def _found(context: Context, name: str) -> tuple[str, bytes]:
    """(address, certificate) of a list that the member may know, an address of the gateway's own,
    or an active member. Raises UsageError."""
    session, domain = context.session, context.app.config.domain
    local = name.casefold().removesuffix(f"@{domain}")
    if "@" in local:
        member = members.find(session, local)
        held = certificates.of(session, member) if member else None
        if (
            member is not None
            and member.state is State.ACTIVE
            and held is not None
            and held.revoked_at is None
        ):
            return member.address, held.data
    elif (one := mailing_list.find(session, local)) is not None:
        if _may_know(context, one):
            return one.address(domain), one.key.certificate
    elif local in _SERVICES:
        key = mailing_list.own_key(session, mailing_list.Purpose.COMMAND)
        return f"{local}@{domain}", key.certificate
    raise UsageError(
        "there is no key of %(name)s; there are those of %(names)s, gateway, and of each member by "
        "their address",
        name=name,
        names=", ".join(one.local_part for one in context.topics()),
    )


def _may_know(context: Context, one: MailingList) -> bool:
    topic = one.parent or one
    return topic.is_desk or topic in context.topics()


_EVERYBODY = frozenset[Role]()

COMMANDS = (
    Command(
        "key",
        "",
        _EVERYBODY,
        N_("Shows your certificate: keys, expiry, health; attach it to have a new expiry taken."),
        "key",
        _key,
        changes=False,
    ),
    Command(
        "key replace",
        "",
        _EVERYBODY,
        N_("Replaces your key by the one attached; sign with the old one, or with both."),
        "key replace",
        _replace,
    ),
    Command(
        "get key",
        "NAME ...",
        _EVERYBODY,
        N_("Sends you the certificate of a list, an address of the gateway or another member."),
        "get key wildlife ana.lind@customs.example",
        _get_key,
        changes=False,
    ),
)
