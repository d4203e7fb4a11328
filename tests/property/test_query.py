"""Whatever is typed is understood, or refused with a place and a query that is understood."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from gateway.archive import snippets, terms
from gateway.archive.query import (
    MOST_CHARACTERS,
    All,
    Filter,
    Name,
    Node,
    QueryFault,
    Words,
    formatted,
    narrowed,
    parse,
)
from gateway.crypto.vault import Vault
from gateway.store.search_index import MOST_PLACES

LONG = 100_000
terms.stems(terms.words("loaded before anything is timed"), "en")
PIECES = st.sampled_from(
    ["ivory", "Pointe-Noire", "象牙", "OR", "AND", "NOT", "-", "(", ")", '"', "“", "”", " ", " ",
     "from:", "ana", "topic:B", "subject:", "filename:x", "has:attachment", "has:", "is:held",
     "date:", "2026", "-03", "..", "before:2026-02-31", "after:9999-12-31", "date:0001..", "B-12",
     "thread:", "marking:amber", "marking:\"amber strict\"", "form:", "https://", "l'eau", "É",
     "\u202e", "\x00", "_", "*", "^", "NEAR", "\ud800", "%", "\\", "'"]
)  # fmt: skip
TYPED = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=40).map("".join))


def understood(text: str, most: int = MOST_CHARACTERS) -> tuple[Node, QueryFault | None]:
    """The tree of a query, or an empty one and what is wrong."""
    try:
        return parse(text, most), None
    except QueryFault as fault:
        return All(()), fault


@given(TYPED)
def test_any_text_is_understood_or_refused_with_a_place(text: str) -> None:
    _, fault = understood(text)
    if fault is not None:
        assert 0 <= fault.at <= len(text)
        assert f"character {fault.at + 1}" in str(fault)
        assert understood(fault.suggestion)[1] is None


@given(TYPED)
def test_a_tree_as_it_is_typed_is_the_same_tree(text: str) -> None:
    tree, fault = understood(text)
    assert fault is not None or parse(formatted(tree), LONG) == tree


@given(TYPED)
def test_a_good_query_can_be_narrowed(text: str) -> None:
    tree, fault = understood(text)
    if fault is not None or tree == All(()):
        return
    narrow, fault = understood(narrowed(text, "has:attachment"), LONG)
    parts = tree.parts if isinstance(tree, All) else (tree,)
    if fault is None:
        assert narrow == All((*parts, Filter(Name.HAS, "attachment")))
    else:
        assert len(terms.words(text)) > 30 or text.count("(") > 9, "it has room"


@given(
    st.sampled_from(['"', "(", ")", "-", "a ", "a OR ", "NOT ", "a:", "from:", "((a", '""', "-("])
)
def test_a_long_query_costs_no_more_than_its_length(piece: str) -> None:
    begun = time.process_time()
    _, fault = understood(piece * (1_000_000 // len(piece)))
    assert time.process_time() - begun < 1
    assert fault is not None
    assert len(fault.suggestion) <= MOST_CHARACTERS


@given(st.text(max_size=300))
def test_words_are_cut_the_same_wherever_they_stand(text: str) -> None:
    """So that what the index has is what a passage marks."""
    shown = terms.visible(text)
    found = list(terms.cut(shown))
    assert [one.text for one in found] == terms.words(text)
    for one in found:
        assert terms.words(shown[one.start : one.end]) == [one.text]


@given(st.text(max_size=400), st.sampled_from(["en", "fr", "es", "", "ru", "ar"]))
def test_a_word_of_a_text_is_found_in_its_passage(text: str, language: str) -> None:
    shown = terms.visible(text)
    words = [shown[one.start : one.end] for one in terms.cut(shown)]
    if not words:
        return
    word = words[len(words) // 2]
    pieces = snippets.snippet(text, [Words(word)], language)
    assert any(one.marked for one in pieces)
    assert sum(len(one.text) for one in pieces) < snippets.LENGTH + 120


@given(st.lists(st.text(max_size=40), max_size=60), st.text(max_size=200))
def test_a_posting_has_no_more_terms_than_the_index(names: list[str], text: str) -> None:
    made = terms.of_text(Vault({1: b"k" * 32}), "en", text * 50, names * 50, [text * 500] * 3)
    assert len(made) < MOST_PLACES


def test_no_character_makes_a_word_long() -> None:
    """U+FDFA is eighteen once it is made alike."""
    assert {len(one) for one in terms.words("\ufdfa" * 64)} == {64}
