"""Structured notices: one block of "key: value" lines in a text that an author signed."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BEGIN = re.compile(r"^-----BEGIN ENV-NOTICE 1-----[ \t]*$", re.MULTILINE)
_END = re.compile(r"^-----END-----[ \t]*$", re.MULTILINE)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,60}")
_MOST_VALUE = 1000


def of_mail(text: str) -> Mapping[str, str]:
    """The fields of the first block in a text, keys in lower case; empty where it has none.

    A line that is no field is left out, and of a key that stands twice the first counts.
    """
    text = text.replace("\r\n", "\n")
    begin = _BEGIN.search(text)
    end = _END.search(text, begin.end()) if begin else None
    if begin is None or end is None:
        return {}
    fields: dict[str, str] = {}
    for line in text[begin.end() : end.start()].split("\n"):
        name, _, value = (part.strip(" \t") for part in line.partition(":"))
        if ":" in line and _KEY.fullmatch(name) and len(value) <= _MOST_VALUE:
            fields.setdefault(name.lower(), value)
    return fields
