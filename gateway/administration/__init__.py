"""People, certificates, lists and keys, as they are changed, by mail or on the command line.

Every change is in the ledger with who ordered it.
"""
