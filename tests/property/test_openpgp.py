"""Whatever bytes come in, the OpenPGP readers answer or raise their named errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pysequoia
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.crypto.certificate import admission_faults, read, strip
from gateway.errors import BadCertificate, GatewayError, Malformed
from gateway.message.armor import SharedArmor, armor, dearmor
from gateway.message.packet import PKESK, SEIPD, body, frame, packets, split
from gateway.message.signed import detached, open_message, signature_facts

LIMIT = 1 << 20
KINDS = st.sampled_from(["MESSAGE", "SIGNATURE", "PUBLIC KEY BLOCK"])
LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])
KEY = pysequoia.Tsk.generate("Ana <ana@customs.example>", profile=pysequoia.Profile.RFC4880)
CERTIFICATE = bytes(KEY.extract_certificate())
SIGNED = pysequoia.sign(KEY.signer(), b"text", armor=False)
ENCRYPTED = pysequoia.encrypt(b"text", [KEY.extract_certificate()], armor=False)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good object with octets changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from([CERTIFICATE, SIGNED, ENCRYPTED])))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 3))
        data[start : start + length] = draw(st.binary(max_size=3))
    return bytes(data)


def _facts(data: bytes) -> None:
    for signature in detached(data):
        signature_facts(signature)


def _framed(data: bytes) -> None:
    dearmor(b"-----BEGIN PGP MESSAGE-----\n" + data + b"\n-----END PGP MESSAGE-----")


def _certificate(data: bytes) -> None:
    certificate = read(data)
    strip(certificate)
    admission_faults(certificate, datetime.now(UTC))


MESSAGE_READERS: tuple[Callable[[bytes], object], ...] = (
    split,
    partial(open_message, limit=LIMIT),
    dearmor,
    _facts,
    _framed,
)
READERS = (*MESSAGE_READERS, _certificate)
ANY_BYTES = st.one_of(st.binary(max_size=300), damaged())


@given(ANY_BYTES)
def test_any_bytes_are_packets_or_malformed(data: bytes) -> None:
    try:
        found = list(packets(data))
    except Malformed:
        return
    assert b"".join(data[each.start : each.end] for each in found) == data
    assert all(len(body(data, each)) <= each.end - each.start for each in found)


@given(ANY_BYTES)
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for reader in MESSAGE_READERS:
        try:
            reader(data)
        except Malformed:
            continue


@given(ANY_BYTES)
@settings(deadline=None)
@example(CERTIFICATE)
def test_any_bytes_are_a_certificate_or_a_bad_one(data: bytes) -> None:
    try:
        certificate = read(data)
    except BadCertificate:
        return
    assert read(certificate.data) == certificate
    admission_faults(certificate, datetime.now(UTC))


PKESKS = st.lists(
    st.one_of(
        st.binary(min_size=30, max_size=300).map(lambda rest: frame(PKESK, b"\x03" + rest)),
        st.binary(min_size=20, max_size=20).map(
            lambda name: frame(PKESK, b"\x06\x15\x04" + name + b"\x19" + bytes(40))
        ),
    ),
    min_size=1,
    max_size=20,
)


@given(PKESKS, st.binary(max_size=600))
def test_split_gives_each_exactly_their_packet(pkesks: list[bytes], content: bytes) -> None:
    data = frame(SEIPD, b"\x01" + content)
    encrypted = split(b"".join(pkesks) + data)
    assert [packet for _, packet in encrypted.pkesks] == pkesks
    assert encrypted.data == data
    for key_id, packet in encrypted.pkesks:
        assert split(packet + data).pkesks == ((key_id, packet),)


@given(st.binary(max_size=2000), KINDS, LINE_ENDS)
def test_dearmor_undoes_armor(data: bytes, kind: str, line_end: bytes) -> None:
    assert dearmor(armor(data, kind, line_end), kind) == data


@given(
    st.lists(st.binary(max_size=600), min_size=1, max_size=12), st.binary(max_size=3000), LINE_ENDS
)
def test_shared_armor_is_armor(firsts: list[bytes], data: bytes, line_end: bytes) -> None:
    shared = SharedArmor(data, line_end)
    for first in firsts:
        assert b"".join(shared.parts(first)) == armor(first + data, line_end=line_end)


@pytest.mark.parametrize("name", ["rnp", "pgpy"])
def test_no_file_of_a_corpus_breaks_a_reader(name: str) -> None:
    if "ENVIRONET_CORPORA" not in os.environ:
        pytest.skip("ENVIRONET_CORPORA does not name a directory of OpenPGP corpora")
    files = [
        each for each in Path(os.environ["ENVIRONET_CORPORA"], name).rglob("*") if each.is_file()
    ]
    assert files
    for file in files:
        began = time.monotonic()
        _read_all(file.read_bytes())
        assert time.monotonic() - began < 10, file.name


def _read_all(data: bytes) -> None:
    forms = [data]
    for kind in ("MESSAGE", "SIGNATURE", "PUBLIC KEY BLOCK"):
        try:
            forms.append(dearmor(data, kind))
        except Malformed:
            continue
    for form in forms:
        for reader in READERS:
            try:
                reader(form)
            except GatewayError:
                continue
