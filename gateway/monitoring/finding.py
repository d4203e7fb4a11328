"""What a check found, and running checks so that none of them can hang the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import GatewayError, trace


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """check: its name, which docs/operating.md explains. said: what is so; todo: what to type or
    do, "" where all is well."""

    check: str
    state: State
    said: str
    todo: str = ""


Check = Callable[[], Iterable[Finding]]


def ok(said: str) -> Finding:
    return Finding("", State.OK, said)


def warning(said: str, todo: str) -> Finding:
    return Finding("", State.WARNING, said, todo)


def fault(said: str, todo: str) -> Finding:
    return Finding("", State.FAULT, said, todo)


def run(checks: Mapping[str, Check], seconds: float) -> list[Finding]:
    """Run all at the same time; their findings in the order of the checks, the worst first.

    seconds: that a check may take; one that takes longer is left behind, and that is its finding.
    """
    found: dict[str, Sequence[Finding]] = {}
    threads = {
        name: threading.Thread(target=_run, args=(name, check, found), daemon=True, name=name)
        for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0))
        if thread.is_alive():
            late = f"no answer within {seconds:.0f} seconds"
            found[name] = [fault(late, "find out what it waits for, then ask again")]
    order = list(State)
    return [
        Finding(name, one.state, one.said, one.todo)
        for name in checks
        for one in sorted(found[name], key=lambda one: -order.index(one.state))
    ]


def _run(name: str, check: Check, found: dict[str, Sequence[Finding]]) -> None:
    try:
        found.setdefault(name, list(check()))
    except GatewayError as error:
        found.setdefault(name, [fault(str(error), "see the log for what came before")])
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        found.setdefault(name, [fault(f"{where}{error.strerror or type(error).__name__}", "")])
    except Exception as error:
        # Nobody foresaw it: the other checks are told all the same.
        found.setdefault(name, [fault(trace(error), "report this as a fault of the program")])
