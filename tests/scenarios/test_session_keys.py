"""Session keys of a stranger's message: none ends gpg-agent, makes it work for long, or is taken
for a fault of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from gateway.message.armor import armor, dearmor
from gateway.message.packet import MARKER, PADDING, PKESK, body, frame, packets
from gateway.message.session_key import MOST_HIDDEN
from tests.officers import encrypted_entity, parse
from tests.scenarios.judged import Ground, fields_of, founded

REFUSED = "550 5.7.1 No good signature of an active member over the whole mail"
HIDDEN, WRAPPED = bytes(8), bytes([48]) + bytes(48)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with founded() as made:
        yield made


def ecdh(point: bytes, wrapped: bytes = WRAPPED) -> bytes:
    """What follows the key ID: the algorithm, a number, a wrapped key."""
    bits = len(point) * 8 - 8 + (point[0].bit_length() if point else 8)
    return b"\x12" + bits.to_bytes(2, "big") + point + wrapped


POINT = b"\x40" + bytes(range(1, 33))
BROKEN = {
    "a point of one octet": ecdh(b"\x40"),
    "of two": ecdh(b"\x40\x11"),
    "of none": ecdh(b""),
    "of more than it has": b"\x12\xff\xff" + bytes(80),
    "a wrapped key of none": ecdh(POINT, b"\x00"),
    "of one octet": ecdh(POINT, b"\x01a"),
    "of 255": ecdh(POINT, b"\xff" + bytes(255)),
    "cut short": ecdh(POINT, b"\x30" + bytes(10)),
    "not there": ecdh(POINT, b""),
    "and more": ecdh(POINT, WRAPPED + b"x"),
    "another algorithm": b"\x19" + bytes(73),
    "RSA of no bits": b"\x01\x00\x00",
    "ElGamal with one number": b"\x10\x00\x08\xff",
    "ElGamal with two": b"\x10\x00\x08\xff\x00\x08\xff",
    "RSA": b"\x01\x08\x00" + b"\xff" * 256,
    "a point of another curve": ecdh(b"\x04" + bytes(range(1, 65))),
    "a damaged one": ecdh(POINT),
}


def with_packets(ground: Ground, mail: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """A mail with other packets; `change` gets its session key's content and its data."""
    armored = list(parse(mail).iter_parts())[1].get_payload(decode=True)
    assert isinstance(armored, bytes)
    message = dearmor(armored)
    first, *_ = packets(message)
    made = change(body(message, first), message[first.end :])
    return fields_of(mail) + encrypted_entity(armor(made))


def agent(ground: Ground) -> str:
    """Who serves the gateway's keys."""
    home = str(ground.gateway.state / "gnupg")
    command = ["gpg-connect-agent", "--homedir", home, "--no-autostart", "GETINFO pid", "/bye"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert said.startswith("D "), "no agent runs"
    return said


@pytest.mark.parametrize("whom", ["named", "hidden"])
@pytest.mark.parametrize("own", BROKEN.values(), ids=BROKEN)
def test_a_broken_session_key_is_refused_for_good(ground: Ground, own: bytes, whom: str) -> None:
    def broken(content: bytes, data: bytes) -> bytes:
        key_id = content[1:9] if whom == "named" else HIDDEN
        return frame(PKESK, content[:1] + key_id + own) + data

    before = agent(ground)
    assert ground.post(with_packets(ground, ground.mail(), broken)) == REFUSED
    assert agent(ground) == before


def test_what_is_no_session_key_for_us_is_passed_over(ground: Ground) -> None:
    others = (
        frame(PADDING, b"p" * 30),
        frame(MARKER, b"other"),
        frame(PKESK, b"\x06\x15\x04" + b"\xaa" * 20 + b"\x19" + bytes(73)),  # version 6
        frame(PKESK, b"\x03" + b"\xbb" * 8 + ecdh(b"\x40")),
        *(frame(PKESK, b"\x03" + bytes([one] * 8) + ecdh(POINT)) for one in range(1, 60)),
    )
    for other in others:

        def beside(content: bytes, data: bytes, other: bytes = other) -> bytes:
            return other + frame(PKESK, content) + data

        mail = with_packets(ground, ground.mail(text=other[:9].hex()), beside)
        assert ground.post(mail).startswith("250 ")


def test_a_session_key_of_version_6_for_us_is_refused(ground: Ground) -> None:
    def newer(content: bytes, data: bytes) -> bytes:
        fingerprint = next(one for one in ours(ground) if one.endswith(content[1:9].hex().upper())
                           and len(one) == 40)  # fmt: skip
        return (
            frame(PKESK, b"\x06\x15\x04" + bytes.fromhex(fingerprint) + b"\x19" + bytes(73)) + data
        )

    assert ground.post(with_packets(ground, ground.mail(), newer)) == REFUSED


def test_a_hidden_reader_may_be_the_list(ground: Ground) -> None:
    def hidden(content: bytes, data: bytes) -> bytes:
        own = frame(PKESK, content[:1] + HIDDEN + content[9:])
        return frame(PKESK, b"\x03" + HIDDEN + ecdh(POINT)) * 3 + own + data

    assert ground.post(with_packets(ground, ground.mail(), hidden)).startswith("250 ")


def test_so_many_hidden_readers_are_tried_and_no_more(ground: Ground) -> None:
    def crowd(content: bytes, data: bytes) -> bytes:
        own = frame(PKESK, content[:1] + HIDDEN + content[9:])
        return frame(PKESK, b"\x03" + HIDDEN + ecdh(POINT)) * MOST_HIDDEN + own + data

    assert ground.post(with_packets(ground, ground.mail(), crowd)) == REFUSED


def ours(ground: Ground) -> list[str]:
    """Fingerprints of the gateway's keys and of their parts."""
    home = str(ground.gateway.state / "gnupg")
    command = ["gpg", "--homedir", home, "--list-keys", "--with-colons"]
    listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]
