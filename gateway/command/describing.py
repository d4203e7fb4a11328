"""Members and lists as answers describe them."""

from __future__ import annotations

from gateway.command.context import Context
from gateway.command.layout import in_fours
from gateway.notices.words import country, language_name, word
from gateway.notices.zones import zone_of
from gateway.store import bounce, mailing_list
from gateway.store import certificate as certificates
from gateway.store.library import Version
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member, Role, State
from gateway.store.posting import Posting


def described(context: Context, one: Member) -> list[tuple[str, str]]:
    """(label, value) of all that is known of a member, who is the reader or an administrator's
    business."""
    say, language = context.say, context.language
    letters = {each.id: each.letter for each in mailing_list.all_lists(context.session)}
    delivery = word(language, one.delivery)
    if one.none_until is not None and one.none_until > context.now:
        delivery = say(
            "none until %(date)s, then %(what)s", date=language.date(one.none_until), what=delivery
        )
    spoken = ", ".join(language_name(language, each) for each in one.languages.split())
    off = " ".join(letters[entry.list_id] for entry in one.ticked_off)
    invited = " ".join(letters[each] for each in mailing_list.invitations(context.session, one.id))
    pairs = [
        (say("Name"), one.name),
        (say("Address"), one.address),
        (say("Organisation"), f"{one.organisation} ({word(language, one.kind)})"),
        (say("Country"), country(language, one.country)),
        (say("Member since"), language.date(one.joined_at)),
        (say("Languages"), spoken or language_name(language, one.language)),
        (say("Time zone"), zone_of(one).key),
        (say("Delivery"), delivery),
        (say("Own copies"), say("on") if one.own_copies else say("off")),
        (say("Ticked off"), off or "-"),
    ]
    if invited:
        pairs.append((say("By invitation"), invited))
    since = bounce.stopped_since(context.session, one.id)
    if since is not None:
        stopped = say(
            "stopped since %(date)s, as mails to the address came back", date=language.date(since)
        )
        pairs.append((say("Delivery is"), stopped))
    if one.state is not State.ACTIVE:
        pairs.insert(2, (say("State"), word(language, one.state)))
    return [*pairs, (say("Roles"), roles(context, one) or "-"), *_expertise(context, one, letters),
            *_certificate(context, one)]  # fmt: skip


def roles(context: Context, one: Member) -> str:
    """ "moderator (B), administrator"; "" for none."""
    letters = {each.id: each.letter for each in mailing_list.all_lists(context.session)}
    named = ((word(context.language, entry.role), entry.list_id) for entry in one.roles)
    return ", ".join(name if on is None else f"{name} ({letters[on]})" for name, on in named)


def topic_line(context: Context, one: MailingList, *, off: bool) -> str:
    """ "B  Wildlife <wildlife@…>", under it what it is about and whether it is ticked off."""
    if one.by_invitation:
        mark = context.say("by invitation: you are on it")
    else:
        mark = (
            context.say("ticked off: you get nothing of it") if off else context.say("you get it")
        )
    address = one.address(context.app.config.domain)
    return f"  {one.letter}  {one.title} <{address}>\n     {one.description}\n     {mark}"


def _expertise(context: Context, one: Member, letters: dict[int, str]) -> list[tuple[str, str]]:
    """What an expert says that they know about, for each topic."""
    return [
        (context.say("Expertise"), f"{letters.get(entry.list_id or 0, '')} {entry.words}".strip())
        for entry in one.roles
        if entry.role is Role.EXPERT and entry.words
    ]


def _certificate(context: Context, one: Member) -> list[tuple[str, str]]:
    held = certificates.of(context.session, one)
    if held is None:
        return [(context.say("Certificate"), context.say("none"))]
    until = held.serves_until
    if until is None:
        expiry = context.say("does not expire")
    else:
        expiry = context.language.date(until)
        if until <= context.now:
            expiry = context.say("expired on %(date)s", date=expiry)
    fingerprint = in_fours(held.fingerprint)
    return [(context.say("Certificate"), fingerprint), (context.say("Expires"), expiry)]


def withdrawn(context: Context, one: Posting | Version) -> str:
    """What is left to say of a posting or a document that was withdrawn."""
    if one.withdrawn_at is None:
        raise AssertionError("called withdrawn what is not")
    return context.say(
        "%(label)s of %(author)s, of %(date)s, was withdrawn on %(day)s; nothing of it is left.",
        label=one.label,
        author=one.author.described,
        date=context.language.date(one.received_at),
        day=context.language.date(one.withdrawn_at),
    )
