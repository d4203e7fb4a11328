"""The machines of one gateway: a door, and two that deliver, one of them with the web archive."""

from __future__ import annotations

import smtplib
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import count
from typing import Self

from sqlalchemy import select

from gateway.store import ledger, outbox
from gateway.store.database import Database
from gateway.store.outbox import Delivery, OutboxEntry
from tests import postgresql
from tests.gateway import DOMAIN
from tests.hosts.machine import PORT, WORKERS, GatewayMachine, ServerOnHost, copy_state
from tests.hosts.network import Network
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
_DIALOGUE_SECONDS = 45.0
_NUMBERS = count(1)


class Group:
    """readers: how many get each posting, its author among them. seconds_a_copy: of each of the
    mail server's connections. clock: that of the machine `first` can be set."""

    def __init__(self, readers: int, seconds_a_copy: float, *, clock: bool = False) -> None:
        with ExitStack() as ends:
            network = ends.enter_context(Network())
            self.database_host, self.mail_host, self._senders = (network.host() for _ in range(3))
            self.server = ends.enter_context(
                postgresql.running_server(self.database_host.address, self.database_host.words)
            )
            self.mail_server = ServerOnHost(self.mail_host, seconds_a_copy)
            ends.callback(self.mail_server.close)
            url = self.server.fresh()
            shared = {
                "database.url": self.server.over_network(url),
                "handoff.to": f"smtp://{self.mail_host.address}:{PORT}",
            }
            each: dict[str, dict[str, object]] = {
                "door": {"delivery.workers": 0, "upkeep.every_seconds": 1},
                "first": {"delivery.workers": WORKERS},
                "second": {"delivery.workers": WORKERS, "web.listen": "127.0.0.1:0"},
            }
            self.door, self.first, self.second = self.machines = [
                ends.enter_context(
                    GatewayMachine(
                        name,
                        network.host(),
                        {**shared, **settings},
                        clock=clock and name == "first",
                    )
                )
                for name, settings in each.items()
            ]
            self._database = Database(url, self.door.state)
            ends.callback(self._database.close)
            self._found(readers, shared["database.url"])
            self._ends = ends.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _found(self, readers: int, url: str) -> None:
        self.door.environet("init", "--domain", DOMAIN, "--database", url)
        officers = [
            Officer.create("sequoia", "An Officer", f"o{at}@member.example")
            for at in range(readers)
        ]
        folder = self.door.place / "certificates"
        folder.mkdir()
        for one in officers:
            (folder / one.address).write_bytes(one.certificate)
        self.door.import_members(
            [
                {"address": one.address, "name": one.name, "organisation": "Agency",
                 "country": "KE", "kind": "agency", "certificate": one.address}
                for one in officers
            ],
            folder,
        )  # fmt: skip
        self.author, *others = officers
        for one in others:
            one.close()
        self.readers = frozenset(one.address for one in officers)
        self.certificate = self.door.certificate(LIST)
        for machine in (self.first, self.second):
            copy_state(self.door.state, machine.state)
        for machine in self.machines:
            machine.start()

    def post(self, doors: Sequence[GatewayMachine] = ()) -> Sender:
        """A posting on its way in, by whichever of the machines takes it."""
        mail = self.author.write(
            to=[LIST], certificates=[self.certificate], subject=f"No. {next(_NUMBERS)}", text="x\n"
        )
        sender = Sender(self, doors or self.machines, mail)
        sender.start()
        return sender

    def hand_in(self, machine: GatewayMachine, mail: bytes) -> int:
        """The code that a sender's mail server hears; 0 where it hears nothing."""
        where = (machine.host.address, PORT, "sender.example", _DIALOGUE_SECONDS)
        with (
            self._senders.inside(),
            suppress(OSError, smtplib.SMTPException),
            smtplib.SMTP(*where) as client,
        ):
            client.ehlo()
            client.mail(self.author.address)
            client.rcpt(LIST)
            return client.data(mail)[0]
        return 0

    def held_by(self, machine: GatewayMachine) -> set[int]:
        """Ids of the entries that its workers have leased."""
        with self._database.reading() as session:
            rows = session.execute(
                select(OutboxEntry.id, OutboxEntry.lease_owner).where(
                    OutboxEntry.state == Delivery.LEASED
                )
            )
            return {entry for entry, owner in rows if machine.is_owner(owner)}

    def totals(self) -> dict[str, int]:
        with self._database.reading() as session:
            return outbox.totals(session)

    def ledger_fault(self) -> str | None:
        with self._database.reading() as session:
            return ledger.verify(session).fault


class Sender(threading.Thread):
    """Sends a mail until it is answered 250, to one door after the other, as a mail server does
    that finds several in the DNS."""

    def __init__(self, group: Group, doors: Sequence[GatewayMachine], mail: bytes) -> None:
        super().__init__(daemon=True)
        self._group, self._doors, self._mail = group, doors, mail
        self.codes: list[int] = []

    @property
    def is_accepted(self) -> bool:
        return 250 in self.codes

    def run(self) -> None:
        while True:
            for door in self._doors:
                self.codes.append(self._group.hand_in(door, self._mail))
                if self.is_accepted or self.codes[-1] >= 500:
                    return
            time.sleep(0.5)
