"""What a machine's workers are called: as nobody else's, and the same after a restart."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

FILE = "machine"


def name(state: Path) -> str:
    """The host's name and a word that only this state directory has.

    A worker takes back at its start what one of its name held, so no two machines may share one,
    not even where one's state was copied from the other's: a copied file is another one to the file
    system, and gets a word of its own. Asked first by `serve`, alone, then by its workers.
    """
    file = state / FILE
    try:
        kept, _, made_in = file.read_text().partition(" ")
        is_own = made_in == str(file.stat().st_ino)
    except FileNotFoundError:
        is_own = False
    if not is_own:
        kept = _write(file)
    return f"{socket.gethostname()}-{kept}"


def _write(file: Path) -> str:
    new = file.with_name(f"{FILE}.{os.getpid()}")
    word = secrets.token_hex(4)
    with new.open("w") as stream:
        stream.write(f"{word} {os.fstat(stream.fileno()).st_ino}")
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
    return word
