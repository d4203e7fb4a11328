"""Signed messages: what real programs write is read, everything ambiguous is refused."""

from __future__ import annotations

import bz2
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pysequoia
import pytest

from gateway.errors import Malformed, TooLarge
from gateway.message.armor import armor, dearmor
from gateway.message.packet import (
    COMPRESSED,
    LITERAL,
    MARKER,
    ONE_PASS,
    PADDING,
    SIGNATURE,
    body,
    frame,
    packets,
)
from gateway.message.signed import (
    BINARY,
    TEXT,
    detached,
    key_id_of,
    micalg,
    open_message,
    signature_facts,
)
from tests import programs

TEXT_BODY = b"Two containers of timber\r\nat Mombasa\r\n"
LIMIT = 1 << 20
ALICE = pysequoia.Tsk.generate("Alice <alice@customs.example>", profile=pysequoia.Profile.RFC4880)
BOB = pysequoia.Tsk.generate("Bob <bob@customs.example>", profile=pysequoia.Profile.RFC4880)
NEWER = pysequoia.Tsk.generate("Eve <eve@customs.example>", profile=pysequoia.Profile.RFC9580)


def sign(key: pysequoia.Tsk, mode: pysequoia.SignatureMode) -> bytes:
    return pysequoia.sign(key.signer(), TEXT_BODY, mode=mode, armor=False)


def parts(message: bytes) -> list[bytes]:
    return [message[each.start : each.end] for each in packets(message)]


SIGNED = sign(ALICE, pysequoia.SignatureMode.INLINE)
OPS, LIT, SIG = parts(SIGNED)
OTHER_OPS, _, OTHER_SIG = parts(sign(BOB, pysequoia.SignatureMode.INLINE))
NEWER_SIG = sign(NEWER, pysequoia.SignatureMode.DETACHED)


def content(packet: bytes) -> bytes:
    return body(packet, next(packets(packet)))


def outer(one_pass: bytes) -> bytes:
    """The one-pass packet as it stands before another one."""
    return one_pass[:-1] + b"\x00"


def start(program: str, folder: str) -> programs.Program:
    try:
        return programs.start(program, Path(folder), programs.KeyRequest("ana@customs.example"))
    except programs.ProgramMissing as missing:
        pytest.skip(str(missing))


def made_by_owner(signature: bytes, key: pysequoia.Tsk) -> bool:
    cert = key.extract_certificate()
    try:
        pysequoia.verify(
            bytes=TEXT_BODY,
            store=lambda _: [cert],
            signature=pysequoia.Sig.from_bytes(signature),
        )
    except RuntimeError:
        return False
    return True


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        path = Path(folder)
        for name in ("ana", "ben"):
            programs.gpg(
                path, "--passphrase", "", "--quick-gen-key", f"{name}@customs.example", "ed25519"
            )
        yield path
        programs.run(["gpgconf", "--homedir", str(path), "--kill", "all"])


@pytest.mark.parametrize("compression", ["none", "zip", "zlib", "bzip2"])
def test_what_gpg_writes(home: Path, compression: str) -> None:
    message = programs.gpg(home, "--compress-algo", compression, "--sign", data=TEXT_BODY)
    opened = open_message(message, LIMIT)
    assert (opened.body, opened.format, len(opened.signatures)) == (TEXT_BODY, "b", 1)
    assert signature_facts(opened.signatures[0]).type == BINARY


def test_what_gpg_writes_in_text_mode(home: Path) -> None:
    opened = open_message(programs.gpg(home, "--textmode", "--sign", data=b"one\ntwo\n"), LIMIT)
    assert (opened.body, opened.format) == (b"one\r\ntwo\r\n", "t")
    assert signature_facts(opened.signatures[0]).type == TEXT


def test_two_signers_of_gpg(home: Path) -> None:
    signers = ("-u", "ana@customs.example", "-u", "ben@customs.example")
    opened = open_message(programs.gpg(home, *signers, "--sign", data=TEXT_BODY), LIMIT)
    issuers = {signature_facts(each).issuer_fingerprint for each in opened.signatures}
    listing = programs.gpg(home, "--with-colons", "--list-keys").decode()
    assert len(issuers) == 2
    assert all(issuer in listing for issuer in issuers)


def test_detached_signatures_of_gpg(home: Path) -> None:
    signers = ("-u", "ana@customs.example", "-u", "ben@customs.example")
    block = programs.gpg(home, *signers, "--armor", "--detach-sign", data=TEXT_BODY)
    found = detached(dearmor(block, "SIGNATURE"))
    assert len({signature_facts(each).digest for each in found}) == 2


