"""Topics and their threads, the front page, the feed: what is there, for whom, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from sqlalchemy import event, update

from gateway.archive import listing
from gateway.store import mailing_list, member
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.mailing_list import MailingList
from gateway.store.posting import Posting
from tests.unit.group import Group
from tests.unit.visitor import Browsers, browser, browsers

ROLES = {"ana": (), "bo": (), "cy": (), "mei": ("expert:B",), "ada": ("administrator",)}
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Cy ticked Wildlife off; Ana alone is on Coral, which is by invitation."""
    with Group(ROLES) as made:
        made.add_coral("ana")
        made.tick_off("cy", "wildlife")
        yield made


@pytest.fixture(scope="module")
def at(group: Group) -> Iterator[Browsers]:
    with browsers(group) as found:
        yield found


def threads(
    group: Group, who: str, name: str, before: int | None = None, most: int = 30
) -> listing.Page:
    with group.app.database.reading() as session:
        one = member.get(session, group.officers[who].address)
        on = mailing_list.get(session, name)
        lists = [on, *mailing_list.desks_of(session, [on])]
        return listing.threads(session, group.app, one, lists, before, most)


def subjects(group: Group, who: str, name: str) -> list[str | None]:
    return [one.subject for one in threads(group, who, name).rows]


def answer(group: Group, who: str, label: str, name: str, **how: Any) -> str:
    """A reply to a posting, on a list."""
    with group.app.database.reading() as session:
        found = session.get_one(Posting, int(label.partition("-")[2]))
        message_id = found.message_id(group.app.config.domain)
    return group.post(who, name, in_reply_to=message_id, **how)


