"""Applications that wait for an administrator."""

from __future__ import annotations

from gateway.app import App


def run(app: App) -> int:
    return 0
