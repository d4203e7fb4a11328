"""The language of a text, to stem it in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from gateway.archive import terms

_SAMPLE = 4_000
_SHORT = 200
"""Characters below which a text's words alone say little."""
_COMMON = ("en", "fr", "es")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_CUES = re.compile(r"https?://\S+|\S+@\S+|^>.*$", re.MULTILINE)


def of_text(text: str, spoken: Sequence[str]) -> str:
    """ISO 639-1 code of a language that is stemmed; "" where it is in another. spoken: those of
    its author, who writes a short text in one of them or in one that many share."""
    sample = _CUES.sub(" ", text[:_SAMPLE])
    letters = len(_NO_LETTERS.sub("", sample))
    known = terms.known_languages()
    if letters < 4:
        return next((one for one in spoken if one in known), "en")
    ranked: list[str] = [code for code, _ in _identifier().rank(sample)]
    if letters >= _SHORT:
        return ranked[0] if ranked[0] in known else ""
    likely = {*spoken, *_COMMON} & known
    # A script that none of them is written in is none of them.
    if ranked[0] not in known and not re.search("[a-z]", sample, re.IGNORECASE):
        return ""
    return next(code for code in ranked if code in likely)


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE)
