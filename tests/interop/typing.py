"""Mails as mail programs make them of what somebody types: by the programs, or in their form.

NeoMutt and Mutt are run on a terminal of their own. Of the others the form is imitated: Thunderbird
by what it once made (see the corpora), K-9, Outlook and Apple Mail by how they set out a text.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, formataddr, make_msgid
from pathlib import Path

import pytest

from tests import programs
from tests.officers import Officer, encrypted_entity, header_lines
from tests.programs import Gpg

_PATIENCE_SECONDS = 40.0
_SETTINGS = """\
set folder={place} spoolfile={place}/box mbox_type=Maildir record="" postponed={place}/postponed
set tmpdir={place} header_cache="" hostname=member.example sendmail={place}/send sendmail_wait=0
set realname="{name}" from={address} use_from=yes charset=utf-8 send_charset=utf-8
set crypt_use_gpgme=yes crypt_autosign=yes crypt_autoencrypt=yes
set pgp_sign_as={fingerprint} pgp_default_key={fingerprint} pgp_self_encrypt=yes
set crypt_replyencrypt=yes crypt_replysign=yes crypt_replysignencrypted=yes
set crypt_protected_headers_write=yes crypt_protected_headers_read=yes crypt_verify_sig=yes
set pager_stop=yes markers=no
ignore *
unignore from to subject date
set editor="{place}/type %s" edit_headers=no include=yes fast_reply=yes autoedit=yes
set abort_unmodified=no abort_nosubject=no quit=yes timeout=1
"""
# Above or below the quotation, as the draft has it.
_TYPE = '#!/bin/sh\ncd {place} && case $(cat where) in above) cat typed "$1";; *) cat "$1" typed;; esac > draft && cat draft > "$1"\n'  # noqa: E501
_SEND = "#!/bin/sh\ncat > {place}/sent.new && mv {place}/sent.new {place}/sent\n"


# It asks again where the text was written as the clock went on to the next second.
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>])")
_SENDING = ((b"Security:", b"y"), (b"Update encoding", b"y"))


class Mutt:
    """NeoMutt or Mutt with an officer's key; `place` is removed by whoever made it."""

    def __init__(
        self, program: str, place: Path, officer: Officer, certificates: Sequence[bytes]
    ) -> None:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
        assert isinstance(officer.program, Gpg)
        self._program = program
        self._place = place
        self._home = officer.program.home
        place.mkdir(parents=True, exist_ok=True)
        for certificate in certificates:
            programs.gpg(self._home, "--import", data=certificate)
        self._trust()
        values = {
            "place": place, "name": officer.name, "address": officer.address,
            "fingerprint": officer.fingerprint,
        }  # fmt: skip
        (place / "rc").write_text(_SETTINGS.format(**values))
        for name, script in (("type", _TYPE), ("send", _SEND)):
            (place / name).write_text(script.format(place=place))
            (place / name).chmod(0o755)

    def write(self, to: str, subject: str, text: str) -> bytes:
        """A new mail, signed and encrypted, with CRLF line ends."""
        self._prepare(text, "above")
        keys = ((b"To: ", b"\r"), *_SENDING)
        return self._run(["-s", subject, "--", to], keys)

    def answer(
        self, mail: bytes, text: str, where: str = "above", *, opened: bool = False
    ) -> bytes:
        """A reply to a mail, which is quoted below or above what is typed. opened: once it was
        read, which is how the program learns its protected subject."""
        self._prepare(text, where)
        begin = ((b"Msgs:1", b"\r"), (b"Good signature", b"r")) if opened else ((b"Msgs:1", b"r"),)
        keys = (*begin, *_SENDING, (b"Mail sent", b"qx" if opened else b"x"))
        return self._run(["-f", self._box(mail)], keys)

    def read(self, mail: bytes) -> str:
        """What a mail looks like: its page, with what is said of its signature, and the list of
        its attachments."""
        keys = ((b"Msgs:1", b"\r"), (b"Good signature", b"v"), (b"original-signed", b"qqx"))
        screen = self._on_terminal(["-f", self._box(mail)], keys)
        # Blanks are moves of the cursor.
        return " ".join(_ESCAPES.sub(" ", screen.decode("utf-8", "replace")).split())

    def _box(self, mail: bytes) -> str:
        """A mailbox with a mail in it."""
        box = self._place / "box"
        shutil.rmtree(box, ignore_errors=True)
        for folder in ("cur", "new", "tmp"):
            (box / folder).mkdir(parents=True)
        (box / "new" / "1.mail").write_bytes(mail.replace(b"\r\n", b"\n"))
        return str(box)

    def _prepare(self, text: str, where: str) -> None:
        (self._place / "typed").write_text(text)
        (self._place / "where").write_text(where)
        (self._place / "sent").unlink(missing_ok=True)

    def _trust(self) -> None:
        """The officer has compared the fingerprints of all certificates that they have."""
        listed = programs.gpg(self._home, "--with-colons", "--list-keys").decode().split("\n")
        trusted = "".join(f"{one.split(':')[9]}:6:\n" for one in listed if one.startswith("fpr:"))
        programs.gpg(self._home, "--trust-model=pgp", "--check-trustdb")  # it makes the file
        programs.gpg(self._home, "--import-ownertrust", data=trusted.encode())

    def _run(self, words: Sequence[str], keys: Sequence[tuple[bytes, bytes]]) -> bytes:
        sent = self._place / "sent"
        screen = self._on_terminal(words, keys)
        assert sent.exists(), f"{self._program} sent nothing:\n{screen!r}"
        return sent.read_bytes().replace(b"\n", b"\r\n")

    def _on_terminal(self, words: Sequence[str], keys: Sequence[tuple[bytes, bytes]]) -> bytes:
        command = [self._program, "-n", "-F", str(self._place / "rc"), *words]
        environment = {
            **os.environ, "GNUPGHOME": str(self._home), "HOME": str(self._place), "TERM": "xterm",
            "LC_ALL": "C.UTF-8", "TZ": "UTC",
        }  # fmt: skip
        return on_terminal(command, keys, environment)


