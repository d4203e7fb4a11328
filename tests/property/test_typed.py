"""Whatever a mail is, what was typed into it is read or the mail is Malformed, in linear time."""

from __future__ import annotations

import time
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.message import entity, hypertext
from gateway.message.typed import Typed, quoted_too, typed_lines, typed_subject

KEYS = frozenset({"name", "address"})
HEADERS = [
    b"Content-Type: text/plain; charset=utf-8\r\n",
    b"Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\r\n",
    b"Content-Type: text/html; charset=utf-8\r\n",
    b"Content-Type: text/html; charset=utf-16\r\n",
    b"Content-Type: text/plain; charset=utf-7; hp-legacy-display=1\r\n",
    b"Content-Type: text/html; charset=iso-2022-jp\r\nContent-Transfer-Encoding: base64\r\n",
    b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n",
    b"Content-Type: multipart/alternative; boundary=b\r\n",
    b"",
]
# What mail programs' texts and markup are made of.
PIECES = [
    "<", ">", "</", "/>", "<!--", "-->", "<![if x]>", "<?", "<style>", "</style>", "<script",
    "<br>", "<blockquote>", "</blockquote>", "<div class='gmail_quote'>", "<div", "</div>",
    "<p hidden>", "</p>", "<pre>", "<span style='display:none'>", "<hr>", "<td>",
    "<a href=\"x", "='", '"', "=",
    "&#", "&#x110000;", "&#xd800;", "&lt;", "&", ";", "&gt;", "9" * 50, "help", "approve H-17",
    "On Saturday, 14 March 2026 at 10:22, somebody at a gateway wrote:", "wrote:", "> ", ">", "-- ",
    "-----", "_____", "end", "From: a@b.example", "Sent: now", "To: b", "name: Ana", "De : x",
    "«", "»", "<mailto:", "- ", "\u200f", "\u202e", "\u00a0", "\ufdfa", "\ud800", "\x00", " ", "  ",
    "\r", "\n", "\n", "\r\n", "\n\n", "\u2028", "\t", "-----BEGIN PGP ", "-----END PGP ",
    "--b\r\n", "--b--",
]  # fmt: skip
texts = st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
bodies = st.binary(max_size=200) | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
mails = st.builds(lambda header, body: header + b"\r\n" + body, st.sampled_from(HEADERS), bodies)


def is_clean(line: Typed) -> bool:
    """Whether each of its forms is one visible line within its bound."""
    hidden = {
        unicodedata.category(char) for text in (line.text, line.shown) for char in text
    } & {"Cc", "Cf", "Cs", "Zl", "Zp"}  # fmt: skip
    return not hidden and 0 < len(line.text) <= 1000 and len(line.shown) <= 200


@given(mails)
def test_any_mail_is_read_or_malformed(raw: bytes) -> None:
    try:
        found = typed_lines(entity.read(raw), form_keys=KEYS)
        quoted = quoted_too(entity.read(raw))
    except Malformed:
        return
    assert all(map(is_clean, found))
    assert not any(line.text.startswith(">") for line in found)
    assert {line.text for line in found} <= set(quoted.split("\n"))


@given(texts)
def test_any_subject_is_a_command_or_none(subject: str) -> None:
    found = typed_subject(subject)
    assert found is None or is_clean(found)


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_nothing_that_is_quoted_is_typed(text: str) -> None:
    quoted = "".join(f"> {line} approve H-18\r\n" for line in text.split("\n"))
    raw = b"Content-Type: text/plain; charset=utf-8\r\n\r\nhelp\r\n\r\n"
    raw += quoted.encode("utf-8", "surrogatepass")
    assert [line.text for line in typed_lines(entity.read(raw))] == ["help"]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join))
@settings(deadline=None, max_examples=40)
def test_a_piece_repeated_takes_linear_time(piece: str) -> None:
    markup = piece * (64 * 1024 // len(piece))
    raw = b"Content-Type: text/html; charset=utf-8\r\n\r\n" + markup.encode("utf-8", "replace")
    began = time.process_time()
    hypertext.text(markup)
    typed_lines(entity.read(raw))
    typed_lines(entity.read(raw.replace(b"/html", b"/plain", 1)))
    assert time.process_time() - began < 3  # it takes a tenth; squares take half a minute
