"""Requests for experts that nobody answers: reminded at half their time, then escalated."""

from __future__ import annotations

from gateway.app import App


def run(app: App) -> int:
    return 0
