"""Counts that a child process keeps and the server reads: places in memory that both have mapped.

prometheus_client would do it with mapped files, and a process that writes to one dies of it where
the disk is full (SIGBUS). Nothing of this is on a disk, and a child that is started again goes on
counting.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from gateway.store.leasing import Result
from gateway.store.outbox import Delivery

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the buckets for the time that a page takes; one more is for what is slower."""
OUTCOMES: Final = {
    Delivery.SENT: "sent",
    Delivery.WAITING: "deferred",
    Delivery.REFUSED: "refused",
    Delivery.PARKED: "parked",
    Delivery.DROPPED: "dropped",
}
CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_PLACES: Final = (
    *OUTCOMES.values(), *CLASSES, *(f"le {one}" for one in SECONDS), "slower", "sum",
    *(f"mail {one}" for one in CLASSES),
)  # fmt: skip
_AT: Final = {name: at for at, name in enumerate(_PLACES)}
_BYTES: Final = mmap.PAGESIZE


class Board:
    """descriptor: to be handed to the child, which makes its own Board of it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._places = memoryview(mmap.mmap(descriptor, _BYTES)).cast("d")

    @classmethod
    def new(cls) -> Board:
        descriptor = os.memfd_create("environet-board")
        os.ftruncate(descriptor, _BYTES)
        return cls(descriptor)

    def copies(self, results: Sequence[Result]) -> None:
        """Count what became of copies."""
        for one in results:
            if one.state in OUTCOMES:
                self._add(OUTCOMES[one.state])

    def request(self, status: int, seconds: float) -> None:
        """Count an answer of the web archive."""
        if f"{status // 100}xx" in CLASSES:
            self._add(f"{status // 100}xx")
        at = bisect_left(SECONDS, seconds)
        self._add(f"le {SECONDS[at]}" if at < len(SECONDS) else "slower")
        self._add("sum", seconds)

    def mail(self, code: int) -> None:
        """Count a mail of a mailbox, by what its sender would have been told."""
        if f"{code // 100}xx" in CLASSES:
            self._add(f"mail {code // 100}xx")

    def __getitem__(self, name: str) -> float:
        """A count by its name: one of OUTCOMES' values or CLASSES, or "mail " and one of these."""
        return self._places[_AT[name]]

    @property
    def buckets(self) -> list[float]:
        """How many answers took so long, for each of SECONDS and then for longer; not summed up."""
        first = _AT[f"le {SECONDS[0]}"]
        return [self._places[at] for at in range(first, first + len(SECONDS) + 1)]

    @property
    def seconds(self) -> float:
        """What all answers took."""
        return self["sum"]

    def _add(self, name: str, value: float = 1.0) -> None:
        self._places[_AT[name]] += value