def on_terminal(
    command: Sequence[str], keys: Sequence[tuple[bytes, bytes]], environment: Mapping[str, str]
) -> bytes:
    """All that a program writes to its terminal. keys: (what it shows, what is typed then); what it
    never shows is left out."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True
    )
    os.close(inner)
    screen, seen, left = b"", 0, list(keys)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                screen += os.read(terminal, 65536)
            except OSError:  # the program has ended
                break
            continue  # what is typed while it writes has it leave off
        found = next((n for n, (mark, _) in enumerate(left) if mark in screen[seen:]), None)
        if found is not None:
            os.write(terminal, left[found][1])
            seen, left = len(screen), left[found + 1 :]
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    os.close(terminal)
    return screen


def thunderbird(
    model: bytes, outer: bytes, officer: Officer, certificate: bytes, to: str, body: bytes
) -> bytes:
    """A mail in the form of one that Thunderbird made. model, outer: that one, decrypted and as it
    was sent; body: the MIME entity that takes the place of its own.

    Date and Message-ID are new, and To and Subject others; all else stays as Thunderbird wrote it.
    """
    message_id = make_msgid(domain="member.example")
    fields = {"Message-ID": message_id, "Date": format_datetime(datetime.now(UTC)), "To": to}
    head = _crlf(model).partition(b"\r\n\r\n")[0]
    boundary = re.findall(rb'boundary="([^"]+)"', head)[0]
    inside = _with_fields(head, {**fields, "Subject": "Bitte – please"})
    parts = [b"--" + boundary, body, b"--" + boundary + b"--", b""]
    entity = inside + b"\r\n\r\n" + b"\r\n".join(parts)
    message = officer.program.encrypt(entity, [certificate, officer.certificate], sign=True)
    head, _, wrapped = _crlf(outer).partition(b"\r\n\r\n")
    before, begin, rest = wrapped.partition(b"-----BEGIN PGP MESSAGE-----")
    after = rest.partition(b"-----END PGP MESSAGE-----\r\n")[2]
    assert begin
    return _with_fields(head, fields) + b"\r\n\r\n" + before + _crlf(message) + after


def sealed(
    officer: Officer,
    certificate: bytes,
    to: str,
    entity: bytes,
    *,
    subject: str = "commands",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A mail around an entity, signed and encrypted, with no header field inside."""
    fields = {
        "From": formataddr((officer.name, officer.address)), "To": to, "Subject": subject,
        "Date": format_datetime(datetime.now(UTC)),
        "Message-ID": make_msgid(domain="member.example"), **(headers or {}),
    }  # fmt: skip
    message = officer.program.encrypt(entity, [certificate, officer.certificate], sign=True)
    return header_lines(fields) + encrypted_entity(message)


def plain(text: str, parameters: str = "") -> bytes:
    """A text part."""
    head = f"Content-Type: text/plain; charset=UTF-8{parameters}\r\n"
    return head.encode() + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + _crlf(text.encode())


def flowed(text: str) -> bytes:
    """A text part as Thunderbird writes it."""
    return plain(text, "; format=flowed")


def html(text: str) -> bytes:
    return b"Content-Type: text/html; charset=UTF-8\r\n" + plain(text).partition(b"\r\n")[2]


def alternative(*parts: bytes) -> bytes:
    """The same in several forms, the plainest first."""
    boundary = b"------------Aq0cT3mB8kL5"
    head = b'Content-Type: multipart/alternative;\r\n boundary="' + boundary + b'"\r\n\r\n'
    inside = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return head + inside + b"--" + boundary + b"--\r\n"


def _with_fields(head: bytes, fields: Mapping[str, str]) -> bytes:
    """A header with other values in these fields, the others byte for byte."""
    for name, value in fields.items():
        encoded = header_lines({name: value}).removesuffix(b"\r\n")
        pattern = rb"(?m)^" + name.encode() + rb":[^\r\n]*(?:\r\n[ \t][^\r\n]*)*"
        head, count = re.subn(pattern, lambda _, new=encoded: new, head)  # type: ignore[misc]
        assert count == 1, name
    return head


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
