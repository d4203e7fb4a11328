"""Calling copies back: what a lease's copies depend on may change while they go out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.store.member import State
from gateway.store.outbox import Delivery, Lease, Reader, Result

LOOK_SECONDS = 0.5
"""Between two looks: what an administrator orders counts within a second."""
NOT_ACTIVE = "the member is not active"
CHANGED = "the certificate has changed"

Look = Callable[[], Mapping[int, Reader]]


@dataclass(frozen=True, slots=True)
class Reach:
    """Who may get what a lease is about though they are not active. everybody: whatever they are;
    beginner: id of the suspended member whose thread it is."""

    everybody: bool = False
    beginner: int | None = None

    def takes_in(self, member_id: int, state: State) -> bool:
        if self.everybody or state is State.ACTIVE:
            return True
        return state is State.SUSPENDED and member_id == self.beginner


@dataclass(slots=True)
class Watch:
    """One lease while its copies go out.

    look: the readers of all that the worker holds, as they are now. readers: as they were when
    their copies were written. called_back: what is to be written down of copies that did not go.
    """

    lease: Lease
    reach: Reach
    readers: Mapping[int, Reader]
    look: Look
    clock: Callable[[], datetime]
    called_back: dict[int, Result] = field(default_factory=dict)
    _now: Mapping[int, Reader] = field(init=False)
    _looked_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._now = self.readers

    def wants(self, entry_id: int) -> bool:
        """Whether a copy may go out still. Asks the database twice a second at most."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._now = self.look()
            self._looked_at = time.monotonic()
        before, now = self.readers[entry_id], self._now.get(entry_id)
        if now is None:
            return False  # withdrawn, or another worker's: whoever took it says what became of it
        if not self.reach.takes_in(now.member_id, now.state):
            self._call_back(entry_id, Delivery.DROPPED, NOT_ACTIVE)
            return False
        if self.lease.posting_id is not None and now.certificate != before.certificate:
            self._call_back(entry_id, Delivery.WAITING, CHANGED)  # to be encrypted anew
            return False
        return True

    def _call_back(self, entry_id: int, state: Delivery, why: str) -> None:
        now = self.clock()
        again = now if state is Delivery.WAITING else None
        self.called_back[entry_id] = Result(entry_id, state, now, why, again)
