"""What a mail is: addresses, envelopes, MIME entities, OpenPGP packets. Pure: no I/O, no clock."""
