"""A gateway whose decisions are judged before they are made: what its judge says of a mail must be
what becomes of it, and nothing may come of the saying."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway import dispatch, judging
from gateway.app import App, open_app
from gateway.delivery.worker import Worker
from gateway.message.envelope import Envelope
from gateway.store import ledger
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer, header_lines, parse
from tests.scenarios.test_worker import Hand

LIST, COMMANDS = f"wildlife@{DOMAIN}", f"gateway@{DOMAIN}"
LIMIT = 1 << 26
SECRET = "Tusks on the MV Wanderer"


@dataclass(frozen=True, slots=True)
class Ground:
    gateway: RunningGateway
    ana: Officer
    stranger: Officer

    def mail(self, author: Officer | None = None, to: str = LIST, **how: object) -> bytes:
        return (author or self.ana).write(
            to=[to], certificates=[self.gateway.certificate(to)],
            **{"subject": SECRET, "text": "At dawn.\n", **how},  # type: ignore[arg-type]
        )  # fmt: skip

    def post(self, mail: bytes, author: Officer | None = None, to: str = LIST) -> str:
        """The reply; each is asked of the judge first, whose word holds."""
        with opened(self.gateway) as app:
            sender = (author or self.ana).address
            envelope = Envelope(sender, (to,), mail, "127.0.0.1", app.clock())
            before = totals(app)
            (destined,) = judging.judge(app, envelope).destined
            assert totals(app) == before
            (reply,) = dispatch.submit(app, envelope, LIMIT) or ()
        assert destined.reply == reply
        return str(reply)

    def copy(self) -> bytes:
        """The last copy for Ana, as it travels."""
        with opened(self.gateway) as app:
            hand = Hand()
            asyncio.run(Worker(app, "w", hand).drain())
            return [b"".join(one.parts) for one in hand.seen
                    if one.recipient == self.ana.address][-1]  # fmt: skip

    def delivered(self) -> bytes:
        """The same, opened."""
        return self.ana.read(self.copy()).plain


@contextmanager
def opened(gateway: RunningGateway) -> Iterator[App]:
    app = open_app(gateway.state)
    try:
        yield app
    finally:
        app.close()


def totals(app: App) -> tuple[object, ...]:
    with app.database.reading() as session:
        head = ledger.head(session).sequence
        rows = [session.connection().exec_driver_sql(f"SELECT count(*) FROM {one}").scalar()
                for one in ("posting", "outbox", "hold", "seen", "member")]  # fmt: skip
        return (head, *rows)


@contextmanager
def founded() -> Iterator[Ground]:
    """With an unmoderated list that Ana is a member of, and Eve is not."""
    with (
        RunningGateway(short_place("judge")) as gateway,
        Officer.create("sequoia", "Ana Lind", "ana.lind@customs.example") as ana,
        Officer.create("sequoia", "Eve Sly", "eve.sly@unknown.example") as stranger,
    ):
        gateway.found()
        gateway.add_member(ana)
        gateway.environet("list", "set", "wildlife", "--moderation", "open")
        yield Ground(gateway, ana, stranger)


def fields_of(mail: bytes) -> bytes:
    """The header lines of a mail, but those of MIME."""
    outer = parse(mail)
    names = ("From", "To", "Subject", "Date", "Message-ID")
    return header_lines({name: str(outer[name]) for name in names}) + b"MIME-Version: 1.0\r\n"
