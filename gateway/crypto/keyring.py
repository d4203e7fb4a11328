"""The gateway's own secret keys, behind gpg-agent.

Content goes to gpg and comes back through pipes alone. Every fault is judged here to be the
message's (Undecryptable, TooLarge: permanent) or ours (Unavailable: the sender's server tries
again); what is not proven to be the message's fault is ours.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Final, cast

from gateway.crypto.agent import looked_after
from gateway.crypto.certificate import read, strip
from gateway.crypto.gpg_home import changing, keybox, mend
from gateway.crypto.gpg_process import Answer, TimedGpg, gpgconf
from gateway.errors import (
    ForOthers,
    GatewayError,
    TooLarge,
    Unavailable,
    Undecryptable,
    UsageError,
)
from gateway.message.packet import USER_ID, body, packets

# RFC 3156 5 and RFC 9580 9.5: the hash's id in a signature -> its name in MIME.
_MICALG: Final = {"8": "pgp-sha256", "9": "pgp-sha384", "10": "pgp-sha512"}
# sun_path in unix(7) has 108 bytes, the last of them a NUL.
_SOCKET_PATH_BYTES: Final = 107
_PIPE_BYTES: Final = 64 * 1024
# Codes of libgpg-error that a session key damaged in the message gives: PUBKEY_ALGO, CHECKSUM,
# CIPHER_ALGO, WRONG_SECKEY, BAD_MPI, INV_KEYLEN, INV_ARG, INV_VALUE, INV_OBJ, INV_DATA, BAD_DATA,
# INV_LENGTH, DECRYPT_FAILED, BUFFER_TOO_SHORT. Anything else, ENOMEM (32854) above all, is a
# fault on our side.
_DAMAGED: Final = frozenset({4, 10, 12, 18, 30, 44, 45, 55, 65, 79, 89, 139, 152, 200})
_ANONYMOUS: Final = "0" * 16
# Status lines that gpg gives once it has read something of a message.
_READ: Final = ("ENC_TO", "BEGIN_DECRYPTION", "NODATA")
_SMALL: Final = 1 << 20
# gpg takes an expiry in the past, or one that its 31 or 32 bits of seconds don't hold, for a second
# after the key was made.
_LAST_EXPIRY: Final = datetime(2094, 1, 1, tzinfo=UTC)


class Keyring:
    """A GnuPG home that holds the gateway's own keys and nobody else's. Threads may share it.

    home: path of the GnuPG home. timeout: seconds that one gpg process may take. parallel: gpg
    processes at once; gpg-agent does one thing at a time and needs memory for each that waits.

    Every method raises Unavailable where gpg, its agent or the home does not serve. An agent that
    hangs is ended after some seconds, and the next call has another one.
    """

    @classmethod
    def create(cls, home: Path, skeleton: Mapping[str, str]) -> Keyring:
        """Make a new home (mode 0700) with the configuration files given: name -> content.

        Raises UsageError where the home is there already, or its path is too long for a socket.
        """
        if home.exists():
            raise UsageError(f"{home} exists already; choose a new state directory")
        socket = os.fsencode(gpgconf(home, "--list-dirs", "agent-socket").strip())
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
        self._algorithms: tuple[tuple[int, int, int], Mapping[str, int]] | None = None  # by keybox
        mend(home)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        try:
            self._gpg = TimedGpg(timeout, gnupghome=str(home), env=environment)
        except (OSError, ValueError):
            raise Unavailable(f"gpg can't be run on the GnuPG home {home}") from None

    def generate(
        self,
        name: str,
        address: str,
        expires: datetime | None = None,
        also: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Make an Ed25519 key with a Cv25519 encryption subkey; return its fingerprint.

        The fingerprint is in upper-case hex; the revocation certificate is kept by gpg in
        openpgp-revocs.d. expires: UTC, None for never. also: (name, address) of further user IDs;
        the first stays the primary one. Raises UsageError for a user ID that would not be one
        line, and for an expiry that is past or after 2093. Cut off in the middle it may leave a key
        that nobody has been told of; it does no harm.
        """
        _user_id(name, address)
        others = [_user_id(*each) for each in also]
        _check_expiry(expires)
        # Made a second ago: gpg waits for the next second before it replaces a signature.
        created = int(time.time()) - 1
        lifetime = f"seconds={int(expires.timestamp()) - created}" if expires else "0"
        parameters = (
            "%no-protection\n"
            "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign\n"
            "Subkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt\n"
            f"Creation-Date: seconds={created}\nExpire-Date: {lifetime}\n"
            f"Name-Real: {name}\nName-Email: {address}\n%commit\n"
        )
        with changing(self.home):
            answer = self._run("generate", lambda gpg: gpg.gen_key(parameters.encode()))
            made = answer.all("KEY_CREATED")
            if not made:
                raise Unavailable(f"gpg made no key (exit status {answer.returncode})")
            fingerprint = made[0][1]
            if others:
                self._add_user_ids(fingerprint, others)
        return fingerprint

    def add_user_id(self, fingerprint: str, name: str, address: str) -> None:
        """Add a user ID to a key; nothing where it is there. The key's first stays the primary one.

        May be run again after it was cut off at any point. Raises UsageError as generate does.
        """
        user_id = _user_id(name, address)
        with changing(self.home):
            self._add_user_ids(fingerprint, [user_id])

    def set_expiry(self, fingerprint: str, expires: datetime | None) -> None:
        """Let a key, and every subkey of it that is not revoked, expire then (UTC); None: never.

        An expired key serves again. It may come out a second late, and gpg waits up to a second
        for a key that was changed just before. May be run again after it was cut off at any point.
        Raises UsageError for an expiry that is past or after 2093.
        """
        _check_expiry(expires)
        limit = f"{expires.astimezone(UTC):%Y%m%dT%H%M%S}" if expires else "0"
        with changing(self.home):
            for subkey in self._expiring_otherwise(fingerprint, expires):
                self._edit("--quick-set-expire", fingerprint, limit, *subkey)
            if self._expiring_otherwise(fingerprint, expires):
                raise Unavailable(f"gpg can't change the expiry of {fingerprint}")

    def export(self, fingerprint: str) -> bytes:
        """A key's certificate, binary, with subkeys that have expired too."""
        return self._export(fingerprint, armor=False)

    def export_armored(self, fingerprint: str) -> str:
        """A key's certificate in ASCII armor."""
        return self._export(fingerprint, armor=True).decode("ascii")

    def algorithms(self) -> Mapping[str, int]:
        """Of all keys of the home, in use or not: key ID and fingerprint, in upper-case hex, ->
        number of the algorithm (RFC 9580 9.1)."""
        before = keybox(self.home)
        if self._algorithms is not None and self._algorithms[0] == before:
            return self._algorithms[1]
        found: dict[str, int] = {}
        for key in self._list(secret=False):
            found[key["keyid"]] = found[key["fingerprint"]] = int(key["algo"])
            for name, _, fingerprint, *_ in key["subkeys"]:
                found[name] = found[fingerprint] = int(key["subkey_info"][name]["algo"])
        if before is None or keybox(self.home) != before:
            raise Unavailable("the keys were changed meanwhile")
        self._algorithms = before, found
        return found

    def unwrap(self, message: bytes, max_output: int) -> bytes:
        """Take the encryption off a message: the OpenPGP packets inside, neither read nor inflated.

        message: binary; the caller has checked that it is session keys and then one integrity
        protected packet and nothing else (RFC 9580 10.3). gpg does not: whatever comes after that
        packet, it copies to the output as if it had been encrypted. max_output: bytes.

        Raises Undecryptable where no key of ours opens it or its integrity protection fails,
        ForOthers where it names none, and TooLarge where more than max_output bytes come out.
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
        gpgconf(self.home, "--kill", "all")

    def _add_user_ids(self, fingerprint: str, wanted: Sequence[str]) -> None:
        """What came of it is read from the certificate: gpg's exit status is that of a fault also
        where a user ID is there already, or the primary one is marked as such."""
        before = self.export(fingerprint)
        first = _user_ids(before)[0]
        if _has(before, wanted, first):
            return
        # First of all, for without a mark the newest one is primary, and is the one in copies.
        self._edit("--quick-set-primary-uid", fingerprint, first)
        for each in wanted:
            self._edit("--quick-add-uid", fingerprint, each)
        if not _has(self.export(fingerprint), wanted, first):
            raise Unavailable(f"gpg can't add user IDs to {fingerprint}")

    def _expiring_otherwise(
        self, fingerprint: str, expires: datetime | None
    ) -> list[tuple[str, ...]]:
        """Keys whose expiry is another one: () for the primary key, (fingerprint,) for a subkey."""
        return [
            () if key.primary else (key.fingerprint,)
            for key in read(self.export(fingerprint)).keys
            if (key.primary or not key.revoked) and not _is_at(key.expires_at, expires)
        ]

    def _edit(self, command: str, fingerprint: str, *values: str) -> None:
        answer = self._run("edit", lambda gpg: gpg.edit_key(command, fingerprint, *values))
        if not answer.ran:
            raise Unavailable(f"gpg did not run to its end (exit status {answer.returncode})")

    def _decrypt(self, message: bytes, max_output: int, options: Sequence[str]) -> bytes:
        before = keybox(self.home)
        answer = self._open(message, max_output, options)
        if [_ANONYMOUS] in answer.all("NO_SECKEY"):
            # gpg has no other words for an agent that died meanwhile: only where one and the same
            # agent lived before and after is it the message's fault.
            agent = self._agent()
            answer = self._open(message, max_output, options)
            if self._agent() != agent:
                raise Unavailable("gpg-agent ended meanwhile")
        if answer.overflowed:
            raise TooLarge(f"more than {max_output} bytes were encrypted")
        # All three, for each has been seen, in one version or mode of gpg, with a message that
        # was changed or that has no integrity protection.
        ended_well = answer.returncode == 0 or _is_of_trials(answer)
        if not (ended_well and answer.has("DECRYPTION_OKAY", "GOODMDC")):
            meaning = self._meaning(answer)
            # While another process changes a key, gpg finds no keys at all.
            if before is None or keybox(self.home) != before:
                raise Unavailable("the keys were changed meanwhile")
            raise meaning
        return answer.output

    def _open(self, message: bytes, max_output: int, options: Sequence[str]) -> Answer:
        arguments = {"extra_args": list(options)}
        return self._run(
            "crypt", lambda gpg: gpg.decrypt_file(BytesIO(message), **arguments), max_output
        )

    def _agent(self) -> str:
        """What the agent that is running says of its process id."""
        quiet = ["--homedir", str(self.home), "--no-autostart"]
        command = ["gpg-connect-agent", *quiet, "GETINFO pid", "/bye"]
        try:
            answer = subprocess.run(  # noqa: S603
                command, capture_output=True, check=True, text=True, timeout=30
            ).stdout
        except (OSError, subprocess.SubprocessError):
            raise Unavailable("gpg-agent does not answer") from None
        # Where there is no agent, nothing is answered, with success.
        if not answer.startswith("D "):
            raise Unavailable("gpg-agent does not run")
        return answer

    def _meaning(self, answer: Answer) -> GatewayError:
        """Why a decryption failed. gpg's words don't tell: they are "No secret key" for most."""
        if not answer.ran:
            return Unavailable(f"gpg did not run to its end (exit status {answer.returncode})")
        if answer.had_no_lock:
            return Unavailable("gpg can't write to its home: the disk may be full")
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
            return ForOthers("the message is not encrypted to a key of ours")
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
        with self._gate, looked_after(self.home):
            try:
                found = self._gpg.list_keys(secret)
            except OSError:
                raise Unavailable("gpg can't be run") from None
        if found.returncode != 0:
            raise Unavailable(f"gpg can't list the keys (exit status {found.returncode})")
        return cast(Sequence[Mapping[str, Any]], found)

    def _export(self, fingerprint: str, *, armor: bool) -> bytes:
        answer = self._run(
            # Not minimal, for that leaves out a subkey that has expired, to which mail may come.
            "export",
            lambda gpg: gpg.export_keys(fingerprint, armor=armor),
        )
        if answer.returncode != 0 or not answer.output:
            raise Unavailable(f"gpg can't export {fingerprint}")
        return answer.output

    def _run(
        self, kind: str, call: Callable[[Any], object], max_output: int | None = None
    ) -> Answer:
        """Run one gpg process; what its answer means is for the caller to judge."""
        answer = Answer(max_output)
        # python-gnupg keeps callbacks on the instance, so each call gets an instance of its own.
        gpg = copy.copy(self._gpg)
        gpg.buffer_size = _PIPE_BYTES
        gpg.result_map = {kind: lambda _gpg: answer}
        gpg.on_data = answer.take
        with self._gate, looked_after(self.home):
            try:
                call(gpg)
            except BrokenPipeError:
                pass  # gpg ended before it had read everything: its status lines say why
            except OSError:
                raise Unavailable("gpg can't be run") from None
        return answer


def _is_of_trials(answer: Answer) -> bool:
    """Whether the exit status is that of keys of ours that gpg tried before the one that fits.

    A message to nobody in particular is tried with each, and one that does not fit is an error.
    """
    anonymous = any(line[0] == _ANONYMOUS for line in answer.all("ENC_TO"))
    return anonymous and answer.returncode == 2 and answer.has("DECRYPTION_KEY", "END_DECRYPTION")


def _user_id(name: str, address: str) -> str:
    if (
        re.search(r"[\x00-\x1f\x7f<>]", name + address)
        or name != name.strip()
        or not name
        or "@" not in address
    ):
        raise UsageError("a key's name and address are one line of text each")
    return f"{name} <{address}>"


def _user_ids(certificate: bytes) -> list[str]:
    """Those in force, in the order of a binary certificate: gpg exports the first one first."""
    written = [body(certificate, one) for one in packets(certificate) if one.tag == USER_ID]
    in_force = read(certificate).user_ids
    return [one for each in written if (one := each.decode(errors="replace")) in in_force]


def _has(certificate: bytes, user_ids: Sequence[str], primary: str) -> bool:
    counting = _user_ids(strip(read(certificate)))
    return set(user_ids) <= set(_user_ids(certificate)) and counting == [primary]


def _check_expiry(expires: datetime | None) -> None:
    if expires is not None and not datetime.now(UTC) < expires < _LAST_EXPIRY:
        raise UsageError(f"a key expires in the future, and before {_LAST_EXPIRY:%Y}")


def _is_at(one: datetime | None, other: datetime | None) -> bool:
    """Whether they are the same; gpg reads its clock twice, so it may be a second late."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= timedelta(seconds=1)
