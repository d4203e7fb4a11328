"""Members' certificates that expire: warnings before, a plain notice after."""

from __future__ import annotations

from gateway.app import App


def run(app: App) -> int:
    return 0
