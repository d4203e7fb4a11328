"""The gateway's own mails: what happened, why, and what to do next, in the reader's language."""
