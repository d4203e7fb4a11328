"""What others do to a member's certificate, to no effect."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial

import pysequoia
import pytest

from gateway.crypto.certificate import merge, read
from gateway.crypto.certificate_update import Kind, changes
from gateway.errors import BadCertificate
from gateway.message.packet import (
    SIGNATURE,
    TRUST,
    USER_ATTRIBUTE,
    USER_ID,
    body,
    frame,
    packets,
)
from tests.unit.owners import (
    ENCRYPTS,
    LATER,
    LONG_AGO,
    SIGNS,
    USER,
    Home,
    Owner,
    gpg_home,
    merged,
    number,
    pieces,
    rewritten,
    subpacket,
    tags,
)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with gpg_home() as home:
        yield home


def refused(held: bytes, offered: bytes) -> str:
    with pytest.raises(BadCertificate) as caught:
        merge(read(held), offered)
    return str(caught.value)


def test_others_certifications_are_dropped(home: Home) -> None:
    fingerprint, other = home.key(), home.key("Ben <ben@customs.example>")
    before = home.certificate(fingerprint)
    home.gpg("-u", other, "--yes", "--quick-sign-key", fingerprint, at=LATER)
    signed = home.certificate(fingerprint)
    assert tags(signed).count(SIGNATURE) == tags(before).count(SIGNATURE) + 1
    assert read(signed) == read(before) == merged(before, signed)


def test_photos_and_what_means_nothing_are_dropped() -> None:
    ana = Owner()
    data = ana.certificate()
    assert merged(data, data + frame(USER_ATTRIBUTE, b"photo") + frame(TRUST, b"x")) == read(data)


def test_ten_thousand_certifications_by_others_cost_little() -> None:
    ana, ben = Owner(), Owner()
    flood = b"".join(
        ana.on_user_id(0x10, USER.encode(), issuer=b"", unhashed=ben.key_id, forged=True, at=at)
        for at in (LONG_AGO + timedelta(seconds=n) for n in range(10_000))
    )
    assert len(flood) < 1 << 20
    started = time.process_time()
    after = merge(read(ana.certificate()), ana.certificate() + flood)
    assert time.process_time() - started < 2
    assert after == read(ana.certificate())


def test_a_flood_in_the_owners_name_is_refused() -> None:
    ana = Owner()
    forged = [
        ana.on_user_id(0x10, USER.encode(), forged=True, at=LONG_AGO + timedelta(seconds=n))
        for n in range(1500)
    ]
    assert "too many signatures" in refused(ana.certificate(), ana.certificate() + b"".join(forged))
    many = ana.certificate() + frame(USER_ID, bytes(5000)) * 90 + b"".join(forged[:900])
    started = time.process_time()
    assert merge(read(ana.certificate()), many) == read(ana.certificate())
    assert time.process_time() - started < 4


@pytest.mark.parametrize("by_mail", [True, False])
def test_what_is_too_large_or_has_too_many_subkeys_is_refused_unread(by_mail: bool) -> None:
    ana, ben = Owner(), Owner()
    subkey = ben.subkey + ana.on_subkey(0x18, ben.body, ENCRYPTS)
    many, large = ana.certificate() + subkey * 1000, ana.certificate() + bytes(10 * 2**20)
    for data, why in ((many, "too many keys and user IDs"), (large, "larger than 1 MB")):
        started = time.process_time()
        if by_mail:
            assert why in refused(ana.certificate(), data)
        else:
            with pytest.raises(BadCertificate, match=why):
                read(data)
        assert time.process_time() - started < 2  # milliseconds; each signature verified: seconds


def forgeries(ana: Owner, ben: Owner) -> Iterator[tuple[int, bytes]]:
    """(place among the packets, signature) that say ill or good of Ana's certificate."""
    user_id, subkey = USER.encode(), ben.body
    life = subpacket(9, (10**9).to_bytes(4, "big"))
    makers: list[tuple[int, Callable[..., bytes]]] = [
        (1, partial(ana.on_key, 0x20)),
        (1, partial(ana.on_key, 0x1F, SIGNS, life)),
        (2, partial(ana.on_user_id, 0x30, user_id)),
        (2, partial(ana.on_user_id, 0x13, user_id, SIGNS, life)),
        (4, partial(ana.on_subkey, 0x28, subkey)),
        (4, partial(ana.on_subkey, 0x18, subkey, ENCRYPTS, life)),
    ]
    issuers = [b"", ana.issuer, ana.key_id, ben.issuer, ben.key_id, ana.issuer + ben.issuer,
               subpacket(33, b"\x06" + ana.fingerprint), subpacket(16, bytes(8))]  # fmt: skip
    for place, make in makers:
        for issuer, unhashed in itertools.product(issuers, repeat=2):
            yield place, make(issuer=issuer, unhashed=unhashed, forged=True, at=LATER)


