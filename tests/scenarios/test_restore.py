"""A backup made while postings are in flight, restored on another machine: see docs/backup.md."""

from __future__ import annotations

from tests.drills.restore import drill


def test_what_was_in_flight_is_neither_lost_nor_sent_twice() -> None:
    assert drill(mails=9, readers=2).wrong == []
