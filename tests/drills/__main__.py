"""`make drill WHAT=faults`: a drill on this machine, and the table of what it showed.

Each is a module beside this one, with `run(words)`, which prints a table and returns whether all
was as it must be: the exit status.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

DRILLS = {
    "faults": "every fault at every step of a mail's way: lost, doubled",
    "load": "slow clients, floods, long queues, big mails: memory, and who is answered",
    "hosts": "several machines over PostgreSQL, one of them cut off or killed",
    "servers": "officers' mails through Postfix to the gateway and back into Dovecot",
    "restore": "a backup made while mail comes in, restored on another machine",
    "upgrade": "a new version's migrations under the processes of the one before",
}


def main() -> None:
    described = "\n".join(f"  {name:<8} {what}" for name, what in DRILLS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.drills", description=f"drills:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("drill", choices=DRILLS)
    chosen, words = parser.parse_known_args()
    succeeded: bool = import_module(f"tests.drills.{chosen.drill}").run(words)
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
