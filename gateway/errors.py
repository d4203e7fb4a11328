"""Named failures and SMTP replies. What an error says is safe to show: never content."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply line: RFC 5321 4.2 code, RFC 3463 enhanced status, one line of ASCII text."""

    code: int
    status: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.text}"

    @property
    def accepted(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500


class GatewayError(Exception):
    """Base of every named failure; str() of it may be shown to an operator and logged."""


class Malformed(GatewayError):
    """Input that breaks the grammar it claims to follow. Permanent: the same bytes fail again."""


class TooLarge(Malformed):
    """Input that would grow past a stated limit (bytes, parts, nesting)."""


class BadCertificate(GatewayError):
    """A certificate that can't be admitted or used; str() says every reason."""


class Undecryptable(GatewayError):
    """A message that our keys don't open, or whose integrity protection fails. Permanent."""


class ForOthers(Undecryptable):
    """A message that is encrypted to none of the keys that are at hand."""


class Unavailable(GatewayError):
    """A fault on our side (agent, database, disk). Temporary: the sender keeps the mail."""


class UsageError(GatewayError):
    """Somebody asked for something that can't be done; str() says what to do instead.

    A message that an officer may see as well is a gettext msgid with %(name)s for each of `values`,
    so that it can be told in their language.
    """

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message % values if values else message)
        self.message = message
        self.values = values

    def told(self, translate: Callable[[str], str]) -> str:
        """The message in another language; a value that is one of a few words is told in it too."""
        values = {
            name: translate(str(value)) if isinstance(value, StrEnum) else value
            for name, value in self.values.items()
        }
        return translate(self.message) % values if values else translate(self.message)


class Faults(UsageError):
    """Several at once, each told as its own."""

    def __init__(self, faults: Sequence[UsageError]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)

    def told(self, translate: Callable[[str], str]) -> str:
        return "; ".join(one.told(translate) for one in self.faults)


def N_(message: str) -> str:
    """Marks a msgid that is translated later, where it is told."""
    return message


OUR_FAULT = Reply(451, "4.3.0", "Local problem, please try again later")


def trace(error: BaseException) -> str:
    """A traceback for the log: where it happened, without the exception's text and its values,
    which could be content."""
    frames = traceback.format_list(traceback.extract_tb(error.__traceback__))
    return "".join(frames) + type(error).__name__
