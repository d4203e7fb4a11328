"""Commands by signed mail: what each is, who may use it, and what it answers."""
