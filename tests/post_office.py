"""A gateway between real mail servers: Postfix in front and as the way out, Dovecot with members'
mailboxes and one that the gateway takes mail from, and a server elsewhere that says what it is told
to.

with running_post_office() as office:
    office.postfix.hand_in(office.mail("Customs"), office.ana.address, [LIST])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

from tests.dovecot import PASSWORD, Dovecot, running_dovecot
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.mail_servers import HOST, free_port, wait_until
from tests.officers import Officer, Reading
from tests.postfix import Elsewhere, Postfix, Routes, running_postfix

LIST = f"wildlife@{DOMAIN}"
MAILBOX = "gate@agency.example"
"""Whose mail the gateway takes by IMAP."""
NEAR = ("customs.example", "agency.example")
"""Domains whose mail Postfix brings to Dovecot."""


@dataclass(frozen=True)
class PostOffice:
    """ana and ben have gpg, and their mailboxes in Dovecot; cho's and dov's mail goes elsewhere.
    smtp, lmtp: the gateway's doors."""

    gateway: RunningGateway
    postfix: Postfix
    dovecot: Dovecot
    elsewhere: Elsewhere
    routes: Routes
    ana: Officer
    ben: Officer
    cho: Officer
    dov: Officer
    smtp: int
    lmtp: int

    @property
    def ports(self) -> dict[str, int]:
        """The gateway's ports in contrib/postfix -> those that it has here."""
        return {f"{HOST}:8025": self.smtp, f"{HOST}:8024": self.lmtp}

    @cached_property
    def list_certificate(self) -> bytes:
        return self.gateway.certificate(LIST)

    def mail(
        self, subject: str, text: str = "The crates are in Mombasa.\n",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """A posting of ana's."""
        certificates = [self.list_certificate]
        return self.ana.write(
            to=[LIST], certificates=certificates, subject=subject, text=text, headers=headers
        )

    def readings(self, officer: Officer) -> list[Reading]:
        """What is in an officer's mailbox in Dovecot, read by IMAP and decrypted."""
        mails = self.dovecot.mails(officer.address)
        return [officer.read(one, self.list_certificate) for one in mails]

    def subjects(self, officer: Officer) -> list[str]:
        """Of all copies of postings in their mailbox, as their author wrote them."""
        return [author_wrote(one) for one in self.readings(officer)]

    def wait_for(self, subject: str, officer: Officer) -> Reading:
        """The copy of a posting in an officer's mailbox, when it has come."""
        seen = -1
        found: list[Reading] = []

        def is_there() -> bool:
            nonlocal seen
            now = self.dovecot.count(officer.address)
            if now != seen:  # reading costs more than counting
                found[:] = [one for one in self.readings(officer) if author_wrote(one) == subject]
                seen = now
            return bool(found)

        wait_until(is_there, f"{subject!r} in the mailbox of {officer.name}")
        return found[0]


def author_wrote(reading: Reading) -> str:
    """The subject without the list's name and the author's."""
    return str(reading.entity["subject"]).rpartition("] ")[2].partition(" (")[0]


@contextmanager
def running_post_office(
    samples: Sequence[str] = ("handoff", "front-proxy"),
    settings: Mapping[str, object] | None = None,
) -> Iterator[PostOffice]:
    """samples: the files of contrib/postfix that Postfix has. settings: more for the gateway."""
    with ExitStack() as ends:
        officers = [
            ends.enter_context(Officer.create(program, name, f"{name.lower()}@{domain}"))
            for program, name, domain in (
                ("gpg", "Ana", "customs.example"),
                ("gpg", "Ben", "customs.example"),
                ("sequoia", "Cho", "slow.example"),
                ("sequoia", "Dov", "gone.example"),
            )
        ]
        dovecot = ends.enter_context(running_dovecot())
        elsewhere = Elsewhere()
        ends.callback(elsewhere.close)
        smtp, lmtp = free_port(), free_port()
        ports = {f"{HOST}:8025": smtp, f"{HOST}:8024": lmtp}
        routes = Routes(NEAR, dovecot.lmtp, elsewhere.port)
        postfix = ends.enter_context(running_postfix(samples, ports, routes))
        password = dovecot.place / "password"
        password.touch(0o600)
        password.write_text(f"{PASSWORD}\n")
        gateway = ends.enter_context(
            RunningGateway(
                short_place("office"),
                settings={
                    "smtp.listen": f"{HOST}:{smtp}",
                    "smtp.lmtp_listen": f"{HOST}:{lmtp}",
                    "handoff.to": f"smtp://{HOST}:{postfix.out}",
                    "dkim.check": False,
                    "imap.host": HOST,
                    "imap.port": dovecot.imap,
                    "imap.security": "none",
                    "imap.user": MAILBOX,
                    "imap.password_file": password,
                    **(settings or {}),
                },
            )
        )
        gateway.found()
        for one in officers:
            gateway.add_member(one)
        gateway.start()
        ana, ben, cho, dov = officers
        yield PostOffice(
            gateway, postfix, dovecot, elsewhere, routes, ana, ben, cho, dov, smtp, lmtp
        )
