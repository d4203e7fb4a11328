"""Jinja2 templates of what the gateway writes."""
