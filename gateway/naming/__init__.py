"""The gateway's name in the DNS: what is asked of it, and what should stand there."""
