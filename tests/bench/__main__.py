"""`make bench`: what a copy costs, and a page of the archive. With "copies" or "archive": one of
them."""

from __future__ import annotations

import argparse

from tests.bench import archive, fanout

DATABASES = ("sqlite", "postgresql")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "copies", "archive"), default="all")
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--bytes", type=int, nargs="+", default=[2_000, 100_000, 1_000_000])
    parser.add_argument("--sizes", default="2000,20000", help="of archives, in postings")
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    chosen = parser.parse_args()
    if chosen.what in ("all", "copies"):
        fanout.run(chosen.subscribers, chosen.bytes)
    if chosen.what in ("all", "archive"):
        sizes = [int(one) for one in chosen.sizes.split(",")]
        archive.run(sizes, DATABASES if chosen.database == "both" else (chosen.database,))


main()
