"""What is handed in with a document: "key: value" lines, and a description around them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.message.entity import Entity
from gateway.message.typed import LONGEST_LINE, Typed, quoted_too, typed_lines

KEYS = ("title", "category", "topics", "language", "replaces", "until")
MOST_DESCRIPTION = 4000
"""Characters."""
_OTHERWISE = {"topic": "topics", "categories": "category", "languages": "language"}
_BROKEN_AT = 70
"""Characters; no mail program breaks a line that is shorter with its next word."""


@dataclass(frozen=True, slots=True)
class Written:
    """values: by key, in lower case, of those that were written; description: LF between lines."""

    values: Mapping[str, str]
    description: str


def read(payload: Entity) -> Written:
    """What a mail's author wrote. A key counts where it stands first; what is quoted, or stands
    behind a signature line, does not. Raises Malformed where the mail can't be read."""
    values: dict[str, str] = {}
    description: list[str] = []
    last = ""
    for line in _own_lines(payload):
        key, value = _pair(line)
        if key and key not in values:
            values[key], last = value, key
        elif last and line.text and _goes_on(f"{last}: {values[last]}", line.text):
            values[last] = f"{values[last]} {line.shown}"
        else:
            last = ""
            whole = len(line.text) < LONGEST_LINE
            description.append(line.text if whole else f"{line.text}…")
    text = "\n".join(description).strip()
    return Written(
        values, text if len(text) <= MOST_DESCRIPTION else text[: MOST_DESCRIPTION - 1] + "…"
    )


def _own_lines(payload: Entity) -> Sequence[Typed]:
    """The lines that the author typed, with the blank ones between."""
    own = deque(typed_lines(payload, form_keys={*KEYS, *_OTHERWISE}))
    found = []
    for text in quoted_too(payload).split("\n"):
        if not own:
            break
        if not text:
            found.append(Typed("", ""))
        elif own[0].text == text:
            found.append(own.popleft())
    return found


def _pair(line: Typed) -> tuple[str, str]:
    """(key, value) of a line of the form; ("", "") of any other."""
    key, colon, _ = line.text.partition(":")
    name = key.casefold().strip(" *")
    name = _OTHERWISE.get(name, name)
    if not colon or name not in KEYS:
        return "", ""
    # As it was typed: for titles, finer characters than those of commands.
    value = line.shown.partition(":")[2] or line.text.partition(":")[2]
    return name, value.strip(" *")


def _goes_on(line: str, text: str) -> bool:
    """Whether `text` is the rest of a line that a mail program broke."""
    return len(line) + 1 + len(text.split()[0]) > _BROKEN_AT
