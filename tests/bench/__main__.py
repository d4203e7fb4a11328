"""`make bench`: what a copy costs, and a page of the archive.

copies: one posting to many, beside the floors; peer: the same by Schleuder, where it is installed;
databases: by database and workers; slope: how that grows with the subscribers; door: postings a
second; archive: its pages. Without a word: copies, peer, door and archive.
"""

from __future__ import annotations

import argparse

from tests.bench import archive, door, fanout, peer

DATABASES = ("sqlite", "postgresql")
WHAT = ("all", "copies", "peer", "databases", "slope", "door", "archive")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=WHAT, default="all")
    parser.add_argument("--subscribers", type=int, nargs="+", default=[])
    parser.add_argument("--bytes", type=int, nargs="+", default=[])
    parser.add_argument("--workers", type=int, nargs="+", default=[], help="delivery processes")
    parser.add_argument("--gigabytes", type=float, default=2, help="on the wire, of one posting")
    parser.add_argument("--sizes", default="2000,20000", help="of archives, in postings")
    parser.add_argument(
        "--database", choices=(*DATABASES, "both"), default="both", help="archive's"
    )
    chosen = parser.parse_args()
    subscribers, sizes, workers = chosen.subscribers, chosen.bytes, chosen.workers
    if chosen.what in ("all", "copies"):
        fanout.run(
            subscribers or [100, 1000, 10_000],
            sizes or [2_000, 100_000, 1_000_000, 10_000_000],
            (workers or [2])[0],
            chosen.gigabytes * 1e9,
        )
    if chosen.what in ("all", "peer"):
        few = (subscribers or [100])[0]
        peer.run(few, sizes or [2_000, 100_000, 1_000_000], (workers or [2])[0])
    if chosen.what == "databases":
        fanout.databases((subscribers or [2000])[0], (sizes or [2000])[0], workers or [1, 2, 4])
    if chosen.what == "slope":
        counts = subscribers or [1000, 10_000, 100_000]
        fanout.slope(counts, (sizes or [2000])[0], (workers or [2])[0])
    if chosen.what in ("all", "door"):
        door.run(clients=8, mails=200)
    if chosen.what in ("all", "archive"):
        archives = [int(one) for one in chosen.sizes.split(",")]
        archive.run(archives, DATABASES if chosen.database == "both" else (chosen.database,))


main()
