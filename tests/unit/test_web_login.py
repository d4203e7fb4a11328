"""Logging in to the web archive: the mail, the link, the button, and what ends a session."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from urllib.parse import urljoin, urlsplit

import httpx2 as httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import delete, event, select

from gateway.administration import logins
from gateway.app import App
from gateway.crypto.certificate import read
from gateway.store import certificate as store
from gateway.store import member
from gateway.store.member import State
from gateway.store.web_session import LoginRequest, WebSession
from gateway.web.login import safe_back
from gateway.web.profile import browser as in_words
from tests.officers import Officer
from tests.unit.group import Group
from tests.unit.visitor import HOST, Visitor, browser

STRANGER = "nobody@elsewhere.example"
NAMES = ("ana", "bo", "cy", "di", "ed", "fay", "gil")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(scope="module")
def whole() -> Iterator[Group]:
    with Group(dict.fromkeys(NAMES, ())) as made:
        yield made


@pytest.fixture
def group(whole: Group) -> Group:
    """The group as if nobody had asked for a login yet."""
    whole.later = timedelta()
    with whole.app.database.transaction() as session:
        session.execute(delete(LoginRequest))
        session.execute(delete(WebSession))
    whole.deliver()
    return whole


@pytest.fixture
def ana(group: Group) -> Iterator[Visitor]:
    """Ana's browser, not logged in."""
    with browser(group) as made:
        yield made


def app_of(visitor: Visitor) -> App:
    found: App = visitor.client.app.state.gateway  # type: ignore[attr-defined]
    return found


def is_in(visitor: Visitor) -> bool:
    return visitor.get("/profile").status_code == 200


def cookie_line(response: httpx.Response, name: str) -> str:
    (line,) = [one for one in response.headers.get_list("set-cookie") if one.startswith(name)]
    return line


# The mail, the link, the button


def test_a_member_logs_in_with_the_link_of_a_mail(ana: Visitor, group: Group) -> None:
    assert ana.get("/").headers["location"] == "/login"
    ana.log_in("ana")
    assert "Wildlife" in ana.text("/")
    assert group.ledger("login-sent")[-1] == group.ledger("logged-in")[-1] == {"by": 1}


def test_a_link_is_good_once(ana: Visitor) -> None:
    link = ana.ask("ana")
    mine = ana.client.cookies["__Host-login"]
    assert ana.post(link).status_code == 303
    ana.client.cookies.set("__Host-login", mine)
    assert ana.post(link).status_code == 403


def test_a_link_is_good_only_in_the_browser_that_asked(ana: Visitor, group: Group) -> None:
    link = ana.ask("ana")
    with browser(group) as other:
        assert other.post(link).status_code == 403
        other.ask("bo")
        assert other.post(link).status_code == 403
        assert not is_in(other)
    assert ana.post(link).status_code == 303


def test_a_link_is_good_for_ten_minutes(ana: Visitor, group: Group) -> None:
    link = ana.ask("ana")
    group.later = timedelta(minutes=9, seconds=50)
    with browser(group) as later:
        later.client.cookies.update(ana.client.cookies)
        group.later += timedelta(seconds=11)
        assert later.post(link).status_code == 403
        group.later -= timedelta(seconds=11)
        assert later.post(link).status_code == 303


def test_whoever_only_looks_at_a_link_does_not_spend_it(ana: Visitor, group: Group) -> None:
    link = ana.ask("ana")
    with browser(group) as scanner:
        pages = {scanner.text(link).replace(link, "") for _ in range(3)}
        assert scanner.client.head(link).status_code == 200
        nobodys = "/login/" + "x" * 32
        assert pages == {scanner.text(nobodys).replace(nobodys, "")}
    assert ana.post(link).status_code == 303


def test_a_browser_that_asks_twice_may_use_either_link(ana: Visitor) -> None:
    first, second = ana.ask("ana"), ana.ask("ana")
    assert first != second
    assert ana.post(first).status_code == 303


