"""Every fault at every point of a mail's way, and what was lost or doubled by it."""

from __future__ import annotations

import argparse
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tests import postgresql
from tests.faults.faults import FAULTS, Fault
from tests.faults.machine import Machine, has_clocks, has_disks
from tests.faults.points import POINTS, Point
from tests.faults.trial import Cast, Row, found_cast, told, trial

_SETTINGS = {"upkeep.every_seconds": 1}
_ON_POSTGRESQL = ("killed", "all killed", "commit cut", "commit unheard")
_POINTS_ON_POSTGRESQL = (
    "in the ledger", "committed, not answered", "lease not committed", "server took it",
    "digest queued",
)  # fmt: skip

Trials = Sequence[tuple[Point, Fault]]


def run(words: list[str]) -> bool:
    """words: --machines N at once (6), --runs N of each (1), --fault NAME alone, --point NAME."""
    parser = argparse.ArgumentParser(prog="make drill WHAT=faults WORDS=")
    parser.add_argument("--machines", type=int, default=6, help="gateways at once")
    parser.add_argument("--runs", type=int, default=1, help="of each fault at each point")
    parser.add_argument("--fault", action="append", choices=[one.name for one in FAULTS])
    parser.add_argument("--point", action="append", choices=[one.name for one in POINTS])
    chosen = parser.parse_args(words)
    faults = [one for one in FAULTS if chosen.fault is None or one.name in chosen.fault]
    points = [one for one in POINTS if chosen.point is None or one.name in chosen.point]
    if not has_disks():
        print("Not root: no disk can be mounted to be filled, so 'disk full' is left out.")
    if not has_clocks():
        print("No libfaketime: clocks are left out (as root: apt-get install faketime).")
    begun = time.monotonic()
    everywhere = [
        (point, fault)
        for _ in range(chosen.runs)
        for point in points
        for fault in faults
        if fault.of != "postgresql" and fault.is_possible()
    ]
    clocks = [one for one in everywhere if one[1].name.startswith("clock")]
    rows = on_sqlite(clocks, [one for one in everywhere if one not in clocks], chosen.machines)
    print(table("SQLite", points, rows))
    wanted = [
        (point, fault)
        for _ in range(chosen.runs)
        for point in points
        for fault in faults
        if fault.name in _ON_POSTGRESQL and point.name in _POINTS_ON_POSTGRESQL
    ]
    if wanted and postgresql.programs() is None:
        print("No PostgreSQL: it is left out (as root: apt-get install postgresql).")
    elif wanted:
        others = on_postgresql(wanted)
        print(table("PostgreSQL", [one for one in points if any(one is r.point for r in others)],
                    others))  # fmt: skip
        rows += others
    bad = [row for row in rows if not row.is_well]
    print(told(bad) or "Nothing lost, nothing doubled but what is in doubt.")
    print(f"{len(rows)} trials in {time.monotonic() - begun:.0f} s")
    return not bad


def on_sqlite(clocks: Trials, others: Trials, machines: int) -> list[Row]:
    """The trials, on so many gateways at once, one of them with a clock that can be set."""
    rows: list[Row] = []
    with ExitStack() as stack:
        template = stack.enter_context(Machine("template"))
        cast = found_cast(template)
        # The slow ones first, so that the gateways end at about the same time.
        slow = sorted(others, key=lambda one: one[1].name not in ("agent hangs", "no memory"))
        left, of_clocks = _queue(slow), _queue(clocks)
        lanes: list[tuple[Machine, queue.SimpleQueue[tuple[Point, Fault]]]] = []
        if clocks:
            lanes.append((stack.enter_context(Machine("clock", _SETTINGS, clock=True)), of_clocks))
        for number in range(machines - len(lanes) if others else 0):
            lanes.append((stack.enter_context(Machine(f"faults{number}", _SETTINGS)), left))
        for machine, _ in lanes:
            machine.found_as(template)
        threads = [
            threading.Thread(target=_work, args=(machine, cast, trials, rows.append))
            for machine, trials in lanes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return rows


def on_postgresql(trials: Trials) -> list[Row]:
    rows: list[Row] = []
    url = postgresql.shared_server().fresh()
    with Machine("faultspg", {**_SETTINGS, "database.url": url}) as machine:
        cast = found_cast(machine)
        _work(machine, cast, _queue(trials), rows.append)
    return rows


def _queue(trials: Trials) -> queue.SimpleQueue[tuple[Point, Fault]]:
    filled: queue.SimpleQueue[tuple[Point, Fault]] = queue.SimpleQueue()
    for one in trials:
        filled.put(one)
    return filled


def _work(
    machine: Machine,
    cast: Cast,
    trials: queue.SimpleQueue[tuple[Point, Fault]],
    note: Callable[[Row], None],
) -> None:
    machine.start()
    while not trials.empty():
        try:
            point, fault = trials.get_nowait()
        except queue.Empty:
            return
        try:
            note(trial(machine, cast, point, fault))
        except Exception as error:
            note(Row(point, fault, wrong=[f"{type(error).__name__}: {error}"[:300]]))
            machine.start_again_if_gone()


def table(title: str, points: Sequence[Point], rows: Sequence[Row]) -> str:
    """A line a point, a column a fault: runs/lost/doubled."""
    faults = [fault for fault in FAULTS if any(row.fault is fault for row in rows)]
    width = max((len(point.label) for point in points), default=0)
    heads = [fault.name.split(" ", 1) for fault in faults]
    lines = [
        f"{title}: runs/lost/doubled" + " " * max(1, width - len(title) - 20),
        " " * width + "".join(f"{head[0]:>9}" for head in heads),
        " " * width + "".join(f"{(head[1:] or [''])[0]:>9}" for head in heads),
    ]
    for point in points:
        cells = [_cell([r for r in rows if r.point is point and r.fault is f]) for f in faults]
        lines.append(f"{point.label:<{width}}" + "".join(f"{cell:>9}" for cell in cells))
    sums = [_cell([row for row in rows if row.fault is fault]) for fault in faults]
    lines.append(f"{'all':<{width}}" + "".join(f"{cell:>9}" for cell in sums))
    return "\n".join(lines)


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return "-"
    mark = "" if all(row.is_well for row in rows) else "!"
    return f"{mark}{len(rows)}/{sum(r.lost for r in rows)}/{sum(r.doubled for r in rows)}"
