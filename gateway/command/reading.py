"""Reading the commands in what somebody typed: each line as a command, or as none."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gateway.command.context import Call, Command
from gateway.message.typed import Typed

_CLOSE = 0.7
_LONGEST_NAME = 30
_MOST_SMALL_TALK = 6
"""Words of a line that only greets or thanks."""
_PLEASE = (
    "please|pls|kindly|bitte|svp|s'il vous pla[iî]t|merci de|por favor|пожалуйста|من فضلك|لطفا"
)
_GREETING = (
    "hello|hi|hey|dear|good (?:morning|afternoon|evening|day)|thank you|many thanks|thanks?|"
    "(?:(?:with )?(?:kind|best|warm) )?regards|best wishes|best|sincerely|yours|cheers|"
    "bonjour|bonsoir|madame|monsieur|chers?|chères?|merci|cordialement|bien à vous|"
    "hola|buen[oa]s? (?:d[ií]as?|tardes)|estimad[oa]s?|gracias|muchas gracias|saludos|"
    "atentamente|cordialmente|hallo|guten tag|danke|здравствуйте|добрый день|уважаемые|спасибо|"
    "с уважением|مرحبا|السلام عليكم|تحية طيبة|شكرا|مع التحية"
)
_BEFORE = re.compile(rf"(?:(?:{_PLEASE}|{_GREETING})[ ,;:.!-]+)+", re.IGNORECASE)
_SMALL_TALK = re.compile(rf"(?:{_GREETING}|{_PLEASE})(?![\w-])", re.IGNORECASE)
_MARKS = ('"', "'", "`", "*", "_")
"""Put around a command by programs, or by people who copy it from a text."""
_MEANT = {
    "unsubscribe": "tick off",
    "signoff": "tick off",
    "leave": "tick off",
    "stop": "tick off",
    "subscribe": "tick on",
    "join": "tick on",
    "digest": "deliver",
    "pause": "deliver",
    "vacation": "deliver",
    "holiday": "deliver",
    "lists": "topics",
    "list": "topics",
    "settings": "profile",
    "status": "profile",
    "info": "help",
    "commands": "help",
    "aide": "help",
    "ayuda": "help",
    "hilfe": "help",
    "помощь": "help",
    "مساعدة": "help",
}
"""What other list servers and other languages call it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A line with the command in it; command None where it has none that the member may use.

    typed: with the lines of its form, as they are to be read again.
    """

    shown: str
    command: Command | None
    call: Call
    typed: str


def read(lines: Sequence[Typed], commands: Sequence[Command]) -> Iterator[Step]:
    """Lines as steps, small talk left out. A command takes the lines of its form with it, up to
    the next command, whatever else stands between them."""
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        found = command_in(line.text, commands)
        if found is None:
            if not _is_small_talk(line.text, commands):
                yield _stray(line)
            continue
        command, rest = found
        form: dict[str, str] = {}
        taken, between = [line.text], []
        while command.form and at < len(lines):
            pair = _form_line(lines[at].text, command)
            if pair is not None:
                form.setdefault(*pair)
                taken.append(lines[at].text)
            elif command_in(lines[at].text, commands) is not None:
                break
            elif not _is_small_talk(lines[at].text, commands):
                between.append(_stray(lines[at]))
            at += 1
        yield Step(line.shown, command, Call(rest, form), "\n".join(taken))
        yield from between


def command_in(text: str, commands: Collection[Command]) -> tuple[Command, str] | None:
    """The command that a line begins with, the longest first, and the rest of the line."""
    bare = _without_marks(_BEFORE.sub("", text, count=1) if _BEFORE.match(text) else text)
    for command in sorted(commands, key=lambda one: -len(one.words)):
        words = r"[\s_-]{0,3}".join(map(re.escape, command.words.split()))
        found = re.match(rf"{words}(?:$|(?=[\s:,;.!?]))[\s:,;.!?]*", bare, re.IGNORECASE)
        if found is not None:
            return command, bare[found.end() :].strip()
    return None


def closest(text: str, commands: Collection[Command]) -> Command | None:
    """The command that somebody meant who typed a line that is none; None where it is nothing like
    one."""
    words = text.casefold().split()
    meant = _MEANT.get(words[0].strip(",.:;!?")) if words else None
    known = {one.words: one for one in commands}
    if meant in known:
        return known[meant]
    for count in (3, 2, 1):
        names = [one for one in known if len(one.split()) == count]
        typed = " ".join(words[:count])[:_LONGEST_NAME]
        if close := get_close_matches(typed, names, n=1, cutoff=_CLOSE):
            return known[close[0]]
    return None


def form_keys(commands: Collection[Command]) -> frozenset[str]:
    """As they may be typed: "signature days" and "signature-days"."""
    keys = {key for command in commands for key in command.form}
    return frozenset(keys | {key.replace(" ", "-") for key in keys})


def _stray(line: Typed) -> Step:
    return Step(line.shown, None, Call(line.text), line.text)


def _is_small_talk(text: str, commands: Collection[Command]) -> bool:
    words = [one.strip(",.:;!?").casefold() for one in text.split()]
    if not any(words):
        return True
    asks = {one.words.split()[0] for one in commands} | set(_MEANT)
    return (
        len(words) <= _MOST_SMALL_TALK
        and _SMALL_TALK.match(text) is not None
        and not (asks - {"help"}) & set(words)
    )


def _without_marks(text: str) -> str:
    for mark in _MARKS:
        if len(text) > 1 and text.startswith(mark) and text.rstrip(".,;").endswith(mark):
            inside = text.rstrip(".,;")[1:-1]
            # With a third one the line only begins with a marked word.
            text = text if mark in inside else inside.strip()
    return text


def _form_line(text: str, command: Command) -> tuple[str, str] | None:
    key, colon, value = text.partition(":")
    name = " ".join(key.casefold().strip(" *").replace("-", " ").replace("_", " ").split())
    return (name, value.strip(" *")) if colon and name in command.form else None
