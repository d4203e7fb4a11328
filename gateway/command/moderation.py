"""Moderators' commands: what waits for them, and what becomes of it."""

from __future__ import annotations

import re

from gateway.command import library
from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import UsageError
from gateway.message import marking
from gateway.message.thread import plain
from gateway.notices.language import N_
from gateway.posting import moderation, moderators, notice
from gateway.store import hold as holds
from gateway.store import ledger, mailing_list, member
from gateway.store import posting as postings
from gateway.store.hold import Decision, Hold
from gateway.store.mailing_list import MailingList
from gateway.store.member import Role, State
from gateway.store.posting import Posting

MODERATORS = frozenset({Role.MODERATOR, Role.ADMINISTRATOR})
"""Who may have something to decide; what, moderators.moderates says."""
_DECIDERS = MODERATORS | {Role.LIBRARIAN}
_HOLD = re.compile(r"(H?[ \-]{0,3}\d+)[.,:;]?(?:\s+(.*))?", re.IGNORECASE)
_MARK = re.compile(r"(\S+?)[,:]?\s+(?:(?:as|to)\s+)?(.+)", re.IGNORECASE)
_ON = re.compile(r"<?(?:mailto:)?([^\s<>]+@[^\s<>]+?)>?,?\s+(?:(?:on|for)\s+)?(\S+)", re.IGNORECASE)


def _held(context: Context, call: Call) -> Answer:
    session = context.session
    theirs = [
        one
        for one in holds.held(session)
        if moderators.moderates(session, context.member, one.mailing_list)
    ]
    if not theirs:
        return Answer(context.say("Nothing is held on your lists."))
    shown = [_described(context, one) for one in theirs[: notice.MOST_LISTED]]
    more = len(theirs) - len(shown)
    if more:
        shown.append(context.say("and %(more)s more.", more=more))
    return Answer("\n\n".join(shown))


def _show(context: Context, call: Call) -> Answer:
    found, _ = _typed(context, call, "show H-17")
    ledger.enter(
        context.session, context.now, "read",
        posting=found.posting.label, hold=found.label, by=context.actor.ledger,
    )  # fmt: skip
    enclosed = context.say("The posting is enclosed.")
    if found.posting.withdrawn_at is not None:
        enclosed = context.say("The posting was withdrawn; nothing of it is left.")
    return Answer(f"{_described(context, found)}\n\n{enclosed}", enclosed=(found.posting_id,))


def _approve(context: Context, call: Call) -> Answer:
    if library.label_in(call.rest):
        return library.approve(context, call.rest)
    found, _ = _typed(context, call, "approve H-17")
    decided = moderation.decide(
        context.session, context.app, found, Decision.APPROVED, context.actor
    )
    if not decided:
        return Answer(
            context.say(
                "Your approval of %(hold)s is noted. This list wants two: it goes out once another "
                "moderator approves it too.",
                hold=found.label,
            )
        )
    return Answer(
        context.say(
            "%(hold)s is approved. %(posting)s goes out to %(list)s now.",
            hold=found.label,
            posting=found.posting.label,
            list=found.mailing_list.title,
        )
    )


def _reject(context: Context, call: Call) -> Answer:
    if library.label_in(call.rest):
        return library.reject(context, call.rest)
    found, reason = _typed(context, call, "reject H-17 REASON")
    moderation.decide(
        context.session, context.app, found, Decision.REJECTED, context.actor, reason
    )  # fmt: skip
    if reason:
        text = context.say(
            "%(hold)s is rejected. Its author is told, with your reason.", hold=found.label
        )
    else:
        text = context.say(
            "%(hold)s is rejected. Its author is told, without a reason, as you gave none.",
            hold=found.label,
        )
    return Answer(text)


def _discard(context: Context, call: Call) -> Answer:
    found, _ = _typed(context, call, "discard H-17")
    moderation.decide(context.session, context.app, found, Decision.DISCARDED, context.actor)
    return Answer(context.say("%(hold)s is discarded. Its author is not told.", hold=found.label))


def _mark(context: Context, call: Call) -> Answer:
    typed = _MARK.fullmatch(call.rest)
    new = marking.typed(typed[2]) if typed else None
    if typed is None or new is None:
        raise UsageError("write it as: %(usage)s", usage="mark B-1234 TLP:AMBER+STRICT")
    found = _posting(context, typed[1])
    old = found.marking
    moderation.mark(context.session, context.app, found, new, context.actor)
    return Answer(
        context.say(
            "%(posting)s was %(before)s and is %(after)s. Copies that are out already keep what "
            "they say.",
            posting=found.label,
            before=old,
            after=found.marking,
        )
    )


def _trust(context: Context, call: Call) -> Answer:
    address, one = _set_trust(context, call, "trust ana.lind@customs.example on B", trusted=True)
    return Answer(
        context.say(
            "%(address)s is trusted on %(list)s: their postings there are not held as a new "
            "member's, nor where they are urgent. To end it: distrust %(address)s on %(letter)s",
            address=address,
            list=one.title,
            letter=one.letter,
        )
    )


