"""Entities, protected fields, subjects, markings: the pure parts of reading a mail."""

import pytest

from gateway.errors import Malformed, TooLarge
from gateway.message import address, entity, marking, pgpmime, protected, submission, thread
from gateway.message.marking import Marking


def multipart(*parts: bytes, boundary: bytes = b"b", end: bytes = b"\r\n") -> bytes:
    head = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"' + end + end
    return (
        head
        + b"".join(b"--" + boundary + end + part + end for part in parts)
        + (b"--" + boundary + b"--" + end)
    )


def raw_parts(raw: bytes) -> list[bytes]:
    return [part.raw for part in entity.read(raw).parts()]


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_parts_are_cut_byte_for_byte(end: bytes) -> None:
    first, second = b"X: 1" + end + end + b" one \t" + end, end + b"--b2" + end + b"--"
    assert raw_parts(multipart(first, second, end=end)) == [first, second]


def test_a_multipart_without_its_end_is_no_multipart() -> None:
    with pytest.raises(Malformed, match="closing delimiter"):
        entity.read(multipart(b"\r\none").removesuffix(b"--b--\r\n")).parts()


def test_a_preamble_and_an_epilogue_are_no_parts() -> None:
    raw = multipart(b"\r\none").replace(b"\r\n\r\n--b", b"\r\n\r\npreamble\r\n--b", 1) + b"epilogue"
    assert raw_parts(raw) == [b"\r\none"]


@pytest.mark.parametrize(
    ("raw", "is_mime"),
    [
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", True),
        (b"Content-Type: text/plain\r\n\r\nx", True),
        (b"Subject: no type\r\n\r\nx", False),
        (b"Content-Type: text/plain\r\nI refuse.\r\n\r\nx", False),
        (b" I refuse\r\nContent-Type: text/plain\r\n\r\nx", False),
        (b"I refuse.\r\n\r\nx", False),
    ],
)
def test_a_mime_header_says_its_type_and_keeps_the_grammar(raw: bytes, is_mime: bool) -> None:
    assert entity.read(raw).is_mime is is_mime


def test_many_parts_and_a_huge_header_are_refused() -> None:
    with pytest.raises(TooLarge):
        entity.read(multipart(*[b""] * 1001)).parts()
    with pytest.raises(TooLarge):
        entity.read(b"X: " + b"x" * 300_000)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Ana.Lind@Customs.EXAMPLE", "ana.lind@customs.example"),
        ("zoë@bücher.example", "zoë@xn--bcher-kva.example"),
        ("a@b@c.example", None),
        ("a b@c.example", None),
        ("a@-c.example", None),
        ("a..b@c.example", None),
        ("a\r\nb@c.example", None),
        ("@c.example", None),
        ("a@", None),
        ("", None),
    ],
)
def test_addresses_have_one_form(written: str, normal: str | None) -> None:
    assert address.normalise(written) == normal


def test_protected_fields_win_and_an_outer_placeholder_is_no_subject() -> None:
    outer = protected.Fields(subject="...", message_id="out@x.example", date="D")
    inner = protected.Fields(message_id="in@x.example", to=("b@x.example",))
    merged = protected.merged(outer, inner)
    assert (merged.subject, merged.message_id, merged.date, merged.to) == (
        "", "in@x.example", "D", ("b@x.example",),
    )  # fmt: skip
    shown = protected.Fields(subject="[Wildlife] Ivory")
    assert protected.merged(shown, inner).subject == "[Wildlife] Ivory"


@pytest.mark.parametrize("mark", ['hp="cipher"', 'hp="clear"', 'protected-headers="v1"', None])
def test_fields_inside_count_only_where_they_say_that_they_are_protected(mark: str | None) -> None:
    parameter = f"; {mark}" if mark else ""
    raw = f"Content-Type: text/plain{parameter}\r\nSubject: Ivory\r\n\r\nx".encode()
    found = protected.protected_fields(entity.read(raw))
    assert (found is None) == (mark is None)
    assert found is None or found.subject == "Ivory"


def test_content_keeps_its_content_fields_alone() -> None:
    raw = (
        b'content-type: text/plain; charset=utf-8; hp="cipher"; protected-headers="v1"\r\n'
        b"Subject: Ivory\r\nFrom: ana@x.example\r\nUser-Agent: Mail 1\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\nbody\r\n"
    )
    assert protected.content_only(entity.read(raw)) == (
        b"content-type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\nbody\r\n"
    )


def test_octets_of_a_files_name_stay_as_they_are() -> None:
    raw = 'Content-Type: application/pdf; name="façade.pdf"\r\n\r\n%PDF'.encode()
    assert protected.content_only(entity.read(raw)) == raw


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        ("Слоновая кость 象牙".encode(), "Слоновая кость 象牙"),
        (b"Elfenbein \xe4\xf6", "Elfenbein äö"),
        ("Слон =?utf-8?q?=D1=81?= =?utf-8?q?=D0=BB?= – ok".encode(), "Слон сл – ok"),
        (b"=?koi8-r?b?88zPzg==?= A", "Слон A"),
        ("Слон\r\n и сын".encode(), "Слон и сын"),
    ],
)
def test_octets_of_a_subject_are_read_as_utf_8(octets: bytes, shown: str) -> None:
    raw = b"Subject: " + octets + "\r\nX-Other: é\r\n\r\n".encode()
    assert entity.read(raw).field("subject") == shown
    name = b'Content-Disposition: attachment; filename="' + "Слон.pdf".encode() + b'"\r\n\r\n'
    assert entity.read(name).file_name == "Слон.pdf"


