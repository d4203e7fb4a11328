"""Experts: who knows about what, and the requests that they are asked to answer."""

from __future__ import annotations

from sqlalchemy import select

from gateway.command.archive import subject, typed_label
from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import UsageError
from gateway.message.thread import plain
from gateway.notices.language import N_
from gateway.notices.words import country, language_name
from gateway.posting import requests, visibility
from gateway.store import audience, ledger, mailing_list
from gateway.store import posting as postings
from gateway.store import request as store
from gateway.store.mailing_list import Audience, MailingList
from gateway.store.member import Member, MemberRole, Role
from gateway.store.posting import Posting
from gateway.store.request import Request

MOST_LISTED = 200
"""Experts of one topic, or requests, in one answer."""
MOST_WORDS = 300
"""Characters that an expert's words may have."""
_NONE = frozenset({"none", "nothing", "-"})


def _experts(context: Context, call: Call) -> Answer:
    topics = [context.topic(" ".join(call.words))] if call.words else context.topics()
    shown = [found for one in topics if (found := _of_topic(context, one, alone=len(topics) == 1))]
    how = context.say("To be an expert, write for example: expertise B ivory, rosewood")
    if not shown:
        return Answer(context.say("There are no experts yet.") + " " + how)
    ask = context.say("To ask the experts of a topic, and nobody else, write to its address above.")
    return Answer("\n\n".join([*shown, f"{ask} {how}"]))


def _of_topic(context: Context, one: MailingList, *, alone: bool) -> str:
    """The experts of a topic; "" where it has none and others are listed."""
    words = audience.experts(context.session, one)
    desk = mailing_list.desk_of(context.session, one, Audience.EXPERTS)
    head = f"{one.letter}  {one.title} <{desk.address(context.app.config.domain)}>"
    if not words:
        none = context.say("There are no experts yet; the administrators read what is asked.")
        return f"{head}\n\n  {none}" if alone else ""
    listed = [_expert(context, *each) for each in list(words.items())[:MOST_LISTED]]
    if len(words) > MOST_LISTED:
        listed.append("  " + context.say("and %(more)s more.", more=len(words) - MOST_LISTED))
    return "\n\n".join([head, *listed])


def _expert(context: Context, member: Member, words: list[str]) -> str:
    language = context.language
    spoken = ", ".join(
        language_name(language, one) for one in (member.languages or member.language).split()
    )
    lines = [
        f"  {member.name}, {member.organisation}, {country(language, member.country)}",
        *(f"      {one}" for one in dict.fromkeys(words) if one),
        f"      {spoken}",
    ]
    return "\n".join(lines)


def _expertise(context: Context, call: Call) -> Answer:
    name, _, typed = call.rest.strip().partition(" ")
    if not name:
        raise UsageError("write it as: %(usage)s", usage="expertise B ivory, rosewood")
    topic = context.topic(name.strip(",:;"))
    words = plain(typed).strip(" .,:;\"'")
    held = [one for one in context.member.roles
            if one.role is Role.EXPERT and one.list_id == topic.id]  # fmt: skip
    if words.casefold() in _NONE:
        return _end_expertise(context, topic, held)
    if not words or len(words) > MOST_WORDS:
        raise UsageError(
            "say what you know about, in at most %(most)s characters, such as: "
            "expertise %(topic)s ivory, rosewood",
            most=MOST_WORDS,
            topic=topic.letter,
        )
    if held:
        held[0].words = words
    else:
        context.member.roles.append(MemberRole(role=Role.EXPERT, list_id=topic.id, words=words))
    context.session.flush()
    ledger.enter(
        context.session, context.now, "expertise-declared",
        member=context.member.id, list=topic.local_part, by=context.actor.ledger,
    )  # fmt: skip
    desk = mailing_list.desk_of(context.session, topic, Audience.EXPERTS)
    return Answer(
        context.say(
            "You are an expert of %(topic)s: %(words)s. What members ask at %(address)s comes to "
            "you from now on. To end it, write: expertise %(letter)s none",
            topic=topic.title,
            words=words,
            address=desk.address(context.app.config.domain),
            letter=topic.letter,
        )
    )


