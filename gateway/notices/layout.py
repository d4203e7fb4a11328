"""Plain text of 72 columns, whatever the language made of the words."""

from __future__ import annotations

import re
from textwrap import TextWrapper

WIDTH = 72
_BEFORE_MARK = re.compile(r" (?=[:;?!»](?:\s|$))|(?<=«) ")
_KEPT = re.compile(r"^(?P<lead>> ?|\s+)(?P<label>\S[^\s:]{0,20}: +|[-*] |\d\. )?")


def filled(text: str) -> str:
    """Paragraphs filled to the width; an indented or quoted line stays a line of its own, and goes
    on under its own beginning. No more than one blank line on end."""
    blocks = (_block(lines) for lines in _paragraphs(text))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _paragraphs(text: str) -> list[list[str]]:
    return [block.split("\n") for block in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n"))]


def _block(lines: list[str]) -> str:
    done: list[str] = []
    running: list[str] = []
    for line in lines:
        kept = _KEPT.match(line)
        if kept is None:
            running.append(line)
            continue
        done += _wrapped(" ".join(running), "", "")
        running = []
        lead = kept["lead"]
        under = lead if lead.startswith(">") else lead + " " * len(kept["label"] or "")
        done += _wrapped(line[len(lead) :], lead, under)
    return "\n".join(done + _wrapped(" ".join(running), "", ""))


def _wrapped(text: str, first: str, others: str) -> list[str]:
    wrapper = TextWrapper(
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        # What can't be broken (an address, a fingerprint) stays whole, to be copied.
        break_long_words=False,
        break_on_hyphens=False,
        # The blanks that line up a column are kept.
        replace_whitespace=False,
        drop_whitespace=True,
    )
    if not text.strip():
        return [first.rstrip()] if first.startswith(">") else []
    # French has a blank before some marks, and no line begins with one.
    joined = _BEFORE_MARK.sub("\u00a0", text.rstrip())
    return [line.replace("\u00a0", " ") for line in wrapper.wrap(joined)]
