"""The Library in the web archive: browsing, a document's page, and its files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
from PIL import Image

from gateway.store import library
from gateway.upkeep.rounds import INDEXING, run_due
from tests.unit.group import Group
from tests.unit.visitor import Visitor, browser

ROLES = {"ana": (), "bo": (), "cy": (), "lia": ("librarian",)}
HOSTILE = '<b>"x"</b>\u202etpircs'


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (800, 600), "green").save(made, "PNG")
    return made.getvalue()


FILES = [
    ("manual.pdf", "application/pdf", b"%PDF-1.4 tusks"),
    ("plate.png", "image/png", picture()),
    ("../../etc/passwd\u202e.html", "text/html", b"<script>alert(1)</script>"),
]


def hand_in(group: Group, form: str, *, approve: bool = True) -> str:
    label = group.hand_in("ana", form, FILES)
    if approve:
        assert "is approved" in group.say("lia", f"approve {label}")
    return label


def form(title: str, category: str = "manual", more: str = "") -> str:
    return f"title: {title}\ncategory: {category}\nlanguage: en\n{more}\n"


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """L-1 is for all, with a second version; L-2 of Wildlife and TLP:AMBER, which Cy ticked off;
    L-3 waits; L-4 is of a list to which Ana and Lia alone are invited."""
    with Group(ROLES) as made:
        made.add_coral("ana", "lia")
        made.tick_off("cy", "wildlife")
        assert hand_in(made, form("Tusks, first edition")) == "L-1"
        assert hand_in(made, "replaces: L-1\ntitle: Tusks, second edition\n") == "L-1/2"
        assert hand_in(made, "TLP:AMBER\n" + form("Scales", "training", "topics: B\n")) == "L-2"
        assert hand_in(made, form(f"Waiting {HOSTILE}"), approve=False) == "L-3"
        assert hand_in(made, form("Secret reefs", "background", "topics: OPC\n")) == "L-4"
        yield made


@pytest.fixture(scope="module")
def readers(group: Group) -> Iterator[dict[str, Visitor]]:
    with (
        browser(group) as ana, browser(group) as bo, browser(group) as cy, browser(group) as lia
    ):  # fmt: skip
        yield {
            "ana": ana.log_in("ana"), "bo": bo.log_in("bo"),
            "cy": cy.log_in("cy"), "lia": lia.log_in("lia"),
        }  # fmt: skip


PAGES = {
    "/library/L-1": "ana bo cy lia",
    "/library/L-1/1": "ana bo cy lia",
    "/library/L-1/2": "ana bo cy lia",
    "/library/L-1/2/file/1": "ana bo cy lia",
    "/library/L-2": "ana bo lia",
    "/library/L-2/1/file/1": "ana bo lia",
    "/library/L-2/1/file/2/preview": "ana bo lia",
    "/library/L-3": "ana lia",
    "/library/L-3/1/file/1": "ana lia",
    "/library/L-4": "ana lia",
    "/library?topic=OPC": "ana lia",
    "/library/L-5": "",
    "/library/L-1/3": "",
    "/library/L-01": "",
    "/library/l-1": "",
    "/library/L1": "",
    "/library/L-1/01": "",
    "/library/L-1/2/file/4": "",
    "/library/L-1/2/file/0": "",
    "/library/L-1/2/file/01": "",
    "/library/L-1/2/file/1/preview": "",
    "/library/L-99999999999999999999": "",
    "/library?category=novel": "",
    "/library?topic=Q": "",
}


@pytest.mark.parametrize("path", PAGES)
def test_what_a_member_may_not_read_is_not_there(readers: dict[str, Visitor], path: str) -> None:
    seen = {name: visitor.get(path).status_code for name, visitor in readers.items()}
    assert seen == {name: 200 if name in PAGES[path].split() else 404 for name in ROLES}


def test_a_broken_address_is_said_to_be(readers: dict[str, Visitor]) -> None:
    assert readers["cy"].get("/library?before=x").status_code == 400


def test_nobody_who_is_not_logged_in_reads_anything(group: Group) -> None:
    with browser(group) as stranger:
        for path in ("/library", "/library/L-1", "/library/L-1/1/file/1"):
            assert stranger.get(path).status_code == 303


def test_the_library_lists_and_counts_what_its_reader_may_read(readers: dict[str, Visitor]) -> None:
    for name, titles, total in (
        ("ana", {"second edition", "Scales", "Secret reefs", "Waiting"}, 3),
        ("bo", {"second edition", "Scales"}, 2),
        ("cy", {"second edition"}, 1),
        ("lia", {"second edition", "Scales", "Secret reefs", "Waiting"}, 3),
    ):
        page = readers[name].text("/library")
        for title in ("first edition", "second edition", "Scales", "Secret reefs", "Waiting"):
            assert (title in page.replace("Waiting for", "")) is (title in titles), (name, title)
        assert f"{total} document" in page
        assert ("Coral" in page) is ("Secret reefs" in titles)


def test_browsing_narrows_by_links_that_say_how_many(readers: dict[str, Visitor]) -> None:
    page = readers["bo"].text("/library")
    assert re.search(r'href="/library\?category=training">training</a> <small>1</small>', page)
    assert re.search(r'href="/library\?topic=B">Wildlife</a> <small>1</small>', page)
    assert re.search(r'href="/library\?language=en">English \(en\)</a> <small>2</small>', page)
    narrowed = readers["bo"].text("/library?category=training")
    assert "Scales" in narrowed
    assert "second edition" not in narrowed
    assert "No document is like this" in readers["bo"].text("/library?language=fr")


def test_a_documents_page_says_whose_it_is_and_what_it_replaces(
    group: Group, readers: dict[str, Visitor]
) -> None:
    page = " ".join(readers["bo"].text("/library/L-1").split())
    for said in ("Tusks, second edition", "Signed by Ana Berg", "checked again today", "manual",
                 "English (en)", "all members", "Version 1</a>", "replaced", "manual.pdf",
                 "TLP:GREEN", "/library/L-1/2/file/2/preview"):  # fmt: skip
        assert said in page, said
    old = " ".join(readers["bo"].text("/library/L-1/1").split())
    assert "There is a newer version" in old
    assert [one["document"] for one in group.ledger("document-read")][-2:] == ["L-1/2", "L-1"]


def test_only_who_decides_is_offered_to_decide(readers: dict[str, Visitor]) -> None:
    assert "approve%20L-3" in readers["lia"].text("/library/L-3")
    page = readers["ana"].text("/library/L-3")
    assert "approve%20L-3" not in page
    assert "It waits for a librarian" in page
    assert "approve%20" not in readers["lia"].text("/library/L-1")


def test_files_are_downloads_that_no_browser_acts_upon(
    group: Group, readers: dict[str, Visitor]
) -> None:
    answer = readers["bo"].get("/library/L-1/2/file/3")
    assert answer.content == FILES[2][2]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert ".." not in answer.headers["content-disposition"]
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert group.ledger("downloaded")[-1] | {"by": 0} == {"document": "L-1/2", "part": 3, "by": 0}
    small = readers["bo"].get("/library/L-1/2/file/2/preview")
    assert max(Image.open(io.BytesIO(small.content)).size) <= 320


def test_hostile_titles_and_names_are_shown_harmlessly(readers: dict[str, Visitor]) -> None:
    page = readers["ana"].text("/library/L-3")
    assert "<b>&#34;x" not in page
    assert "\u202e" not in page
    assert "&lt;b&gt;" in page
    assert "<script>alert" not in page


def test_what_was_withdrawn_leaves_a_tombstone(group: Group, readers: dict[str, Visitor]) -> None:
    label = hand_in(group, form("Mistaken"))
    group.say("lia", f"withdraw {label}")
    page = readers["bo"].text(f"/library/{label}")
    assert "This document was withdrawn" in page
    assert "Mistaken" not in page
    assert readers["bo"].get(f"/library/{label}/1/file/1").status_code == 404
    assert label not in readers["bo"].text("/library")


def test_what_was_damaged_is_said_and_not_shown(group: Group, readers: dict[str, Visitor]) -> None:
    label = hand_in(group, form("Damaged"))
    with group.app.database.transaction() as session:
        typed = library.typed_label(label)
        assert typed is not None
        document = session.get_one(library.Document, typed[0])
        document.versions[0].submission = document.versions[0].submission[:-1] + b"x"
    answer = readers["bo"].get(f"/library/{label}")
    assert answer.status_code == 400
    assert "was damaged" in answer.text


def test_alerts_stand_on_the_front_page_of_those_who_may_read_them(
    group: Group, readers: dict[str, Visitor]
) -> None:
    until = f"until: {group.app.clock():%Y}-12-31\n"
    label = hand_in(group, form("Forged permits", "alert", f"{until}topics: B\nTLP:AMBER\n"))
    assert f'/library/{label}"' in readers["bo"].text("/")
    assert "Forged permits" in readers["bo"].text("/")
    assert "Forged permits" not in readers["cy"].text("/")
    assert "An alert, shown until" in readers["bo"].text(f"/library/{label}")


def test_search_shows_documents_above_postings(group: Group, readers: dict[str, Visitor]) -> None:
    group.post("ana", subject="Scales at Mombasa")
    while run_due(group.app, INDEXING)["library-index"]:
        pass
    page = readers["bo"].text("/search?q=scales")
    assert page.index("In the Library") < page.index("at Mombasa")
    assert '<a href="/library/L-2" dir="auto"><mark>Scales</mark></a>' in page
    assert "In the Library" not in readers["cy"].text("/search?q=scales")
