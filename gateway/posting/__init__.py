"""The decision: a mail is opened once, judged once, kept in one transaction."""
