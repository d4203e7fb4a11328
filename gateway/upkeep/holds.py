"""Held postings that nobody decides: moderators are reminded, then administrators told."""

from __future__ import annotations

from gateway.app import App


def run(app: App) -> int:
    return 0
