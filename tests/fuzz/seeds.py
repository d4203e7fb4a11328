"""Good examples for each target to start from, made anew where keys are needed; what a fuzzer once
found lies in `found/`, a folder a target."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pysequoia

from gateway.message.armor import armor
from gateway.message.packet import LITERAL, PKESK, SEIPD, frame

FOUND = Path(__file__).parent / "found"
_CRLF = b"\r\n"
_SUITES = {
    "mail": ("thunderbird-openpgp", "kmail-messagelib", "mail-programs"),
    "header": ("ruby-mail", "cpython-email"),
    "travelling": ("stalwart-mail-parser", "thunderbird-mailnews"),
    "commands": ("mail-programs", "thunderbird-mailnews"),
    "bounce": ("sisimai-set-of-emails",),
    "origin": ("arc-test-suite", "perl-mail-dkim"),
    "packets": ("rnp", "pgpy"),
    "certificate": ("rnp", "pgpy"),
}
_MOST_OF_A_SUITE = 200
_MOST_BYTES = 64 * 1024
_TEXT = (
    b"Content-Type: text/plain; charset=utf-8; protected-headers=v1\r\n"
    b"Subject: TLP:AMBER Ivory\r\nFrom: Ana <ana@customs.example>\r\n"
    b"To: wildlife@environet.example\r\nHP-Outer: Subject: ...\r\n\r\n"
    b"TLP:AMBER\r\n\r\nTwo containers.\r\n"
)
_TYPED = (
    b"Content-Type: text/plain; charset=utf-8; format=flowed\r\n\r\nHello,\r\nplease tick off B\r\n"
    b"approve H-17 well done\r\nnominate bo@police.example\r\nname: Bo\r\ncountry: KE\r\n"
    b"> help\r\nOn Saturday, Ana wrote:\r\n> deliver each\r\n-- \r\nAna\r\n"
)
_MARKUP = (
    b"<html><body><p>tick off B<br>help</p><blockquote type=cite>approve H-1</blockquote>"
    b"<div class='gmail_quote'>x</div><!-- --><span hidden>y</span>&#x41;&amp;</body></html>"
)
_NOTICE = (
    b"Seen today.\n-----BEGIN ENV-NOTICE 1-----\nKind: alert\nGoods: ivory\nCountry.origin: KE\n"
    b"-----END-----\nRegards\n"
)
_REPORT = (
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\n"
    b"Sorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    b"Reporting-MTA: dns; mx.example\r\n\r\n"
    b"Final-Recipient: rfc822; bo@police.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 unknown\r\n\r\n--b--\r\n"
)
_SIGNED_BY_A_DOMAIN = (
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=customs.example; s=one;\r\n"
    b"\th=from:to; bh=g3zLYH4xKxcPrHOD18z9YfpQcnk/GaJedfustWU5uGs=; b=dGVzdA==\r\n"
    b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=customs.example; s=one; b=dGVzdA==\r\n"
    b"ARC-Message-Signature: i=1; a=rsa-sha256; d=customs.example; s=one; h=from; bh=x; b=x\r\n"
    b"ARC-Authentication-Results: i=1; customs.example; spf=pass\r\n"
    b"From: ana@customs.example\r\n\r\nText\r\n"
)


def of(target: str) -> Iterator[bytes]:
    """Examples of the project's own, what was found, and those of the corpora at hand."""
    yield from ours()[target]
    yield from found(target)
    corpora = os.environ.get("ENVIRONET_CORPORA")
    for suite in _SUITES.get(target, ()) if corpora else ():
        files = sorted(one for one in Path(str(corpora), suite).rglob("*") if one.is_file())
        small = [one for one in files if 0 < one.stat().st_size <= _MOST_BYTES]
        yield from (one.read_bytes() for one in small[:_MOST_OF_A_SUITE])


def found(target: str) -> Iterator[bytes]:
    """What once made a target fail."""
    yield from (one.read_bytes() for one in sorted((FOUND / target).glob("*")))


