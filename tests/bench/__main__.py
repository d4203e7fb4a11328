"""`make bench`: what a copy costs."""

from __future__ import annotations

import argparse

from tests.bench import fanout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--bytes", type=int, nargs="+", default=[2_000, 100_000, 1_000_000])
    chosen = parser.parse_args()
    fanout.run(chosen.subscribers, chosen.bytes)


main()
