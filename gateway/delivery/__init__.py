"""The doors out: each subscriber's own copy, handed to a mail server or into a Maildir."""
