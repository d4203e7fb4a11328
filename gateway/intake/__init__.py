"""The doors in: how a mail reaches the gateway."""
