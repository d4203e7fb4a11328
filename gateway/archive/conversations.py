"""Who answers whom among the mails of an old archive: by References and In-Reply-To.

Message-IDs become numbers: what is known of a mail takes about a kilobyte of memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from gateway.archive.mbox import Span

_REPLY = re.compile(r"\s*(?:re|aw|sv|antw|fwd?|tr|rv)\s*(?:\[\d{1,4}\])?\s*:\s*", re.IGNORECASE)
_TAG = re.compile(r"\s*\[[^\[\]]{1,60}\]\s*")
_MOST_ANSWERED = 20


@dataclass(frozen=True, slots=True)
class Mail:
    """span: where it is. at: POSIX time. thread: the same number for all mails of a thread."""

    span: Span
    at: int
    thread: int


class Conversations:
    """Gathers the mails of one archive; then gives them in an order in which they can be kept.

    Mails that name the same missing mail are of one thread, as with JWZ's empty containers.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._above: list[int] = []
        self._begun: dict[bytes, int] = {}
        self._mails: list[tuple[Span, int, int, tuple[int, ...]]] = []

    def add(
        self, span: Span, at: int, message_id: str, answered: Sequence[str], subject: str | None
    ) -> None:
        """message_id: "" where it has none. answered: nearest first. subject: by which to find its
        thread where it answers nothing that it names; None where it is not to."""
        number = self._number(message_id or f"\n{span.position}")
        numbers = [self._number(one) for one in answered]
        for one in numbers:
            self._join(number, one)
        begun = None if subject is None else self._begun_by_subject(number, subject)
        if begun is not None and not numbers:
            self._join(number, begun)
        self._mails.append((span, at, number, tuple(numbers[:_MOST_ANSWERED])))

    def __len__(self) -> int:
        return len(self._mails)

    def in_order(self) -> Iterator[Mail]:
        """By date, but what is answered before its answers."""
        by_date = sorted(range(len(self._mails)), key=lambda one: self._mails[one][1])
        first = {self._mails[one][2]: one for one in reversed(by_date)}
        given = bytearray(len(self._mails))
        for one in by_date:
            waiting = [one]
            while waiting:
                top = waiting[-1]
                span, at, number, answered = self._mails[top]
                if not given[top]:
                    # Marked before what it answers, so that a circle comes to an end.
                    given[top] = 1
                    there = (first.get(each) for each in answered)
                    waiting += [each for each in there if each is not None and not given[each]]
                    if waiting[-1] != top:
                        continue
                waiting.pop()
                if given[top] == 1:
                    given[top] = 2
                    yield Mail(span, at, self._root(number))

    def _number(self, message_id: str) -> int:
        digest = blake2b(message_id.encode("utf-8", "replace"), digest_size=12).digest()
        number = self._numbers.setdefault(digest, len(self._above))
        if number == len(self._above):
            self._above.append(number)
        return number

    def _root(self, number: int) -> int:
        while self._above[number] != number:
            self._above[number] = self._above[self._above[number]]
            number = self._above[number]
        return number

    def _join(self, one: int, other: int) -> None:
        self._above[self._root(one)] = self._root(other)

    def _begun_by_subject(self, number: int, subject: str) -> int | None:
        """The number of the mail that began what a reply's subject names."""
        base, is_reply = without_replies(subject)
        if not base:
            return None
        digest = blake2b(base.encode("utf-8", "replace"), digest_size=12).digest()
        begun = self._begun.get(digest)
        if begun is None or not is_reply:
            self._begun[digest] = number
            return None
        return begun


def without_replies(subject: str) -> tuple[str, bool]:
    """(a subject without "Re:", "[tag]" and the like before it, lower case; whether it was a
    reply's)."""
    is_reply, rest = False, subject
    while True:
        reply, tag = _REPLY.match(rest), _TAG.match(rest)
        found = reply or tag
        if found is None:
            return " ".join(rest.casefold().split()), is_reply
        is_reply = is_reply or reply is not None
        rest = rest[found.end() :]
