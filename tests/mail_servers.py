"""What the mail servers of Debian that tests start have in common. They start as root alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
PATIENCE_SECONDS = 60.0
POSTFIX_MASTER = Path("/usr/share/postfix/master.cf.dist")
_DOVECOT = Path("/usr/lib/dovecot")


def missing(*, postfix: bool = True) -> str:
    """Why Dovecot, and Postfix, can't be started here; "" where they can."""
    if os.geteuid() != 0:
        return "mail servers are started by root alone"
    if not (_DOVECOT / "imap").exists() or not (_DOVECOT / "lmtp").exists():
        return "not installed: apt-get install dovecot-imapd dovecot-lmtpd"
    said = subprocess.run(["/usr/sbin/dovecot", "--version"], capture_output=True, text=True)
    if not said.stdout.startswith("2.3."):
        return f"Dovecot 2.3 is wanted, of which Debian 12 has one, and not {said.stdout.strip()}"
    if postfix and not POSTFIX_MASTER.exists():
        return "not installed: apt-get install postfix"
    return ""


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until(is_so: Callable[[], object], what: str, patience: float = PATIENCE_SECONDS) -> None:
    """Look until it is so. Raises AssertionError with `what` when patience, in seconds, ends."""
    deadline = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {patience:g} s: {what}")
        time.sleep(0.05)


def greets(port: int) -> bool:
    """Whether a server says something there."""
    try:
        with socket.create_connection((HOST, port), timeout=10) as client:
            client.settimeout(10)
            return bool(client.recv(1))
    except OSError:
        return False


@contextmanager
def open_place(name: str) -> Iterator[Path]:
    """A folder that every user may look into."""
    place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
