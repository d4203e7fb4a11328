"""Small pictures of attached pictures: made anew from their pixels, so that nothing else of the
author's file reaches a browser."""

from __future__ import annotations

from gateway.archive import confined
from gateway.web.visit import NotThere

MOST_BYTES = 30_000_000
"""Of a picture's file; larger ones are a download alone."""
TYPE = "image/webp"
_SECONDS = 3


def preview(data: bytes) -> bytes:
    """At most 320 pixels a side. Raises NotThere where it is no picture, or one that costs too much
    to read."""
    if len(data) > MOST_BYTES:
        raise NotThere
    made = confined.run("gateway.web.thumbnail", data, seconds=_SECONDS)
    if not made:
        raise NotThere
    return made
