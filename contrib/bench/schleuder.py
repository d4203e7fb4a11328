"""Schleuder from Debian's package, on the keys and the mail that the gateway is measured with.

with founded(place, LIST, secret_key, subscribers, port) as peer:
    seconds = peer.post(mail)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LIBRARY = Path("/usr/lib/ruby/vendor_ruby/schleuder")
_DEFAULTS = Path("/etc/schleuder/list-defaults.yml")
_SCRIPT = Path(__file__).with_name("schleuder.rb")
_CONFIG = """\
lists_dir: {place}/lists
listlogs_dir: {place}/logs
keyword_handlers_dir: {place}/none
filters_dir: {place}/none
superadmin: root@localhost
smtp_settings:
  address: 127.0.0.1
  port: {port}
  enable_starttls_auto: false
database:
  production:
    adapter: sqlite3
    database: {place}/db.sqlite
    timeout: 5000
"""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """address; fingerprint: upper-case hex; certificate: binary."""

    address: str
    fingerprint: str
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Schleuder:
    """A list that is there. environment: what names its files."""

    address: str
    environment: dict[str, str]

    def post(self, mail: bytes) -> float:
        """Seconds from its start to the last copy at the sink: it ends with that. Raises
        AssertionError where it sends nothing."""
        started = time.perf_counter()
        _run("schleuder", "work", self.address, data=mail, environment=self.environment)
        return time.perf_counter() - started


def is_there() -> bool:
    """Whether Debian's package is installed."""
    return shutil.which("schleuder") is not None and _LIBRARY.exists() and _DEFAULTS.exists()


@contextmanager
def founded(
    place: Path, address: str, secret_key: bytes, subscribers: Sequence[Subscriber], port: int
) -> Iterator[Schleuder]:
    """A list under `place`, which must be short, whose copies go to an SMTP port on this machine.

    secret_key: the list's, unprotected, with user IDs for its address.
    """
    local, _, domain = address.partition("@")
    home = place / "lists" / domain / local
    home.mkdir(parents=True, mode=0o700)
    (place / "schleuder.yml").write_text(_CONFIG.format(place=place, port=port))
    environment = {
        **os.environ, "SCHLEUDER_CONFIG": str(place / "schleuder.yml"),
        "SCHLEUDER_LIST_DEFAULTS": str(_DEFAULTS), "LANG": "C.UTF-8",
    }  # fmt: skip
    gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--no-auto-check-trustdb")
    try:
        _run(*gpg, "--import", data=secret_key)
        _run(*gpg, "--import", data=b"".join(one.certificate for one in subscribers))
        listed = _run(*gpg, "--with-colons", "--list-secret-keys").splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        known = "".join(f"{one.address} {one.fingerprint}\n" for one in subscribers)
        _run("ruby", str(_SCRIPT), address, fingerprint, data=known.encode(),
             environment=environment)  # fmt: skip
        yield Schleuder(address, environment)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def _run(*words: str, data: bytes = b"", environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, input=data, capture_output=True, check=False, env=environment, timeout=3600
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise AssertionError(f"{words[0]}: status {done.returncode}: {said[-2000:]}")
    return done.stdout.decode(errors="replace")
