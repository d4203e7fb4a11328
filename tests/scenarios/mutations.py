"""What is done to a mail on its way, by the name that stories call it by.

Each takes the mail as its author's program made it, and the scene, and returns the mail that is
sent. They are whole attacks: wherever a session key is needed it is the real one, so that a mail
is refused for the flaw that its name tells and not for being garbage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid
from hashlib import sha1
from os import urandom

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from gateway.message.armor import armor, dearmor
from gateway.message.packet import (
    LITERAL,
    ONE_PASS,
    PKESK,
    SEIPD,
    SIGNATURE,
    SYMMETRIC,
    frame,
    packets,
)
from tests import programs
from tests.officers import Officer, encrypted_entity, header_lines, parse
from tests.scenarios.bomb import bzip2_bomb, zlib_bomb

_BLOCK = re.compile(rb"-----BEGIN PGP MESSAGE-----.*-----END PGP MESSAGE-----", re.DOTALL)
_AES_BYTES = 16
_MARKER = b"\xca\x03PGP"


@dataclass(frozen=True, slots=True)
class Scene:
    """author: of the mail; their key opens it too. by: who has it in their hands, if a story says
    so. certificates: of the lists that it goes to, armored."""

    author: Officer
    by: Officer | None
    certificates: Sequence[bytes]


Mutation = Callable[[bytes, Scene], bytes]


def tampered_ciphertext(mail: bytes, _: Scene) -> bytes:
    """One bit of the encrypted data is flipped."""
    message = bytearray(_message(mail))
    message[-40] ^= 1
    return _with(mail, bytes(message))


def mdc_stripped(mail: bytes, scene: Scene) -> bytes:
    """The same signed message under the same session key, in a packet without integrity
    protection (RFC 9580 5.7): the downgrade of EFAIL."""
    message = _message(mail)
    key = _session_key(message, scene.author)
    inside = _unwrapped(message, scene.author)
    return _with(mail, _keys(message) + frame(SYMMETRIC, _cfb_resynchronised(key, inside)))


def empty_then_clear(mail: bytes, scene: Scene) -> bytes:
    """Encrypted is a marker packet, which means nothing; the signed message follows in the clear.
    `gpg --unwrap` takes this for an encrypted and well signed one, with exit status 0."""
    message = _message(mail)
    key = _session_key(message, scene.author)
    inside = _unwrapped(message, scene.author)
    return _with(mail, _keys(message) + _protected(key, _MARKER) + inside)


def trailing_garbage(mail: bytes, _: Scene) -> bytes:
    """Octets behind the encrypted data, within the armor."""
    return _with(mail, _message(mail) + b"garbage")


def trailing_packet(mail: bytes, _: Scene) -> bytes:
    """A second message behind the first one: a literal packet in the clear."""
    return _with(mail, _message(mail) + frame(LITERAL, b"b\0\0\0\0\0" + b"and this too"))


def text_after_armor(mail: bytes, _: Scene) -> bytes:
    """A line that nobody signed, below an inline message."""
    return mail + b"and this too\r\n"


def bomb_signed(mail: bytes, scene: Scene) -> bytes:
    """1.6 KB of bzip2 that make 2 GB, between the one-pass packet and the signature of a mail."""
    message = _message(mail)
    key = _session_key(message, scene.author)
    head, tail = _signature_frame(_plain_packets(message, scene.author))
    return _with(mail, _keys(message) + _protected(key, bzip2_bomb(head, tail)))


def bomb_unsigned(mail: bytes, scene: Scene) -> bytes:
    """The same without any signature."""
    message = _message(mail)
    key = _session_key(message, scene.author)
    return _with(mail, _keys(message) + _protected(key, bzip2_bomb(b"", b"")))


def bomb_deflate(mail: bytes, scene: Scene) -> bytes:
    """1.2 MB of zlib that make 256 MB, between one-pass packet and signature."""
    message = _message(mail)
    key = _session_key(message, scene.author)
    head, tail = _signature_frame(_plain_packets(message, scene.author))
    return _with(mail, _keys(message) + _protected(key, zlib_bomb(head, tail)))


def sixty_megabytes(mail: bytes, _: Scene) -> bytes:
    """The mail with 60 MB of lines behind it."""
    return mail + (b"x" * 76 + b"\r\n") * (60 * 2**20 // 78)


def deep_inside(mail: bytes, scene: Scene) -> bytes:
    """A content of a thousand multiparts within each other, well signed and encrypted."""
    message = scene.author.program.encrypt(_nested(1000), scene.certificates, sign=True)
    head = mail[: mail.index(b"MIME-Version:")]
    return head + encrypted_entity(message)


def deep_outside(mail: bytes, scene: Scene) -> bytes:
    """A thousand multiparts within each other around the whole mail."""
    return header_lines({"From": scene.author.address, "Subject": "x"}) + _nested(1000)


def broken_mime(mail: bytes, _: Scene) -> bytes:
    """The mail without its last lines, so that no delimiter closes it."""
    return mail[: mail.rindex(b"-----END PGP MESSAGE-----")]


def surreptitious(mail: bytes, scene: Scene) -> bytes:
    """A private mail's reader takes its signed message and encrypts that to a list."""
    assert scene.by is not None
    inside = _unwrapped(_message(mail), scene.by)
    return _with(mail, _encrypted_anew(inside, scene.by, scene.certificates))


def forwarded(mail: bytes, scene: Scene) -> bytes:
    """Somebody sends another one's signed message on in a mail of their own, encrypted anew."""
    assert scene.by is not None
    inside = _unwrapped(_message(mail), scene.author)
    outside = {
        "From": scene.by.address,
        "To": str(parse(mail)["To"]),
        "Subject": "Fwd: ...",
        "Message-ID": make_msgid(domain=scene.by.address.partition("@")[2]),
    }
    message = _encrypted_anew(inside, scene.by, scene.certificates)
    return header_lines(outside) + encrypted_entity(armor(message))


