"""What makes a process of a gateway stop, or its commit fail, at one point: once, as a plan says.

Python runs this at the start of each process that has this folder in its PYTHONPATH; the gateway
itself knows nothing of it. FAULTS_PLACE is a folder with `targets`, the functions that are points,
one "module:name" a line. Whoever first comes to the point in its file `plan`, "TARGET WHEN WHAT",
takes it, and does one of:

pause          write `reached` with the process's id, and wait for the file `go`
commit-fails   the next commit here fails, as on a disk that fails
commit-torn    the same as pause, once the next commit is on the disk
commit-cut     the database ends the connection before the next commit (PostgreSQL)
commit-unheard the same after it: the commit holds, and nobody is told
"""

import functools
import importlib.abc
import importlib.util
import inspect
import os
import select
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

PLACE = Path(os.environ.get("FAULTS_PLACE", "/nonexistent"))
DIALECT = "sqlalchemy.engine.default"
TARGETS: dict[str, list[str]] = {DIALECT: []}


def act(target: str, when: str) -> None:
    plan = PLACE / "plan"
    try:
        planned, moment, what = plan.read_text().split()
    except (FileNotFoundError, ValueError):
        return
    if (planned, moment) != (target, when):
        return
    try:
        plan.rename(PLACE / "taken")
    except FileNotFoundError:
        return  # another process or thread was first
    if what == "pause":
        pause()
    else:
        # After the reply to a mail, the next commit is another process's.
        where = "anywhere" if target == "gateway.intake.door:combine" else str(os.getpid())
        new = PLACE / f"armed.{os.getpid()}"
        new.write_text(f"{what} {where} {is_upkeep()}")
        new.rename(PLACE / "armed")


def is_upkeep() -> bool:
    return threading.current_thread().name.startswith("upkeep")


def fallen_due() -> str:
    """What the commit that is about to be is to meet; "" for nothing."""
    armed = PLACE / "armed"
    try:
        what, where, upkeep = armed.read_text().split()
    except (FileNotFoundError, ValueError):
        return ""
    if where not in ("anywhere", str(os.getpid())) or upkeep != str(is_upkeep()):
        return ""
    try:
        armed.rename(PLACE / "taken")
    except FileNotFoundError:
        return ""
    return what


def pause() -> None:
    told = PLACE / f"reached.{os.getpid()}"
    told.write_text(str(os.getpid()))
    told.rename(PLACE / "reached")
    deadline = time.monotonic() + 60
    while not (PLACE / "go").exists() and time.monotonic() < deadline:
        select.select([], [], [], 0.005)  # libfaketime disturbs time.sleep


def wrapped(function: Callable[..., Any], target: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: Any, **named: Any) -> Any:
            act(target, "before")
            result = await function(*args, **named)
            act(target, "after")
            return result

        return later

    @functools.wraps(function)
    def now(*args: Any, **named: Any) -> Any:
        act(target, "before")
        result = function(*args, **named)
        act(target, "after")
        return result

    return now


def commit(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @functools.wraps(original)
    def committed(dialect: Any, connection: Any) -> None:
        what = fallen_due()
        if what == "commit-fails":
            (PLACE / "reached").write_text(str(os.getpid()))
            raise sqlite3.OperationalError("disk I/O error")
        if what == "commit-cut":
            (PLACE / "reached").write_text(str(os.getpid()))
            end(connection)
        original(dialect, connection)
        if what == "commit-torn":
            pause()
        if what == "commit-unheard":
            (PLACE / "reached").write_text(str(os.getpid()))
            end(connection)
            connection.cursor().execute("SELECT 1")  # fails as the commit's answer would

    return committed


def end(connection: Any) -> None:
    import psycopg

    pid = connection.driver_connection.info.backend_pid
    parameters = connection.driver_connection.info.get_parameters()
    with psycopg.connect(**parameters, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def changed(module: Any) -> None:
    for name in TARGETS[module.__name__]:
        *outer, last = name.split(".")
        owner = functools.reduce(getattr, outer, module)
        setattr(owner, last, wrapped(getattr(owner, last), f"{module.__name__}:{name}"))
    if module.__name__ == DIALECT:
        module.DefaultDialect.do_commit = commit(module.DefaultDialect.do_commit)


class Finder(importlib.abc.MetaPathFinder):
    """Finds what the others find, and has it changed once it was run."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        if name not in TARGETS:
            return None
        others = (one for one in sys.meta_path if one is not self and hasattr(one, "find_spec"))
        found = next(filter(None, (one.find_spec(name, path, target) for one in others)), None)
        if found is not None and found.loader is not None:
            run = found.loader.exec_module

            def run_and_change(module: ModuleType) -> None:
                run(module)
                changed(module)

            found.loader.exec_module = run_and_change  # type: ignore[method-assign]
        return found


if (PLACE / "targets").exists():
    for line in (PLACE / "targets").read_text().split():
        module, _, name = line.partition(":")
        TARGETS.setdefault(module, []).append(name)
    sys.meta_path.insert(0, Finder())