@pytest.mark.parametrize("program", ["sq", "rnp"])
def test_what_other_programs_write(program: str) -> None:
    with TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        signer = start(program, folder)
        opened = open_message(dearmor(signer.sign(TEXT_BODY, "inline")), LIMIT)
        assert opened.body == TEXT_BODY
        assert [each.type for each in map(signature_facts, opened.signatures)] == [BINARY]


def test_all_forms_give_the_same_signature_unchanged() -> None:
    compressed = frame(COMPRESSED, b"\x02" + zlib.compress(SIGNED))
    padded = frame(COMPRESSED, b"\x02" + zlib.compress(SIGNED) + bytes(100))
    for message in (SIGNED, SIG + LIT, compressed, padded, frame(MARKER, b"PGP") + SIGNED):
        opened = open_message(message, LIMIT)
        assert (opened.body, opened.signatures) == (TEXT_BODY, (SIG,))
        assert made_by_owner(opened.signatures[0], ALICE)


def test_an_unsigned_message_has_no_signatures() -> None:
    assert open_message(LIT, LIMIT).signatures == ()


def test_two_signers_nest_like_brackets() -> None:
    opened = open_message(outer(OPS) + OTHER_OPS + LIT + OTHER_SIG + SIG, LIMIT)
    assert opened.signatures == (OTHER_SIG, SIG)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        SIG,
        OPS + LIT,
        LIT + SIG,
        LIT + LIT,
        SIGNED + LIT,
        SIGNED + SIGNED,
        SIGNED + SIG,
        OPS + LIT + OTHER_SIG,  # brackets of two owners
        outer(OPS) + OTHER_OPS + LIT + SIG + OTHER_SIG,  # crossed brackets
        OPS + OTHER_OPS + LIT + OTHER_SIG + SIG,  # the outer one is over the inner signature too
        outer(OPS) + LIT + SIG,
        frame(ONE_PASS, b"") + LIT + SIG,
        frame(ONE_PASS, content(OPS) + b"x") + LIT + SIG,
        frame(COMPRESSED, b"\x00" + frame(COMPRESSED, b"\x00" + LIT)),
        frame(COMPRESSED, b"\x00" + LIT) + SIG,
        frame(COMPRESSED, b"\x02" + zlib.compress(LIT)[:-3]),
        frame(COMPRESSED, b"\x03" + bz2.compress(LIT)[:-3]),
        frame(COMPRESSED, b"\x02junk"),
        frame(COMPRESSED, b"\x03junk"),
        frame(COMPRESSED, b"\x09" + LIT),
        frame(COMPRESSED, b""),
        frame(LITERAL, b"x\x00\x00\x00\x00\x00text"),
        frame(LITERAL, b"b\x09short"),
        frame(LITERAL, b""),
        SIG * 17 + LIT,
        frame(PADDING, b"") * 50 + LIT,
    ],
)
def test_any_other_grammar_is_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        open_message(message, LIMIT)


