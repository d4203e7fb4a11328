"""A member's own settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pycountry

from gateway.administration import profiles
from gateway.command.context import Answer, Call, Command, Context
from gateway.command.describing import described, topic_line
from gateway.command.layout import rows
from gateway.errors import UsageError
from gateway.notices.language import ENGLISH, N_, languages
from gateway.notices.words import language_name, word
from gateway.store.mailing_list import MailingList
from gateway.store.member import DeliveryMode, Role

_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_SWITCH = {"on": True, "yes": True, "off": False, "no": False}


def _profile(context: Context, call: Call) -> Answer:
    how = context.say(
        "To change it, write: tick off, tick on, language, timezone, deliver, own copies. For your "
        "name, organisation and country write to %(desk)s.",
        desk=f"environet@{context.app.config.domain}",
    )
    return Answer(f"{rows(described(context, context.member))}\n\n{how}")


def _topics(context: Context, call: Call) -> Answer:
    off = {entry.list_id for entry in context.member.ticked_off}
    shown = "\n\n".join(topic_line(context, one, off=one.id in off) for one in context.topics())
    how = context.say("To change it, write for example: tick off B E, or: tick on B")
    return Answer(f"{shown}\n\n{how}")


def _tick_off(context: Context, call: Call) -> Answer:
    lists = _named(context, call)
    profiles.tick_off(context.session, context.app, context.actor, context.member, lists)
    return _ticked(
        context,
        context.say(
            "You get nothing more of %(topics)s, from the next posting on. To undo it, write: "
            "tick on %(letters)s",
            topics=_names(lists),
            letters=_letters(lists),
        ),
    )


def _tick_on(context: Context, call: Call) -> Answer:
    lists = _named(context, call)
    profiles.tick_on(context.session, context.app, context.actor, context.member, lists)
    return _ticked(
        context,
        context.say(
            "You get %(topics)s, from the next posting on. To undo it, write: tick off %(letters)s",
            topics=_names(lists),
            letters=_letters(lists),
        ),
    )


def _named(context: Context, call: Call) -> list[MailingList]:
    """The topics that a command names. Raises UsageError where it names none, or one that can't be
    ticked off."""
    if not call.words:
        raise UsageError("name the topics, such as: tick off B E")
    if [one.casefold() for one in call.words] == ["all"]:
        return [one for one in context.topics() if not one.by_invitation]
    named = {one.id: one for one in map(context.topic, call.words)}
    for one in named.values():
        if one.by_invitation:
            raise UsageError(
                "%(list)s is by invitation and can't be ticked off; to leave it, write to "
                "%(owner)s",
                list=f"{one.letter} ({one.local_part})",
                owner=f"{one.local_part}-owner@{context.app.config.domain}",
            )
    return list(named.values())


def _ticked(context: Context, said: str) -> Answer:
    """With what is true of all topics now."""
    off = {entry.list_id for entry in context.member.ticked_off}
    mine = [one for one in context.topics() if one.by_invitation or one.id not in off]
    others = [one for one in context.topics() if one not in mine]
    now = context.say("You get now: %(topics)s.", topics=_names(mine) or "-")
    if others:
        now += " " + context.say("Ticked off: %(topics)s.", topics=_names(others))
    return Answer(f"{said}\n\n{now}")


def _language(context: Context, call: Call) -> Answer:
    codes = [_code(one) for one in call.words]
    if not codes:
        raise UsageError("say which, such as: language fr")
    before = context.member.languages.split()
    if len(codes) == 1:
        codes += [one for one in before if one != codes[0]]
    profiles.change_languages(context.session, context.app, context.actor, context.member, codes)
    spoken = context.member.languages.split()
    if spoken[0] in languages():
        said = context.say(
            "What the gateway writes to you is in %(language)s from now on.",
            language=language_name(context.language, spoken[0]),
        )
    else:
        said = context.say(
            "There are no texts of the gateway in %(language)s yet; there are: %(codes)s. It is "
            "noted that you speak it, and you are written to in English.",
            language=language_name(context.language, spoken[0]),
            codes=" ".join(languages()),
        )
    if len(spoken) > 1:
        names = ", ".join(language_name(context.language, one) for one in spoken)
        said += " " + context.say("Your languages: %(names)s.", names=names)
    undo = _undo(context, f"language {' '.join(before) or ENGLISH}")
    return Answer(f"{said} {undo}")


def _code(text: str) -> str:
    """ISO 639-1 code of a language that is typed as a code or by its English name."""
    known = pycountry.languages.get(alpha_2=text.casefold())
    known = known or pycountry.languages.get(name=text.title())
    code = getattr(known, "alpha_2", None)
    if code is None:
        raise UsageError("%(code)s is no language's code of two letters, such as fr", code=text)
    return str(code)


def _deliver(context: Context, call: Call) -> Answer:
    words = [one.casefold() for one in call.words]
    match words:
        case ["each"] | ["each", "posting"]:
            return _delivered(context, DeliveryMode.EACH)
        case ["digest", "daily"] | ["daily", "digest"] | ["daily"]:
            return _delivered(context, DeliveryMode.DAILY)
        case ["digest", "weekly"] | ["weekly", "digest"] | ["weekly"]:
            return _delivered(context, DeliveryMode.WEEKLY)
        case ["none", "until", day] | ["none", day]:
            return _paused(context, day)
        case ["none"] | ["none", "until"]:
            raise UsageError("say until when, such as: deliver none until 2026-12-01")
        case ["digest"]:
            raise UsageError("say how often: deliver digest daily, or: deliver digest weekly")
    raise UsageError(
        "there are: deliver each, deliver digest daily, deliver digest weekly, and "
        "deliver none until 2026-12-01"
    )


def _delivered(context: Context, mode: DeliveryMode) -> Answer:
    undo = _undo_delivery(context)
    collects = context.member.delivery is not DeliveryMode.EACH
    profiles.change_delivery(context.session, context.app, context.actor, context.member, mode)
    if mode is DeliveryMode.EACH:
        said = context.say("Each posting is sent to you as it comes.")
        if collects:
            said += " " + context.say("What was collected for a digest is on its way to you now.")
    else:
        said = context.say(
            "You get %(what)s, in place of single postings; the first on %(moment)s. Urgent "
            "postings, and those marked TLP:AMBER+STRICT, come at once all the same.",
            what=word(context.language, mode),
            moment=context.language.moment(context.member.digest_at or context.now),
        )
    return Answer(f"{said} {undo}")


def _paused(context: Context, day: str) -> Answer:
    until = _date(day)
    if until <= context.now:
        raise UsageError("%(date)s is not in the future", date=day)
    mode = context.member.delivery
    profiles.change_delivery(
        context.session, context.app, context.actor, context.member, mode, until
    )
    said = context.say(
        "You get no postings until %(date)s, and after that %(what)s, as before. Nothing is "
        "collected for you meanwhile: the archive has it all.",
        date=context.language.date(until),
        what=word(context.language, mode),
    )
    return Answer(f"{said} {_undo(context, _typed(mode))}")


def _date(text: str) -> datetime:
    """The beginning of a day, UTC. Raises UsageError."""
    found = _DATE.fullmatch(text)
    try:
        if found is not None:
            return datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC)
    except ValueError:
        pass
    raise UsageError("%(date)s is no date; write it as 2026-12-01", date=text)


def _undo_delivery(context: Context) -> str:
    until = context.member.none_until
    if until is not None and until > context.now:
        return _undo(context, f"deliver none until {until.date().isoformat()}")
    return _undo(context, _typed(context.member.delivery))


def _typed(mode: DeliveryMode) -> str:
    return "deliver each" if mode is DeliveryMode.EACH else f"deliver digest {mode}"


def _undo(context: Context, line: str) -> str:
    return context.say("To undo it, write: %(line)s", line=line)


def _own_copies(context: Context, call: Call) -> Answer:
    wanted = _SWITCH.get(call.only("own copies on, or: own copies off").casefold())
    if wanted is None:
        raise UsageError("write it as: %(usage)s", usage="own copies on, or: own copies off")
    profiles.change_own_copies(context.session, context.app, context.actor, context.member, wanted)
    if wanted:
        said = context.say("Your own postings come back to you: they are your receipts.")
        return Answer(f"{said} {_undo(context, 'own copies off')}")
    said = context.say(
        "Your own postings do not come back to you any more. Of one that is held you are told all "
        "the same."
    )
    return Answer(f"{said} {_undo(context, 'own copies on')}")


def _names(lists: Sequence[MailingList]) -> str:
    return ", ".join(f"{one.letter} ({one.local_part})" for one in lists)


def _letters(lists: Sequence[MailingList]) -> str:
    return " ".join(one.letter for one in lists)


_EVERYBODY = frozenset[Role]()

COMMANDS = (
    Command(
        "profile",
        "",
        _EVERYBODY,
        N_("Shows all that the gateway has about you."),
        "profile",
        _profile,
        changes=False,
    ),
    Command(
        "topics",
        "",
        _EVERYBODY,
        N_("Shows the lists, their addresses, and which you ticked off."),
        "topics",
        _topics,
        changes=False,
    ),
    Command(
        "tick off",
        "TOPIC ...",
        _EVERYBODY,
        N_("You get nothing more of these topics, from the next posting on."),
        "tick off B E",
        _tick_off,
    ),
    Command(
        "tick on",
        "TOPIC ...",
        _EVERYBODY,
        N_("You get these topics again."),
        "tick on B",
        _tick_on,
    ),
    Command(
        "language",
        "CODE ...",
        _EVERYBODY,
        N_("The language of what the gateway writes to you, and after it others that you speak."),
        "language fr",
        _language,
    ),
    Command(
        "deliver",
        "each | digest daily | digest weekly | none until DATE",
        _EVERYBODY,
        N_("How postings come to you: each at once, collected in a digest, or none for a while."),
        "deliver digest daily\ndeliver none until 2026-12-01\ndeliver each",
        _deliver,
    ),
    Command(
        "own copies",
        "on | off",
        _EVERYBODY,
        N_("Whether your own postings come back to you."),
        "own copies off",
        _own_copies,
    ),
)
