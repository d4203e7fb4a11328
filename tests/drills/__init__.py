"""Drills: what an operator wants to have seen, each a command that prints a table."""
