"""A gateway with few members and whoever wants to join it, for tests without doors.

Mails go to `dispatch.submit` of a real App; what people are told is read out of the sealed notices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import select

from gateway import dispatch
from gateway.administration import joining
from gateway.app import App, open_app
from gateway.crypto import certificate as openpgp
from gateway.message import entity, submission
from gateway.message.envelope import Envelope
from gateway.posting.opening import inflation_limit
from gateway.store import application as applications
from gateway.store import certificate as certificates
from gateway.store import member
from gateway.store.actor import OPERATOR
from gateway.store.application import Step
from gateway.store.ledger import LedgerEntry
from gateway.store.member import Member, State
from gateway.store.outbox import Notice, OutboxEntry
from gateway.upkeep import applications as upkeep
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Attachment, Officer

COMMANDS, APPLICATIONS, WILDLIFE = (
    f"{one}@{DOMAIN}" for one in ("gateway", "register", "wildlife")
)
ACCEPTED = ["250 2.0.0"]


@dataclass(frozen=True, slots=True)
class Told:
    """A notice as it is kept. sealed_to: fingerprint of a certificate that is not the reader's."""

    address: str
    template: str
    plain: bool
    regardless: bool
    sealed_to: str
    text: str
    attachments: tuple[str, ...]


@dataclass
class Place:
    """A gateway with an administrator (Ada), Kenya's contact point (Kip), two members (Ana in
    Kenya, Bo in Sweden)."""

    gateway: RunningGateway
    app: App
    ada: Officer
    kip: Officer
    ana: Officer
    bo: Officer
    keys: dict[str, bytes]
    seen: int = 0
    stack: ExitStack = field(default_factory=ExitStack)

    def officer(self, local: str, name: str = "", **how: object) -> Officer:
        """Somebody with a key, at the harbour."""
        address = local if "@" in local else f"{local}@harbour.example"
        # Sequoia's is quicker, but can't be made at another time than now.
        program = "gpg" if how else "sequoia"
        made = Officer.create(program, name or local.title(), address, **how)  # type: ignore[arg-type]
        return self.stack.enter_context(made)

    def submit(self, mail: bytes, *to: str) -> list[str]:
        envelope = Envelope("carrier@elsewhere.example", to, mail, "192.0.2.1", self.app.clock())
        replies = dispatch.submit(self.app, envelope, inflation_limit(self.app.config)) or ()
        return [f"{one.code} {one.status}" for one in replies]

    def mail(
        self, by: Officer, to: str, text: str = "", attached: Sequence[Officer] = (), **how: object
    ) -> bytes:
        if "at" in how:
            # gpg, its clock set back, is to encrypt to keys that were made since.
            how["options"] = ("--ignore-time-conflict", "--ignore-valid-from")
        return by.write(
            to=[to], certificates=[self.keys[to]], subject="Application", text=text,
            attachments=[_attachment(one) for one in attached], **how,  # type: ignore[arg-type]
        )  # fmt: skip

    def write(
        self, by: Officer, to: str, text: str = "", attached: Sequence[Officer] = (), **how: object
    ) -> list[Told]:
        """Send a mail that is taken; all that is told because of it."""
        self.told()
        assert self.submit(self.mail(by, to, text, attached, **how), to) == ACCEPTED
        return self.told()

    def command(self, by: Officer, text: str, attached: Sequence[Officer] = ()) -> str:
        """The answer to a mail with commands; what else is told is to be asked for with `told`."""
        self.told()
        before = self.seen
        assert self.submit(self.mail(by, COMMANDS, text, attached), COMMANDS) == ACCEPTED
        answers = [one for one in self.told() if one.template == "answer"]
        self.seen = before
        return " ".join(answers[0].text.split())

    def nominate(self, who: Officer, *lines: str, by: Officer | None = None) -> str:
        """The label of a nomination."""
        form = [f"name: {who.name}", f"address: {who.address}", "organisation: Port Authority"]
        answer = self.command(by or self.kip, "\n".join(["nominate", *form, *lines]))
        found = re.search(r"A-\d+", answer)
        assert found is not None, answer
        self.told()
        return found[0]

    def proved(self, who: Officer, *lines: str) -> str:
        """The label of a nomination whose officer has proved their key."""
        label = self.nominate(who, *lines)
        told = self.write(who, APPLICATIONS, "", [who])
        self.write(who, APPLICATIONS, f"code: {code_in(told)}")
        assert self.step(label) is Step.PROVED
        return label

    def told(self) -> list[Told]:
        """All notices since the last time."""
        query = (
            select(Notice, OutboxEntry, Member)
            .join(OutboxEntry, OutboxEntry.notice_id == Notice.id)
            .join(Member, Member.id == OutboxEntry.member_id)
            .where(Notice.id > self.seen)
            .order_by(Notice.id)
        )
        found = []
        with self.app.database.reading() as session:
            for notice, _, reader in session.execute(query):
                self.seen = notice.id
                body = entity.read(self.app.vault.open(f"notice/{notice.token}/body", notice.body))
                other = openpgp.read(notice.certificate).fingerprint if notice.certificate else ""
                texts = [body.field("subject"), *submission.text_parts(body)]
                text = "\n".join(texts).replace("\r\n", "\n")
                found.append(
                    Told(
                        reader.address,
                        notice.template,
                        notice.plain,
                        notice.regardless,
                        other,
                        text,
                        tuple(submission.attachment_names(body)),
                    )
                )
        return found

    def step(self, label: str) -> Step:
        with self.app.database.reading() as session:
            return applications.get(session, label).step

    def state(self, who: Officer) -> State | None:
        with self.app.database.reading() as session:
            found = member.find(session, who.address)
            return found.state if found else None

    def fingerprint(self, who: Officer) -> str:
        """Of the certificate that a member has."""
        with self.app.database.reading() as session:
            held = certificates.of(session, member.get(session, who.address))
            return held.fingerprint if held else ""

    def pass_time(self, **by: int) -> list[Told]:
        """What is told once time has gone by."""
        self.told()
        self.gateway.pass_time(timedelta(**by))
        upkeep.run(self.app)
        return self.told()

    def open_labels(self) -> list[str]:
        with self.app.database.reading() as session:
            return [one.label for one in applications.open_ones(session)]

    def rules(self) -> list[str]:
        """By which mails to the address for applications came to nothing."""
        with self.app.database.reading() as session:
            query = select(LedgerEntry.detail).where(LedgerEntry.event == "refused")
            details = session.scalars(query.order_by(LedgerEntry.sequence))
            return [one.split('"rule":"')[1].partition('"')[0] for one in details]

    def clear(self) -> None:
        """Nothing is open any more, and nobody was told of anything today."""
        with self.app.database.transaction() as session:
            for one in applications.open_ones(session):
                joining.decline(session, self.app, OPERATOR, one.label)
        self.gateway.pass_time(timedelta(days=2))
        self.told()


