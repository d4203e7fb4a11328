"""Running the commands that somebody typed: in order, each applied or refused whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from sqlalchemy import func, select

from gateway.command.context import Answer, Context, no_room
from gateway.command.reading import Step, closest, form_keys, read
from gateway.errors import BadCertificate, Malformed, Undecryptable, UsageError
from gateway.message import entity
from gateway.message.thread import plain
from gateway.message.typed import typed_lines, typed_subject
from gateway.posting.opening import payload_limit
from gateway.store.posting import Posting

MOST_COMMANDS = 50
_MOST_SHOWN = 5
"""Lines on end that are no command, of those that the answer quotes."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a line, or of several on end that are no command. shown: as typed, LF between.
    known: whether it is a command at all; done: False where it was refused or not understood."""

    shown: str
    answer: Answer
    done: bool
    known: bool = True


def steps_of(context: Context, payload: bytes, subject: str) -> list[Step]:
    """All lines of a mail; its subject where no line of the text is a command.

    "Re: deliver each" is the subject of a mail that is answered and orders nothing.
    """
    lines = typed_lines(entity.read(payload), form_keys=form_keys(context.commands))
    own_name = context.member.name.casefold()
    steps = [one for one in read(lines, context.commands) if one.typed.casefold() != own_name]
    if any(step.command for step in steps):
        return steps
    found = typed_subject(subject)
    if found is None or found.text.casefold() != plain(subject).casefold():
        return steps
    alone = list(read([found], context.commands))
    return alone if any(step.command for step in alone) else steps


def run(context: Context, steps: Sequence[Step]) -> tuple[list[Result], list[Step]]:
    """Run steps in order. Returns what came of them, and those that wait: what changes something,
    where the mail does not say under its signature that it was meant for the gateway."""
    results: list[Result] = []
    waiting: list[Step] = []
    room = payload_limit(context.app.config)
    count = 0
    asked: set[str] = set()
    for is_command, group in groupby(steps, key=lambda one: one.command is not None):
        if not is_command:
            results += _not_understood(context, list(group))
            continue
        for step in group:
            count += 1
            if count > MOST_COMMANDS:
                results.append(_too_many(context, step))
                return results, waiting
            if step.command is not None and step.command.changes and not context.bound:
                waiting.append(step)
                continue
            line = step.typed.casefold()
            if line in asked:  # a question costs something, however often it is asked
                answer = Answer(context.say("The same as above."))
                results.append(Result(step.shown, answer, done=True))
                continue
            if step.command is not None and not step.command.changes:
                asked.add(line)
            result = _run_one(context, step, room)
            room -= _bytes_enclosed(context, result.answer)
            results.append(result)
    return results, waiting


def _run_one(context: Context, step: Step, room: int) -> Result:
    """room: bytes of postings that may still go along with the answer, which is one mail."""
    if step.command is None:
        raise AssertionError("ran a line that is no command")
    try:
        with context.session.begin_nested():
            answer = step.command.run(replace(context, room=room), step.call)
            _check_room(context, answer, room)
            return Result(step.shown, answer, done=True)
    except UsageError as error:
        why = error.told(context.language.say)
    except (BadCertificate, Malformed, Undecryptable) as error:
        why = str(error)
    said = context.say("Not done: %(why)s.", why=why.rstrip("."))
    if step.command.words != "help":
        said += " " + context.say('"help %(command)s" explains it.', command=step.command.words)
    return Result(step.shown, Answer(said), done=False)


def _check_room(context: Context, answer: Answer, room: int) -> None:
    if _bytes_enclosed(context, answer) > room:
        raise no_room()


def _bytes_enclosed(context: Context, answer: Answer) -> int:
    attached = sum(len(one.data) for one in answer.attachments)
    if not answer.enclosed:
        return attached
    query = select(func.sum(func.length(Posting.submission)))
    sealed = context.session.scalar(query.where(Posting.id.in_(answer.enclosed)))
    return attached + int(sealed or 0)


def _not_understood(context: Context, steps: Sequence[Step]) -> Iterator[Result]:
    """A result for each line that is like a command, and one for those between on end."""
    for command, group in groupby(steps, key=lambda one: closest(one.call.rest, context.commands)):
        lines = [one.shown for one in group]
        if command is None:
            more = ["..."] if len(lines) > _MOST_SHOWN else []
            text = context.say('This is no command. "help" lists those that there are.')
            yield _unknown([*lines[:_MOST_SHOWN], *more], text)
            continue
        usage = command.usage
        text = context.say("This is no command. Did you mean: %(usage)s", usage=usage)
        yield from (_unknown([line], text) for line in lines)


def _unknown(lines: Sequence[str], text: str) -> Result:
    return Result("\n".join(lines), Answer(text), done=False, known=False)


def _too_many(context: Context, step: Step) -> Result:
    text = context.say(
        "Not run, nor what follows it: a mail may have %(most)s commands.", most=MOST_COMMANDS
    )
    return Result(step.shown, Answer(text), done=False)
