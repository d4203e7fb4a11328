"""Finding and reading with a browser, its scripts off: threads, attachments, search, the Library;
with keys alone, and on paper."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pypdf
import pytest
from playwright.sync_api import BrowserContext, Locator, Page

from tests.web.archive import Archive
from tests.web.conftest import Opened, ask

Member = Callable[..., BrowserContext]
MOST_STEPS = 60
"""Times that Tab is pressed to reach something."""


def downloaded(page: Page, link: Locator) -> tuple[str, bytes]:
    """File name and content of what a link brings."""
    with page.expect_download() as waiting:
        link.click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def test_a_thread_is_found_in_its_topic_and_read(archive: Archive, ana: Page) -> None:
    ana.goto("/")
    ana.get_by_role("link", name="B Wildlife").click()
    ana.get_by_role("link", name="Rosewood at Pointe-Noire").click()
    assert ana.get_by_role("heading", level=1).inner_text() == "Rosewood at Pointe-Noire"
    assert ana.get_by_role("article").count() == 3
    first, answer, last = ana.get_by_role("article").all()
    assert "84 logs under tea." in first.inner_text()
    assert "Bo Berg, Inspectorate, Kenya" in first.inner_text()
    assert "TLP:AMBER" in first.inner_text()
    assert "Aquí también." in last.inner_text()
    assert "Signed by Ana Lind" in answer.inner_text()


def test_a_long_quotation_is_folded_and_opens_without_scripts(archive: Archive, ana: Page) -> None:
    ana.goto(f"/{archive.labels['answer']}")
    hidden = ana.get_by_text("The shipper has moved.")
    assert not hidden.is_visible()
    ana.locator("summary").first.click()
    assert hidden.is_visible()


def test_who_answered_whom_is_an_outline_and_a_view(archive: Archive, ana: Page) -> None:
    ana.goto(f"/{archive.labels['thread']}/thread")
    outline = ana.get_by_role("navigation", name="Who answered whom")
    assert outline.get_by_role("link").count() == 3
    outline.get_by_role("link").last.click()
    assert "#B-" in ana.url
    ana.goto(f"/{archive.labels['thread']}/thread?view=nested")
    assert ana.locator("main li li li article").inner_text().find("Aquí también.") > 0


def test_an_attachment_comes_as_a_file_and_a_picture_is_shown(archive: Archive, ana: Page) -> None:
    ana.goto(f"/{archive.labels['thread']}")
    name, content = downloaded(ana, ana.get_by_role("link", name="seals.csv").first)
    assert (name, content) == ("seals.csv", b"seal;count\nA-17;84\n")
    picture = ana.locator("img").first
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 100


def test_a_hostile_file_name_and_type_are_made_harmless(archive: Archive, ana: Page) -> None:
    ana.goto(f"/{archive.labels['hostile']}")
    assert "<script>alert(1)</script>" in ana.get_by_role("heading", level=1).inner_text()
    assert "\u202e" not in ana.content()
    name, content = downloaded(ana, ana.locator(".attachments a").first)
    assert "\u202e" not in name
    assert len(name) < 256
    assert b"tracker.example" in content


def test_html_is_shown_on_request_and_fetches_nothing(archive: Archive, ana: Page) -> None:
    asked: list[str] = []
    ana.context.on("request", lambda request: asked.append(request.url))
    ana.goto(f"/{archive.labels['html']}")
    ana.locator(f'a[href="/{archive.labels["html"]}/html"]').click()
    assert ana.get_by_text("seal A-17").is_visible()
    assert ana.locator("main script, main iframe, main link, main [style]").count() == 0
    assert not [one for one in asked if not one.startswith(archive.url)]


def test_a_withdrawn_posting_is_a_tombstone(archive: Archive, ana: Page) -> None:
    ana.goto(f"/{archive.labels['withdrawn']}")
    assert "withdrawn" in ana.inner_text("main")
    assert "A mistake" not in ana.content()


def test_a_search_finds_and_says_how(archive: Archive, ana: Page) -> None:
    ana.goto("/")
    ana.get_by_role("searchbox").fill("logs topic:B")
    ana.get_by_role("button", name="Search").click()
    assert ana.get_by_role("searchbox").input_value() == "logs topic:B"
    hit = ana.locator(".hits li").first
    assert "Rosewood at Pointe-Noire" in hit.inner_text()
    assert "logs" in [one.inner_text() for one in hit.locator("mark").all()]
    hit.get_by_role("link").first.click()
    assert "84 logs under tea." in ana.inner_text("main")


def test_a_faulty_search_offers_one_that_works(archive: Archive, ana: Page) -> None:
    ana.goto("/search?q=%22logs")
    assert ana.locator(".fault").is_visible()
    ana.locator(".fault a, .fault ~ p a").first.click()
    ana.locator(".hits li").first.wait_for()


def test_a_document_is_downloaded_from_the_library(archive: Archive, ana: Page) -> None:
    ana.goto("/")
    assert ana.get_by_text("Fumigated containers").is_visible()
    ana.get_by_role("link", name="Library", exact=True).click()
    ana.get_by_role("link", name="Rosewood in sawn timber").click()
    assert "Three woods, and how to tell them apart." in ana.inner_text("main")
    name, content = downloaded(ana, ana.get_by_role("link", name="guide.pdf").first)
    assert (name, content) == ("guide.pdf", b"%PDF-1.4\n")


def test_reading_and_downloading_are_in_the_ledger(archive: Archive, ana: Page) -> None:
    label = archive.labels["answer"]
    ana.goto(f"/{label}")
    ana.goto("/ledger")
    newest = ana.get_by_role("row").filter(has_text=label.replace("/", "-")).first.inner_text()
    # She is member 1.
    assert "read" in newest.split()
    assert "by 1 " in newest


def test_everything_can_be_done_with_keys_alone(archive: Archive, opened: Opened) -> None:
    page = opened(viewport={"width": 1200, "height": 800}).new_page()
    page.goto(ask(archive, page, "bo"))
    # The button gets the focus by itself, as the browser draws the page.
    page.locator("button:focus").wait_for()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the content"
    box = skip.bounding_box()
    assert box is not None
    assert box["y"] >= 0
    assert box["height"] >= 16
    page.keyboard.press("Enter")
    go_to(page, "B Wildlife")
    go_to(page, "Rosewood at Pointe-Noire")
    page.get_by_text("84 logs under tea.").wait_for()
    press_access_key(page, "/", "Slash", 191)
    assert page.locator(":focus").get_attribute("name") == "q"


def press_access_key(page: Page, key: str, code: str, number: int) -> None:
    """Alt and a key, as a keyboard sends it: Playwright leaves out what the key stands for."""
    pressed = {"modifiers": 1, "key": key, "code": code, "windowsVirtualKeyCode": number,
               "text": key, "unmodifiedText": key}  # fmt: skip
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchKeyEvent", {"type": "keyDown", **pressed})
    session.send("Input.dispatchKeyEvent", {"type": "keyUp", **pressed})
    session.detach()


def go_to(page: Page, name: str) -> None:
    """Press Tab until a link has the focus, which is to be seen at each step; then Enter."""
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        assert focused.evaluate(
            "one => { const look = getComputedStyle(one);"
            " return look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 2 }"
        ), f"no focus to be seen on {focused.inner_text()!r}"
        if name in focused.inner_text():
            with page.expect_navigation():
                page.keyboard.press("Enter")
            return
    raise AssertionError(f"{name!r} is not reached within {MOST_STEPS} steps")


@pytest.mark.parametrize("view", ["", "?view=nested"])
def test_a_thread_on_paper_has_all_its_text_and_nothing_to_click(
    archive: Archive, ana: Page, view: str
) -> None:
    ana.goto(f"/{archive.labels['thread']}/thread{view}")
    printed = pypdf.PdfReader(io.BytesIO(ana.pdf(format="A4")))
    text = " ".join("".join(one.extract_text() for one in printed.pages).split())
    for said in ("84 logs under tea.", "Aquí también.", "Signed by Ana Lind", "TLP:AMBER"):
        assert said in text
    # Folded on the screen.
    assert "The shipper has moved." in text
    assert "Reply" not in text
    assert "Search" not in text
