"""Logging in with a browser: from the mail to the page, and every way in which it does not go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from playwright.sync_api import BrowserContext, Page

from tests.web.archive import Archive
from tests.web.conftest import Opened, ask, log_in

Member = Callable[..., BrowserContext]


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


def test_a_member_comes_in_with_a_mail_and_a_button(archive: Archive, page: Page) -> None:
    page.goto("/")
    assert page.url == f"{archive.url}/login"
    log_in(archive, page, "bo")
    assert page.url == f"{archive.url}/"
    assert page.get_by_role("link", name="Bo Berg").first.is_visible()


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(
    archive: Archive, opened: Opened
) -> None:
    profile = opened()
    log_in(archive, profile.new_page(), "bo")
    (cookie,) = profile.cookies()
    assert cookie["name"].startswith("__Host-")
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")


def test_after_the_login_stands_the_page_that_was_wanted(archive: Archive, page: Page) -> None:
    wanted = f"/{archive.labels['thread']}"
    page.goto(wanted)
    log_in(archive, page, "bo", page.url)
    assert page.url == f"{archive.url}{wanted}"


def test_a_stranger_is_told_the_same_and_gets_no_mail(archive: Archive, page: Page) -> None:
    page.goto("/login")
    page.get_by_label("Your mail address").fill("nobody@elsewhere.example")
    page.get_by_role("button", name="Send me a link").click()
    told = page.inner_text("main")
    ask(archive, page, "bo")
    assert page.inner_text("main") == told
    assert "nobody@elsewhere.example" not in archive.gateway.recipients()


def test_a_link_is_good_only_where_it_was_asked_for(
    archive: Archive, page: Page, opened: Opened
) -> None:
    link = ask(archive, page, "bo")
    other = opened().new_page()
    other.goto(link)
    other.get_by_role("button", name="Log in now").click()
    assert heading(other) == "This link is not good"
    other.goto("/")
    assert heading(other) == "Log in"
    page.goto(link)
    page.get_by_role("button", name="Log in now").click()
    assert page.url == f"{archive.url}/"


def test_a_link_is_good_once(archive: Archive, opened: Opened) -> None:
    profile = opened()
    page = profile.new_page()
    link = ask(archive, page, "bo")
    page.goto(link)
    kept = profile.cookies()
    page.get_by_role("button", name="Log in now").click()
    profile.clear_cookies()
    profile.add_cookies(kept)  # type: ignore[arg-type]
    page.goto(link)
    page.get_by_role("button", name="Log in now").click()
    assert heading(page) == "This link is not good"


def test_a_link_is_good_for_ten_minutes(archive: Archive, page: Page) -> None:
    link = ask(archive, page, "bo")
    archive.gateway.pass_time(timedelta(minutes=10))
    page.goto(link)
    page.get_by_role("button", name="Log in now").click()
    assert heading(page) == "This link is not good"


def test_looking_at_a_link_does_not_spend_it(archive: Archive, page: Page, opened: Opened) -> None:
    """As mail servers do that open every link of a mail."""
    link = ask(archive, page, "bo")
    scanner = opened().request
    for method in ("HEAD", "GET", "GET"):
        assert scanner.fetch(link, method=method).status == 200
    page.goto(link)
    page.get_by_role("button", name="Log in now").click()
    assert page.url == f"{archive.url}/"


def test_logging_out_everywhere_ends_the_other_browser_too(
    archive: Archive, page: Page, opened: Opened
) -> None:
    log_in(archive, page, "cy")
    other = opened().new_page()
    log_in(archive, other, "cy")
    other.goto("/profile")
    other.get_by_role("button", name="everywhere").click()
    assert heading(other) == "Logged out"
    page.goto("/B")
    assert heading(page) == "Log in"


def test_the_command_to_log_out_everywhere_ends_a_session_at_once(
    archive: Archive, page: Page
) -> None:
    log_in(archive, page, "cy")
    archive.say("cy", "logout everywhere")
    page.goto("/")
    assert heading(page) == "Log in"


def test_a_page_of_another_site_leads_into_the_archive(archive: Archive, member: Member) -> None:
    """The session's cookie is not sent with a link on another site's page, such as a web mailer's:
    the archive has it sent by a page of its own."""
    page = member("bo").new_page()
    wanted = f"{archive.url}/{archive.labels['thread']}"
    page.route(
        "https://mailer.example/",
        lambda route: route.fulfill(
            content_type="text/html", body=f'<a href="{wanted}">Open the archive</a>'
        ),
    )
    page.goto("https://mailer.example/")
    page.get_by_role("link", name="Open the archive").click()
    page.get_by_text("84 logs under tea.").wait_for()
    assert page.url == wanted