def _distrust(context: Context, call: Call) -> Answer:
    usage = "distrust ana.lind@customs.example on B"
    address, one = _set_trust(context, call, usage, trusted=False)
    return Answer(
        context.say(
            "%(address)s is no longer trusted on %(list)s.", address=address, list=one.title
        )
    )


def _set_trust(
    context: Context, call: Call, usage: str, *, trusted: bool
) -> tuple[str, MailingList]:
    """(address, list) of whom it was done for."""
    typed = _ON.fullmatch(call.rest)
    if typed is None:
        raise UsageError("write it as: %(usage)s", usage=usage)
    session = context.session
    one = mailing_list.find(session, typed[2])
    # The same of a list that there is not.
    if one is None or one.is_desk or not moderators.moderates(session, context.member, one):
        raise UsageError("you moderate no list %(name)s", name=typed[2])
    who = member.get(session, typed[1])
    if trusted and who.state is not State.ACTIVE:
        raise UsageError("%(address)s is no active member", address=who.address)
    moderation.set_trust(session, context.app, context.actor, who, one, trusted=trusted)
    return who.address, one


def _typed(context: Context, call: Call, usage: str) -> tuple[Hold, str]:
    """The hold that a line names, its row locked, and what follows it, for a usage that has that.
    Raises UsageError; of a hold that is not the member's to decide as where there is none."""
    typed = _HOLD.fullmatch(call.rest)
    stray = typed is not None and typed[2] and Call(typed[2]).words
    if typed is None or (stray and not usage.endswith("REASON")):
        raise UsageError("write it as: %(usage)s", usage=usage)
    found = holds.get(context.session, typed[1])
    if not moderators.moderates(context.session, context.member, found.mailing_list):
        raise holds.no_such_hold(typed[1])
    return found, plain(typed[2] or "")


def _posting(context: Context, label: str) -> Posting:
    """One that the member wrote, or that is on a list of theirs. Raises UsageError."""
    session = context.session
    try:
        found = postings.get(session, label)
    except UsageError:
        found = None
    if found is None or not (
        found.author_id == context.member.id
        or any(
            moderators.moderates(session, context.member, one.mailing_list)
            for one in found.placements
        )
    ):
        raise UsageError(
            "there is no posting %(label)s of yours or on a list that you moderate", label=label
        )
    return found


def _described(context: Context, one: Hold) -> str:
    """A hold in a few lines."""
    posting = one.posting
    about = notice.about(context.app, posting, one.mailing_list)
    lines = [
        f"{one.label}  {about['title']}, {context.language.moment(one.held_at)}",
        str(about["author"]),
        str(about["subject"]),
        f"{posting.label}  {posting.marking}",
        context.say("Held, because %(because)s.", because=context.say(notice.REASONS[one.rule])),
    ]
    if one.decision is not Decision.OPEN:
        lines.append(_decided(context, one))
    else:
        lines += [
            context.say("Approved by %(by)s; one more must approve it.", by=each.described)
            for each in moderators.approvers(context.session, one)
        ]
    return "\n".join(f"  {line}" for line in lines)


def _decided(context: Context, one: Hold) -> str:
    match one.decision:
        case Decision.APPROVED:
            return context.say("Approved by %(by)s.", by=one.decided_by)
        case Decision.REJECTED:
            return context.say("Rejected by %(by)s.", by=one.decided_by)
        case _:
            return context.say("Discarded by %(by)s.", by=one.decided_by)


COMMANDS = (
    Command(
        "held",
        "",
        MODERATORS,
        N_("Lists the postings to your lists that wait for a moderator, and why."),
        "held",
        _held,
        changes=False,
    ),
    Command(
        "show",
        "HOLD",
        MODERATORS,
        N_("Sends you a held posting."),
        "show H-17",
        _show,
        changes=False,
    ),
    Command(
        "approve",
        "HOLD",
        _DECIDERS,
        N_(
            "Has a held posting go out, as it would have gone; its author is told. Librarians "
            "approve a document in the same way: approve L-12."
        ),
        "approve H-17",
        _approve,
    ),
    Command(
        "reject",
        "HOLD REASON",
        _DECIDERS,
        N_(
            "Has a held posting not go out; its author is told, with your reason. Librarians "
            "reject a document in the same way: reject L-12 REASON."
        ),
        "reject H-17 this was reported in B-12 already",
        _reject,
    ),
    Command(
        "discard",
        "HOLD",
        MODERATORS,
        N_("Has a held posting not go out; its author is not told."),
        "discard H-17",
        _discard,
    ),
    Command(
        "mark",
        "POSTING MARKING",
        frozenset(),
        N_(
            "Changes the handling marking of a posting: of one of yours to any; as a moderator, to "
            "a stricter one."
        ),
        "mark B-1234 TLP:AMBER+STRICT",
        _mark,
    ),
    Command(
        "trust",
        "ADDRESS on TOPIC",
        MODERATORS,
        N_(
            "A member's postings to a list of yours are no longer held as a new member's, nor "
            "where they are urgent."
        ),
        "trust ana.lind@customs.example on B",
        _trust,
    ),
    Command(
        "distrust",
        "ADDRESS on TOPIC",
        MODERATORS,
        N_("Ends a member's trust on a list of yours."),
        "distrust ana.lind@customs.example on B",
        _distrust,
    ),
)
