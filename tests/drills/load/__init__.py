"""Load, and whether honest clients are answered and memory stays bounded meanwhile.

Each row of the table is a scenario on a real gateway, served by its own processes, and measured
from outside.
"""

from __future__ import annotations

import argparse
import resource
import time
import traceback
from collections.abc import Callable, Mapping

from tests.bench.people import made
from tests.drills.load import doors, loops, pages, queues
from tests.drills.load.ground import Ground
from tests.drills.load.row import Row, table
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

SCENARIOS: Mapping[str, Callable[[doors.Make, float], Row | list[Row]]] = {
    "slow": doors.slow_clients,
    "floods": doors.floods,
    "unsigned": doors.unsigned_mails,
    "greedy": doors.greedy_clients,
    "large": doors.large_mails,
    "away": queues.mail_server_away,
    "posting": queues.beside_a_posting,
    "notices": queues.beside_notices,
    "loops": loops.member_loops,
    "lists": loops.lists_subscribed_to_each_other,
    "pages": pages.slow_readers,
    "logins": pages.login_requests,
}
_SMALL = 0.1
_OTHER_DOMAIN = "other.example"


def run(words: list[str]) -> bool:
    """words: --only SCENARIO, may be repeated; --small, a tenth of it, for a try."""
    parser = argparse.ArgumentParser(prog="make drill WHAT=load WORDS=")
    parser.add_argument("--only", action="append", choices=SCENARIOS)
    parser.add_argument("--small", action="store_true", help="a tenth of the clients and mails")
    chosen = parser.parse_args(words)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a thousand clients are here, too
    begun = time.monotonic()
    rows: list[Row] = []
    with _Templates() as templates:
        for name in chosen.only or SCENARIOS:
            print(f"{name} ...", flush=True)
            rows += _rows(name, templates.make, _SMALL if chosen.small else 1.0)
    print(table(rows))
    print(f"{len(rows)} scenarios in {time.monotonic() - begun:.0f} s")
    return all(row.is_well for row in rows)


def _rows(name: str, make: doors.Make, size: float) -> list[Row]:
    try:
        found = SCENARIOS[name](make, size)
    except Exception as error:
        traceback.print_exc()
        return [Row(name, "", wrong=[f"{type(error).__name__}: {error}"[:200]])]
    rows = [found] if isinstance(found, Row) else found
    for row in rows:
        row.judge()
    return rows


class _Templates:
    """Founded once: a gateway, and a second one of another domain where that is asked for."""

    def __init__(self) -> None:
        self._author = Officer.create("sequoia", "Ana Lind", "ana@customs.example")
        self._founded: dict[bool, RunningGateway] = {}

    def __enter__(self) -> _Templates:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._founded.values():
            one.close()
        self._author.close()

    def make(self, people: int = 4, *, other: bool = False, **settings: object) -> Ground:
        """people: subscribers beside the author. settings: by their names."""
        if other not in self._founded:
            domain = _OTHER_DOMAIN if other else DOMAIN
            self._founded[other] = RunningGateway(short_place("load"), domain)
            self._founded[other].found()
        crowd = made(people) if people else []
        return Ground(self._founded[other], self._author, crowd, settings)
