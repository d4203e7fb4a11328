"""A scanner of ours: every address of the web archive, asked in every wrong way."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx2 as httpx
import pytest
from starlette.routing import Route
from starlette.types import Message

from gateway.web.forms import MOST_BYTES
from gateway.web.site import ROUTES
from tests.unit.group import Group
from tests.unit.searchers import group_on
from tests.unit.visitor import Visitor, browser

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
WHO = ("stranger", "member", "all")
EXAMPLES = {"letter": "B", "number": "1", "code": "x" * 32, "label": "L-1", "hold": "H-1"}
"""Path parameter -> a value; "1" for the others."""
SECRET = "kryptonite"
ALWAYS = (
    "Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options",
    "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Permissions-Policy",
    "Cache-Control", "X-Robots-Tag", "Strict-Transport-Security",
)  # fmt: skip
TAKING = ("/login", "/login/" + "x" * 32, "/logout")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    roles = ("administrator", "moderator", "librarian", "auditor", "expert:B")
    with Group({"ana": (), "all": roles}) as made:
        made.post("ana", attachments=[("map.png", "image/png", b"\x89PNG nothing")])
        yield made


@pytest.fixture(scope="module")
def visitors(group: Group) -> Iterator[dict[str, Visitor]]:
    with ExitStack() as ends:
        found = {who: ends.enter_context(browser(group)) for who in WHO}
        found["member"].log_in("ana")
        found["all"].log_in("all")
        yield found


@pytest.fixture(scope="module")
def on_postgresql() -> Iterator[Visitor]:
    roles = ("administrator", "moderator", "librarian", "auditor")
    with group_on("postgresql", {"all": roles}) as made, browser(made) as there:
        made.post("all")
        yield there.log_in("all")


def paths() -> list[str]:
    return sorted({one.path for one in ROUTES if isinstance(one, Route)})


def filled(path: str) -> str:
    return re.sub(r"{(\w+)(?::\w+)?}", lambda found: EXAMPLES.get(found[1], "1"), path)


def allowed(path: str) -> set[str]:
    found = [one for one in ROUTES if isinstance(one, Route) and one.path == path]
    return {method for one in found for method in one.methods or ()}


def check(answer: httpx.Response) -> None:
    """What is true of every response."""
    assert answer.status_code < 500, answer.text
    missing = [name for name in ALWAYS if name not in answer.headers]
    assert missing == []
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")
    assert "script-src" not in policy.replace("script-src 'none'", "")
    if "style.css" not in str(answer.request.url):
        assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "server" not in answer.headers
    assert not any("injected" in name.lower() for name in answer.headers)
    for name in ("location", "set-cookie", "content-disposition", "link"):
        for value in answer.headers.get_list(name):
            assert "\r" not in value
            assert "\n" not in value
    assert not re.match(r"(https?:)?//", answer.headers.get("location", ""))


# Every address


def test_the_list_of_addresses_is_the_program() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "urls.md").read_text(), re.MULTILINE)
    listed = {
        re.sub(r"/(B|\d+|[LH]-\d+|CODE|HASH|environet.example)(?=/|$)", "/{}", one) for one in rows
    }
    assert {re.sub(r"(?<=/)([LH]-)?{[^}]*}", "{}", one) for one in paths()} == listed


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("who", WHO)
def test_every_address_answers_its_methods_and_no_other(
    visitors: dict[str, Visitor], who: str, path: str
) -> None:
    one, theirs = visitors[who], allowed(path)
    for method in METHODS:
        if (path, method) == ("/logout", "POST") and who != "stranger":
            continue  # they are needed below
        answer = one.client.request(method, filled(path), follow_redirects=False)
        check(answer)
        if method not in theirs:
            assert answer.status_code == 405
            said = {each.strip() for each in answer.headers["Allow"].split(",")}
            assert said == theirs
        else:
            assert answer.status_code in (200, 303, 400, 403, 404)
    if {"GET", "HEAD"} <= theirs:
        got, head = (one.client.request(each, filled(path), follow_redirects=False)
                     for each in ("GET", "HEAD"))  # fmt: skip
        assert got.status_code == head.status_code
        assert got.headers.get("content-type") == head.headers.get("content-type")


def test_only_the_login_takes_anything() -> None:
    taking = {path for path in paths() if allowed(path) - {"GET", "HEAD"}}
    assert taking == {"/login", "/login/{code}", "/logout"}
    assert all(allowed(path) <= {"GET", "HEAD", "POST"} for path in paths())


@pytest.mark.parametrize("path", paths())
def test_a_stranger_is_shown_the_login_and_nothing_else(
    visitors: dict[str, Visitor], path: str
) -> None:
    if (
        "GET" not in allowed(path)
        or path in ("/style.css", "/robots.txt", "/logout")
        or path.startswith("/.well-known/")
        or "login" in path
    ):
        return
    answer = visitors["stranger"].get(filled(path))
    assert (answer.status_code, answer.text) == (303, "")
    assert answer.headers["location"].startswith("/login")


JUNK = (
    "", "x", "-1", "9" * 30, "9" * 5000, "%00", "%ff%fe", "%ed%a0%80", "\u00b2", "1e9", "'\"",
    "%0d%0aInjected:%20yes", "../../etc/passwd", "%25s", "\u202e", "[", "(" * 200, "a OR " * 200,
)  # fmt: skip
NAMES = ("q", "before", "after", "order", "page", "view", "category", "topic", "language", "v")


@pytest.mark.parametrize("path", paths())
def test_no_query_is_our_fault(visitors: dict[str, Visitor], path: str) -> None:
    everything = ["&".join(f"{name}={value[:500]}" for name in NAMES) for value in JUNK]
    alone = [f"{name}={JUNK[at % len(JUNK)]}" for at, name in enumerate(NAMES * 2)]
    few = 6 if path.endswith((".mbox", ".zip")) else 1  # each is signed
    for query in (*everything[::few], *alone[::few], "q=" + "9" * 5000):
        check(visitors["all"].get(f"{filled(path)}?{query}"))


@pytest.mark.parametrize("path", [one for one in paths() if "{" in one])
def test_no_part_of_a_path_is_our_fault(visitors: dict[str, Visitor], path: str) -> None:
    for name in re.findall(r"{(\w+)", path):
        for value in JUNK:
            odd = re.sub(rf"{{{name}(:\w+)?}}", "\0", path).replace("\0", value)
            answer = visitors["all"].get(filled(odd))
            check(answer)
            assert name == "code" or answer.status_code in (200, 400, 404, 405)


@pytest.mark.parametrize("value", ["2147483648", "9" * 18, "%00", "a%00b"])
def test_no_value_is_too_much_for_postgresql(on_postgresql: Visitor, value: str) -> None:
    for path in paths():
        for name in re.findall(r"{(\w+)", path):
            check(on_postgresql.get(filled(path.replace(f"{{{name}}}", value))))
    for path in ("/", "/B", "/B/1/thread", "/library", "/experts", "/ledger", "/login"):
        for name in NAMES:
            check(on_postgresql.get(f"{path}?{name}={value}"))
    for field in ("thread:B-", "thread:", "topic:", "from:", "subject:", "date:", ""):
        check(on_postgresql.get(f"/search?q={field}{value}"))
    check(on_postgresql.post("/logout", {"which": value}))


def test_no_number_in_a_command_is_too_much_for_postgresql(on_postgresql: Visitor) -> None:
    group = on_postgresql.group
    for line in ("get B-%s", "thread B-%s", "approve H-%s", "accept A-%s", "get L-%s"):
        assert "2147483648" in group.say("all", line % "2147483648")


ODD_PATHS = (
    "//", "//evil.example", "//evil.example/", "/%2f%2fevil.example", "/..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd", "/B/..%2f1", "/B/1%00", "/%00", "/B/%ff", "/" + "a" * 8000,
    "/B/1/", "/B//1", "/b/1", "/B/01", "/B/+1", "/B/1;a=b", "/B/1%20", "/B/1%0aInjected:%20yes",
    "/style.css/", "/static/style.css", "/.git/config", "/environet.sqlite", "/login/", "/%5Cevil",
    "/.well-known/security.txt", "/B/1/attachment/..%2f..%2f1", "/B/1/attachment/-1", "/{letter}",
)  # fmt: skip


@pytest.mark.parametrize("path", ODD_PATHS)
@pytest.mark.parametrize("who", WHO)
def test_an_address_that_is_none_is_not_there(
    visitors: dict[str, Visitor], who: str, path: str
) -> None:
    answer = visitors[who].get("https://archive.environet.example" + path)
    check(answer)
    assert answer.status_code in (303, 400, 404) or path == "/login/"
    if who != "stranger":
        assert answer.status_code in (400, 404)


ODD_HEADERS: tuple[dict[bytes, bytes], ...] = (
    {b"Host": b"evil.example"}, {b"Host": b"["}, {b"Host": b"a b"}, {b"Host": b""},
    {b"Host": b"evil.example/x?"}, {b"X-Forwarded-Host": b"evil.example"},
    {b"X-Forwarded-Prefix": b"//evil.example"}, {b"X-Original-URL": b"/ledger"},
    {b"X-HTTP-Method-Override": b"DELETE"}, {b"Accept-Language": b"\xff\xfe"},
    {b"Accept-Language": b"x" * 9000}, {b"Accept-Language": b"_,-,;q,en--,zz_ZZ_ZZ_ZZ;q=x,*"},
    {b"Accept-Language": b"e, e-, en_, -en, 1, fr-\xe9"}, {b"Cookie": b"\xff" * 50},
    {b"Cookie": b"__Host-session=" + b"x" * 20000}, {b"Cookie": b"=; ;;=a; __Host-session"},
    {b"Cookie": b'__Host-session="a\\"; __Host-session=\xe9'}, {b"User-Agent": b"\xff" * 9000},
    {b"Sec-Fetch-Site": b"cross-site"}, {b"Range": b"bytes=0-,-1,5-2"}, {b"Accept": b"\x80"},
    {b"If-None-Match": b'"' * 500}, {b"If-Modified-Since": b"never"},
)  # fmt: skip


@pytest.mark.parametrize("headers", ODD_HEADERS)
@pytest.mark.parametrize("who", WHO)
def test_no_header_is_our_fault(
    visitors: dict[str, Visitor], who: str, headers: dict[bytes, bytes]
) -> None:
    for path in ("/", "/B", "/B/1", "/login", "/profile", "/nowhere/at/all", "/style.css"):
        answer = visitors[who].get(path, headers=headers)
        check(answer)
        assert "evil" not in answer.text
        assert "evil" not in str(answer.headers)


# Forms


@pytest.mark.parametrize("path", TAKING)
@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"a=" + b"x" * MOST_BYTES, 413),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=b" % n for n in range(11)), 400),
        ("multipart/form-data; boundary=x", b"--x\r\n" * 100, 415),
        ("multipart/form-data", b"x", 415),
        ("application/json", b"{}", 415),
        ("text/plain", b"address=ana@customs.example", 415),
        ("", b"address=ana@customs.example", 415),
        ("\x00/\xff", b"a", 415),
    ],
)
def test_a_form_that_is_none_is_not_taken(
    visitors: dict[str, Visitor], path: str, kind: str, body: bytes, status: int
) -> None:
    headers = {b"Content-Type": kind.encode("latin-1")}
    answer = visitors["stranger"].client.post(path, content=body, headers=headers)
    check(answer)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [b"", b"=", b"&&&", b"%", b"%zz=%", b"address=%ff%00", b"address=%ed%a0%80", b"\xff\xfe=\x00",
     b"address=a&address=b&back=/&back=//x", b"which=all&which=9"],
)  # fmt: skip
@pytest.mark.parametrize("path", TAKING)
def test_no_form_is_our_fault(visitors: dict[str, Visitor], path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-7"}
    answer = visitors["stranger"].client.post(path, content=body, headers=headers)
    check(answer)
    assert answer.status_code in (200, 400, 403)


@pytest.mark.parametrize("length", [None, b"99999999", b"9" * 400, b"-1", b"x", b"\xb2"])
def test_a_large_form_is_refused_before_it_is_read(
    visitors: dict[str, Visitor], length: bytes | None
) -> None:
    """length: what it says of itself; None: nothing, as chunks have it."""
    taken = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal taken
        taken += 4096
        return {"type": "http.request", "body": b"x" * 4096, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"a")]
    headers += [] if length is None else [(b"content-length", length)]
    scope = {
        "type": "http", "method": "POST", "path": "/login", "raw_path": b"/login",
        "headers": headers, "query_string": b"", "scheme": "https", "http_version": "1.1",
        "client": ("192.0.2.1", 1), "server": ("a", 443), "root_path": "",
        "asgi": {"version": "3.0"},
    }  # fmt: skip
    app = visitors["stranger"].client.app
    anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 413
    assert taken <= (2 * MOST_BYTES if length is None else 0)


# Our own faults


def test_a_fault_of_ours_says_nothing_of_what_it_was(
    visitors: dict[str, Visitor], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr("gateway.web.sessions.current", broken)
    with caplog.at_level(logging.DEBUG):
        answer = visitors["member"].get("/B")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "60"
    assert [name for name in ALWAYS if name not in answer.headers] == []
    assert SECRET not in answer.text
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_a_page_names_nothing_of_another_site(visitors: dict[str, Visitor]) -> None:
    for path in paths():
        if "GET" not in allowed(path):
            continue
        answer = visitors["all"].get(filled(path))
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        loaded = re.findall(r"<(?:script|img|link|iframe|source|object)\b[^>]*", answer.text)
        for tag in loaded:
            assert not tag.startswith("<script")
            for address in re.findall(r"(?:src|href)=\"([^\"]*)", tag):
                assert address.startswith("/")
                assert not address.startswith("//")
        assert not re.search(r"\s(?:style|on\w+)=", re.sub(r'"[^"]*"', '""', answer.text))
