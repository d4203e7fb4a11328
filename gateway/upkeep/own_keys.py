"""The gateway's own keys that expire: administrators are warned."""

from __future__ import annotations

from gateway.app import App


def run(app: App) -> int:
    return 0
