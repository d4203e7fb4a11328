"""What a member, or whoever has their key, could post against readers of the archive."""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from time import perf_counter

import httpx2 as httpx
import pytest
from PIL import Image

from gateway.archive import outline
from gateway.archive.blocks import blocks
from gateway.store import member
from gateway.web import hypertext
from gateway.web.hypertext import linked
from tests.unit.entities import multipart, part, post_entity
from tests.unit.group import Group
from tests.unit.visitor import Visitor, browser

OVERRIDE = "\u202e"
DECEIVING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
ACTIVE = """
<html><head><title>Title</title><base href="https://evil.example/">
<meta http-equiv="refresh" content="0; url=https://evil.example/"><link rel="stylesheet"
href="https://evil.example/s.css"><style>p { background: url(https://evil.example/b) }</style>
<script>alert(1)</script></head><body onload="alert(1)" style="position: fixed" background="//evil.example/i">
<p onclick="alert(1)" style="background: url(//evil.example/p)" class="bar" id="main">Kept words.</p>
<img src="https://evil.example/pixel.gif" srcset="//evil.example/2 2x"><img src="cid:part1">
<svg><script>alert(1)</script><use href="//evil.example/u"/></svg><math><mi xlink:href="javascript:1"></mi></math>
<iframe src="https://evil.example/"></iframe><object data="//evil.example/o"></object><embed src="//evil.example/e">
<video poster="//evil.example/v" src="//evil.example/v"></video><audio src="//evil.example/a"></audio>
<form action="https://evil.example/"><input name="password"><button formaction="//evil.example/f">Go</button></form>
<a href="javascript:alert(1)">one</a> <a href="data:text/html,x">two</a> <a href="//evil.example/r">three</a>
<a href="https://evil.example/x" target="_blank" ping="//evil.example/ping">https://bank.example</a>
<a href='https://evil.example/"><script>alert(2)</script>'>four</a>
<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>
<template><img src=x onerror=alert(1)></template><textarea></textarea><script>alert(3)</script>
</body></html>
"""  # noqa: E501


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group({"ana": (), "bo": ()}) as made:
        yield made


@pytest.fixture(scope="module")
def bo(group: Group) -> Iterator[Visitor]:
    with browser(group) as there:
        yield there.log_in("bo")


