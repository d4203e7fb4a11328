"""Search where members meet it: the page, the command by mail, and the operator's reindexing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape

import pytest
from sqlalchemy import select

from gateway.store import search_index
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.hold import Hold
from gateway.store.mailing_list import MailingList, Moderation
from tests.unit.group import Group
from tests.unit.searchers import index
from tests.unit.visitor import Visitor, browser


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group({"ana": (), "ben": (), "mo": ("moderator:B",)}) as made:
        made.post("ana", subject="Ivory <b>& horn</b>", text="<script>84 tusks</script> seized.\n")
        for number in range(24):
            made.post("ben", "logging", subject=f"Rosewood {number}", text="Logs.\n")
        index(made)
        yield made


@pytest.fixture(scope="module")
def ana(group: Group) -> Iterator[Visitor]:
    with browser(group) as visitor:
        yield visitor.log_in("ana")


def words(page: str) -> str:
    """What a page says, in one line."""
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", "", main)).split())


def test_what_is_found_is_shown_harmlessly_with_its_words_marked(ana: Visitor) -> None:
    page = ana.text("/search?q=tusks+subject:ivory")
    assert "<mark>tusks</mark>" in page
    assert "&lt;script&gt;84 " in page
    assert '<a href="/B/1"><mark>Ivory</mark> &lt;b&gt;&amp; horn&lt;/b&gt;</a>' in page
    assert 'value="tusks subject:ivory"' in page
    assert "postings with “tusks” and “ivory” in the subject" in words(page)
    assert re.search(r"1 posting found, in \d+\.\d\d seconds", words(page))


def test_a_query_is_shown_harmlessly_too(ana: Visitor) -> None:
    for query in ('"><script>x</script>', "\u202eevil", "%22%3E%3Cimg%3E", "a\x00b"):
        page = ana.get("/search", params={"q": query})
        assert page.status_code in (200, 400)
        assert "<script" not in page.text
        assert "<img" not in page.text
        assert "\u202e" not in page.text[page.text.index("<main") :]


def test_pages_and_orders_are_links(ana: Visitor) -> None:
    page = ana.text("/search?q=rosewood&order=oldest")
    assert "24 postings found" in words(page)
    assert page.index("Rosewood</mark> 0<") < page.index("Rosewood</mark> 1<")
    assert "Page 1 of 2" in words(page)
    assert 'href="/search?q=rosewood&amp;order=oldest&amp;page=2"' in page
    second = ana.text("/search?q=rosewood&order=oldest&page=2")
    assert second.count('<p class="snippet">') == 4
    assert 'rel="prev"' in second
    assert 'rel="next"' not in second
    assert 'href="/search.mbox?q=rosewood"' in page


@pytest.mark.parametrize(
    "odd", ["page=0", "page=-1", "page=x", "page=99999999", "order=worst", "page=²"]
)
def test_odd_pages_and_orders_are_the_usual_ones(ana: Visitor, odd: str) -> None:
    assert "24 postings found" in words(ana.text(f"/search?q=rosewood&{odd}"))


def test_filters_are_links_that_narrow(ana: Visitor) -> None:
    page = ana.text("/search?q=rosewood+OR+tusks")
    links = dict(
        re.findall(r'<li><a href="(/search[^"]+)">([^<]+)</a> <span class="counts">', page)
    )
    (narrow,) = [unescape(path) for path, name in links.items() if name == "B Wildlife"]
    assert narrow == "/search?q=%28rosewood+OR+tusks%29+topic%3AB"
    assert "1 posting found" in words(ana.text(narrow))


def test_a_fault_points_at_its_character_and_offers_a_query(ana: Visitor) -> None:
    answer = ana.get("/search?q=tusks+(ivory")
    assert answer.status_code == 400
    assert "At character 7: this parenthesis is not closed." in words(answer.text)
    assert "tusks <mark>(</mark>ivory" in answer.text
    assert '<a href="/search?q=tusks+ivory">tusks ivory</a>' in answer.text


def test_nothing_to_search_for_and_nothing_found_say_what_to_do(ana: Visitor) -> None:
    assert "Write what you look for" in words(ana.text("/search"))
    assert "Nothing that you may read fits" in words(ana.text("/search?q=unicorn"))
    assert "Write what you look for" in words(ana.text("/search?q=+"))


def test_a_query_that_is_too_long_is_refused_with_a_shorter_one(ana: Visitor) -> None:
    answer = ana.get("/search", params={"q": "tusks " * 5000})
    assert answer.status_code == 400
    assert len(answer.text) < 20_000


def test_the_help_has_ten_examples(ana: Visitor) -> None:
    assert ana.text("/help/search").count('href="/search?q=') == 10


def test_the_ledger_has_who_searched_and_no_word_of_it(group: Group, ana: Visitor) -> None:
    before = len(group.ledger("searched"))
    ana.text("/search?q=tusks")
    ana.text("/search?q=tusks+unicorn")
    ana.get("/search?q=(tusks")
    ana.text("/search")
    entries = group.ledger("searched")[before:]
    assert [one["found"] for one in entries] == [1, 0]
    # A passage of a posting is read with it.
    assert [one["numbers"] for one in entries] == ["1", ""]
    assert "tusks" not in str(entries)


def test_nobody_searches_without_logging_in(group: Group) -> None:
    with browser(group) as stranger:
        assert stranger.get("/search?q=tusks").status_code == 303
        assert stranger.get("/help/search").status_code == 303


def test_a_search_by_mail_lists_what_to_get(group: Group) -> None:
    answer = group.say("ben", 'search "84 tusks" topic:B')
    assert "Found 1: postings with the phrase “84 tusks”, topic B." in answer
    assert "1. B-1" in answer
    assert "Ana Berg (Inspectorate, KE)" in answer
    assert "get B-1. For its thread: thread B-1" in answer
    assert group.ledger("searched")[-1]["found"] == 1
    many = group.say("ben", "search rosewood OR from:ana")
    assert "Found 25: postings with “rosewood”" in many or "Found 25:" in many


def test_a_search_by_mail_says_what_is_wrong_and_what_is_not_there(group: Group) -> None:
    assert "write it as: search ivory from:ana topic:B" in group.say("ben", "search")
    assert "At character 1: this parenthesis is not closed." in group.say("ben", "search (ivory")
    assert "Nothing that you may read fits" in group.say("ben", "search unicorn")
    assert "there is no list" in group.say("ben", "search topic:Q")


def test_a_moderator_finds_by_mail_what_is_held(group: Group) -> None:
    group.set_list("wildlife", moderation=Moderation.ALL)
    group.post("ana", subject="Kept back", text="A quagga.\n")
    group.set_list("wildlife", moderation=Moderation.OPEN)
    index(group)
    answer = group.say("mo", "search is:held quagga")
    assert "waiting for your decision" in answer
    assert re.search(r"1\. H-\d+ .* write for example: show H-\d+", answer)
    assert "Nothing that you may read fits" in group.say("ben", "search is:held quagga")


def test_reindexing_builds_the_index_anew(group: Group, ana: Visitor) -> None:
    with group.app.database.transaction() as session:
        search_index.remove(session, search_index.POSTINGS, place_of(group, 1))
    assert "Nothing that you may read" in words(ana.text("/search?q=tusks"))
    said = json.loads(group.gateway.environet("archive", "reindex", "--json"))
    assert said["postings"] >= 25
    assert "1 posting found" in words(ana.text("/search?q=tusks"))
    assert "26 postings" in group.gateway.environet("archive", "reindex")


def place_of(group: Group, number: int) -> int:
    with group.app.database.reading() as session:
        return session.get_one(ArchiveEntry, number).place or 0


def test_what_is_held_on_two_lists_is_found_as_what_its_moderator_decides(group: Group) -> None:
    held = ("logging", "wildlife")
    for one in held:
        group.set_list(one, moderation=Moderation.ALL)
    group.post("ana", "wildlife", "logging", subject="On two lists", text="An okapi.\n")
    for one in held:
        group.set_list(one, moderation=Moderation.OPEN)
    index(group)
    with group.app.database.reading() as session:
        query = select(Hold.id, MailingList.local_part).join(Hold.mailing_list)
        ids = {on: id_ for id_, on in session.execute(query.order_by(Hold.id))}
    with browser(group) as mo:
        page = mo.log_in("mo").text("/search?q=is:held+okapi")
    assert f"/held/H-{ids['wildlife']}" in page
    assert f"H-{ids['logging']}" not in page
