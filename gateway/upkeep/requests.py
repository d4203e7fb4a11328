"""Requests for experts that nobody answers: reminded at half their time, then escalated."""

from __future__ import annotations

from gateway.app import App
from gateway.posting import requests
from gateway.store import request as store


def run(app: App) -> int:
    """Remind and escalate what is due, each request in a transaction of its own. How many
    requests."""
    now = app.clock()
    with app.database.reading() as session:
        due = [
            (one.posting_id, one.list_id)
            for one in store.unescalated(session)
            if one.answer_by <= now or (one.reminded_at is None and one.remind_at <= now)
        ]
    return sum(_follow_up(app, *key) for key in due)


def _follow_up(app: App, posting_id: int, list_id: int) -> bool:
    with app.database.transaction() as session:
        found = store.locked(session, posting_id, list_id)
        if found is None:
            return False
        now = app.clock()
        if found.reminded_at is None and found.remind_at <= now:
            requests.remind(session, app, found)
        if found.escalated_at is None and found.answer_by <= now:
            requests.escalate(session, app, found)
    return True
