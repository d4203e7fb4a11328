"""The demonstration's past, contrib/demo.toml: each mail is signed and encrypted by its author's
program and judged by the gateway, their clocks set back to that day.
"""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import fill
from typing import Any

from PIL import Image, ImageDraw
from sqlalchemy import select

from gateway import dispatch
from gateway.app import App, open_app, utc_now
from gateway.message.envelope import Envelope
from gateway.posting.opening import inflation_limit
from gateway.store import mailing_list
from gateway.store.posting import Posting
from tests.officers import Attachment, Officer

STORY = Path(__file__).with_name("demo.toml")
LINE = 72
BEGAN = timedelta(days=36)
"""How long ago the officers' keys were made, before the first posting."""
# The gateway's keys are as old as the demonstration: gpg is told to encrypt to them all the same.
_EARLIER = ("--ignore-time-conflict", "--ignore-valid-from")
_PAGE = (
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"
    b"/Resources<</Font<</F1 5 0 R>>>>>>"
)


@dataclass(frozen=True, slots=True)
class Written:
    """A mail of the past. to: local part. thread: its number in the story; 0 for what begins none.
    answers: which posting of the thread, from 1; 0 for none."""

    days: float
    to: str
    by: str
    subject: str
    text: str
    attached: tuple[Attachment, ...] = ()
    thread: int = 0
    answers: int = 0


class Past:
    """A gateway whose clock stands where it is put. officers: by their first names, lower case."""

    def __init__(
        self, app: App, officers: Mapping[str, Officer], set_clock: Callable[[datetime], None]
    ) -> None:
        self._app = app
        self._officers = officers
        self._set_clock = set_clock
        self._ids: dict[int, list[str]] = {}

    def happen(self, one: Written, now: datetime) -> None:
        """One mail, from the officer's program to the gateway's decision."""
        app, author = self._app, self._officers[one.by]
        at = now - timedelta(days=one.days)
        thread = self._ids.setdefault(one.thread, [])
        answered = thread[one.answers - 1] if one.answers else None
        address = f"{one.to}@{app.config.domain}"
        with app.database.reading() as session:
            key = mailing_list.key_of(session, address, app.config.domain)
        if key is None:
            raise SystemExit(f"There is no {address}.")
        # A key that was made just now signs as of now.
        own_clock = at if one.days else None
        mail = author.write(
            to=[address], certificates=[key.certificate], subject=one.subject, text=one.text,
            attachments=one.attached, in_reply_to=answered,
            references=[answered] if answered else [], at=own_clock,
            options=_EARLIER if own_clock else (),
        )  # fmt: skip
        self._set_clock(at if one.days else utc_now())
        envelope = Envelope(author.address, (address,), mail, "127.0.0.1", app.clock())
        (reply,) = dispatch.submit(app, envelope, inflation_limit(app.config)) or (None,)
        if reply is None or reply.code != 250:
            raise SystemExit(f"{author.name}'s mail to {address} was not taken: {reply}")
        if one.thread:
            with app.database.reading() as session:
                newest = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
                thread.append(newest.message_id(app.config.domain))


def live(state: Path, officers: Mapping[str, Officer]) -> int:
    """Let the whole story happen to a gateway that does not run yet. How many mails."""
    began = utc_now()
    clock = [began]

    def set_clock(at: datetime) -> None:
        clock[0] = at

    app = open_app(state, lambda: clock[0])
    try:
        past = Past(app, officers, set_clock)
        mails = sorted(_story(), key=lambda one: -one.days)
        for one in mails:
            past.happen(one, began)
        return len(mails)
    finally:
        app.close()


def _story() -> Iterator[Written]:
    end = f"{utc_now() + timedelta(days=30):%Y-%m-%d}"
    story = tomllib.loads(STORY.read_text("utf-8").replace("IN-A-MONTH", end))
    files = {name: _file(name, made) for name, made in story["files"].items()}
    for number, thread in enumerate(story["thread"], 1):
        yield from _thread(number, thread, files)
    for one in story.get("mail", ()):
        attached = tuple(files[name] for name in one.get("attach", ()))
        yield Written(
            one["days"], one["to"], one["by"], one["subject"], _as_typed(one["text"]), attached
        )


def _as_typed(text: str) -> str:
    """As mail programs send a text: paragraphs filled to 72 columns, what is in lines left so."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(map(_filled, paragraphs)) + "\n"


def _filled(paragraph: str) -> str:
    lines = paragraph.splitlines()
    in_lines = any(line.startswith((">", "-", "*", " ")) or line[0].isdigit() for line in lines)
    short = all(len(line) <= LINE for line in lines)
    return paragraph if in_lines or short else fill(paragraph, LINE)


def _thread(
    number: int, thread: Mapping[str, Any], files: Mapping[str, Attachment]
) -> Iterator[Written]:
    days = float(thread["days"])
    for place, one in enumerate(thread["posting"]):
        days -= one.get("hours", 0) / 24
        yield Written(
            days=days,
            to=thread["to"],
            by=one["by"],
            subject=("Re: " if place else "") + thread["subject"],
            text=_as_typed(one["text"]),
            attached=tuple(files[name] for name in one.get("attach", ())),
            thread=number,
            answers=one.get("answers", place),
        )  # fmt: skip


def _file(name: str, text: str) -> Attachment:
    if name.endswith(".png"):
        return name, "image/png", _picture(text)
    if name.endswith(".pdf"):
        return name, "application/pdf", _pdf(text.strip().splitlines())
    return name, "text/csv", text.lstrip().encode()


def _picture(caption: str) -> bytes:
    """A drawing that stands for a photograph."""
    image = Image.new("RGB", (960, 600), "#cdbfa7")
    draw = ImageDraw.Draw(image)
    for row in range(5):
        for column in range(8):
            left, top = 40 + column * 112, 40 + row * 96
            draw.arc((left, top, left + 140, top + 120), 180, 320, "#6b5636", 14)
            if (row * 8 + column) % 3 == 0:
                draw.text((left + 12, top + 40), f"K R {row * 8 + column}", "#b02020", font_size=18)
    draw.rectangle((0, 548, 960, 600), fill="#20242a")
    draw.text((20, 562), caption, "#ffffff", font_size=22)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _pdf(lines: Iterable[str]) -> bytes:
    """A page of text. Objects and their table as ISO 32000 7.5 has them."""
    shown = b"".join(b"(" + _escaped(one) + b") Tj T*\n" for one in lines)
    text = b"BT /F1 11 Tf 16 TL 60 780 Td\n" + shown + b"ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        _PAGE,
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    )
    made, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
    return made + head + table + end % (len(objects) + 1, len(made))


def _escaped(line: str) -> bytes:
    encoded = line.encode("cp1252", "replace")
    return encoded.replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")