def test_two_who_press_the_button_at_once_are_one_login(ana: Visitor, group: Group) -> None:
    link = ana.ask("ana")
    with ExitStack() as ends:
        both = [ends.enter_context(browser(group)) for _ in range(4)]
        for one in both:
            one.client.cookies.update(ana.client.cookies)
        with ThreadPoolExecutor(4) as pool:
            statuses = sorted(pool.map(lambda one: one.post(link).status_code, both))
    assert statuses == [303, 403, 403, 403]


def test_of_two_processes_that_answer_one_does(ana: Visitor, group: Group) -> None:
    for _ in range(3):
        ana.post("/login", {"address": "ana@customs.example"})
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: logins.answer_due(group.app), range(4))) == 3
    assert [one.to for one in group.deliver()] == ["ana"] * 3


def test_what_was_asked_long_ago_is_not_answered(ana: Visitor, group: Group) -> None:
    ana.post("/login", {"address": "ana@customs.example"})
    group.later = timedelta(minutes=10)
    assert logins.answer_due(group.app) == 0
    group.later = timedelta()
    assert (logins.answer_due(group.app), group.deliver()) == (0, [])


# Strangers


def asked_for(group: Group, address: str) -> tuple[list[str], str, list[str]]:
    """The statements, the page and the names of the header fields of asking for a login."""
    with browser(group) as one:
        statements = []
        engine = app_of(one).database.engine
        one.get("/login")  # what a process does once is done

        def note(_: object, __: object, statement: str, *___: object) -> None:
            statements.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        answer = one.post("/login", {"address": address})
        return statements, f"{answer.status_code} {answer.text}", sorted(answer.headers)


def test_a_stranger_is_answered_as_a_member_is_and_by_the_same_work(group: Group) -> None:
    group.set_member("bo", state=State.SUSPENDED)
    try:
        members = asked_for(group, "ana@customs.example")
        assert "a mail with a link is on its way" in members[1]
        assert len(members[0]) > 3
        assert asked_for(group, STRANGER) == members
        assert asked_for(group, "bo@customs.example") == members
        logins.answer_due(group.app)
        assert [one.to for one in group.deliver()] == ["ana"]
    finally:
        group.set_member("bo", state=State.ACTIVE)


@pytest.mark.parametrize("address", ["", "ana", "ana@", "a b@customs.example", "@" * 500, "ana@x"])
def test_what_is_no_address_is_said_to_be_none(ana: Visitor, address: str) -> None:
    answer = ana.post("/login", {"address": address, "back": "/B"})
    if address == "ana@x":  # it may be one
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert "That is no mail address" in answer.text
    assert 'value="/B"' in answer.text


@pytest.mark.parametrize("address", ["ana@customs.example", STRANGER])
def test_one_address_gets_a_few_mails_an_hour(group: Group, address: str) -> None:
    with browser(group) as one, browser(group) as another:
        for _ in range(5):
            assert one.post("/login", {"address": address.upper()}).status_code == 200
        refused = another.post("/login", {"address": address})
        assert refused.status_code == 429
        assert "Wait an hour" in refused.text
        assert "set-cookie" not in refused.headers
        assert another.post("/login", {"address": "bo@customs.example"}).status_code == 200
        group.later = timedelta(minutes=61)
        assert another.post("/login", {"address": address}).status_code == 200


def test_one_client_asks_for_a_few_addresses_an_hour(ana: Visitor) -> None:
    for number in range(20):
        assert ana.post("/login", {"address": f"n{number}@customs.example"}).status_code == 200
    assert ana.post("/login", {"address": "ana@customs.example"}).status_code == 429


def test_a_customers_ipv6_network_is_one_client(group: Group) -> None:
    def same(one: str, other: str) -> bool:
        return logins.client_hash(group.app, one) == logins.client_hash(group.app, other)

    assert same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9")
    assert same("::ffff:192.0.2.1", "192.0.2.1")
    assert not same("2001:db8:1:2::1", "2001:db8:1:3::1")
    assert not same("192.0.2.1", "192.0.2.2")
    assert not same("testclient", "unknown")


