"""A gateway in this process, its members, and what it tells them: for tests of commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from sqlalchemy import func, select

from gateway import dispatch
from gateway.app import App, open_app
from gateway.message.envelope import Envelope
from gateway.posting.opening import inflation_limit
from gateway.store import mailing_list
from gateway.store import member as members
from gateway.store.ledger import LedgerEntry
from gateway.store.member import DeliveryMode, Member, State
from gateway.store.outbox import Notice, OutboxEntry
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

GATEWAY = f"gateway@{DOMAIN}"
ROLES: dict[str, str | None] = {
    "ana": None, "ada": "administrator", "kip": "contact-point", "awa": "moderator:B",
    "olu": "auditor", "mei": "expert:B", "lib": "librarian", "sup": "support", "bo": None,
}  # fmt: skip
COUNTRIES = {"ana": "KE", "kip": "KE", "bo": "SE"}


@dataclass(frozen=True, slots=True)
class Told:
    """A notice as it waits for its reader."""

    reader: str
    template: str
    subject: str
    text: str
    attachments: tuple[str, ...]
    enclosed: str


@dataclass
class Place:
    """A gateway, its members by their first names, and who reads what it tells them."""

    gateway: RunningGateway
    app: App
    people: dict[str, Officer]
    keys: dict[str, bytes]

    def address(self, name: str) -> str:
        return self.people[name].address

    def mail(
        self, name: str, text: str, *to: str, subject: str = "commands", **how: object
    ) -> bytes:
        to = to or (GATEWAY,)
        keys = [self.keys[one] for one in to]
        write = self.people[name].write
        return write(to=to, certificates=keys, subject=subject, text=text, **how)  # type: ignore[arg-type]

    def submit(self, mail: bytes, *to: str) -> str:
        """The door's answers."""
        to = to or (GATEWAY,)
        envelope = Envelope("carrier@elsewhere.example", to, mail, "127.0.0.1", self.app.clock())
        replies = dispatch.submit(self.app, envelope, inflation_limit(self.app.config)) or ()
        return ", ".join(map(str, replies))

    def newest(self) -> int:
        with self.app.database.reading() as session:
            return session.scalar(select(func.max(Notice.id))) or 0

    def told(self, after: int = 0) -> list[Told]:
        """What people are told in the notices that were queued after one."""
        with self.app.database.reading() as session:
            rows = session.execute(
                select(Notice, Member.address)
                .join(OutboxEntry, OutboxEntry.notice_id == Notice.id)
                .join(Member, Member.id == OutboxEntry.member_id)
                .where(Notice.id > after)
                .order_by(Notice.id)
            )
            return [self._told(notice, address) for notice, address in rows]

    def _told(self, notice: Notice, address: str) -> Told:
        body = self.app.vault.open(f"notice/{notice.token}/body", notice.body)
        mail = message_from_bytes(body, policy=default)
        assert isinstance(mail, EmailMessage)
        text = mail.get_body() or mail
        names = tuple(one.get_filename() or "" for one in mail.iter_attachments())
        name = address.partition("@")[0]
        words = str(text.get_content()).replace("\r\n", "\n")
        return Told(name, notice.template, mail["Subject"], words, names, notice.enclosed)

    def deliver(self, mail: bytes, *to: str) -> list[Told]:
        """Who is told what of a mail that is taken."""
        before = self.newest()
        reply = self.submit(mail, *to)
        assert reply.startswith("250"), reply
        return self.told(before)

    def ask(self, name: str, text: str, **how: object) -> str:
        """The answer, its lines joined where they were only filled."""
        (answer,) = self.asked(name, text, **how)
        return answer

    def asked(self, name: str, text: str, **how: object) -> list[str]:
        told = self.deliver(self.mail(name, text, **how))  # type: ignore[arg-type]
        return [joined(one.text) for one in told if (one.reader, one.template) == (name, "answer")]

    def member(self, name: str) -> Member:
        with self.app.database.reading() as session:
            found = members.get(session, self.address(name))
            assert found.ticked_off is not None
            assert found.roles is not None
            return found

    def off(self, name: str) -> set[str]:
        """Letters of the topics that somebody ticked off."""
        with self.app.database.reading() as session:
            letters = {one.id: one.letter for one in mailing_list.all_lists(session)}
        return {letters[one.list_id] for one in self.member(name).ticked_off}

    def events(self, event: str) -> list[str]:
        with self.app.database.reading() as session:
            query = select(LedgerEntry.detail).where(LedgerEntry.event == event)
            return list(session.scalars(query.order_by(LedgerEntry.sequence)))


def changed(app: App, section: str, **settings: object) -> App:
    """The App with other settings."""
    section_ = getattr(app.config, section).model_copy(update=settings)
    return replace(app, config=app.config.model_copy(update={section: section_}))


def joined(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def started() -> Iterator[Place]:
    """Founded, with a member of each role."""
    with ExitStack() as stack:
        gateway = stack.enter_context(RunningGateway(short_place("commands")))
        gateway.found()
        people = {}
        for name, role in ROLES.items():
            made = Officer.create("sequoia", f"{name.title()} Lind", f"{name}@customs.example")
            people[name] = stack.enter_context(made)
            gateway.add_member(
                people[name], country=COUNTRIES.get(name, "CH"), roles=[role] if role else []
            )
        app = open_app(gateway.state)
        stack.callback(app.close)
        app = changed(app, "policy", commands_an_hour=10_000)
        lists = ("gateway", "register", "wildlife", "general", "waste")
        keys = {f"{one}@{DOMAIN}": gateway.certificate(f"{one}@{DOMAIN}") for one in lists}
        yield Place(gateway, app, people, keys)


def as_joined(place: Place, name: str) -> None:
    """Make a member again what they were when they joined."""
    with place.app.database.transaction() as session:
        one = members.get(session, place.address(name))
        one.ticked_off, one.languages, one.own_copies = [], "", True
        one.delivery, one.none_until, one.digest_at = DeliveryMode.EACH, None, None
        one.state, one.suspended_by_country = State.ACTIVE, False
