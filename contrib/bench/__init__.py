"""Peers that the benches are measured beside."""
