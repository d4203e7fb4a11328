"""Every text that an officer may read is there in every language, and says the same."""

import re
from collections import Counter
from string import Formatter

import pytest

from contrib import make_catalogues
from gateway.notices.language import language, languages

_PLACE = re.compile(r"%\((\w+)\)s")
MESSAGES = {message for message, _ in make_catalogues.texts()}
TEXTS = sorted(one for one in MESSAGES if isinstance(one, str))
PLURALS = sorted(one for one in MESSAGES if not isinstance(one, str))
TRANSLATED = [code for code in languages() if code != "en"]


def test_french_and_spanish_are_there() -> None:
    assert {"fr", "es"} <= set(TRANSLATED)


def test_texts_are_found_in_code_and_templates() -> None:
    places = Counter(where.partition("/")[0] for _, where in make_catalogues.texts())
    assert places["gateway"] > 50
    assert places["templates"] > 50


@pytest.mark.parametrize("code", TRANSLATED)
def test_nothing_is_missing_untranslated_or_left_over(code: str) -> None:
    catalogue = make_catalogues.read(code)
    translated = {
        one.id if isinstance(one.id, str) else (one.id[0], one.id[1]): one.string
        for one in catalogue
        if one.id
    }
    assert MESSAGES - set(translated) == set(), "run python -m contrib.make_catalogues"
    assert set(translated) - MESSAGES == set(), "run python -m contrib.make_catalogues"
    assert [text for text, told in translated.items() if not make_catalogues.is_told(told)] == []
    assert [one.id for one in catalogue if one.fuzzy] == []


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_has_the_same_places_to_fill_in(code: str) -> None:
    translations = language(code).translations
    wrong = {
        text: translations.gettext(text)
        for text in TEXTS
        if Counter(_PLACE.findall(text)) != Counter(_PLACE.findall(translations.gettext(text)))
        or "%" in _PLACE.sub("", translations.gettext(text))
    }
    assert wrong == {}


@pytest.mark.parametrize("code", TRANSLATED)
@pytest.mark.parametrize("count", [1, 2, 5, 1_000_000])
def test_a_number_of_things_has_the_same_places_to_fill_in(code: str, count: int) -> None:
    """But for the number itself, which "one" may stand for."""
    translations = language(code).translations
    assert PLURALS
    for one, several in PLURALS:
        told = translations.ngettext(one, several, count)
        allowed = set(_PLACE.findall(one)) | set(_PLACE.findall(several))
        assert set(_PLACE.findall(told)) <= allowed, told
        assert count == 1 or set(_PLACE.findall(several)) == set(_PLACE.findall(told)), told
        assert "%" not in _PLACE.sub("", told), told


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_leaves_commands_and_addresses_as_they_are(code: str) -> None:
    """What an officer has to type is the same in every language."""
    translations = language(code).translations
    typed = re.compile(
        r"\b[a-z]+ [HBA]-\d+|TLP:[A-Z+]+|\b(?:confirm|approve|reject|accept) [A-Z]+\b"
    )
    wrong = {
        text: translations.gettext(text)
        for text in TEXTS
        if not set(typed.findall(text)) <= set(typed.findall(translations.gettext(text)))
    }
    assert wrong == {}


def test_no_text_has_a_place_that_is_no_name() -> None:
    assert [text for text in TEXTS if "%" in _PLACE.sub("", text)] == []
    assert [
        text for text in TEXTS if any(name for _, name, _, _ in Formatter().parse(text) if name)
    ] == []
