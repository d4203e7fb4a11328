"""Chromium, and an archive to look at with it. Without scripts, but where a test says otherwise."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.web.archive import Archive

AXE = Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

Opened = Callable[..., BrowserContext]


@pytest.fixture(scope="session")
def archive() -> Iterator[Archive]:
    made = Archive.start()
    try:
        made.fill()
        yield made
    finally:
        made.close()


# Not for the whole session: while Playwright runs, tests of other files can't use asyncio.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(archive: Archive, chromium: Browser) -> Iterator[Opened]:
    """Makes new browser profiles at the archive, which are gone after the test."""
    with ExitStack() as ends:

        def open_profile(**how: Any) -> BrowserContext:
            chosen = {"java_script_enabled": False, "base_url": archive.url, **how}
            context = chromium.new_context(**chosen)
            context.set_default_timeout(20_000)
            ends.callback(context.close)
            return context

        yield open_profile


@pytest.fixture
def page(opened: Opened) -> Page:
    """Nobody logged in."""
    return opened().new_page()


@pytest.fixture(scope="module")
def logins(archive: Archive, chromium: Browser) -> dict[str, Any]:
    """Profiles in which a member is logged in, by name; filled as they are asked for."""
    return {}


@pytest.fixture
def member(
    archive: Archive, opened: Opened, logins: dict[str, Any]
) -> Callable[..., BrowserContext]:
    """A profile in which a member is logged in."""

    def open_as(who: str, **how: Any) -> BrowserContext:
        if who not in logins:
            first = opened()
            log_in(archive, first.new_page(), who)
            logins[who] = first.storage_state()
        return opened(storage_state=logins[who], **how)

    return open_as


@pytest.fixture
def ana(member: Callable[..., BrowserContext]) -> Page:
    """Ana is a moderator, librarian and auditor."""
    return member("ana").new_page()


def ask(archive: Archive, page: Page, who: str, back: str = "/login") -> str:
    """Ask for a login mail on the page; the path of its link."""
    before = len(archive.mails(who))
    page.goto(back)
    page.get_by_label("Your mail address").fill(archive.officers[who].address)
    page.get_by_role("button", name="Send me a link").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Look into your mail"
    return archive.link_mailed(who, before)


def log_in(archive: Archive, page: Page, who: str, back: str = "/login") -> None:
    page.goto(ask(archive, page, who, back))
    page.get_by_role("button", name="Log in now").click()