# Cookies


def test_the_sessions_cookie_is_for_this_site_and_browser_alone(ana: Visitor) -> None:
    line = cookie_line(ana.post(ana.ask("ana")), "__Host-session=")
    given = [one.strip() for one in line.lower().split(";")[1:]]
    assert sorted(given) == ["httponly", "max-age=43200", "path=/", "samesite=strict", "secure"]
    other = cookie_line(ana.post("/login", {"address": STRANGER}), "__Host-login=").lower()
    assert {"httponly", "path=/", "samesite=lax", "secure"} <= {
        one.strip() for one in other.split(";")
    }


def test_neither_cookie_nor_code_nor_address_is_in_the_database(ana: Visitor, group: Group) -> None:
    ana.client.headers["user-agent"] = FIREFOX
    link = ana.ask("ana")
    browsers = ana.client.cookies["__Host-login"]
    ana.post("/login", {"address": STRANGER, "back": "/search?q=kryptonite"})
    ana.post(link)
    token = ana.client.cookies["__Host-session"]
    kept = group.gateway.dump()
    assert b"login_request" in kept
    code = link.rpartition("/")[2]
    for secret in (token, browsers, code, STRANGER, "kryptonite", "Gecko/20100101"):
        assert secret.encode() not in kept


def test_a_cookie_that_somebody_else_chose_is_not_taken(ana: Visitor, group: Group) -> None:
    ana.client.cookies.set("__Host-session", "chosen")
    answer = ana.post(ana.ask("ana"))
    token = cookie_line(answer, "__Host-session=").partition("=")[2].partition(";")[0]
    assert token != "chosen"
    with browser(group) as other:
        other.client.cookies.set("__Host-session", "chosen")
        assert not is_in(other)
        for odd in ("x" * 31, "a b", '"; Path=/x', "x" * 3000):
            asked = other.client.post(
                "/login", data={"address": STRANGER}, headers={"Cookie": f"__Host-login={odd}"}
            )
            kept = cookie_line(asked, "__Host-login=").partition(";")[0]
            assert re.fullmatch(r"__Host-login=[\w-]{32}", kept), odd


def test_a_new_login_ends_the_browsers_earlier_one(ana: Visitor, group: Group) -> None:
    ana.log_in("ana")
    earlier = ana.client.cookies["__Host-session"]
    ana.log_in("ana")
    assert ana.client.cookies["__Host-session"] != earlier
    with browser(group) as other:
        other.client.cookies.set("__Host-session", earlier)
        assert not is_in(other)


# What ends a session


def mark_certificate(group: Group, name: str, **values: object) -> None:
    with group.app.database.transaction() as session:
        held = store.of(session, member.get(session, group.officers[name].address))
        for key, value in values.items():
            setattr(held, key, value)


def replace_certificate(group: Group, name: str) -> None:
    with (
        Officer.create("sequoia", "Di Berg", "di@customs.example") as new,
        group.app.database.transaction() as session,
    ):
        found = member.get(session, group.officers[name].address)
        store.replace(session, found, read(new.certificate), group.app.clock())


def order(word: str) -> Callable[[Group, str], object]:
    return lambda group, name: group.gateway.environet("member", word, group.officers[name].address)


ENDS: dict[str, tuple[str, Callable[[Group, str], object]]] = {
    "logged out by mail": ("bo", lambda group, name: group.say(name, "logout everywhere")),
    "suspended": ("cy", order("suspend")),
    "certificate replaced": ("di", replace_certificate),
    "certificate revoked": (
        "ed", lambda group, name: mark_certificate(group, name, revoked_at=group.app.clock())
    ),
    "removed": ("fay", order("remove")),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDS)
