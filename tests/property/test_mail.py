"""Any bytes are read, or fail cleanly."""

import re
from contextlib import suppress
from email.policy import default

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed, Undecryptable
from gateway.message import address, entity, marking, pgpmime, protected, thread
from gateway.posting.opening import open_mail

LIMIT = 1 << 20

mime_words = st.sampled_from(
    [
        b"Content-Type: multipart/encrypted; protocol=application/pgp-encrypted; boundary=b\r\n",
        b"Content-Type: multipart/signed; protocol=application/pgp-signature; boundary=b\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: text/plain; charset=x-none; protected-headers=v1\r\n",
        b"Content-Type: application/pgp-encrypted\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Subject: =?utf-8?q?=FF?= =?nope?b?x?=\r\n",
        b"References: <a@b> <\r\n c@d>\r\n",
        b"\r\n", b"\n", b"--b\r\n", b"--b--\r\n", b"--b", b"Version: 1\r\n", b"\x00\xff",
        b"-----BEGIN PGP MESSAGE-----\r\n", b"-----END PGP MESSAGE-----\r\n",
        b"-----BEGIN PGP SIGNED MESSAGE-----\r\n", b"-----BEGIN PGP SIGNATURE-----\r\n",
        b"-----END PGP SIGNATURE-----", b"wcE=\r\n", b"=abcd\r\n", b"text",
    ]
)  # fmt: skip
mails = st.binary(max_size=200) | st.lists(mime_words, max_size=30).map(b"".join)


def no_key(message: bytes, limit: int) -> bytes:
    raise Undecryptable("no secret key")


@given(mails)
def test_any_mail_is_opened_or_judged_not_to_be_signed(raw: bytes) -> None:
    opening = open_mail(entity.read(raw), {}, no_key, LIMIT)
    assert (opening.content is None) == (opening.source is None)


@given(mails)
def test_any_entity_is_read(raw: bytes) -> None:
    found = entity.read(raw)
    protected.fields_of(found)
    protected.content_only(found)
    for read in (found.parts, found.decoded_body, lambda: pgpmime.signed(found)):
        with suppress(Malformed):
            read()


@given(st.lists(st.binary(max_size=60).filter(lambda part: b"--b" not in part), max_size=8))
def test_parts_come_back_as_they_were_put_in(parts: list[bytes]) -> None:
    body = b"".join(b"--bound\r\n" + part + b"\r\n" for part in parts) + b"--bound--\r\n"
    raw = b"Content-Type: multipart/mixed; boundary=bound\r\n\r\n" + body
    assert [part.raw for part in entity.read(raw).parts()] == parts


@given(st.text())
def test_a_normal_address_is_its_own_normal_form(text: str) -> None:
    normal = address.normalise(text)
    assert normal is None or address.normalise(normal) == normal


@given(st.text())
def test_a_plain_text_is_one_visible_line(text: str) -> None:
    plain = thread.plain(text)
    assert plain == thread.plain(plain)
    assert "\n" not in plain
    assert "\u202e" not in plain


@given(st.text())
def test_a_field_is_never_more_than_one(text: str) -> None:
    made = entity.encoded_field("Subject", text)
    lines = made.removesuffix(b"\r\n").split(b"\r\n")
    assert all(line.startswith((b" ", b"\t")) for line in lines[1:])
    assert b"\n" not in made.replace(b"\r\n", b"")


@given(st.text())
def test_a_marking_is_always_found(text: str) -> None:
    assert marking.find(text).marking in marking.Marking


_TOKENS = [
    "a@x.example", "b@y.example", "<", ">", ",", ";", ":", "(", ")", '"', "\\", " ", "Bo",
    ".", "\u00e9", "=?utf-8?q?a=40b?=", "@", "Bo B. <c@z.example>",
]  # fmt: skip


@given(st.lists(st.sampled_from(_TOKENS), max_size=12).map("".join))
def test_an_address_field_names_whom_the_library_says_or_the_only_one_in_it(value: str) -> None:
    named = address.named_in(value)
    with suppress(Malformed), entity.strict():
        field = default.header_factory("to", value)
        by_library = [address.normalise(one.addr_spec) for one in field.addresses]
        others = set(filter(None, map(address.normalise, named))) - set(by_library)
        assert not others or len({one for one in re.split(r"[^\w@.=?]", value) if "@" in one}) == 1
