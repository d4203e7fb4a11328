"""Work on foreign bytes in a process of its own, which has little memory and time and opens no
file: what takes more, or crashes a library, costs nobody but whoever asked for it, and what takes a
library over finds nothing."""

from __future__ import annotations

import encodings
import importlib
import pkgutil
import resource
import subprocess
import sys
from contextlib import suppress
from types import ModuleType

_MEMORY = 512 << 20


def run(module: str, data: bytes, *, seconds: int) -> bytes | None:
    """What `work(data) -> bytes` of a module of ours returns, which has a `prepare()` too; None
    where it raised, crashed, or took more than so many seconds or 512 MB. Nothing of it is on disk
    or in a log."""
    command = [sys.executable, "-I", "-m", __name__, module, str(seconds)]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=4 * seconds,
            env={},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def load(package: ModuleType) -> None:
    """Load every module of a package, for a `prepare()`."""
    for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        with suppress(ImportError):  # of what it can do without here
            importlib.import_module(one.name)


def main(module: str, seconds: int) -> None:
    """The process itself: the data on its standard input, the outcome on its standard output. The
    module's `prepare()` loads whatever its `work()` would open a file for."""
    worker = importlib.import_module(module)
    worker.prepare()
    load(encodings)  # which Python does when they are first asked for
    for limit, most in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, 0),  # those that are open stay so
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    made = worker.work(sys.stdin.buffer.read())
    sys.stdout.buffer.write(made)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