def test_a_session_ends_at_once_when_its_member_is(group: Group, what: str) -> None:
    name, happens = ENDS[what]
    with browser(group) as one, browser(group) as two:
        one.log_in(name)
        two.log_in(name)
        link = one.ask(name)
        happens(group, name)
        assert not is_in(one)
        assert not is_in(two)
        assert one.post(link).status_code == 403


def test_who_is_restored_logs_in_anew(group: Group) -> None:
    group.gateway.environet("member", "restore", "cy@customs.example")
    with browser(group) as cy:
        cy.log_in("cy")
        order("suspend")(group, "cy")
        order("restore")(group, "cy")
        assert not is_in(cy)
        cy.log_in("cy")
        assert is_in(cy)


def test_an_expired_certificate_ends_it_and_gets_no_link(ana: Visitor, group: Group) -> None:
    ana.log_in("gil")
    mark_certificate(group, "gil", serves_until=group.app.clock())
    assert not is_in(ana)
    ana.post("/login", {"address": "gil@customs.example"})
    assert logins.answer_due(group.app) == 0


def test_a_session_lasts_twelve_hours(ana: Visitor, group: Group) -> None:
    ana.log_in("ana")
    group.later = timedelta(hours=11, minutes=59)
    assert is_in(ana)
    group.later = timedelta(hours=12, seconds=5)
    assert not is_in(ana)


def test_logging_out_ends_this_session_alone(ana: Visitor, group: Group) -> None:
    ana.log_in("ana")
    with browser(group) as other:
        other.log_in("ana")
        answer = ana.post("/logout")
        assert "Logged out" in answer.text
        assert "max-age=0" in cookie_line(answer, "__Host-session=").lower()
        assert not is_in(ana)
        assert is_in(other)
        assert group.ledger("logged-out")[-1] == {"by": 1, "member": 1, "sessions": 1}


def test_logging_out_everywhere_ends_all_of_ones_own(ana: Visitor, group: Group) -> None:
    with browser(group) as other, browser(group) as bo:
        for one, who in ((ana, "ana"), (other, "ana"), (bo, "bo")):
            one.log_in(who)
        ana.post("/logout", {"which": "all"})
        assert [is_in(one) for one in (ana, other, bo)] == [False, False, True]


def session_numbers(visitor: Visitor) -> list[str]:
    return re.findall(r'name="which" value="(\d+)"', visitor.text("/profile"))


def test_one_session_is_ended_by_its_number_where_it_is_ones_own(
    ana: Visitor, group: Group
) -> None:
    ana.log_in("ana")
    with browser(group) as other, browser(group) as bo:
        other.log_in("ana")
        bo.log_in("bo")
        (number,) = session_numbers(ana)
        entries = len(group.ledger("logged-out"))
        assert bo.post("/logout", {"which": number}).headers["location"] == "/profile"
        assert is_in(other)
        assert len(group.ledger("logged-out")) == entries
        assert ana.post("/logout", {"which": number}).headers["location"] == "/profile"
        assert (is_in(ana), is_in(other)) == (True, False)


@pytest.mark.parametrize("which", ["", "junk", "-1", "1 OR 1=1", "9" * 10, "9" * 5000, "²", "١"])
def test_a_number_that_is_none_ends_nothing(ana: Visitor, which: str) -> None:
    ana.log_in("ana")
    assert ana.post("/logout", {"which": which}).status_code == 400
    assert is_in(ana)


# Forms of other sites


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": HOST}, True),
        ({}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": HOST}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": HOST + ".evil.example"}, False),
        ({"Origin": HOST.replace("https", "http")}, False),
        ({"Origin": "https://evil.example", "Host": "archive.environet.example"}, False),
    ],
)
def test_a_form_is_taken_from_pages_of_this_site_alone(
    ana: Visitor, group: Group, headers: dict[str, str], own: bool
) -> None:
    link = ana.ask("ana")
    with browser(group) as other:
        asked = other.post("/login", {"address": STRANGER}, headers=headers)
    assert asked.status_code == (200 if own else 403)
    assert ("set-cookie" in asked.headers) == own
    assert ana.post(link, headers=headers).status_code == (303 if own else 403)
    if own:
        assert ana.post("/logout", headers=headers).status_code == 200
    else:
        assert "another site" in asked.text


