"""What falls due as time passes: digests, reminders, warnings. Each is harmless to do again."""
