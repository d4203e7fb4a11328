"""What a scenario of load showed, and the table of it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill

MOST_SECONDS = 10.0
"""For which an honest client may wait for its 250."""
_WIDTH = 100


@dataclass(slots=True)
class Row:
    """name: of the scenario; did: what was done. replies: to the load, each with how often it came.
    before, during: seconds until an honest client had its 250. server, worker: bytes of memory at
    most; bound: that of the server's. told: figures of this scenario alone. wrong: what was not as
    it must be."""

    name: str
    did: str
    replies: Counter[str] = field(default_factory=Counter)
    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    server: int = 0
    worker: int = 0
    bound: int = 0
    lost: int = 0
    doubled: int = 0
    told: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """What holds of every scenario."""
        if self.during and max(self.during) > MOST_SECONDS:
            self.wrong.append(f"an honest client waited for {max(self.during):.1f} s")
        if self.bound and self.server > self.bound:
            self.wrong.append(f"the server took {_mega(self.server)}, over {_mega(self.bound)}")

    @property
    def is_well(self) -> bool:
        return not (self.wrong or self.lost or self.doubled)


def table(rows: Sequence[Row]) -> str:
    heads = ("scenario", "before s", "during s", "server MB", "bound", "worker MB", "lost",
             "doubled", "ok")  # fmt: skip
    lines = [_line(heads)]
    for row in rows:
        cells = (
            row.name, _times(row.before), _times(row.during), _mega(row.server), _mega(row.bound),
            _mega(row.worker), f"{row.lost}", f"{row.doubled}", "yes" if row.is_well else "NO",
        )  # fmt: skip
        lines.append(_line(cells))
        lines.append(_indented(row.did))
        if row.replies:
            counted = (f"{code} × {number}" for code, number in row.replies.most_common())
            lines.append(_indented("answered: " + ", ".join(counted)))
        lines += [_indented(one) for one in (*row.told, *(f"WRONG: {one}" for one in row.wrong))]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    first, *others = cells
    return (
        f"{first:<18}"
        + "".join(f"{cell:>13}" for cell in others[:2])
        + "".join(f"{cell:>10}" for cell in others[2:])
    )


def _indented(text: str) -> str:
    return fill(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _times(seconds: Sequence[float]) -> str:
    """Median and worst."""
    return f"{statistics.median(seconds):.2f}, {max(seconds):.2f}" if seconds else "-"


def _mega(octets: int) -> str:
    return f"{octets / 1e6:.0f}" if octets else "-"
