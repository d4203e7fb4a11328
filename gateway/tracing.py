"""Which mail is being worked on: what the log lines about it have in common, from the door to its
last copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_MAIL: ContextVar[str] = ContextVar("mail", default="")


@contextmanager
def about(token: str) -> Iterator[None]:
    """While it lasts, the log lines of this thread or task are about that mail. token: of the
    envelope, and then of the posting that came of it; "" for none."""
    before = _MAIL.set(token)
    try:
        yield
    finally:
        _MAIL.reset(before)


def current() -> str:
    """The token of the mail that is being worked on; "" for none."""
    return _MAIL.get()
