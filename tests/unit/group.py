"""A gateway and its members for tests that leave out the doors: mails go to `dispatch.submit` of a
real App with real signatures, copies go out by a real worker into a list."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from sqlalchemy import select

from gateway import dispatch
from gateway.app import App, open_app, utc_now
from gateway.delivery.handoff import Copies, Copy, Live, Outcome, Record, always
from gateway.delivery.worker import Worker
from gateway.message.envelope import Envelope
from gateway.posting.opening import inflation_limit
from gateway.store import mailing_list, member
from gateway.store.ledger import LedgerEntry
from gateway.store.member import TickOff
from gateway.store.posting import Posting
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer, Reading

SERVICES = ("gateway", "register", "environet", "support", "library")


@dataclass(frozen=True)
class Got:
    """A mail that a member got. kind: local part that a copy comes from, "notice" or "plain"."""

    to: str
    kind: str
    subject: str
    text: str
    reading: Reading

    @property
    def message_id(self) -> str:
        return str(self.reading.outer["Message-ID"])

    @property
    def words(self) -> str:
        """The text in one line, as templates fill their lines anew."""
        return " ".join(self.text.split())


@dataclass
class Hand:
    """A hand-off that takes everything. after_first: what happens once it has taken one."""

    after_first: Callable[[], None] = lambda: None
    taken: list[Copy] = field(default_factory=list)

    async def deliver(self, copies: Copies, record: Record, live: Live = always) -> None:
        assert isinstance(copies, Iterable)
        for copy in copies:
            self.taken.append(copy)
            record([Outcome(copy.id, "sent", 250, "taken")])
            if len(self.taken) == 1:
                self.after_first()

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """Nothing is kept open."""


class Group:
    """Members by their first names, each with a key. roles: name -> "expert:B" and the like.
    settings: as of RunningGateway; the App has them where the environment says so too."""

    def __init__(
        self, roles: Mapping[str, Sequence[str]], settings: Mapping[str, object] | None = None
    ) -> None:
        self.later = timedelta()
        self.told: list[Got] = []
        self._keys: dict[str, bytes] = {}
        with ExitStack() as ends:
            self.gateway = ends.enter_context(
                RunningGateway(short_place("group"), settings=settings)
            )
            self.officers = {
                name: ends.enter_context(
                    Officer.create("sequoia", f"{name.title()} Berg", f"{name}@customs.example")
                )
                for name in roles
            }
            self.gateway.found()
            for name, theirs in roles.items():
                self.gateway.add_member(self.officers[name], roles=theirs)
            self.app: App = open_app(self.gateway.state, lambda: utc_now() + self.later)
            ends.callback(self.app.close)
            self._ends = ends.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def key(self, local_part: str) -> bytes:
        """The certificate that serves an address."""
        name = "gateway" if local_part in SERVICES else local_part.partition("-")[0]
        if local_part.startswith("op-"):
            name = local_part
        if name not in self._keys:
            self._keys[name] = self.gateway.certificate(f"{name}@{DOMAIN}")
        return self._keys[name]

    def write(self, who: str, *to: str, text: str, **how: object) -> bytes:
        subject = str(how.pop("subject", "Ivory at Mombasa"))
        return self.officers[who].write(
            to=[f"{one}@{DOMAIN}" for one in to],
            certificates=[self.key(one) for one in to],
            subject=subject,
            text=text,
            **how,  # type: ignore[arg-type]
        )

    def submit(self, mail: bytes, *to: str) -> list[str]:
        addresses = tuple(f"{one}@{DOMAIN}" for one in to)
        envelope = Envelope("x@elsewhere.example", addresses, mail, "127.0.0.1", self.app.clock())
        replies = dispatch.submit(self.app, envelope, inflation_limit(self.app.config)) or ()
        return [f"{one.code} {one.status}" for one in replies]

    def post(self, who: str, *to: str, text: str = "84 raw tusks.\n", **how: object) -> str:
        """Have a posting taken; its label."""
        lists = to or ("wildlife",)
        mail = self.write(who, *lists, text=text, **how)
        assert self.submit(mail, *lists) == ["250 2.0.0"] * len(lists)
        with self.app.database.reading() as session:
            newest = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
            return newest.label

    def deliver(self, after_first: Callable[[], None] = lambda: None) -> list[Got]:
        """Send all that is due, and open it, as each reader does."""
        hand = Hand(after_first)
        asyncio.run(Worker(self.app, "worker", hand).drain())
        return [self._opened(one) for one in hand.taken]

    def say(self, who: str, *lines: str) -> str:
        """The answer to a mail of commands, in one line; what else went out is in `told`."""
        return self.ask(who, *lines).words

    def ask(self, who: str, *lines: str) -> Got:
        self.deliver()
        mail = self.write(who, "gateway", text="\n".join(lines) + "\n", subject="commands")
        assert self.submit(mail, "gateway") == ["250 2.0.0"]
        got = self.deliver()
        (answer,) = [
            one for one in got if one.to == who and one.reading.outer["In-Reply-To"] is not None
        ]
        self.told = [one for one in got if one is not answer]
        return answer

    def ledger(self, event: str) -> list[dict[str, object]]:
        with self.app.database.reading() as session:
            query = select(LedgerEntry.detail).where(LedgerEntry.event == event)
            ordered = query.order_by(LedgerEntry.sequence)
            return [json.loads(one) for one in session.scalars(ordered)]

    def set_member(self, name: str, **values: object) -> None:
        with self.app.database.transaction() as session:
            found = member.get(session, self.officers[name].address)
            for key, value in values.items():
                setattr(found, key, value)

    def set_list(self, local_part: str, **values: object) -> None:
        with self.app.database.transaction() as session:
            found = mailing_list.get(session, local_part)
            for key, value in values.items():
                setattr(found, key, value)

    def add_coral(self, *invited: str) -> None:
        """A list by invitation: Coral, OPC."""
        addresses = [self.officers[one].address for one in invited]
        self.gateway.environet(
            "list", "add", "op-coral", "--letter", "OPC", "--title", "Coral",
            *(word for one in addresses for word in ("--invite", one)),
        )  # fmt: skip

    def tick_off(self, name: str, *lists: str) -> None:
        with self.app.database.transaction() as session:
            found = member.get(session, self.officers[name].address)
            for one in lists:
                found.ticked_off.append(TickOff(list_id=mailing_list.get(session, one).id))

    def hand_in(self, who: str, form: str, files: Sequence[tuple[str, str, bytes]]) -> str:
        """Have a document taken; its label."""
        mail = self.write(who, "library", text=form, subject="x", attachments=files)
        assert self.submit(mail, "library") == ["250 2.0.0"]
        (answer,) = [one for one in self.deliver() if one.reading.outer["In-Reply-To"]]
        found = re.search(r"L-\d+(?:/\d+)?", answer.subject)
        assert found, answer.text
        return found[0]

    def _opened(self, copy: Copy) -> Got:
        mail = b"".join(copy.parts)
        (name,) = [one for one in self.officers if self.officers[one].address == copy.recipient]
        outer = mail.partition(b"\r\n\r\n")[0]
        sender = outer.partition(b"\r\nTo:")[0].rpartition(b"<")[2].partition(b"@")[0].decode()
        reading = self.officers[name].read(mail, self.key(sender))
        assert reading.list_signature is not None, "the gateway's signature is not good"
        kind = sender
        if reading.outer["Auto-Submitted"] is not None:
            kind = "notice" if reading.pkesk_key_ids else "plain"
        subject = str(reading.entity["Subject"])
        return Got(name, kind, subject, reading.text, reading)
