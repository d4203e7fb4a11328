"""Checks of the machine and of the state directory: files, sockets, disk, clock."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import text

from gateway.app import KEYRING
from gateway.crypto.gpg_process import gpgconf
from gateway.monitoring.finding import Finding, fault, ok, warning
from gateway.monitoring.scene import Scene
from gateway.store import ledger

_MOST_FILES: Final = 20_000
_NAMED: Final = 3
_SOCKET_PATH_BYTES: Final = 107  # unix(7), without the NUL
_INODES: Final = 1000
_SKEW: Final = timedelta(seconds=5)
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 512  # more than any architecture's struct timex


def owner(state: Path) -> Iterator[Finding]:
    """Whether who asks is whose the state is: gpg-agent and SQLite make files that the service
    could not use otherwise."""
    found = state.stat()
    if found.st_uid != os.geteuid():
        yield fault(
            f"{state} belongs to user {found.st_uid}, and this is user {os.geteuid()}",
            f"run it as that user: runuser -u '#{found.st_uid}' -- environet doctor",
        )
    else:
        yield ok(f"{state} is this user's")


def files(scene: Scene) -> Iterator[Finding]:
    """Nobody else may read the state, or own a part of it."""
    mine = scene.state.stat().st_uid
    open_, foreign, seen = [], [], 0
    for folder, _, names in os.walk(scene.state):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue  # a temporary file of gpg's
            seen += 1
            if found.st_uid != mine:
                foreign.append(path)
            elif found.st_mode & 0o077 and not stat.S_ISLNK(found.st_mode):
                open_.append(path)
        if seen > _MOST_FILES:
            break
    if open_:
        yield fault(f"others than the owner may use {_few(open_)}", f"chmod -R go= {scene.state}")
    if foreign:
        yield fault(
            f"another user owns {_few(foreign)}",
            f"chown -R --reference={scene.state} {scene.state}",
        )
    key = scene.config.smtp.key
    if key and (scene.state / key).stat().st_mode & 0o007:
        yield fault(f"everybody may read {scene.state / key}", f"chmod o= {scene.state / key}")
    if not open_ and not foreign:
        yield ok(f"{seen} files, for their owner alone")


def sockets(scene: Scene) -> Iterator[Finding]:
    """gpg-agent's sockets must have a path that the kernel takes."""
    where = gpgconf(scene.state / KEYRING, "--list-dirs", "agent-socket").strip()
    size = len(os.fsencode(where))
    if size > _SOCKET_PATH_BYTES:
        yield fault(
            f"the path of gpg-agent's socket has {size} bytes, {_SOCKET_PATH_BYTES} is the most",
            "stop the gateway and move the state directory to a shorter path",
        )
    else:
        yield ok(f"the path of gpg-agent's socket has {size} of {_SOCKET_PATH_BYTES} bytes")


def disk(scene: Scene) -> Iterator[Finding]:
    """Room for what may be taken: a mail is in the database and, until a checkpoint, in its log."""
    held, free = scene.config.smtp.held_bytes, shutil.disk_usage(scene.state).free
    said = f"{free // 2**20:,} MiB free at {scene.state}"
    at_once = f"the doors take up to {held // 2**20} MiB at once"
    todo = "make room (mail is answered 451 when the disk is full), or lower smtp.held_bytes"
    if free < 2 * held:
        yield fault(f"{said}; {at_once}", todo)
    elif free < 10 * held:
        yield warning(f"{said}; {at_once}", todo)
    else:
        yield ok(said)
    found = os.statvfs(scene.state)
    if found.f_files and found.f_favail < _INODES:
        yield fault(f"{found.f_favail} files can still be made there", "delete what is not needed")


def clock(scene: Scene) -> Iterator[Finding]:
    """Signatures, leases and the ledger go by it."""
    match _clock_status():
        case None:
            yield ok("whether it is synchronised can't be asked here")
        case status if status == _TIME_ERROR:
            yield warning("it is not synchronised", "timedatectl set-ntp true")
        case _:
            yield ok("synchronised")
    scene.check_database_is_there()
    with scene.database.reading() as session:
        newest = ledger.newest(session, 1)
        theirs = (
            session.scalar(text("SELECT clock_timestamp()"))
            if scene.database_file is None else None
        )  # fmt: skip
        now = scene.clock()
    if newest and newest[0].at > now + _SKEW:
        yield fault(
            f"it says {now:%Y-%m-%d %H:%M:%S}, and the ledger's newest entry is of "
            f"{newest[0].at:%Y-%m-%d %H:%M:%S} UTC",
            "set the clock right: timedatectl",
        )
    if theirs is not None and abs(theirs - now) > _SKEW:
        yield fault(
            f"it differs from the database's by {(now - theirs).total_seconds():+.0f} seconds",
            "synchronise both machines: timedatectl set-ntp true",
        )


def _clock_status() -> int | None:
    """What adjtimex(2) answers to a question; None where it may not be asked."""
    asked = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: nothing is set
    try:
        status = ctypes.CDLL(None, use_errno=True).adjtimex(asked)
    except (OSError, AttributeError):
        return None
    return None if status < 0 else int(status)


def _few(paths: list[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")
