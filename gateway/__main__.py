"""`python -m gateway` is the command `environet`."""

from gateway.cli import main

main()