# Coming back


def test_who_was_asked_to_log_in_comes_back_to_the_page(ana: Visitor, group: Group) -> None:
    asked = ana.get("/search?q=false+bottom&order=newest").headers["location"]
    assert asked == "/login?back=/search%3Fq%3Dfalse%2Bbottom%26order%3Dnewest"
    found = re.search(r'name="back" value="([^"]*)"', ana.text(asked))
    assert found
    back = found[1].replace("&amp;", "&")
    ana.post("/login", {"address": "ana@customs.example", "back": back})
    logins.answer_due(group.app)
    (mail,) = group.deliver()
    link = re.search(r"/login/\S+", mail.text)
    assert link
    answer = ana.post(link[0])
    assert answer.headers["location"] == "/search?q=false+bottom&order=newest"


@given(st.text(max_size=60) | st.from_regex(r"[/\\]{1,3}[a-z.:@?#%\\/\t]{0,20}", fullmatch=True))
@example("//evil.example")
@example("/\\evil.example")
@example("/\t/evil.example")
@example("\\/evil.example")
@example("https:evil.example")
@example("/login?back=/")
def test_nobody_is_brought_to_another_site(path: str) -> None:
    back = safe_back(path)
    assert back in ("", path)
    if back:
        # As browsers read it: backslashes are slashes, tabs and line ends are nothing.
        read_so = re.sub(r"[\t\r\n]", "", back).replace("\\", "/")
        assert urlsplit(urljoin(HOST, read_so)).netloc == urlsplit(HOST).netloc
        assert "\r" not in back
        assert "\n" not in back


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nSet-Cookie: a=b",
             "javascript:alert(1)", "/" + "a" * 2000, "/%0d%0aX: y", "/login/x", "/logout"],
)  # fmt: skip
def test_back_is_a_path_of_this_site_or_nothing(ana: Visitor, group: Group, back: str) -> None:
    ana.post("/login", {"address": "ana@customs.example", "back": back})
    logins.answer_due(group.app)
    (mail,) = group.deliver()
    link = re.search(r"/login/\S+", mail.text)
    assert link
    answer = ana.post(link[0])
    assert answer.headers["location"] == ("/%0d%0aX:%20y" if back.startswith("/%") else "/")
    assert "evil" not in str(answer.headers)


def test_a_link_from_another_site_goes_on_with_the_cookie(ana: Visitor) -> None:
    """As a browser does: a cookie that is SameSite=Strict is not sent along with it."""
    ana.log_in("ana")
    session = ana.client.cookies["__Host-session"]
    ana.client.cookies.clear()
    first = ana.get("/profile?a=1&b=2", headers={"Sec-Fetch-Site": "cross-site"})
    assert first.status_code == 200
    assert 'content="0; url=/profile?a=1&amp;b=2"' in first.text
    assert "Ana" not in first.text
    ana.client.cookies.set("__Host-session", session)
    assert "Ana Berg" in ana.text("/profile?a=1&b=2")


