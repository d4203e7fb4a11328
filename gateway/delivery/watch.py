"""Calling copies back: what a lease's copies depend on may change while they go out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.store.leasing import Lease, Reader, Result
from gateway.store.member import State
from gateway.store.outbox import Delivery

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


class Watch:
    """One lease while its copies go out.

    readers: of the lease's entries, as they were when their copies were written; look: of all that
    the worker holds, as they are now. called_back: what is to be written down of the copies that
    did not go.
    """

    def __init__(
        self,
        lease: Lease,
        reach: Reach,
        readers: Mapping[int, Reader],
        look: Look,
        clock: Callable[[], datetime],
    ) -> None:
        self.called_back: dict[int, Result] = {}
        self._is_posting = lease.posting_id is not None
        self._reach = reach
        self._before = self._now = readers
        self._look = look
        self._clock = clock
        self._looked_at = time.monotonic()
        self._wanted: set[int] = set()  # as the last look had it

    def wants(self, entry_id: int) -> bool:
        """Whether a copy may go out still. Asks the database twice a second at most."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._now = self._look()
            self._looked_at = time.monotonic()
            self._wanted.clear()
        if entry_id in self._wanted:
            return True
        reader = self._now.get(entry_id)
        if reader is None:
            return False  # withdrawn, or another worker's: whoever took it says what became of it
        if not self._reach.takes_in(reader.member_id, reader.state):
            self._call_back(entry_id, Delivery.DROPPED, NOT_ACTIVE)
            return False
        if self._is_posting and reader.certificate != self._before[entry_id].certificate:
            self._call_back(entry_id, Delivery.WAITING, CHANGED)  # to be encrypted anew
            return False
        self._wanted.add(entry_id)
        return True

    def _call_back(self, entry_id: int, state: Delivery, why: str) -> None:
        now = self._clock()
        again = now if state is Delivery.WAITING else None
        self.called_back[entry_id] = Result(entry_id, state, now, why, again)
