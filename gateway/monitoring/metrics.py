"""What Prometheus is told. No label has an address, a subject or anything of a member."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.app import App
from gateway.errors import Unavailable
from gateway.monitoring.board import CLASSES, OUTCOMES, SECONDS, Board
from gateway.monitoring.finding import Finding, State
from gateway.monitoring.sampling import Decisions, Journeys, Queue, queue_now
from gateway.store import own_key
from gateway.store.database import newest_schema

LOOK_SECONDS: Final = 5.0
"""The database is asked no more often than this, however often somebody looks."""
_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ON_THE_WAY: Final = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
_DAY_SECONDS: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Child:
    """A process beside the doors. name: "worker 0"; pid: None while it is not running; starts: how
    often it was started."""

    name: str
    pid: int | None
    starts: int
    board: Board


class Metrics(Collector):
    """One server's: what it counts itself, and what it reads when it is asked.

    children: the processes as they are now. findings: health's.
    """

    def __init__(
        self,
        app: App,
        children: Callable[[], Sequence[Child]],
        findings: Callable[[], Sequence[Finding]],
    ) -> None:
        self._app, self._children, self._findings = app, children, findings
        self.registry = CollectorRegistry()
        self.mails = Counter(
            "environet_mails", "Mails that were decided on at the doors, by reply code",
            ["code"], registry=self.registry,
        )  # fmt: skip
        self.recipients = Counter(
            "environet_recipients_refused", "Recipients refused at a door, by reply code",
            ["code"], registry=self.registry,
        )  # fmt: skip
        self.deciding = Histogram(
            "environet_deciding_seconds", "From a whole mail to its reply, waiting included",
            registry=self.registry, buckets=_QUICK,
        )  # fmt: skip
        self.opening = Histogram(
            "environet_opening_seconds", "Taking the encryption off a mail (gpg-agent)",
            registry=self.registry, buckets=_QUICK,
        )  # fmt: skip
        self.commit = Histogram(
            "environet_commit_seconds", "Commits of the server's own transactions",
            registry=self.registry, buckets=_QUICK,
        )  # fmt: skip
        journey = Histogram(
            "environet_delivery_seconds", "From a posting's commit to its last copy's handing off",
            registry=self.registry, buckets=_ON_THE_WAY,
        )  # fmt: skip
        self._decisions, self._journeys = Decisions(), Journeys(journey.observe)
        self._queue: Queue | None = None
        self._key_days: dict[str, float] = {}
        self._looked_at = float("-inf")
        self._lock = threading.Lock()
        self.registry.register(self)

    def look(self) -> Queue | None:
        """The queue as it was at most a few seconds ago; None where the database does not serve."""
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._queue = None
                # Told by the absence of the queue's figures, and by health's check.
                with suppress(Unavailable):
                    self._read()
            return self._queue

    def _read(self) -> None:
        now = self._app.clock()
        with self._app.database.reading() as session:
            self._decisions.look(session)
            self._journeys.look(session)
            found = queue_now(session, now)
            days: dict[str, float] = {}
            for one in own_key.in_use(session):
                if one.expires_at is not None:
                    left = (one.expires_at - now).total_seconds() / _DAY_SECONDS
                    days[one.purpose] = min(left, days.get(one.purpose, left))
        self._key_days, self._queue = days, found

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's hook: what is read and not counted here."""
        queue = self.look()
        build = GaugeMetricFamily(
            "environet_build_info", "Versions", labels=["version", "python", "schema"]
        )
        build.add_metric(
            [version("environet-gateway"), platform.python_version(), newest_schema()], 1
        )
        yield build
        checks = GaugeMetricFamily(
            "environet_check", "Health's checks: 1 for no fault", labels=["check"]
        )
        for name, sound in _by_check(self._findings()).items():
            checks.add_metric([name], float(sound))
        yield checks
        if queue is not None:
            yield from self._of_database(queue)
        yield from _of_children(self._children())

    def _of_database(self, queue: Queue) -> Iterator[Metric]:
        entries = GaugeMetricFamily(
            "environet_queue_entries", "Copies by state; 100000 means so many or more",
            labels=["state"],
        )  # fmt: skip
        for state, count in queue.entries.items():
            entries.add_metric([state], count)
        yield entries
        yield GaugeMetricFamily(
            "environet_queue_overdue_seconds", "For how long a copy has been due, at most",
            queue.overdue.total_seconds(),
        )  # fmt: skip
        queued = "Copies and notices that were queued"
        yield CounterMetricFamily("environet_copies_queued", queued, self._journeys.queued)
        decisions = CounterMetricFamily(
            "environet_decisions", "Entries of the ledger, by event and the rule that decided",
            labels=["event", "rule"],
        )  # fmt: skip
        for (event, rule), count in sorted(self._decisions.counts.items()):
            decisions.add_metric([event, rule], count)
        yield decisions
        days = GaugeMetricFamily(
            "environet_key_days", "Days until the first of the gateway's keys expires",
            labels=["purpose"],
        )  # fmt: skip
        for purpose, left in self._key_days.items():
            days.add_metric([purpose], left)
        yield days


def _of_children(children: Sequence[Child]) -> Iterator[Metric]:
    up = GaugeMetricFamily("environet_process_up", "Whether it runs", labels=["process"])
    starts = CounterMetricFamily("environet_process_starts", "Times started", labels=["process"])
    memory = GaugeMetricFamily("environet_process_bytes", "Memory (VmRSS)", labels=["process"])
    memory.add_metric(["server"], _resident(None))
    copies = CounterMetricFamily("environet_copies", "Outcomes of copies", labels=["outcome"])
    pages = CounterMetricFamily("environet_web_requests", "Answers", labels=["status"])
    mails = CounterMetricFamily("environet_mailbox_mails", "Decided on, tries", labels=["status"])
    for one in children:
        up.add_metric([one.name], float(one.pid is not None))
        starts.add_metric([one.name], one.starts)
        if one.pid is not None:
            memory.add_metric([one.name], _resident(one.pid))
    for outcome in OUTCOMES.values():
        copies.add_metric([outcome], sum(one.board[outcome] for one in children))
    for status in CLASSES:
        pages.add_metric([status], sum(one.board[status] for one in children))
        mails.add_metric([status], sum(one.board[f"mail {status}"] for one in children))
    yield from (up, starts, memory, copies, pages, mails)
    yield _web_seconds(children)


def _web_seconds(children: Sequence[Child]) -> Metric:
    counts = [sum(each) for each in zip(*(one.board.buckets for one in children), strict=True)]
    buckets, so_far = [], 0.0
    for end, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=False):
        so_far += count
        buckets.append((end, so_far))
    taken = sum(one.board.seconds for one in children)
    made = HistogramMetricFamily("environet_web_seconds", "Time an answer took")
    if buckets:
        made.add_metric([], buckets, taken)
    return made


def _resident(pid: int | None) -> float:
    """Bytes in memory (proc_pid_status(5)); 0 for a process that has just ended."""
    try:
        status = Path(f"/proc/{'self' if pid is None else pid}/status").read_text()
    except OSError:
        return 0.0
    line = next((one for one in status.splitlines() if one.startswith("VmRSS:")), "VmRSS: 0 kB")
    return float(line.split()[1]) * 1024


def _by_check(findings: Sequence[Finding]) -> dict[str, bool]:
    sound: dict[str, bool] = {}
    for one in findings:
        sound[one.check] = sound.get(one.check, True) and one.state is not State.FAULT
    return sound
