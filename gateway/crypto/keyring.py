"""The gateway's own secret keys, behind gpg-agent. The only module that imports gnupg.

Content goes to gpg and comes back through pipes alone. Every fault is judged here to be the
message's (Undecryptable, TooLarge: permanent) or ours (Unavailable: the sender's server tries
again); what is not proven to be the message's fault is ours.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Final, cast

import gnupg

from gateway.errors import GatewayError, TooLarge, Unavailable, Undecryptable, UsageError

# At debug level python-gnupg logs gpg's messages, with user IDs and file names; above it, faults
# that are all told again by the exceptions raised here.
logging.getLogger("gnupg").setLevel(logging.CRITICAL)

# RFC 3156 5 and RFC 9580 9.5: the hash's id in a signature -> its name in MIME.
_MICALG: Final = {"8": "pgp-sha256", "9": "pgp-sha384", "10": "pgp-sha512"}
# sun_path in unix(7) has 108 bytes, the last of them a NUL.
_SOCKET_PATH_BYTES: Final = 107
_PIPE_BYTES: Final = 64 * 1024
# timeout(1): 124 when time is up, 125 to 127 when the program can't be run, 128 and a signal.
_NOT_RUN: Final = 124
# Codes of libgpg-error that a session key damaged in the message gives: PUBKEY_ALGO, CHECKSUM,
# CIPHER_ALGO, WRONG_SECKEY, BAD_MPI, INV_KEYLEN, INV_VALUE, INV_OBJ, INV_DATA, BAD_DATA,
# INV_LENGTH, DECRYPT_FAILED. Anything else, ENOMEM (32854) above all, is a fault on our side.
_DAMAGED: Final = frozenset({4, 10, 12, 18, 30, 44, 55, 65, 79, 89, 139, 152})
_ANONYMOUS: Final = "0" * 16
# Status lines that gpg gives once it has read something of a message.
_READ: Final = ("ENC_TO", "BEGIN_DECRYPTION", "NODATA")
_SMALL: Final = 1 << 20


class Keyring:
    """A GnuPG home that holds the gateway's own keys and nobody else's. Threads may share it.

    home: path of the GnuPG home. timeout: seconds that one gpg process may take. parallel: gpg
    processes at once; gpg-agent does one thing at a time and needs memory for each that waits.

    Every method raises Unavailable where gpg, its agent or the home does not serve.
    """

    @classmethod
    def create(cls, home: Path, skeleton: Mapping[str, str]) -> Keyring:
        """Make a new home (mode 0700) with the configuration files given: name -> content.

        Raises UsageError where the home is there already, or its path is too long for a socket.
        """
        if home.exists():
            raise UsageError(f"{home} exists already; choose a new state directory")
        socket = os.fsencode(_gpgconf(home, "--list-dirs", "agent-socket").strip())
        if len(socket) > _SOCKET_PATH_BYTES:
            raise UsageError(
                f"the path of gpg-agent's socket would be {len(socket)} bytes, and "
                f"{_SOCKET_PATH_BYTES} is the most; choose a state directory with a shorter path"
            )
        home.mkdir(mode=0o700, parents=True)
        for name, content in skeleton.items():
            (home / name).write_text(content)
        return cls(home)

    def __init__(self, home: Path, *, timeout: float = 60.0, parallel: int = 4) -> None:
        self.home = home
        self._gate = BoundedSemaphore(parallel)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        try:
            self._gpg = _TimedGpg(timeout, gnupghome=str(home), env=environment)
        except (OSError, ValueError):
            raise Unavailable(f"gpg can't be run on the GnuPG home {home}") from None

    def generate(self, name: str, address: str, expires: datetime | None = None) -> str:
        """Make an Ed25519 key with a Cv25519 encryption subkey; return its fingerprint.

        The fingerprint is in upper-case hex; the revocation certificate is kept by gpg in
        openpgp-revocs.d. expires: UTC, None for never. Raises UsageError for a user ID that would
        not be one line.
        """
        if re.search(r"[\x00-\x1f\x7f<>]", name + address) or not name or "@" not in address:
            raise UsageError("a key's name and address are one line of text each")
        limit = f"{expires.astimezone(UTC):%Y%m%dT%H%M%S}" if expires else "0"
        parameters = (
            "%no-protection\n"
            "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign\n"
            "Subkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt\n"
            f"Name-Real: {name}\nName-Email: {address}\nExpire-Date: {limit}\n%commit\n"
        )
        answer = self._run("generate", lambda gpg: gpg.gen_key(parameters.encode()))
        for arguments in answer.all("KEY_CREATED"):
            return arguments[1]
        raise Unavailable(f"gpg made no key for {address} (exit status {answer.returncode})")

    def find(self, address: str) -> str | None:
        """Fingerprint of the newest usable key whose user ID has this address, or None."""
        ending = f"<{address}>".casefold()
        usable = [
            (int(key["date"]), str(key["fingerprint"]))
            for key in self._list(secret=False)
            if key["trust"] not in ("e", "r", "d")
            and any(user_id.casefold().endswith(ending) for user_id in key["uids"])
        ]
        return max(usable)[1] if usable else None

    def export(self, fingerprint: str) -> bytes:
        """A key's certificate, binary, with no signatures but its own."""
        return self._export(fingerprint, armor=False)

    def export_armored(self, fingerprint: str) -> str:
        """A key's certificate in ASCII armor."""
        return self._export(fingerprint, armor=True).decode("ascii")

    def unwrap(self, message: bytes, max_output: int) -> bytes:
        """Take the encryption off a message: the OpenPGP packets inside, neither read nor inflated.

        message: binary; the caller has checked that it is session keys and then one integrity
        protected packet and nothing else (RFC 9580 10.3). gpg does not: whatever comes after that
        packet, it copies to the output as if it had been encrypted. max_output: bytes.

        Raises Undecryptable where no key of ours opens it or its integrity protection fails, and
        TooLarge where more than max_output bytes come out.
        """
        return self._decrypt(message, max_output, ["--unwrap"])

    def decrypt(self, message: bytes) -> bytes:
        """Open what encrypt_to_self made, up to 1 MiB. Raises as unwrap does."""
        return self._decrypt(message, _SMALL, [])

    def encrypt_to_self(self, data: bytes, fingerprint: str) -> bytes:
        """Encrypt a secret of the gateway to one of its own keys: a binary OpenPGP message."""
        answer = self._run(
            "crypt",
            lambda gpg: gpg.encrypt_file(
                BytesIO(data), [fingerprint], always_trust=True, armor=False
            ),
        )
        if answer.returncode != 0 or not answer.has("END_ENCRYPTION"):
            raise Unavailable(f"gpg can't encrypt to {fingerprint}")
        return answer.output

    def sign(self, data: bytes, fingerprint: str) -> tuple[bytes, str]:
        """Detached binary signature (type 0x00) over exactly these bytes, and its micalg.

        The signature is in ASCII armor with LF line ends. micalg as in RFC 3156 5.
        """
        # Not --default-key: where that key is unusable gpg signs with another one of the home's.
        choose = ["--local-user", f"{fingerprint}!", "--digest-algo", "SHA512"]
        answer = self._run(
            "sign",
            lambda gpg: gpg.sign_file(
                BytesIO(data), clearsign=False, detach=True, extra_args=choose
            ),
        )
        # SIG_CREATED: type, public key algorithm, hash, class, time, fingerprint
        made = answer.all("SIG_CREATED")
        if answer.returncode != 0 or len(made) != 1 or made[0][5] != fingerprint:
            raise Unavailable(f"gpg can't sign with {fingerprint}")
        return answer.output, _MICALG[made[0][2]]

    def close(self) -> None:
        """End this home's gpg-agent. The keyring may be used again: gpg starts a new one."""
        _gpgconf(self.home, "--kill", "all")

    def _decrypt(self, message: bytes, max_output: int, options: Sequence[str]) -> bytes:
        answer = self._open(message, max_output, options)
        if [_ANONYMOUS] in answer.all("NO_SECKEY"):
            # gpg has no other words for an agent that died meanwhile: only where one and the same
            # agent lived before and after is it the message's fault.
            before = self._agent()
            answer = self._open(message, max_output, options)
            if self._agent() != before:
                raise Unavailable("gpg-agent ended meanwhile")
        if answer.overflowed:
            raise TooLarge(f"more than {max_output} bytes were encrypted")
        # All three, for each has been seen, in one version or mode of gpg, with a message that
        # was changed or that has no integrity protection.
        if not (answer.returncode == 0 and answer.has("DECRYPTION_OKAY", "GOODMDC")):
            raise self._meaning(answer)
        return answer.output

    def _open(self, message: bytes, max_output: int, options: Sequence[str]) -> _Answer:
        arguments = {"extra_args": list(options)}
        return self._run(
            "crypt", lambda gpg: gpg.decrypt_file(BytesIO(message), **arguments), max_output
        )

    def _agent(self) -> str:
        """The process id of the agent that is running."""
        quiet = ["--homedir", str(self.home), "--no-autostart"]
        command = ["gpg-connect-agent", *quiet, "GETINFO pid", "/bye"]
        try:
            return subprocess.run(  # noqa: S603
                command, capture_output=True, check=True, text=True, timeout=30
            ).stdout
        except (OSError, subprocess.SubprocessError):
            raise Unavailable("gpg-agent does not answer") from None

    def _meaning(self, answer: _Answer) -> GatewayError:
        """Why a decryption failed. gpg's words don't tell: they are "No secret key" for most."""
        if not answer.ran:
            return Unavailable(f"gpg did not run to its end (exit status {answer.returncode})")
        if answer.has("BADMDC"):
            return Undecryptable("the message was changed after it was encrypted")
        if answer.has("DECRYPTION_KEY"):
            return Undecryptable("the message is damaged or has no integrity protection")
        errors = [line[1] for line in answer.all("ERROR") if line[0] == "pkdecrypt_failed"]
        if errors and all(int(code) & 0xFFFF in _DAMAGED for code in errors):
            return Undecryptable("the message's session key is damaged")
        if errors and not {tuple(line[:2]) for line in answer.all("ENC_TO")} & self._serving():
            # Such as a session key that names our signing key: the agent fails in odd ways.
            return Undecryptable("the message names no key of ours that decrypts")
        if errors:
            return Unavailable(f"gpg-agent failed to open a session key (code {errors[-1]})")
        # NO_SECKEY is said of a key that we don't have, and of ours where the agent is not there.
        if {line[0] for line in answer.all("NO_SECKEY")} & self._key_ids():
            return Unavailable("gpg-agent did not open a message to one of our keys")
        if answer.returncode == 0 or any(map(answer.has, _READ)):
            return Undecryptable("the message is not encrypted to a key of ours")
        return Unavailable(f"gpg failed (exit status {answer.returncode})")

    def _serving(self) -> set[tuple[str, str]]:
        """(key ID, algorithm number) of our keys that decrypt. The agent is not asked."""
        return {
            (name, str(key["subkey_info"][name]["algo"]))
            for key in self._list(secret=False)
            for name, capabilities, *_ in key["subkeys"]
            if "e" in capabilities
        } | {
            (str(key["keyid"]), str(key["algo"]))
            for key in self._list(secret=False)
            if "e" in key["cap"]
        }

    def _key_ids(self) -> set[str]:
        """Key IDs of our keys. Raises Unavailable unless the agent has every secret key."""
        keys = self._list(secret=False)
        at_hand = {key["fingerprint"] for key in self._list(secret=True)}
        if not keys or any(key["fingerprint"] not in at_hand for key in keys):
            raise Unavailable("secret keys are missing from the GnuPG home")
        return {
            name for key in keys for name in (key["keyid"], *(sub[0] for sub in key["subkeys"]))
        }

    def _list(self, *, secret: bool) -> Sequence[Mapping[str, Any]]:
        with self._gate:
            try:
                found = self._gpg.list_keys(secret)
            except OSError:
                raise Unavailable("gpg can't be run") from None
        if found.returncode != 0:
            raise Unavailable(f"gpg can't list the keys (exit status {found.returncode})")
        return cast(Sequence[Mapping[str, Any]], found)

    def _export(self, fingerprint: str, *, armor: bool) -> bytes:
        answer = self._run(
            "export", lambda gpg: gpg.export_keys(fingerprint, armor=armor, minimal=True)
        )
        if answer.returncode != 0 or not answer.output:
            raise Unavailable(f"gpg can't export {fingerprint}")
        return answer.output

    def _run(
        self, kind: str, call: Callable[[Any], object], max_output: int | None = None
    ) -> _Answer:
        """Run one gpg process; what its answer means is for the caller to judge."""
        answer = _Answer(max_output)
        # python-gnupg keeps callbacks on the instance, so each call gets an instance of its own.
        gpg = copy.copy(self._gpg)
        gpg.buffer_size = _PIPE_BYTES
        gpg.result_map = {kind: lambda _gpg: answer}
        gpg.on_data = answer.take
        with self._gate:
            try:
                call(gpg)
            except BrokenPipeError:
                pass  # gpg ended before it had read everything: its status lines say why
            except OSError:
                raise Unavailable("gpg can't be run") from None
        return answer


