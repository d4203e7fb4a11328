"""Subjects and threads: what the gateway adds to a subject, and takes off a reply's again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MOST_ANCESTORS = 20
MOST_SUBJECT = 500
PLACEHOLDERS = frozenset({"", "...", "[...]", "Encrypted Message", "Encrypted email"})
"""What programs put outside instead of a protected subject."""
BLANK = dict.fromkeys(map(ord, "\u115f\u1160\u2800\u3164\uffa0"), " ")
"""Letters that look like a space."""
_ANSWER = re.compile(
    # What programs of many languages put before the subject of an answer, or of a forwarded mail.
    r"(?:(?:re|aw|antw|sv|vs|vá|r|rif|res|odp|ynt|atb|απ|σχετ|отв|答复|回复|回覆|返信|회신"
    r"|fwd?|wg|tr|rv|enc|i|vb|doorst|vl|пер|转发|轉寄|転送|전달)"
    r"(?:\[\d{1,3}\])?\s?[:\uff1a]\s?)+",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r" ?\([^()]{1,100}, [A-Z]{2}\)$")


def own_subject(subject: str, titles: Iterable[str]) -> str:
    """A subject as its author means it: without "[Wildlife] " and "(Ana Lind, KE)" of a reply.

    The suffix goes only where a list's prefix went: else the author wrote it.
    """
    subject = plain(subject)[:MOST_SUBJECT]
    names = "|".join(re.escape(title) for title in titles)
    without = re.sub(rf"\[(?:{names})\] ?", "", subject) if names else subject
    if without != subject:
        without = _SUFFIX.sub("", without)
    return without.strip()


def is_placeholder(subject: str) -> bool:
    """Whether it says nothing but that it answers a mail whose subject was not read: "Re: ..."."""
    prefix = _ANSWER.match(subject)
    return subject[prefix.end() if prefix else 0 :] in PLACEHOLDERS


def answer_to(subject: str) -> str:
    """The subject of an answer."""
    return subject if _ANSWER.match(subject) else f"Re: {subject}"


def plain(text: str) -> str:
    """One line of text that is what it looks like: no control, format or direction characters."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    visible = "".join(
        " " if unicodedata.category(char) in ("Zl", "Zp", "Zs", "Cc") else char
        for char in text.translate(BLANK)
        if unicodedata.category(char) not in ("Cf", "Cs", "Co", "Cn")
    )
    return " ".join(visible.split())


def ancestors(of_parent: Iterable[str], parent: str) -> tuple[str, ...]:
    """Tokens for References (RFC 5322 3.6.4): the first and the nearest, at most 20."""
    chain = (*of_parent, parent)
    return chain if len(chain) <= MOST_ANCESTORS else (chain[0], *chain[1 - MOST_ANCESTORS :])