def test_a_forged_statement_changes_nothing_whomever_it_names() -> None:
    ana, ben = Owner(), Owner()
    binding = ana.on_subkey(0x18, ben.body, ENCRYPTS)
    data = ana.certificate() + ben.subkey + binding
    held = read(data)
    assert len(held.keys) == 2
    for place, forged in forgeries(ana, ben):
        first, second = pieces(data)[:place], pieces(data)[place:]
        assert merge(held, b"".join((*first, forged, *second))) == held
        assert read(b"".join((*first, forged, *second))) == held


def test_what_no_signature_covers_can_be_changed_as_anybody_likes(home: Home) -> None:
    fingerprint = home.key()
    home.add(fingerprint, "ed25519", "sign")
    home.edit(fingerprint, "key 1", "revkey", "y", "0", "", "y")
    data, ben = home.certificate(fingerprint), Owner()
    junk = ben.issuer + ben.key_id + subpacket(100, bytes(1000)) + ben.agrees_to(ben)
    for change in (lambda old: junk + old, lambda old: old + junk, lambda _: junk, lambda _: b""):
        assert merge(read(data), rewritten(data, change)) == read(data)
    assert merged(data, rewritten(data, lambda old: junk + old)) == read(data)


@pytest.mark.parametrize("junk", [b"x", bytes(1000), number(bytes(32))])
def test_octets_behind_a_signature_are_dropped(junk: bytes) -> None:
    data = Owner().certificate()
    *others, signature = pieces(data)
    content = body(signature, next(packets(signature)))
    assert merged(data, b"".join((*others, frame(SIGNATURE, content + junk)))) == read(data)


@pytest.mark.parametrize("signing", [False, True])
def test_an_agreement_is_kept_only_where_it_is_looked_for(signing: bool) -> None:
    ana, ben = Owner(), Owner()
    use = (SIGNS, ben.agrees_to(ana)) if signing else (ENCRYPTS,)
    binding = ana.on_subkey(0x18, ben.body, *use, unhashed=ben.agrees_to(ben, at=LATER))
    data = read(ana.certificate() + ben.subkey + binding).data
    assert len(read(data).keys) == 2
    assert int(LATER.timestamp()).to_bytes(4, "big") not in data


