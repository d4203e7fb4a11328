"""What holds for every page: everybody can use it, it fetches nothing from elsewhere, it fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

from tests.web.archive import Archive
from tests.web.conftest import AXE, Opened, ask

Member = Callable[..., BrowserContext]
WIDTHS = (360, 1600)
PAGES = (
    "/", "/B", "/G", "/{thread}", "/{answer}", "/{hostile}", "/{html}", "/{html}/html",
    "/{withdrawn}", "/{request}", "/{thread}/thread", "/{thread}/thread?view=nested",
    "/{hostile}/thread", "/search", "/search?q=rosewood", "/search?q=zwyrtk", "/search?q=%22open",
    "/search?q=from:cy+topic:B", "/library", "/library?category=alert", "/library/L-1",
    "/library/L-1/1", "/experts", "/experts?topic=B", "/requests", "/held", "/held/H-1", "/ledger",
    "/profile", "/help", "/help/search", "/B/999", "/nothing-here",
)  # fmt: skip
FOR_ALL = ("/login", "/login?back=/B", "/login/no-such-code", "/B")
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@dataclass
class Watched:
    """What a browser did while it showed pages. said: errors and warnings on its console."""

    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def watch(self, profile: BrowserContext) -> None:
        profile.on("request", self._asked)
        profile.on("console", self._told)
        profile.on("weberror", lambda error: self.said.append(str(error.error)))

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def _told(self, message: ConsoleMessage) -> None:
        # The browser says so of each page that is not there.
        if message.type in ("error", "warning") and "status of 40" not in message.text:
            self.said.append(message.text)


@pytest.fixture
def paths(archive: Archive) -> Callable[[str], str]:
    return lambda path: path.format(**archive.labels)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_works_without_scripts_or_anybody_elses_help(
    archive: Archive, member: Member, paths: Callable[[str], str], path: str
) -> None:
    """Nothing is asked of another site, nothing breaks the security policy, nothing is wider than a
    telephone, and there is one heading of the first level."""
    profile = member("ana", viewport={"width": 360, "height": 740})
    watched = Watched()
    watched.watch(profile)
    page = profile.new_page()
    answer = page.goto(paths(path))
    assert answer is not None
    assert answer.status == (404 if path in ("/B/999", "/nothing-here") else
                             400 if path == "/search?q=%22open" else 200)  # fmt: skip
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert page.locator("script, iframe, object, embed, [style], [onclick]").count() == 0
    check_fits(page)
    assert page.evaluate("document.fonts.size") == 0
    assert {one.removeprefix(archive.url)[:1] for one in watched.requests} == {"/"}
    assert watched.said == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_fault_that_axe_finds(
    member: Member, paths: Callable[[str], str], path: str
) -> None:
    profile = member("ana", java_script_enabled=True, bypass_csp=True)
    check_with_axe(profile.new_page(), paths(path))


@pytest.mark.parametrize("path", FOR_ALL)
def test_a_page_for_everybody_has_no_fault_that_axe_finds(opened: Opened, path: str) -> None:
    check_with_axe(opened(java_script_enabled=True, bypass_csp=True).new_page(), path)


def test_the_pages_of_a_login_have_no_fault_that_axe_finds(
    archive: Archive, opened: Opened
) -> None:
    page = opened(java_script_enabled=True, bypass_csp=True).new_page()
    link = ask(archive, page, "bo")
    check_here(page)
    page.goto(link)
    check_here(page)
    page.get_by_role("button", name="Log in now").click()
    page.goto(link)
    page.get_by_role("button", name="Log in now").click()
    assert page.get_by_role("heading", level=1).inner_text() == "This link is not good"
    check_here(page)
    page.goto("/profile")
    page.get_by_role("button", name="everywhere").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Logged out"
    check_here(page)


@pytest.mark.parametrize("language", ["fr", "es"])
def test_pages_fit_in_other_languages_too(archive: Archive, opened: Opened, language: str) -> None:
    page = opened(locale=language, viewport={"width": 360, "height": 740}).new_page()
    page.goto("/login")
    assert page.locator("html").get_attribute("lang") == language
    check_fits(page)


def check_fits(page: Page) -> None:
    """Whether nothing has to be scrolled sideways."""
    wide, seen = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= seen, f"{page.url} is {wide} pixels wide"


def check_with_axe(page: Page, path: str) -> None:
    page.goto(path)
    check_here(page)


def check_here(page: Page) -> None:
    """Narrow and wide, light and dark."""
    if not AXE.exists():
        pytest.skip("axe-core is not there: npm install --prefix .venv/axe axe-core")
    page.evaluate(AXE.read_text())
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        check_fits(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(
                "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})",
                list(RULES),
            )
            faults = {
                one["id"]: [each["html"] + " " + each["failureSummary"] for each in one["nodes"]]
                for one in found["violations"]
            }
            assert not faults, (
                f"{page.url}, {width} pixels, {scheme}: {json.dumps(faults, indent=1)}"
            )
