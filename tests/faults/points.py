"""The points of a mail's way at which faults are done, by the steps of docs/mail-flow.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UPKEEP = 0
"""Stands for what falls due, which has no number there."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment in a process of the gateway. step: its number in docs/mail-flow.md; target: the
    function, "module:name"."""

    step: int
    name: str
    target: str
    when: Literal["before", "after"]

    @property
    def label(self) -> str:
        return f"{self.step or 'upkeep'} {self.name}"

    @property
    def is_of_worker(self) -> bool:
        return self.step >= 10


POINTS = (
    Point(1, "whole mail in memory", "gateway.intake.wire:DataReader.message", "before"),
    Point(2, "waits for a place", "gateway.server:Desk.submit", "before"),
    Point(3, "judging begins", "gateway.posting.pipeline:judge", "before"),
    Point(4, "before gpg opens it", "gateway.crypto.keyring:Keyring.unwrap", "before"),
    Point(4, "opened", "gateway.posting.opening:open_mail", "after"),
    Point(5, "author known", "gateway.posting.author:identify", "after"),
    Point(6, "evidence sealed", "gateway.posting.evidence:seal", "after"),
    Point(7, "decided", "gateway.posting.policy:decide", "after"),
    Point(8, "copies queued", "gateway.store.outbox:queue_posting", "after"),
    Point(8, "in the ledger", "gateway.store.ledger:enter", "after"),
    Point(9, "committed, not answered", "gateway.intake.door:combine", "before"),
    Point(9, "reply made, not sent", "gateway.intake.door:combine", "after"),
    Point(10, "lease not committed", "gateway.store.leasing:lease", "after"),
    Point(10, "leased", "gateway.delivery.worker:Worker._lease", "after"),
    Point(10, "read for the lease", "gateway.delivery.preparing:Preparer.prepare", "after"),
    Point(11, "before gpg signs", "gateway.delivery.writing:posting_letter", "before"),
    Point(11, "letter signed", "gateway.delivery.letter:letter", "after"),
    Point(12, "before encryption", "gateway.delivery.copies:copies", "before"),
    Point(13, "before a copy's content", "gateway.delivery.smtp_wire:Wire.finish", "before"),
    Point(13, "server took it", "gateway.delivery.smtp_wire:Wire.finish", "after"),
    Point(13, "outcome recorded", "gateway.delivery.handoff:GroupCommit._call", "after"),
    Point(UPKEEP, "round begins", "gateway.upkeep.digests:run", "before"),
    Point(UPKEEP, "digest planned", "gateway.upkeep.digests:_plan", "after"),
    Point(UPKEEP, "digest queued", "gateway.notices.notice:queue", "after"),
)
