"""Several hosts with one database, each in a network namespace of its own, and what harms them."""