@pytest.mark.parametrize(
    "path", ["/%5Cevil.example", "/%09%5Cevil.example", "/%5C%5Cevil.example", '/"><script>',
             "/B/1?x=\\\\evil.example", "/;url=//evil.example", "/%0a//evil.example"],
)  # fmt: skip
@pytest.mark.parametrize("host", ["archive.environet.example", "evil.example", "[", "a/b", "@"])
def test_it_goes_on_to_this_site_alone(ana: Visitor, path: str, host: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Host": host}
    answer = ana.get(path, headers=headers)
    for onward in re.findall(r"url=([^\"]*)\"", answer.text):
        assert re.match(r"/($|[^/\\])", onward)
        assert "\\" not in onward
        assert "<" not in onward
    assert answer.status_code in (200, 404)
    del headers["Sec-Fetch-Site"]
    assert ana.get(path, headers=headers).headers.get("location", "/login").startswith("/login")


# By mail


def test_who_trusts_their_mail_program_alone_gets_a_link_there(ana: Visitor, group: Group) -> None:
    answer = group.ask("ana", "login")
    link = re.search(r"https://archive\.environet\.example(/login/\S+)", answer.text)
    assert link
    assert answer.reading.pkesk_key_ids
    with browser(group) as other:
        assert other.text(link[1])
        assert ana.post(link[1]).headers["location"] == "/"
        assert other.post(link[1]).status_code == 403
    assert is_in(ana)


def test_logging_out_everywhere_spends_the_links_on_their_way(ana: Visitor, group: Group) -> None:
    link = re.search(r"/login/\S+", group.ask("ana", "login").text)
    assert link
    assert "Sessions that ended: 0." in group.say("ana", "logout everywhere")
    assert ana.post(link[0]).status_code == 403


def test_links_by_mail_count_for_nobodys_limit(ana: Visitor, group: Group) -> None:
    for _ in range(6):
        group.say("ana", "login")
    ana.log_in("ana")


@pytest.mark.parametrize(
    ("typed", "zone"),
    [("Europe/Paris", "Europe/Paris"), ("america/new york", "America/New_York"),
     ("Nairobi", "Africa/Nairobi"), ("utc", "UTC"), ("country", "Africa/Nairobi"),
     ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires")],
)  # fmt: skip
def test_a_member_chooses_the_time_zone_of_the_archive(
    ana: Visitor, group: Group, typed: str, zone: str
) -> None:
    try:
        assert f"shows you times in {zone}." in group.say("ana", f"timezone {typed}")
        assert f"Time zone: {zone}" in group.say("ana", "profile")
        ana.log_in("ana")
        assert zone.replace("_", " ") in ana.text("/profile")
    finally:
        group.set_member("ana", time_zone="")


@pytest.mark.parametrize(
    ("typed", "why"),
    [("Europe/Pariss", "did you mean: Europe/Paris"), ("Mordor", "name a continent and a city"),
     ("", "say which"), ("../../etc/passwd", "name a continent and a city")],
)  # fmt: skip
def test_a_time_zone_that_there_is_not_is_said_to_be_none(
    group: Group, typed: str, why: str
) -> None:
    assert why in group.say("ana", f"timezone {typed}".strip())


# The profile


def test_the_profile_has_particulars_and_sessions(ana: Visitor, group: Group) -> None:
    ana.client.headers["user-agent"] = FIREFOX
    ana.log_in("ana")
    group.say("ana", "tick off E")
    try:
        text = ana.text("/profile")
    finally:
        group.say("ana", "tick on E")
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert "ana@customs.example" in words
    assert "Inspectorate (agency) Country Kenya (KE)" in words
    assert "Firefox, Linux – this one" in words
    fingerprint = group.officers["ana"].fingerprint
    assert " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4)) in words
    assert "mailto:gateway@environet.example?subject=tick%20on%20E&amp;body=tick%20on%20E" in text
    assert "subject=tick%20off%20B" in text


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
         "Gecko) Version/17.5 Mobile/15E148 Safari/604.1", "Safari, iPhone"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Mobile Safari/537.36", "Chrome, Android"),
        ("curl/8.5.0", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_browser_is_told_in_words(agent: str, words: str) -> None:
    assert in_words(agent) == words


def test_a_browser_that_calls_itself_anything_is_kept_and_shown(ana: Visitor, group: Group) -> None:
    agent = b"\xff\x80<script>" + b"x" * 5000
    answer = ana.post(ana.ask("ana"), headers={b"User-Agent": agent})
    assert answer.status_code == 303
    assert "<script" not in ana.text("/profile")
    with group.app.database.reading() as session:
        (row,) = session.scalars(select(WebSession))
        assert len(row.agent) < 1000