@pytest.mark.parametrize("algorithm", [2, 3])
def test_a_bomb_is_stopped_at_the_limit(algorithm: int) -> None:
    bomb = frame(LITERAL, b"b\x00\x00\x00\x00\x00" + bytes(64 << 20))
    compressed = zlib.compress(bomb) if algorithm == 2 else bz2.compress(bomb)
    message = frame(COMPRESSED, bytes([algorithm]) + compressed)
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            open_message(message, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_the_limit_is_exact() -> None:
    message = frame(COMPRESSED, b"\x02" + zlib.compress(SIGNED, 0))
    assert open_message(message, len(message)).body == TEXT_BODY
    with pytest.raises(TooLarge):
        open_message(SIGNED, len(SIGNED) - 1)


def test_facts_of_a_signature() -> None:
    facts = signature_facts(SIG)
    issuer = pysequoia.Sig.from_bytes(SIG).issuer_fingerprint
    assert issuer is not None
    assert (facts.version, facts.type, facts.hash, facts.algorithm) == (4, BINARY, 10, 22)
    assert facts.issuer_fingerprint == issuer.upper()
    assert facts.issuer_key_id == key_id_of(issuer.upper()) == issuer[-16:].upper()
    assert facts.created == pysequoia.Sig.from_bytes(SIG).created
    assert facts.intended_recipients == ()
    assert micalg(facts.hash) == "pgp-sha512"


def test_facts_of_a_version_6_signature() -> None:
    facts = signature_facts(NEWER_SIG)
    issuer = pysequoia.Sig.from_bytes(NEWER_SIG).issuer_fingerprint
    assert issuer is not None
    assert (facts.version, facts.issuer_fingerprint) == (6, issuer.upper())
    assert facts.issuer_key_id == issuer[:16].upper()


def test_intended_recipients_are_told(home: Path) -> None:
    options = ("--passphrase", "", "--quick-gen-key", "wildlife@environet.example")
    programs.gpg(home, *options, "future-default")
    ours = programs.gpg(home, "--export", "wildlife@environet.example")
    with TemporaryDirectory(prefix="g", dir="/tmp") as folder:
        signer = start("sq", folder)
        message = signer.encrypt(TEXT_BODY, [ours], sign=True)
    opened = open_message(programs.gpg(home, "--unwrap", "--decrypt", data=message), LIMIT)
    assert opened.body == TEXT_BODY
    facts = signature_facts(opened.signatures[0])
    assert facts.intended_recipients == (programs.fingerprint(ours),)


def rebuilt(signature: bytes, unhashed: bytes, check: bytes = b"") -> bytes:
    """The same version 4 signature with another unhashed area and check octets."""
    old = content(signature)
    end = 6 + int.from_bytes(old[4:6], "big")
    start = end + 2 + int.from_bytes(old[end : end + 2], "big")
    check = check or old[start : start + 2]
    area = len(unhashed).to_bytes(2, "big") + unhashed
    return frame(SIGNATURE, old[:end] + area + check + old[start + 2 :])


def test_the_digest_is_of_what_the_signer_made() -> None:
    note = b"\x05\x02\x00\x00\x00\x01" + b"\x09\x10" + b"\xaa" * 8
    edited = rebuilt(SIG, note, b"\x00\x00")
    assert edited != SIG
    assert made_by_owner(edited, ALICE)
    assert signature_facts(edited).digest == signature_facts(SIG).digest
    assert signature_facts(edited).created == signature_facts(SIG).created
    assert signature_facts(OTHER_SIG).digest != signature_facts(SIG).digest


def test_a_signature_made_anew_from_a_good_one_has_its_digest() -> None:
    """ECDSA's (r, n - s) is as good as (r, s), and anybody can compute it."""
    early = b"\x05\x02" + (86400).to_bytes(4, "big")
    one = bare(early, b"", b"\x00\x01\x01" * 2)
    assert signature_facts(bare(early, b"", b"\x00\x01\x01\x00\x02\x02")).digest == (
        signature_facts(one).digest
    )


def test_octets_that_programs_skip_are_refused() -> None:
    longer = frame(SIGNATURE, content(SIG) + b"x")
    assert made_by_owner(longer, ALICE)
    with pytest.raises(Malformed, match="too many"):
        signature_facts(longer)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        LIT,
        SIG + SIG,
        frame(SIGNATURE, b""),
        frame(SIGNATURE, b"\x03" + content(SIG)[1:]),
        frame(SIGNATURE, content(SIG)[:-1]),
        frame(SIGNATURE, content(SIG)[:20]),
        frame(SIGNATURE, content(SIG)[:2] + b"\x63" + content(SIG)[3:]),
        rebuilt(SIG, b"\x09\x10short"),
        rebuilt(SIG, b"\x00"),
        frame(SIGNATURE, content(NEWER_SIG)[:-1]),
    ],
)
def test_a_broken_signature_is_malformed(packet: bytes) -> None:
    with pytest.raises(Malformed):
        signature_facts(packet)


def bare(hashed: bytes, unhashed: bytes, made: bytes = b"\x00\x01\x01" * 2) -> bytes:
    """A version 4 EdDSA signature with SHA-512 that is well-formed and of nobody."""
    areas = b"".join(len(each).to_bytes(2, "big") + each for each in (hashed, unhashed))
    return frame(SIGNATURE, b"\x04\x00\x16\x0a" + areas + b"\x00\x00" + made)


def test_only_the_hashed_area_tells_the_time() -> None:
    early = b"\x05\x02" + (86400).to_bytes(4, "big")
    facts = signature_facts(bare(early, b""))
    assert facts.created == datetime(1970, 1, 2, tzinfo=UTC)
    assert signature_facts(bare(b"", early)).created is None
    signed = b"\x04\x00\x16\x0a\x00\x06" + early
    assert facts.digest == sha256(signed).hexdigest()
    with pytest.raises(Malformed, match="creation time"):
        signature_facts(bare(early * 2, b""))


@pytest.mark.parametrize("number", [b"\x00\x02\x01", b"\x00\x09\x00\x01", b"\x00\x01\x03"])
def test_a_number_has_one_spelling(number: bytes) -> None:
    with pytest.raises(Malformed, match="badly written"):
        signature_facts(bare(b"", b"", b"\x00\x01\x01" + number))


def test_detached_is_signatures_alone() -> None:
    assert detached(SIG + OTHER_SIG) == (SIG, OTHER_SIG)
    assert detached(dearmor(armor(SIG, "SIGNATURE"), "SIGNATURE")) == (SIG,)
    for wrong in (b"", SIGNED, LIT, SIG * 17):
        with pytest.raises(Malformed):
            detached(wrong)


def test_unknown_hashes_have_no_name() -> None:
    with pytest.raises(Malformed):
        micalg(99)
