"""What is remembered: each concept's table, queries and invariants in one file."""
