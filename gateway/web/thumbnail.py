"""Pictures made anew, small: run by gateway.archive.confined, in a process of its own."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageOps

MOST_PIXELS = 50_000_000
EDGE = 320
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")


def prepare() -> None:
    """Load what reading and writing each format takes, by doing it once."""
    for one in _FORMATS:
        picture = BytesIO()
        Image.new("RGB", (8, 8)).save(picture, one)
        work(picture.getvalue())


def work(data: bytes) -> bytes:
    """WebP of at most 320 pixels a side, of the first frame, with nothing but its pixels.

    Raises ValueError where it has more pixels than anybody photographs, and whatever Pillow does
    where it is no picture.
    """
    with Image.open(BytesIO(data), formats=_FORMATS) as picture:
        # Known from its header, before anything is decoded.
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        picture.draft("RGB", (2 * EDGE, 2 * EDGE))
        picture.thumbnail((EDGE, EDGE))
        upright = ImageOps.exif_transpose(picture)
        shown = upright.convert("RGBA")
    # On paper white, into a picture that never had any metadata.
    made = Image.new("RGB", shown.size, "white")
    made.paste(shown, mask=shown.getchannel("A"))
    out = BytesIO()
    made.save(out, "WEBP", quality=80)
    return out.getvalue()