def numbers(signature: bytes) -> Iterator[tuple[int, int]]:
    """(where it begins, value) of the numbers that make an ECDSA signature."""
    position = 6 + int.from_bytes(signature[4:6], "big")
    position += 2 + int.from_bytes(signature[position : position + 2], "big") + 2
    while position < len(signature):
        bits = int.from_bytes(signature[position : position + 2], "big")
        end = position + 2 + -(-bits // 8)
        yield position, int.from_bytes(signature[position + 2 : end], "big")
        position = end


def test_an_ecdsa_signature_turned_into_another_is_the_same_statement(home: Home) -> None:
    home.gpg("--quick-gen-key", "Eve <eve@customs.example>", "nistp256", "sign", at=LONG_AGO)
    data = home.certificate("eve@customs.example")
    *others, signature = pieces(data)
    content = body(signature, next(packets(signature)))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    *_, (start, second) = numbers(content)
    other = number((order - second).to_bytes(32, "big"))
    turned = b"".join((*others, frame(SIGNATURE, content[:start] + other)))
    assert turned != data
    assert read(turned).user_ids == read(data).user_ids != ()
    assert merged(data, turned) in (read(data), read(turned))


def stolen(thief: Owner, victim: Owner) -> Iterator[bytes]:
    """The thief's certificates with a subkey for signing that is the victim's."""
    bind = partial(thief.on_subkey, 0x18, victim.body, SIGNS)
    bound = victim.on_subkey(0x18, victim.body, SIGNS)
    for binding in (
        bind(),
        bind(unhashed=victim.agrees_to(victim)),
        bind(unhashed=thief.agrees_to(thief)),
        thief.on_subkey(0x18, victim.body, SIGNS, victim.agrees_to(victim)),
        bound,
    ):
        yield thief.certificate() + victim.subkey + binding


def test_nobody_takes_another_members_signing_key_as_a_subkey() -> None:
    mallory, ana = Owner(), Owner()
    for certificate in stolen(mallory, ana):
        after = merge(read(mallory.certificate()), certificate)
        assert after == read(certificate) == read(mallory.certificate())
    agreed = mallory.on_subkey(0x18, ana.body, SIGNS, unhashed=ana.agrees_to(mallory))
    whole = mallory.certificate() + ana.subkey + agreed
    after = merge(read(mallory.certificate()), whole)
    (change,) = changes(read(mallory.certificate()), after)
    assert change.kind is Kind.SUBKEY_ADDED
    assert after.keys[1].signs


def test_nobody_adds_a_subkey_or_user_id_to_another_members_certificate() -> None:
    mallory, ana = Owner(), Owner()
    evil = mallory.on_subkey(0x18, mallory.body, ENCRYPTS)
    user_id = b"Ana Lind <ana@elsewhere.example>"
    for issuer in (ana.issuer, mallory.issuer):
        for added in (
            mallory.subkey + mallory.on_subkey(0x18, mallory.body, ENCRYPTS, issuer=issuer),
            mallory.subkey + evil,
            frame(USER_ID, user_id) + mallory.on_user_id(0x13, user_id, issuer=issuer),
            frame(USER_ID, user_id),
        ):
            whole = ana.certificate() + added
            assert merge(read(ana.certificate()), whole) == read(ana.certificate())


def test_another_certificate_is_refused(home: Home) -> None:
    ana, ben = Owner(), Owner()
    held = ana.certificate()
    assert refused(held, ben.certificate()) == "It belongs to another primary key."
    assert "more than one" in refused(held, held + ben.certificate())
    key = pysequoia.Tsk.generate(USER)
    assert "secret key" in refused(held, bytes(key))
    assert "secret key" in refused(held, str(key).encode())
    assert "not a certificate" in refused(held, b"")
    assert "not a certificate" in refused(held, frame(SIGNATURE, b"x") + frame(USER_ID, b"x"))
    assert "larger than 1 MB" in refused(held, held + frame(TRUST, bytes(1 << 20)))
    assert "too many packets" in refused(held, held + frame(TRUST, b"") * 20_000)


def with_user_ids(owner: Owner, names: Iterable[bytes]) -> bytes:
    return owner.certificate() + b"".join(
        frame(USER_ID, name) + owner.on_user_id(0x13, name, SIGNS) for name in names
    )


def test_a_certificate_that_would_grow_over_a_megabyte_is_refused() -> None:
    ana = Owner()
    first, second = (
        with_user_ids(ana, (b"%d" % number + bytes(14_000) for number in numbers))
        for numbers in (range(40), range(40, 80))
    )
    assert "larger than 1 MB" in refused(first, second)


def test_too_many_user_ids_are_refused_also_when_they_come_one_after_another() -> None:
    ana = Owner()
    first, second, third = (
        with_user_ids(ana, (b"%d" % number for number in numbers))
        for numbers in (range(60), range(60, 120), range(40, 80))
    )
    assert "too many keys and user IDs" in refused(first, second)
    assert len(merge(read(first), third).user_ids) == 81