def rows(page: str) -> list[str]:
    """The rows of a page, as one reads them."""
    found = re.findall(r'<li class="row.*?</li>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", "", one).split()) for one in found]


# What the list says


def test_the_thread_with_the_newest_posting_stands_first(group: Group) -> None:
    first = group.post("ana", "waste", subject="Drums at Tema")
    group.post("bo", "waste", subject="Batteries at Cotonou")
    assert subjects(group, "cy", "waste") == ["Batteries at Cotonou", "Drums at Tema"]
    answer(group, "cy", first, "waste", subject="Re: [Waste] Drums at Tema (Ana Berg, KE)")
    assert subjects(group, "cy", "waste") == ["Drums at Tema", "Batteries at Cotonou"]


def test_a_row_says_who_began_how_many_wrote_and_the_strictest_marking(group: Group) -> None:
    first = group.post("ana", "logging", subject="TLP:GREEN Rosewood")
    answer(group, "bo", first, "logging", subject="TLP:AMBER Re: Rosewood")
    answer(group, "ana", first, "logging", subject="TLP:AMBER Re: Re: Rosewood")
    with group.app.database.transaction() as session:
        number = int(first.partition("-")[2])
        query = update(ArchiveEntry).where(ArchiveEntry.posting_id == number)
        session.execute(query.values(attachments=2))
    (row,) = threads(group, "cy", "logging").rows
    assert (row.path, row.author.name, row.postings, row.people, row.attachments, row.marking) == (
        f"/{first.replace('-', '/')}/thread", "Ana Berg", 3, 2, 2, "TLP:AMBER",
    )  # fmt: skip


def test_of_a_thread_counts_alone_what_its_reader_may_read(group: Group) -> None:
    first = group.post("ana", subject="TLP:GREEN Ivory")
    answer(group, "bo", first, "wildlife", subject="TLP:AMBER What was in it")
    (row,) = threads(group, "cy", "wildlife").rows
    assert (row.label, row.postings, row.people, row.marking) == (first, 1, 1, "TLP:GREEN")
    assert row.newest == int(first.partition("-")[2])
    (row,) = threads(group, "mei", "wildlife").rows
    assert (row.label, row.postings, row.people, row.marking) == (first, 2, 2, "TLP:AMBER")


def test_a_withdrawn_beginning_leaves_its_thread_the_next_subject(group: Group) -> None:
    first = group.post("ana", "fishing", subject="A name by mistake")
    answer(group, "bo", first, "fishing", subject="Trawler off Nouadhibou")
    group.say("ana", f"withdraw {first}")
    (row,) = threads(group, "cy", "fishing").rows
    assert (row.label, row.subject, row.withdrawn) == (first, "Trawler off Nouadhibou", False)


def test_a_thread_withdrawn_as_a_whole_is_said_to_be(group: Group, at: Browsers) -> None:
    label = group.post("ana", "ozone", subject="Cylinders")
    group.say("ana", f"withdraw {label}")
    page = at("cy").text("/D")
    assert "(withdrawn)" in page
    assert "Cylinders" not in page


def test_one_damaged_posting_takes_no_list_away(group: Group, at: Browsers) -> None:
    group.post("ana", "lmo", subject="Seeds")
    label = group.post("ana", "lmo", subject="Maize")
    with group.app.database.transaction() as session:
        found = session.get_one(Posting, int(label.partition("-")[2]))
        found.details = found.details[:-1] + bytes([found.details[-1] ^ 1])
    assert subjects(group, "cy", "lmo") == [None, "Seeds"]
    assert "(damaged)" in at("cy").text("/C")


# Pages of a list


def test_pages_have_every_thread_once_whatever_is_answered_meanwhile(group: Group) -> None:
    labels = [group.post("ana", "general", subject=f"Matter {number}") for number in range(7)]
    answer(group, "bo", labels[0], "general", subject="Re: Matter 0")
    page = threads(group, "cy", "general", most=3)
    assert [one.subject for one in page.rows] == ["Matter 0", "Matter 6", "Matter 5"]
    # Its newest posting stands now before all pages: on those that follow it must not come again.
    answer(group, "bo", labels[6], "general", subject="Re: Matter 6")
    found = []
    while page.older is not None:
        page = threads(group, "cy", "general", page.older, most=3)
        found += [one.subject for one in page.rows]
    assert found == ["Matter 4", "Matter 3", "Matter 2", "Matter 1"]


def test_a_page_stops_looking_and_the_next_goes_on(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = group.post("ana", subject="TLP:GREEN For everybody")
    for number in range(9):
        group.post("ana", subject=f"TLP:AMBER Not for who ticked off {number}")
    monkeypatch.setattr(listing, "MOST_LOOKED_AT", 4)
    monkeypatch.setattr(listing, "_PIECES", 4)
    page, pages = threads(group, "cy", "wildlife", most=1), 1
    while not page.rows:
        assert page.older is not None
        page = threads(group, "cy", "wildlife", page.older, most=1)
        pages += 1
    assert page.rows[0].label == first
    assert pages == 3


def test_no_list_reads_what_postings_say(group: Group) -> None:
    seen: list[str] = []
    listener = lambda *what: seen.append(what[2])  # noqa: E731
    event.listen(group.app.database.engine, "before_cursor_execute", listener)
    threads(group, "ana", "wildlife")
    event.remove(group.app.database.engine, "before_cursor_execute", listener)
    assert seen
    assert not [one for one in seen if "submission" in one]


# Desks


def test_a_question_to_experts_is_found_by_who_asked_and_by_experts(
    group: Group, at: Browsers
) -> None:
    label = group.post("ana", "wildlife-experts", subject="Whose pangolin is this")
    group.deliver()
    for who in ("ana", "mei"):
        (row,) = [one for one in threads(group, who, "wildlife").rows if one.label == label]
        assert row.desk == "experts"
    assert "Whose pangolin is this" not in subjects(group, "bo", "wildlife")
    assert "pangolin" not in at("bo").text("/B") + at("bo").text("/") + at("bo").text(
        "/B/feed.atom"
    )
    assert any("pangolin" in one and "to the experts" in one
               for one in rows(at("mei").text("/B")))  # fmt: skip


# The pages


def test_a_list_by_invitation_does_not_exist_for_others(group: Group, at: Browsers) -> None:
    group.post("ana", "op-coral", subject="Reef")
    assert "Reef" in at("ana").text("/OPC")
    assert "Reef" in at("ana").text("/")
    assert "Reef" not in at("bo").text("/")
    assert "Coral" not in at("bo").text("/")
    assert at("bo").get("/OPC").status_code == at("bo").get("/OPC/feed.atom").status_code == 404


def test_the_front_page_has_the_newest_of_all_topics_and_says_what_is_ticked_off(
    group: Group,
    at: Browsers,
) -> None:
    group.post("ana", "fishing", subject="Longliner")
    group.post("ana", "ozone", subject="Canisters")
    page = at("cy").text("/")
    assert [one.partition(" TLP")[0] for one in rows(page)[:2]] == ["Canisters", "Longliner"]
    assert "(ticked off)" in page


def test_what_came_after_the_last_visit_is_new(group: Group) -> None:
    group.post("ana", "ozone", subject="Before")
    with browser(group) as ada:
        assert "(new)" not in ada.log_in("ada").text("/D")
    group.later += timedelta(hours=1)
    group.post("ana", "ozone", subject="After")
    with browser(group) as ada:
        found = rows(ada.log_in("ada").text("/D"))
    assert "(new)" in found[0]
    assert "After" in found[0]
    assert "(new)" not in found[1]


def test_an_empty_topic_says_what_would_be_there(group: Group, at: Browsers) -> None:
    with group.app.database.reading() as session:
        letter = session.query(MailingList.letter).filter_by(local_part="op-empty").scalar()
    assert letter is None
    group.gateway.environet("list", "add", "op-empty", "--letter", "OPE", "--title", "Empty")
    page = at("ana").text("/OPE")
    assert 'class="empty"' in page
    assert "mailto:op-empty@" in page


@pytest.mark.parametrize("before", ["x", "-1", "9" * 19, "１", "1.5", "%00"])
def test_a_broken_address_is_said_to_be(group: Group, at: Browsers, before: str) -> None:
    assert at("ana").get(f"/B?before={before}").status_code == 400


def test_hostile_subjects_are_shown_harmlessly(group: Group, at: Browsers) -> None:
    group.post("ana", "general", subject="<b>x</b>\u202egpj.exe & more" + "y" * 1000)
    page, feed = at("ana").text("/G"), at("ana").text("/G/feed.atom")
    for text in (page, feed):
        assert "<b>x" not in text
        assert "&lt;b&gt;x&lt;/b&gt;gpj.exe &amp; more" in text
        assert "\u202e" not in text
        assert "y" * 301 not in text


def test_a_feed_has_the_newest_postings_with_their_addresses(group: Group, at: Browsers) -> None:
    label = group.post("ana", "general", subject="TLP:GREEN Pallets")
    answered = at("cy").get("/G/feed.atom")
    assert answered.headers["content-type"] == "application/atom+xml"
    entry = fromstring(answered.content).findall(f"{ATOM}entry")[0]
    assert entry.findtext(f"{ATOM}title") == "TLP:GREEN Pallets"
    assert (entry.findtext(f"{ATOM}id") or "").endswith(f"/{label.replace('-', '/')}")
    assert "84 raw tusks" not in answered.text