class _Answer:
    """What one gpg process gave, in the shape of python-gnupg's results.

    python-gnupg sets `stderr`, `returncode` and `data`, which stays empty: `take` has the output.
    """

    data = b""
    stderr = ""
    returncode: int | None = None

    def __init__(self, max_output: int | None) -> None:
        self._max_output = max_output
        self._output = BytesIO()
        self.overflowed = False

    def handle_status(self, keyword: str, value: str) -> None:
        """Nothing: python-gnupg ends a line at U+0085 too, so a sender could forge one."""

    def take(self, chunk: bytes) -> bool:
        """Keep a piece of output; False tells python-gnupg not to keep it as well."""
        size = self._output.tell() + len(chunk)
        self.overflowed |= self._max_output is not None and size > self._max_output
        if not self.overflowed:
            self._output.write(chunk)
        return False

    @property
    def output(self) -> bytes:
        return self._output.getvalue()

    @property
    def ran(self) -> bool:
        return self.returncode is not None and 0 <= self.returncode < _NOT_RUN

    def all(self, keyword: str) -> list[list[str]]:
        """The arguments of every status line with this keyword (GnuPG's doc/DETAILS)."""
        lines = (line.split() for line in self.stderr.split("\n"))
        return [line[2:] for line in lines if line[:2] == ["[GNUPG:]", keyword]]

    def has(self, *keywords: str) -> bool:
        return all(self.all(keyword) for keyword in keywords)


class _TimedGpg(gnupg.GPG):  # type: ignore[misc]
    """python-gnupg waits for gpg for ever; timeout(1) ends it."""

    def __init__(self, seconds: float, **options: Any) -> None:
        self._timeout = ["timeout", "--kill-after=5", str(seconds)]
        super().__init__(**options)

    def make_args(self, args: list[str], passphrase: bool) -> list[str]:
        return [*self._timeout, *super().make_args(args, passphrase)]


def _gpgconf(home: Path, *arguments: str) -> str:
    command = ["gpgconf", "--homedir", str(home), *arguments]
    try:
        return subprocess.run(  # noqa: S603
            command, capture_output=True, check=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        raise Unavailable(f"gpgconf can't be run on the GnuPG home {home}") from None
