"""Several machines over one PostgreSQL, each a host of its own; one of them is cut off or killed
while it holds leases, or the database is away: what was lost or doubled, and who took over when."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from tests import postgresql
from tests.faults.machine import has_clocks
from tests.hosts.group import Group
from tests.hosts.machine import LEASE_SECONDS
from tests.hosts.network import has_networks
from tests.hosts.trial import HARMS, Row, trial


def run(words: list[str]) -> bool:
    """words: --runs N of each (1), --harm NAME alone, --readers N (60)."""
    parser = argparse.ArgumentParser(prog="make drill WHAT=hosts WORDS=")
    parser.add_argument("--runs", type=int, default=1, help="of each")
    parser.add_argument("--harm", action="append", choices=[one.name for one in HARMS])
    parser.add_argument("--readers", type=int, default=60, help="of each posting")
    chosen = parser.parse_args(words)
    missing = _missing()
    if missing:
        print(f"Not possible here: {missing}.")
        return False
    begun = time.monotonic()
    harms = [one for one in HARMS if chosen.harm is None or one.name in chosen.harm]
    with Group(chosen.readers, seconds_a_copy=0.3, clock=True) as group:
        rows = [trial(group, harm) for _ in range(chosen.runs) for harm in harms]
    print(table(rows))
    bad = [row for row in rows if not (row.is_sound and row.is_in_time)]
    for row in bad:
        print(f"{row.harm.name}: {'; '.join(row.wrong) or 'more, or later, than it may be'}")
    if not bad:
        print("Nothing lost, nothing doubled but what was in doubt; others took over in time.")
    print(f"{len(rows)} trials in {time.monotonic() - begun:.0f} s")
    return not bad


def _missing() -> str:
    """What has to be there and is not; "" where all is."""
    if not has_networks():
        return "no network namespaces (as root: apt-get install iproute2 nftables)"
    if not has_clocks():
        return "no libfaketime (as root: apt-get install faketime)"
    return "" if postgresql.programs() else "no PostgreSQL (as root: apt-get install postgresql)"


def table(rows: Sequence[Row]) -> str:
    """A line for each kind of harm, the seconds being the longest of its runs."""
    head = ("", "runs", "lost", "doubled", "may", "taken over", "delivered")
    lines = [head]
    for harm in dict.fromkeys(row.harm for row in rows):
        those = [row for row in rows if row.harm is harm]
        lines.append((
            harm.name, f"{len(those)}", f"{sum(row.lost for row in those)}",
            f"{sum(row.doubled for row in those)}", f"{harm.may_double * len(those)}",
            f"{max(row.taken_over for row in those):.1f} s",
            f"{max(row.delivered for row in those):.1f} s",
        ))  # fmt: skip
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    told = ["  ".join((line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width
            in zip(line[1:], widths[1:], strict=True)))) for line in lines]  # fmt: skip
    return "\n".join((f"A lease lasts {LEASE_SECONDS} s.", *told))
