"""Looking after gpg-agent: one that has stopped answering is ended, for gpg then starts another.

gpg waits for its agent for ever. The agent keeps no state but keys on the disk without passphrases,
so ending it costs a few requests, which are tried again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.crypto.gpg_process import gpgconf
from gateway.errors import Unavailable

log = logging.getLogger(__name__)

ASK_AFTER_SECONDS: Final = 5.0
"""A call of gpg that takes so long has the agent asked, and again each time as long."""
ANSWER_SECONDS: Final = 5.0
"""An agent that says nothing for so long is hung. It greets within a millisecond when idle."""


@contextmanager
def looked_after(home: Path) -> Iterator[None]:
    """While a gpg process runs: end the agent of this home if it hangs.

    The process fails then, at most ASK_AFTER_SECONDS + ANSWER_SECONDS after it began to wait.
    """
    done = threading.Event()
    threading.Thread(target=_look, args=(home, done), daemon=True, name="agent").start()
    try:
        yield
    finally:
        done.set()


def _look(home: Path, done: threading.Event) -> None:
    while not done.wait(ASK_AFTER_SECONDS):
        if not _answers(home) and not done.is_set():
            for pid in _agents(home):
                log.error("gpg-agent (process %d) does not answer; it is ended", pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _answers(home: Path) -> bool:
    """Whether the agent greets whoever connects. One that is not there is not hung."""
    try:
        path = gpgconf(home, "--list-dirs", "agent-socket").strip()
    except Unavailable:
        return True
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(path)
            return bool(connection.recv(1))
        except (TimeoutError, BlockingIOError):  # the latter where its queue is full
            return False
        except OSError:
            return True


def _agents(home: Path) -> list[int]:
    """Process ids of the agents of a home, which gpg started with its absolute path. The socket
    does not tell: it was opened by a process that left the agent behind."""
    wanted = home.resolve()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if (
                os.path.basename(words[0]) == b"gpg-agent"
                and b"--homedir" in words
                and Path(os.fsdecode(words[words.index(b"--homedir") + 1])).resolve() == wanted
                and folder.stat().st_uid == os.geteuid()
            ):
                found.append(int(folder.name))
    return found
