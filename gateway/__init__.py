"""ENVIRONET: a secure mailing-list gateway for a closed group. See docs/mail-flow.md."""