def test_message_ids_are_read_and_bounded() -> None:
    ids = " ".join(f"<{number}@x.example>" for number in range(200))
    raw = f"References: {ids}\r\nIn-Reply-To: <9@x.example> (his mail)\r\n\r\n".encode()
    found = protected.fields_of(entity.read(raw))
    assert len(found.references) == 50
    assert found.answered[:2] == ("9@x.example", "199@x.example")


@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("Re: [Wildlife] Ivory at Mombasa (Ana Lind, KE)", "Re: Ivory at Mombasa"),
        ("[Wildlife] Re: [Wildlife] Ivory (Ana Lind, KE)", "Re: Ivory"),
        ("Ivory (two tonnes, KE)", "Ivory (two tonnes, KE)"),
        ("[Urgent] Ivory", "[Urgent] Ivory"),
        ("Ivory\u202e gnp.exe\x00", "Ivory gnp.exe"),
    ],
)
def test_a_subject_loses_what_the_gateway_added(written: str, own: str) -> None:
    assert thread.own_subject(written, ["Wildlife", "Waste"]) == own


def test_ancestors_are_the_first_and_the_nearest() -> None:
    chain = tuple(str(number) for number in range(40))
    kept = thread.ancestors(chain[:-1], chain[-1])
    assert (kept[0], kept[-1], len(kept)) == ("0", "39", thread.MOST_ANCESTORS)


@pytest.mark.parametrize(
    ("text", "strictest", "malformed"),
    [
        ("Ivory", Marking.AMBER, False),
        ("TLP:GREEN Ivory", Marking.GREEN, False),
        ("TLP:AMBER+STRICT", Marking.AMBER_STRICT, False),
        ("TLP:GREEN and TLP:RED", Marking.RED, False),
        ("TLP:WHITE", Marking.CLEAR, False),
        ("tlp: red", Marking.RED, True),
        ("TLP: amber", Marking.AMBER_STRICT, True),
        ("tlp amber strict", Marking.AMBER_STRICT, True),
        ("TLP:REDD", Marking.RED, True),
        ("TLP;RED", Marking.RED, True),
        ("TLP:AMBRE", Marking.RED, True),
        ("TLP：RED", Marking.RED, True),
        ("TLP：AMBRE", Marking.RED, True),
        ("TLP:AMBER+STRICTLY", Marking.RED, True),
        ("xTLP:RED, the TLP committee", Marking.AMBER, False),
    ],
)
def test_markings(text: str, strictest: Marking, malformed: bool) -> None:
    found = marking.find(text)
    assert (found.marking, found.malformed) == (strictest, malformed)
    assert found.stated == (text not in ("Ivory", "xTLP:RED, the TLP committee"))


def test_an_encrypted_mail_is_known_by_its_structure() -> None:
    block = b"-----BEGIN PGP MESSAGE-----\r\n\r\nwcE=\r\n-----END PGP MESSAGE-----\r\n"
    beside = entity.read(b"Content-Type: text/plain\r\n\r\nHello\r\n" + block)
    assert pgpmime.ciphertext(beside) is None
    with pytest.raises(Malformed):
        pgpmime.ciphertext(entity.read(b"Content-Type: text/plain\r\n\r\n" + block + b"and more"))
    part = b"Content-Type: text/plain\r\n\r\n" + block
    mixed = entity.read(multipart(part, b"Content-Type: text/plain\r\n\r\nclear"))
    assert pgpmime.ciphertext(mixed) is None


@pytest.mark.parametrize("count", [1, 3])
def test_multipart_encrypted_has_two_parts(count: int) -> None:
    control = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
    raw = multipart(*[control] * count).replace(
        b"multipart/mixed;", b'multipart/encrypted; protocol="application/pgp-encrypted";'
    )
    with pytest.raises(Malformed, match=r"two parts|more than 2 parts"):
        pgpmime.ciphertext(entity.read(raw))


@pytest.mark.parametrize(
    "hostile",
    [
        b"X-Note: trust me\n\ntext\n-----BEGIN PGP SIGNATURE-----",
        b"Hash: SHA256\n\n-not escaped\n-----BEGIN PGP SIGNATURE-----",
        b"Hash: SHA256\ntext\n",
    ],
)
def test_a_cleartext_signature_has_no_room_for_more(hostile: bytes) -> None:
    with pytest.raises(Malformed):
        pgpmime.cleartext_signed(b"-----BEGIN PGP SIGNED MESSAGE-----\n" + hostile)


def test_text_of_nested_parts_is_found_and_deep_nesting_refused() -> None:
    inner = b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nf\xe4r dig"
    raw = multipart(inner, b"Content-Type: text/html\r\n\r\n<p>no</p>", boundary=b"i")
    assert list(submission.text_parts(entity.read(multipart(raw)))) == ["fär dig"]
    for level in range(25):
        raw = multipart(raw, boundary=b"n%d" % level)
    with pytest.raises(TooLarge):
        list(submission.text_parts(entity.read(raw)))


def test_fields_are_encoded_and_can_not_break_out() -> None:
    made = entity.encoded_field("Subject", "Ivory – two tonnes\r\nBcc: all@x.example " + "x" * 200)
    assert b"\r\nBcc:" not in made
    assert all(len(line) <= 78 for line in made.split(b"\r\n"))
    assert entity.read(made).field("subject").startswith("Ivory – two tonnes Bcc: all@x.example")
