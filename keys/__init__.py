"""Skeleton of a GnuPG home: configuration, never a secret key."""
