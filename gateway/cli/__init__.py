"""The command `environet`. Exit status: 0 done; 1 not done, and why is said; 2 wrong usage;
3 a check found faults; 75 a fault of the machine's, try again (EX_TEMPFAIL)."""

from gateway.cli.root import main

__all__ = ["main"]
