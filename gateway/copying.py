"""A gateway's database copied into another one: from SQLite to PostgreSQL."""