class Elements(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


def harmless(html: str) -> None:
    """Whether a page has nothing but what our templates and allowed tags have."""
    for tag, attributes in Elements(html).found:
        assert tag not in ("script", "iframe", "svg", "object", "embed", "base", "video", "math")
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("src", "href", "action", "background", "poster", "srcset"):
            value = attributes.get(name) or "/"
            assert value.startswith(("/", "#", "mailto:")) or (
                tag == "a" and attributes["rel"] == "noreferrer noopener nofollow"
            ), (tag, value)
    assert not DECEIVING.search(html)


def post(group: Group, *parts: bytes, subject: str = "Crates") -> str:
    """The path of a posting with these parts."""
    label = post_entity(group, "ana", multipart("mixed", parts, f"Subject: {subject}"))
    return f"/{label.replace('-', '/')}"


def call(group: Group, name: str) -> None:
    """Give Ana another name."""
    with group.app.database.transaction() as session:
        member.get(session, group.officers["ana"].address).name = name


def attached(bo: Visitor, path: str, number: int = 1) -> httpx.Response:
    """An attachment, which is a download that no browser acts upon."""
    response = bo.get(f"{path}/attachment/{number}")
    assert response.status_code == 200
    assert response.headers["content-disposition"].startswith("attachment; ")
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert response.headers["x-content-type-options"] == "nosniff"
    return response


def png(width: int, height: int) -> bytes:
    """One colour, and small however large the picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    packer = zlib.compressobj(9)
    row = bytes(1 + width)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def preview(group: Group, bo: Visitor, content_type: str, data: bytes) -> httpx.Response:
    return bo.get(f"{post(group, part(content_type, data))}/attachment/1/preview")


def test_markup_in_text_subject_and_file_name_stays_text(group: Group, bo: Visitor) -> None:
    path = post(
        group,
        part("text/plain; charset=utf-8", f"{MARKUP} https://a.example {MARKUP}".encode()),
        part("text/x", b"x", "Content-Disposition: attachment; filename*=''%3Cscript%3E"),
        subject=MARKUP,
    )  # fmt: skip
    for where in (path, f"{path}/thread", f"{path}/thread?view=nested"):
        html = bo.text(where)
        harmless(html)
        assert "&lt;script&gt;alert(1)" in html


def test_a_name_of_markup_stays_a_name(group: Group, bo: Visitor) -> None:
    # No such name is taken; whatever came into the database another way is shown harmlessly.
    call(group, f"Ana {MARKUP} {OVERRIDE}grebneL\x1b[2J" + "n" * 10_000)
    try:
        path = post(group, part("text/plain", b"x"))
        for where in (path, f"{path}/thread"):
            html = bo.text(where)
            harmless(html)
            assert "n" * 301 not in html
    finally:
        call(group, "Ana Berg")


def test_directions_and_controls_deceive_nobody(group: Group, bo: Visitor) -> None:
    text = f"Invoice {OVERRIDE}gpj.exe\x1b[2J\x00\x07 \u2066hidden\u2069 \u200fשלום\u200f"
    name = "=?utf-8?Q?photo=E2=80=AEgpj=2Eexe?="
    path = post(
        group,
        part("text/plain; charset=utf-8", text.encode()),
        part("image/png", b"x", f'Content-Disposition: attachment; filename="{name}"'),
        subject="=?utf-8?Q?Crates_=E2=80=AEyrovi=1B=5B2J=00?=",
    )
    for where in (path, f"{path}/thread"):
        html = bo.text(where)
        harmless(html)
        assert "photogpj.exe</a>" in html
        assert "\u200fשלום" in html
        assert "Crates yrovi" in html
    disposition = attached(bo, path).headers["content-disposition"]
    assert disposition == "attachment; filename=\"photogpj.exe\"; filename*=UTF-8''photogpj.exe"


def test_endless_names_end(group: Group, bo: Visitor) -> None:
    continued = "".join(f';\r\n filename*{at}="{"n" * 60}"' for at in range(25))
    path = post(
        group,
        part("text/plain", b"x" * 10_000),
        part("image/png", b"x", f"Content-Disposition: attachment{continued}.pngx"),
        subject="s" * 10_000,
    )
    for where in (path, f"{path}/thread"):
        html = bo.text(where)
        assert "s" * 301 not in html
        assert "n" * 101 not in html
    name = re.search(r'filename="([^"]*)"', attached(bo, path).headers["content-disposition"])
    assert name
    assert len(name[1]) <= 100


def test_a_file_name_is_no_path_and_no_header(group: Group, bo: Visitor) -> None:
    for name in (
        "=?utf-8?Q?=2E=2E/=2E=2E/etc/passwd=0D=0AX-Evil=3A_y?=",
        r"..\\..\\windows\\evil.txt",
        "=?utf-8?Q?a=22=3B_filename=3D=22evil=2Ehtml?=",
        "=?utf-8?Q?=C2=85=E2=80=A8..?=",
        ".htaccess",
    ):
        given = f'Content-Disposition: attachment; filename="{name}"'
        response = attached(bo, post(group, part("text/plain", b"x", given)))
        assert "x-evil" not in response.headers
        plain = re.fullmatch(
            r"attachment; filename=\"([^\"/\\]*)\"; filename\*=UTF-8''([\w.~%()!'*-]+)",
            response.headers["content-disposition"],
        )
        assert plain, response.headers["content-disposition"]
        assert not plain[1].startswith(".")
        assert "%2F" not in plain[2]


def test_active_types_are_octets_to_a_browser(group: Group, bo: Visitor) -> None:
    types = ("text/html", "image/svg+xml", "application/pdf", "application/xhtml+xml", "text/xml",
             "application/javascript", "message/rfc822", "text/html; charset=utf-7")  # fmt: skip
    parts = [
        part(one, ACTIVE.encode(), 'Content-Disposition: attachment; filename="a.html"')
        for one in types
    ]
    path = post(group, *parts)
    assert "<img" not in bo.text(path)
    for number in range(1, len(parts) + 1):
        response = attached(bo, path, number)
        assert response.headers["content-type"] == "application/octet-stream"
        assert bo.get(f"{path}/attachment/{number}/preview").status_code == 404
    assert bo.get(f"{path}/html").status_code == 404


def test_active_hypertext_does_nothing_and_loads_nothing(group: Group, bo: Visitor) -> None:
    path = post(group, part("text/html; charset=utf-8", ACTIVE.encode()))
    for where in (path, f"{path}/html", f"{path}/thread"):
        html = bo.text(where)
        harmless(html)
        assert "Kept words." in html
    shown = bo.get(f"{path}/html")
    inner = shown.text[shown.text.index('<div class="notice table-wrap"') :]
    assert {name for name, _ in Elements(inner).found} <= {"div", "p", "a", "footer", "html"}
    assert re.search(r"https://bank\.example \[<a [^>]*>https://evil\.example/x</a>\]", inner)
    assert "alert(1)" not in inner
    assert "img-src" not in shown.headers["content-security-policy"]


def test_hypertext_that_is_built_to_take_for_ever_is_given_up(group: Group, bo: Visitor) -> None:
    path = post(group, part("text/html", b"<div>" * 60_000 + b"Kept words."))
    start = perf_counter()
    assert "can't be shown" in bo.text(f"{path}/html")
    assert perf_counter() - start < 30  # and not for as long as nh3 takes
    assert "Kept words." in bo.text(path)


@pytest.mark.parametrize(
    "text",
    [
        "https://good.example@evil.example/",
        "https://good.example\\@evil.example/",
        "https://good.example/\u043b\u0435\u0441",
        "https://аррӏе.example/",
        "https://good.example\u2024evil.example/",
        "javascript:alert(1)",
        "data:text/html,<script>",
        "https://good.example/<script>",
        "https:///evil.example",
        "https://[::1]/",
        "http://-",
    ],
)
def test_an_address_that_is_not_plain_is_no_link(text: str) -> None:
    assert "<a " not in linked(text)


def test_a_link_leads_where_it_says() -> None:
    for text in (
        "see https://a.example/b?c=d&e=%20#f.",
        "(https://a.example)",
        "<http://a.example/>",
    ):
        ((_, found),) = Elements(linked(text)).found
        assert str(found["href"]) in text
        assert f">{found['href']}</a>".replace("&", "&amp;") in linked(text)


def test_a_text_of_many_quotations_is_no_page_of_many_boxes() -> None:
    made = blocks("> a\nb\n" * 50_000)
    assert len(made) <= 401
    assert sum(one.text.count("b") for one in made) == 50_000


def test_parts_without_number_are_counted(group: Group, bo: Visitor) -> None:
    path = post(group, *[part("image/png", b"x") for _ in range(900)])
    html = bo.text(path)
    assert html.count('class="thumbnail"') == 100
    assert "And 800 more, in the original." in html
    assert bo.get(f"{path}/attachment/900").content == b"x"
    assert bo.get(f"{path}/attachment/901").status_code == 404


def test_answers_that_answer_each_other_end() -> None:
    class One:
        def __init__(self, token: str, *ancestors: str) -> None:
            self.token, self.ancestors = token, ancestors

    circle = [One("a", "b"), One("b", "a"), One("c", "c")]
    assert [node.one.token for node in outline.tree(circle)] == ["a", "c"]
    chain = [One(str(at), *([str(at - 1)] if at else [])) for at in range(5000)]
    (root,) = outline.tree(chain)
    depth = 0
    while root.answers:
        root, depth = root.answers[-1], depth + 1
    assert depth == outline.MOST_DEPTH - 1


def test_a_picture_of_too_many_pixels_is_not_opened(group: Group, bo: Visitor) -> None:
    bomb = png(30_000, 2_000)
    assert len(bomb) < 100_000
    start = perf_counter()
    assert preview(group, bo, "image/png", bomb).status_code == 404
    assert perf_counter() - start < 20
    assert preview(group, bo, "image/png", png(600, 400)).status_code == 200


def test_a_film_of_frames_costs_one(group: Group, bo: Visitor) -> None:
    file = BytesIO()
    Image.new("P", (320, 320)).save(file, "GIF")
    frame = b"!\xf9\x04\x04\x01\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00"
    film = file.getvalue().removesuffix(b";") + frame * 10_000 + b";"
    response = preview(group, bo, "image/gif", film)
    assert response.status_code == 200
    with Image.open(BytesIO(response.content)) as small:
        assert getattr(small, "n_frames", 1) == 1


def test_what_is_no_picture_has_no_preview(group: Group, bo: Visitor) -> None:
    vector = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    document = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    other = BytesIO()
    Image.new("RGB", (9, 9)).save(other, "TIFF")
    for data in (
        vector,
        document,
        other.getvalue(),
        b"",
        b"\x89PNG\r\n\x1a\n",
        png(9, 9)[:-30],
        b"\xff\xd8\xff" * 9,
    ):
        assert preview(group, bo, "image/png", data).status_code == 404


def test_what_is_shown_small_has_nothing_but_its_pixels(group: Group, bo: Visitor) -> None:
    hidden = png(9, 9) + MARKUP.encode()
    response = preview(group, bo, "image/png", hidden)
    assert response.headers["content-type"] == "image/webp"
    assert b"alert" not in response.content
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_every_control_is_replaced_in_text() -> None:
    everything = "".join(map(chr, range(0x3000)))
    (one,) = blocks(f"x{everything}".replace(">", "").replace("\n", ""))
    left = {char for char in one.text if unicodedata.category(char) == "Cc"}
    assert left == {"\t", "\n"}  # a page's end is a line's


def test_what_nh3_let_pass_once_it_lets_pass_again() -> None:
    once = hypertext.sanitised(ACTIVE)
    harmless(once)
    harmless(hypertext.sanitised(once))
