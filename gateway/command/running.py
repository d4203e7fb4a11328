"""Running the commands that somebody typed: in order, each applied or refused whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gateway.command.context import Answer, Call, Command, Context
from gateway.errors import BadCertificate, UsageError
from gateway.message import entity
from gateway.message.typed import Typed, typed_lines, typed_subject

MOST_COMMANDS = 50
_MOST_STRAY = 3
"""Lines on end that are no command, after which the rest is taken for prose."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line and what came of it. shown: as it was typed. done: False where it was refused or not
    understood."""

    shown: str
    answer: Answer
    done: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A line with the command in it; command None where it has none that the member may use."""

    shown: str
    command: Command | None
    call: Call
    typed: str


def steps_of(context: Context, payload: bytes, subject: str) -> list[Step]:
    """All lines of a mail; its subject where no line of the text is a command."""
    keys = form_keys(context.commands)
    lines = typed_lines(entity.read(payload), form_keys=keys)
    steps = list(read(lines, context.commands))
    if not any(step.command for step in steps):
        of_subject = typed_subject(subject)
        alone = list(read([of_subject] if of_subject else [], context.commands))
        steps = alone if any(step.command for step in alone) else steps
    return steps


def run(context: Context, steps: Sequence[Step]) -> tuple[list[Result], list[Step]]:
    """Run steps in order. Returns what came of them, and those that wait: what changes something,
    where the mail does not say under its signature that it was meant for the gateway."""
    results: list[Result] = []
    waiting: list[Step] = []
    for step in steps[:MOST_COMMANDS]:
        if step.command is not None and step.command.changes and not context.bound:
            waiting.append(step)
            continue
        results.append(_run_one(context, step))
    if len(steps) > MOST_COMMANDS:
        text = context.say(
            "Not run, nor what follows it: a mail may have %(most)s commands.", most=MOST_COMMANDS
        )
        results.append(Result(steps[MOST_COMMANDS].shown, Answer(text), done=False))
    return results, waiting


def read(lines: Sequence[Typed], commands: Sequence[Command]) -> Iterator[Step]:
    """Lines as steps: a command takes the lines of its form with it."""
    stray = 0
    at = 0
    while at < len(lines) and stray < _MOST_STRAY:
        line = lines[at]
        at += 1
        found = _command_in(line.text, commands)
        if found is None:
            stray += 1
            yield Step(line.shown, None, Call(line.text), line.text)
            continue
        stray = 0
        command, rest = found
        form: dict[str, str] = {}
        taken = [line.text]
        while command.form and at < len(lines) and (pair := _form_line(lines[at].text, command)):
            form.setdefault(*pair)
            taken.append(lines[at].text)
            at += 1
        yield Step(line.shown, command, Call(rest, form), "\n".join(taken))


def form_keys(commands: Sequence[Command]) -> frozenset[str]:
    return frozenset(key for command in commands for key in command.form)


def nearest(context: Context, text: str) -> str:
    """What to write instead of a line that is no command."""
    known = {command.words: command for command in context.commands}
    typed = " ".join(text.lower().split()[:2])
    close = get_close_matches(typed, known, n=1, cutoff=0.6) or get_close_matches(
        typed.partition(" ")[0], known, n=1, cutoff=0.6
    )
    if close:
        return context.say(
            "This is no command. Did you mean: %(usage)s", usage=known[close[0]].usage
        )
    return context.say('This is no command. "help" lists those that there are.')


def _run_one(context: Context, step: Step) -> Result:
    if step.command is None:
        return Result(step.shown, Answer(nearest(context, step.call.rest)), done=False)
    try:
        with context.session.begin_nested():
            return Result(step.shown, step.command.run(context, step.call), done=True)
    except UsageError as error:
        why = error.told(context.language.say)
    except BadCertificate as error:
        why = str(error)
    text = context.say("Not done: %(why)s.", why=why.rstrip("."))
    return Result(step.shown, Answer(text), done=False)


def _command_in(text: str, commands: Sequence[Command]) -> tuple[Command, str] | None:
    """The command that a line begins with, the longest first, and the rest of the line."""
    folded = text.casefold().rstrip(".!")
    for command in sorted(commands, key=lambda one: -len(one.words)):
        if folded == command.words or folded.startswith(command.words + " "):
            return command, text[len(command.words) :].strip()
    return None


def _form_line(text: str, command: Command) -> tuple[str, str] | None:
    key, colon, value = text.partition(":")
    name = " ".join(key.casefold().split())
    return (name, value.strip()) if colon and name in command.form else None
