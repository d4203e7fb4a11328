"""Reading back what the lists had, and withdrawing it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import load_only

from gateway.command import library
from gateway.command.context import Answer, Call, Command, Context
from gateway.command.describing import withdrawn
from gateway.errors import UsageError
from gateway.notices.language import N_
from gateway.posting import subjects, visibility, withdrawal
from gateway.store import ledger
from gateway.store import posting as postings
from gateway.store.member import Role
from gateway.store.posting import Posting

MOST_LISTED = 100
"""Postings of a thread in one answer."""


def typed_label(call: Call, usage: str) -> str:
    """The label of a posting as somebody typed it, "B-1234" or "b 1234". Raises UsageError where
    there is none."""
    label = " ".join(call.words)
    if not label:
        raise UsageError("write it as: %(usage)s", usage=usage)
    return label


def subject(context: Context, posting: Posting) -> str:
    """What its author called a posting, in one line."""
    if posting.withdrawn_at is not None:
        return context.say("(withdrawn)")
    known = subjects.titles(context.session)
    found = subjects.listed(context.app.vault, posting, known)
    return context.say("(damaged)") if found is None else found or "-"


def _get(context: Context, call: Call) -> Answer:
    if document := library.label_in(call.rest):
        return library.get(context, document)
    found = visibility.get(context.session, context.member, typed_label(call, "get B-1234"))
    if found.withdrawn_at is not None:
        return Answer(withdrawn(context, found))
    ledger.enter(context.session, context.now, "read", posting=found.label, by=context.actor.ledger)
    said = context.say(
        "%(label)s of %(author)s, of %(date)s, is enclosed.",
        label=found.label,
        author=found.author.described,
        date=context.language.date(found.received_at),
    )
    return Answer(said, enclosed=(found.id,))


def _thread(context: Context, call: Call) -> Answer:
    session, member = context.session, context.member
    found = visibility.get(session, member, typed_label(call, "thread B-1234"))
    theirs = (Posting.thread_id == found.thread_id, visibility.readable(session, member))
    query = select(Posting).where(*theirs).order_by(Posting.id.desc()).limit(MOST_LISTED + 1)
    # Without what may be 50 MB each.
    light = load_only(Posting.token, Posting.details, Posting.withdrawn_at, Posting.received_at)
    newest = list(session.scalars(query.options(light)))
    ledger.enter(
        session, context.now, "thread-read",
        posting=found.label, postings=len(newest[:MOST_LISTED]), by=context.actor.ledger,
    )  # fmt: skip
    shown = [_line(context, one) for one in reversed(newest[:MOST_LISTED])]
    if len(newest) > MOST_LISTED:
        shown.insert(0, context.say("The newest %(most)s of a longer thread:", most=MOST_LISTED))
    how = context.say("To have one of them sent to you, write for example: get %(label)s",
                      label=found.label)  # fmt: skip
    return Answer("\n\n".join([*shown, how]))


def _withdraw(context: Context, call: Call) -> Answer:
    if document := library.label_in(call.rest):
        return library.withdraw(context, document)
    session, member = context.session, context.member
    label = typed_label(call, "withdraw B-1234")
    found = postings.get(session, label)
    if found.author_id != member.id and not member.has_role(Role.ADMINISTRATOR):
        if not visibility.may_read(session, member, found):
            raise postings.no_such_posting(label)
        raise UsageError(
            "only its author or an administrator may withdraw %(label)s", label=found.label
        )
    told = withdrawal.withdraw(session, context.app, found, context.actor)
    return Answer(
        context.say(
            "%(label)s is withdrawn. Its text and its attachments are erased, and no more copies "
            "go out. Members who have a copy already, and are asked to delete it: %(told)s.",
            label=found.label,
            told=told,
        )
    )


def _line(context: Context, posting: Posting) -> str:
    moment = context.language.moment(posting.received_at)
    return (
        f"  {posting.label}  {moment}\n"
        f"      {posting.author.described}\n"
        f"      {subject(context, posting)}"
    )


COMMANDS = (
    Command(
        "get",
        "B-1234",
        frozenset(),
        N_(
            "Sends you a posting again, or a document of the Library (get L-12), with what is "
            "attached."
        ),
        "get B-1234",
        _get,
        changes=False,
    ),
    Command(
        "thread",
        "B-1234",
        frozenset(),
        N_("Lists the postings of a thread: number, date, author and subject."),
        "thread B-1234",
        _thread,
        changes=False,
    ),
    Command(
        "withdraw",
        "B-1234",
        frozenset(),
        N_(
            "Erases a posting of yours, and asks whoever got it to delete their copy; or a "
            "document of the Library (withdraw L-12)."
        ),
        "withdraw B-1234",
        _withdraw,
    ),
)