def re_encrypted(mail: bytes, scene: Scene) -> bytes:
    """The signed message encrypted anew, with another Message-ID outside: a replay that shares
    nothing with the first mail but the signature."""
    inside = _unwrapped(_message(mail), scene.author)
    message = _encrypted_anew(inside, scene.author, scene.certificates)
    fresh = re.sub(rb"(?im)^message-id:.*\r\n", b"Message-ID: <replay@customs.example>\r\n", mail)
    return _with(fresh, message)


def long_header(mail: bytes, scene: Scene) -> bytes:
    """A header field over 256 KiB before all others."""
    return b"X-Long: " + (b"y" * 70 + b"\r\n ") * 5000 + b"\r\n" + mail


def not_a_mail(_: bytes, __: Scene) -> bytes:
    """Octets without a header."""
    return b"\r\n" + (bytes(range(128, 256)) + b"\r\n") * 8


MUTATIONS: Mapping[str, Mutation] = {
    "tampered ciphertext": tampered_ciphertext,
    "mdc stripped": mdc_stripped,
    "empty, then clear": empty_then_clear,
    "trailing garbage": trailing_garbage,
    "trailing packet": trailing_packet,
    "text after the armor": text_after_armor,
    "bomb, signed": bomb_signed,
    "bomb, unsigned": bomb_unsigned,
    "bomb, deflate": bomb_deflate,
    "sixty megabytes": sixty_megabytes,
    "deep inside": deep_inside,
    "deep outside": deep_outside,
    "broken MIME": broken_mime,
    "surreptitious": surreptitious,
    "forwarded": forwarded,
    "re-encrypted": re_encrypted,
    "long header": long_header,
    "not a mail": not_a_mail,
}


def _message(mail: bytes) -> bytes:
    found = _BLOCK.search(mail)
    assert found is not None
    return dearmor(found.group())


def _with(mail: bytes, message: bytes) -> bytes:
    block = armor(message).rstrip()
    return _BLOCK.sub(lambda _: block, mail)


def _keys(message: bytes) -> bytes:
    """All session key packets of a message."""
    return b"".join(message[one.start : one.end] for one in packets(message) if one.tag == PKESK)


def _session_key(message: bytes, officer: Officer) -> bytes:
    """The AES key of a message that a GnuPG user can open."""
    status = programs.gpg(
        officer.program.home, "--status-fd", "1", "--show-session-key",
        "--skip-verify", "--output", "/dev/null", "--yes", "--decrypt", data=message,
    )  # fmt: skip
    found = re.search(rb"SESSION_KEY [789]:([0-9A-F]+)", status)
    assert found is not None, "not encrypted with AES"
    return bytes.fromhex(found.group(1).decode())


def _unwrapped(message: bytes, officer: Officer) -> bytes:
    """The packets inside the encryption, as they are."""
    return programs.gpg(officer.program.home, "--decrypt", "--unwrap", data=message)


def _encrypted_anew(inside: bytes, by: Officer, certificates: Sequence[bytes]) -> bytes:
    """A message of a GnuPG user's own, with these packets inside."""
    envelope = dearmor(by.program.encrypt(b"", [*certificates, by.certificate]))
    return _keys(envelope) + _protected(_session_key(envelope, by), inside)


def _plain_packets(message: bytes, officer: Officer) -> bytes:
    """One-pass packet, literal and signature, uncompressed: signed anew where need be."""
    return dearmor(
        programs.gpg(
            officer.program.home, "--armor", "--compress-algo", "none", "--sign",
            data=_unwrapped(message, officer),
        )
    )  # fmt: skip


def _signature_frame(signed: bytes) -> tuple[bytes, bytes]:
    """The packet before the literal one, and the packet after it."""
    found = {one.tag: signed[one.start : one.end] for one in packets(signed)}
    return found[ONE_PASS], found[SIGNATURE]


def _protected(key: bytes, inside: bytes) -> bytes:
    """A SEIPD packet of version 1 (RFC 9580 5.13.1)."""
    prefix = urandom(_AES_BYTES)
    plain = prefix + prefix[-2:] + inside + b"\xd3\x14"
    return frame(SEIPD, b"\1" + _cfb(key, plain + sha1(plain).digest(), bytes(_AES_BYTES)))


def _cfb_resynchronised(key: bytes, inside: bytes) -> bytes:
    """The body of a SED packet (RFC 9580 5.7)."""
    prefix = urandom(_AES_BYTES)
    head = _cfb(key, prefix + prefix[-2:], bytes(_AES_BYTES))
    return head + _cfb(key, inside, head[2:])


def _cfb(key: bytes, plain: bytes, before: bytes) -> bytes:
    encrypt = Cipher(AES(key), ECB()).encryptor().update
    made = bytearray()
    for at in range(0, len(plain), _AES_BYTES):
        piece = plain[at : at + _AES_BYTES]
        before = bytes(a ^ b for a, b in zip(piece, encrypt(before), strict=False))
        made += before
    return bytes(made)


def _nested(depth: int) -> bytes:
    inner = EmailMessage(policy=SMTP)
    inner.set_content("Deep down.\n")
    made = inner.as_bytes()
    for level in range(depth):
        head = f'Content-Type: multipart/mixed; boundary="b{level}"\r\n\r\n--b{level}\r\n'
        made = head.encode() + made + f"\r\n--b{level}--\r\n".encode()
    return made
