"""Keys: the gateway's own (keyring), the members' (certificate), content at rest (vault)."""