def _end_expertise(context: Context, topic: MailingList, held: list[MemberRole]) -> Answer:
    if not held:
        raise UsageError("you are no expert of %(topic)s", topic=topic.title)
    context.member.roles.remove(held[0])
    context.session.flush()
    ledger.enter(
        context.session, context.now, "expertise-ended",
        member=context.member.id, list=topic.local_part, by=context.actor.ledger,
    )  # fmt: skip
    return Answer(
        context.say(
            "You are no expert of %(topic)s any more. To be one again, write for example: "
            "expertise %(letter)s ivory",
            topic=topic.title,
            letter=topic.letter,
        )
    )


def _open_requests(context: Context, call: Call) -> Answer:
    session, member = context.session, context.member
    found = requests.known_to(session, member)
    if not found:
        return Answer(context.say("No request is open."))
    listed = found[:MOST_LISTED]
    theirs = select(Posting.id).where(
        Posting.id.in_([one.posting_id for one in listed]), visibility.readable(session, member)
    )
    read = set(session.scalars(theirs))
    shown = [_request(context, one, subject_too=one.posting_id in read) for one in listed]
    if len(found) > MOST_LISTED:
        shown.append(context.say("and %(more)s more.", more=len(found) - MOST_LISTED))
    ledger.enter(session, context.now, "requests-read", count=len(shown), by=context.actor.ledger)
    how = context.say("Once one is answered, write for example: answered %(label)s",
                      label=found[0].label)  # fmt: skip
    return Answer("\n\n".join([*shown, how]))


def _request(context: Context, request: Request, *, subject_too: bool) -> str:
    date, posting = context.language.date, request.posting
    said = context.say(
        "%(topic)s, asked on %(asked)s, to be answered by %(end)s",
        topic=(request.mailing_list.parent or request.mailing_list).title,
        asked=date(request.opened_at),
        end=date(request.answer_by),
    )
    answers = len(store.answerers(context.session, request))
    lines = [f"  {request.label}  {said}", f"      {posting.author.described}"]
    if subject_too:
        lines.append(f"      {subject(context, posting)}")
    return "\n".join([*lines, "      " + context.say("answers: %(answers)s", answers=answers)])


def _answered(context: Context, call: Call) -> Answer:
    session, member = context.session, context.member
    label = typed_label(call, "answered B-1234")
    found = postings.get(session, label)
    theirs = [
        one
        for one in store.in_thread(session, found.thread_id)
        if requests.may_close(session, member, one)
    ]
    if not theirs:
        if not visibility.may_read(session, member, found):
            raise postings.no_such_posting(label)
        raise UsageError("%(label)s is no request that you may close", label=found.label)
    # Where all are closed already, the first one says so.
    for one in [each for each in theirs if each.closed_at is None] or theirs[:1]:
        requests.close(session, context.app, one, context.actor)
    return Answer(
        context.say("The request %(label)s is closed as answered.", label=theirs[0].label)
    )


COMMANDS = (
    Command(
        "experts",
        "[TOPIC]",
        frozenset(),
        N_("Lists the experts, of one topic or of all, and what they know about."),
        "experts B",
        _experts,
        changes=False,
    ),
    Command(
        "expertise",
        "TOPIC WORDS",
        frozenset(),
        N_('Makes you an expert of a topic, or with "none" ends that you are one.'),
        "expertise B ivory, rosewood",
        _expertise,
    ),
    Command(
        "open requests",
        "",
        frozenset(),
        N_("Lists the requests to experts that wait for an answer: yours, and those to you."),
        "open requests",
        _open_requests,
        changes=False,
    ),
    Command(
        "answered",
        "B-1234",
        frozenset(),
        N_("Closes a request to experts: it is answered."),
        "answered B-1234",
        _answered,
    ),
)
