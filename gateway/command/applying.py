"""A mail to the address for applications."""

from __future__ import annotations

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import Reply
from gateway.posting.pipeline import ACCEPTED, Judged


def receive(session: Session, app: App, judged: Judged) -> Reply:
    """Take an application; whoever sends one gets the same reply."""
    return ACCEPTED