@cache
def ours() -> Mapping[str, Sequence[bytes]]:
    key = pysequoia.Tsk.generate("Ana <ana@customs.example>", profile=pysequoia.Profile.RFC4880)
    certificate = bytes(key.extract_certificate())
    message = pysequoia.sign(key.signer(), _TEXT, armor=False)
    detached = pysequoia.sign(
        key.signer(), _TEXT, mode=pysequoia.SignatureMode.DETACHED, armor=False
    )
    encrypted = pysequoia.encrypt(_TEXT, [key.extract_certificate()], armor=False)
    pkesk = frame(PKESK, b"\x03" + bytes(8) + b"\x12\x01\x07\x40" + bytes(32) + b"0" + bytes(48))
    inside_out = pkesk + frame(SEIPD, b"\x01" + message)
    multipart_signed = _multipart(
        b"signed; micalg=pgp-sha512; protocol=application/pgp-signature",
        _TEXT,
        b"Content-Type: application/pgp-signature\r\n\r\n" + armor(detached, "SIGNATURE"),
    )
    in_clear = pkesk + frame(
        SEIPD, b"\x01" + frame(LITERAL, b"b\x00" + bytes(4) + multipart_signed)
    )
    cleartext = bytes(
        pysequoia.sign(key.signer(), b"help\n", mode=pysequoia.SignatureMode.CLEAR, armor=True)
    )
    return {
        "packets": [certificate, message, encrypted, inside_out],
        "armor": [
            armor(message), armor(detached, "SIGNATURE"), armor(certificate, "PUBLIC KEY BLOCK"),
        ],
        "signed": [message, detached + frame(LITERAL, b"b\x00" + bytes(4) + _TEXT)],
        "detached": [detached, detached + detached],
        "mail": [
            _encrypted(inside_out), _encrypted(in_clear), multipart_signed,
            b"Content-Type: text/plain\r\n\r\n" + armor(inside_out, line_end=_CRLF),
            b"Content-Type: text/plain\r\n\r\n" + cleartext.replace(b"\n", _CRLF),
            _multipart(b"mixed", multipart_signed, b"\r\na footer\r\n"),
            b"Autocrypt: addr=ana@customs.example; keydata=mDM=\r\n" + multipart_signed,
        ],
        "travelling": [
            _TEXT, b"Content-Type: text/html\r\n\r\n<style>p{}</style>" + _MARKUP,
            _multipart(
                b"mixed", _TYPED, b"Content-Type: text/html\r\n\r\n<p style='x'>" + _MARKUP,
                b"Content-Type: message/rfc822\r\n\r\n" + _TEXT,
                b"Content-Type: application/pdf; name=a.eml\r\n"
                b"Content-Transfer-Encoding: base64\r\n\r\nJVBERg==",
            ),
        ],
        "header": [_TEXT, multipart_signed, _encrypted(encrypted)],
        "notice": [_NOTICE],
        "commands": [_TYPED, b"Content-Type: text/html\r\n\r\n" + _MARKUP],
        "markup": [_MARKUP],
        "search": [
            b'ivory OR "Pointe-Noire" from:ana topic:B -date:2026-03..', b"(a AND b) is:held",
        ],
        "data": [b"\x05Subject: a\r\n\r\n..b\r\n.\r\nQUIT\r\n", b"\x01a\n.\r\n"],
        "bounce": [_REPORT],
        "certificate": [certificate],
        "origin": [_SIGNED_BY_A_DOMAIN],
    }  # fmt: skip


def _encrypted(message: bytes) -> bytes:
    version = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
    data = b"Content-Type: application/octet-stream\r\n\r\n" + armor(message, line_end=_CRLF)
    return b"Subject: ...\r\nFrom: Ana <ana@customs.example>\r\n" + _multipart(
        b"encrypted; protocol=application/pgp-encrypted", version, data
    )


def _multipart(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(b"--bound\r\n" + one + _CRLF for one in parts)
    return (
        b"Content-Type: multipart/" + kind + b"; boundary=bound\r\n\r\n" + body + b"--bound--\r\n"
    )