@contextmanager
def founded() -> Iterator[Place]:
    with ExitStack() as stack, RunningGateway(short_place("join")) as gateway:
        people = [
            stack.enter_context(Officer.create("sequoia", name, address))
            for name, address in (
                ("Ada Keller", "ada@secretariat.example"),
                ("Kip Otieno", "kip@environment.example"),
                ("Ana Lind", "ana@customs.example"),
                ("Bo Berg", "bo@police.example"),
            )
        ]
        ada, kip, ana, bo = people
        gateway.found()
        gateway.add_member(ada, country="CH", roles=["administrator"])
        gateway.add_member(kip, country="KE", roles=["contact-point"])
        gateway.add_member(ana, country="KE")
        gateway.add_member(bo, country="SE")
        app = open_app(gateway.state)
        own = gateway.certificate(COMMANDS)
        keys = {COMMANDS: own, APPLICATIONS: own, WILDLIFE: gateway.certificate(WILDLIFE)}
        made = Place(gateway, app, ada, kip, ana, bo, keys)
        stack.enter_context(made.stack)
        yield made
        app.close()


def code_in(told: Sequence[Told]) -> str:
    codes = [found[1] for one in told if (found := re.search(r"code: ([0-9a-f]{20})\n", one.text))]
    assert len(codes) == 1, told
    return codes[0]


def kinds(told: Sequence[Told]) -> list[tuple[str, str]]:
    """(whose, which) notices."""
    return sorted((one.address.partition("@")[0], one.template) for one in told)


def _attachment(of: Officer) -> Attachment:
    return "key.asc", "application/pgp-keys", of.certificate
