"""What is done to a gateway while one of its processes stands at a point."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.machine import CONNECTIONS, Machine, has_clocks, has_disks
from tests.faults.points import Point

Strike = Callable[[Machine, int], None]


def _nothing(_: Machine, __: int = 0) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Fault:
    """strike: does it, told the id of the process at the point; lasts: seconds, after which `ends`
    is called. plan: what the process does there, see site/sitecustomize.py. first: before the mail
    is sent. of: "sqlite" or "postgresql" where it is of that alone; at_handoff: copies that may
    arrive twice where it strikes between a copy and its record, which it can `from_step` on;
    anywhere: wherever it strikes.
    """

    name: str
    strike: Strike = _nothing
    ends: Callable[[Machine], None] = _nothing
    lasts: float = 0.0
    plan: str = "pause"
    first: Callable[[Machine], None] = _nothing
    of: str = ""
    at_handoff: int = 0
    from_step: int = 13
    anywhere: int = 0
    is_possible: Callable[[], bool] = lambda: True

    def may_double(self, point: Point) -> int:
        return self.anywhere + (self.at_handoff if point.step >= self.from_step else 0)


def _kill(_: Machine, pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _power_off(machine: Machine, _: int) -> None:
    machine.power_off()


def _tear(machine: Machine, _: int) -> None:
    machine.power_off()
    machine.tear_log()


def _signal_agents(name: signal.Signals) -> Strike:
    def strike(machine: Machine, _: int) -> None:
        for pid in machine.agents():
            with suppress(ProcessLookupError):
                os.kill(pid, name)

    return strike


def _mood(name: str) -> Strike:
    def strike(machine: Machine, _: int) -> None:
        machine.mail_server.mood = name

    return strike


def _well(machine: Machine) -> None:
    machine.mail_server.mood = ""


def _mixed(machine: Machine, _: int) -> None:
    first, second = sorted(machine.expected)[:2]
    machine.mail_server.deferred = {first}
    machine.mail_server.refused = {second}


def _unmixed(machine: Machine) -> None:
    machine.mail_server.deferred = set()


FAULTS = (
    Fault("killed", _kill, at_handoff=CONNECTIONS),
    Fault("all killed", _power_off, at_handoff=CONNECTIONS),
    Fault(
        # The next commit, which from 9 on may be that of copies that are gone.
        "WAL torn", _tear, plan="commit-torn", of="sqlite",
        at_handoff=CONNECTIONS, from_step=9,
    ),
    Fault("commit fails", plan="commit-fails", of="sqlite"),
    Fault("commit cut", plan="commit-cut", of="postgresql"),
    Fault("commit unheard", plan="commit-unheard", of="postgresql"),
    Fault(
        "disk full", lambda machine, _: machine.fill_disk(), Machine.stop_disk_full, 1.5,
        of="sqlite", is_possible=has_disks,
    ),
    Fault("agent hangs", _signal_agents(signal.SIGSTOP)),
    Fault("agent dies", _signal_agents(signal.SIGKILL)),
    Fault(
        "no memory", lambda machine, _: machine.starve_agent(), Machine.feed_agent, 1.0,
    ),
    Fault(
        "refuses", lambda machine, _: machine.mail_server.shut(),
        lambda machine: machine.mail_server.open(), 1.0,
    ),
    Fault("stalls", _mood("stalls"), _well, 2.5),
    # The mail server has the copy, and its reply is lost: the one that comes twice.
    Fault("resets", _mood("resets"), _well, 1.0, anywhere=1),
    Fault("4xx and 5xx", _mixed, _unmixed, 1.0),
    Fault(
        "clock on", lambda machine, _: machine.set_clock("+1d"),
        lambda machine: machine.set_clock("+0"), 2.0, is_possible=has_clocks,
    ),
    Fault(
        "clock back", lambda machine, _: machine.set_clock("+0"),
        first=lambda machine: machine.set_clock("+1d"), is_possible=has_clocks,
    ),
)  # fmt: skip
