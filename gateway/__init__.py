"""ENVIRONET: a secure mailing-list gateway for a closed group. docs/mail-flow.md shows a mail's way."""
