"""Links that a mail program turns into a prepared mail (RFC 6068)."""

from __future__ import annotations

from urllib.parse import quote


def mailto(address: str, subject: str, body: str = "", answers: str = "") -> str:
    """answers: Message-ID, without angle brackets, of the mail that it answers."""
    fields = {"subject": subject, "body": body, "In-Reply-To": answers and f"<{answers}>"}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items() if value)
    return f"mailto:{quote(address, safe='@')}?{query}"
