"""Collected postings, sent as one mail when a member's day or week is over."""

from __future__ import annotations

from gateway.app import App


def run(app: App) -> int:
    return 0
