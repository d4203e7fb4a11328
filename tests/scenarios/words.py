"""Words that a story's texts have in them as `$name`: taken from a notice, or known to all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from string import Template
from typing import Any


class UnknownWord(Exception):
    """Nobody knows this word; str() is its name."""


def filled(value: Any, word: Callable[[str], str]) -> Any:
    """An act, an outcome or a part of one, with `$name` replaced by its word in every text.

    word: raises UnknownWord. Raises ValueError for a `$` that no name follows.
    """
    match value:
        case str():
            template = Template(value)
            return template.substitute({one: word(one) for one in template.get_identifiers()})
        case tuple():
            return tuple(filled(one, word) for one in value)
        case Mapping():
            return {key: filled(one, word) for key, one in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            # The patterns of `takes` have a $ of their own.
            names = [one.name for one in fields(value) if one.name != "takes"]
            return replace(value, **{one: filled(getattr(value, one), word) for one in names})
    return value


def common_word(name: str) -> str:
    """A word that every story has: `in_30_days`, as 2026-12-24. Raises UnknownWord."""
    found = re.fullmatch(r"in_(\d+)_days", name)
    if found is None:
        raise UnknownWord(name)
    return str((datetime.now(UTC) + timedelta(days=int(found[1]))).date())


def fingerprint_word(name: str) -> str:
    """The word for the fingerprint of a person's key: "bo-new" -> "fingerprint_bo_new"."""
    return f"fingerprint_{name.replace('-', '_')}"
