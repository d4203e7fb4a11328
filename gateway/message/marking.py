"""Handling markings: Traffic Light Protocol 2.0 (FIRST)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum


class Marking(IntEnum):
    """By strictness, so that max() is the stricter."""

    CLEAR = 1
    GREEN = 2
    AMBER = 3
    AMBER_STRICT = 4
    RED = 5

    @property
    def label(self) -> str:
        return "TLP:" + self.name.replace("_", "+")


_EXACT = {**{marking.label: marking for marking in Marking}, "TLP:WHITE": Marking.CLEAR}
_ANY = re.compile(
    # Bounded repetitions: no text makes the search go back and forth for long.
    r"(?<!\w)tlp(?:[\s:：=\-]{1,3}(amber[\s+\-_]{1,3}strict|red|amber|green|clear|white)(?![\w+])"
    # A word that is no label, where what stands before it shows that one was meant.
    r"|[:：;.=]\s{0,2}\w[\w+]{0,20})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """marking: the strictest that is named, AMBER where none is; malformed: one is misspelt;
    stated: one is named at all."""

    marking: Marking
    malformed: bool
    stated: bool = True


def of_mail(subject: str, subject_signed: bool, first_lines: str, others: str = "") -> Found:
    """The marking of a mail. others: the first lines of its other texts. They, and a subject that
    is not signed, which may be anybody's who carried the mail, can make the marking stricter, and
    no laxer."""
    if subject_signed:
        return _stricter(find(subject, first_lines), others)
    return _stricter(_stricter(find(first_lines), subject), others)


def _stricter(found: Found, text: str) -> Found:
    if not _ANY.search(text):
        return found
    other = find(text)
    return Found(max(found.marking, other.marking), found.malformed or other.malformed, stated=True)


def find(*texts: str) -> Found:
    """Labels in a subject and a body's first lines. A misspelt one is read as the strictest that it
    could mean."""
    found: list[Marking] = []
    malformed = False
    for match in (match for text in texts for match in _ANY.finditer(text)):
        if match.group(0) in _EXACT:
            found.append(_EXACT[match.group(0)])
        else:
            malformed = True
            found.append(_meaning(match.group(1).upper() if match.group(1) else ""))
    return Found(max(found, default=Marking.AMBER), malformed, bool(found))


def of_label(label: str) -> Marking:
    """The marking whose exact label this is, as postings have it. Raises KeyError."""
    return _EXACT[label]


def typed(text: str) -> Marking | None:
    """The marking that somebody asks for by name, "TLP:AMBER+STRICT" or "amber strict"; None where
    it is no marking's name."""
    words = re.findall(r"\w+", text.upper())
    return _EXACT.get("TLP:" + "+".join(words[words[:1] == ["TLP"] :]))


def _meaning(word: str) -> Marking:
    if "STRICT" in word or word == "AMBER":  # which may be a short form of the strict one
        return Marking.AMBER_STRICT
    return {"GREEN": Marking.GREEN, "CLEAR": Marking.CLEAR, "WHITE": Marking.CLEAR}.get(
        word, Marking.RED
    )
