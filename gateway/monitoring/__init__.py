"""Whether the gateway is well: health, metrics, and a look at everything that it needs."""
