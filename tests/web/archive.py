"""A running gateway with a web archive, and something to read in it, for tests in a browser."""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import Self

from PIL import Image
from sqlalchemy import func, select

from gateway.store import mailing_list
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.library import Status, Version
from gateway.store.posting import Posting
from tests.gateway import DOMAIN, PATIENCE_SECONDS, RunningGateway, short_place
from tests.officers import Officer, encrypted_entity, header_lines, signed_entity

ROLES: dict[str, tuple[str, Sequence[str]]] = {
    "ana": ("Ana Lind", ("moderator", "librarian", "auditor", "expert:B")),
    "bo": ("Bo Berg", ("expert:B",)),
    # Brackets that change direction, and a name that is long.
    "cy": ("Cy الحربي " + "Extraordinarily" * 4, ()),
}
HOSTILE = "TLP:GREEN \u202egnp.exe\u202c <script>alert(1)</script> " + "Wood" * 60
HTML = (
    '<p>Look at <b>seal A-17</b></p><img src="https://tracker.example/pixel.png">'
    '<link rel="stylesheet" href="https://tracker.example/s.css">'
    '<iframe src="https://tracker.example/"></iframe>'
    '<p style="background:url(https://tracker.example/b.png)">and its neighbour.</p>'
    '<a href="https://elsewhere.example/page">further on</a><script>alert(2)</script>'
)
QUOTING = (
    "> The seals were good.\n> The screws were painted over.\n> The weight was wrong.\n"
    "> The tea was two tonnes too heavy.\n> The shipper has moved.\n\n"
    "We saw the same at https://elsewhere.example/ports/callao?year=2026.\n\n-- \nAna Lind\n"
)
GUIDE = (
    "title: Rosewood in sawn timber\ncategory: identification guide\ntopics: B, E\n"
    "language: en\n\nThree woods, and how to tell them apart.\n"
)
ALERT = (
    "title: Fumigated containers\ncategory: alert\ntopics: B\nlanguage: en\n"
    "until: {until:%Y-%m-%d}\n\n"
    "Air them first.\n"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(what: Callable[[], object]) -> None:
    """Until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@dataclass
class Archive:
    """labels: what the content is called -> "B/1", as paths have it. url: of the archive."""

    gateway: RunningGateway
    officers: dict[str, Officer]
    url: str
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls) -> Self:
        """Found it, and start it, with members and nothing to read."""
        port = free_port()
        # Browsers keep cookies that are for https alone for localhost too.
        url = f"http://localhost:{port}"
        settings = {
            "web.listen": f"127.0.0.1:{port}", "web.url": url,
            "web.logins_per_address": 1000, "web.logins_per_client": 1000,
        }  # fmt: skip
        gateway = RunningGateway(short_place("web"), settings=settings)
        try:
            gateway.found()
            officers = {}
            for one, (name, roles) in ROLES.items():
                officers[one] = Officer.create("sequoia", name, f"{one}@customs.example")
                gateway.add_member(officers[one], roles=roles, languages=["en"])
            gateway.start()
            return cls(gateway, officers, url)
        except BaseException:
            gateway.close()
            raise

    def close(self) -> None:
        self.gateway.close()
        for one in self.officers.values():
            one.close()

    def fill(self) -> None:
        """What there is to read: a thread of three, hostile and HTML ones, one that is held, one
        that is withdrawn, a request, and two documents."""
        self.labels["thread"] = self.post(
            "bo", "wildlife", "Rosewood at Pointe-Noire", "84 logs under tea.\n",
            attachments=[("seals.csv", "text/csv", b"seal;count\nA-17;84\n"),
                         ("logs.png", "image/png", picture())],
        )  # fmt: skip
        first = self.newest()
        self.labels["answer"] = self.post(
            "ana", "wildlife", "Re: Rosewood at Pointe-Noire", QUOTING, in_reply_to=first
        )
        self.post(
            "cy", "wildlife", "Re: Rosewood at Pointe-Noire", "Aquí también.\n",
            in_reply_to=self.newest(), references=[first],
        )  # fmt: skip
        self.labels["hostile"] = self.post(
            "cy", "wildlife", HOSTILE, "x" * 3000 + "\n",
            attachments=[("\u202egpj.exe " + "long" * 40 + ".html", "text/html", HTML.encode())],
        )  # fmt: skip
        self.labels["html"] = self.send("bo", "wildlife", self.with_html("bo", "wildlife"))
        self.labels["withdrawn"] = self.post("bo", "wildlife", "A mistake", "Sent too early.\n")
        self.say("bo", f"withdraw {self.labels['withdrawn'].replace('/', '-')}")
        self.labels["request"] = self.post("cy", "wildlife-experts", "Bone?", "Ivory or bone?\n")
        self.post("cy", "waste", "TLP:YELLOW Asbestos", "Grey fibres.\n")
        self.document(GUIDE, ("guide.pdf", "application/pdf", b"%PDF-1.4\n"))
        alert = ALERT.format(until=datetime.now(UTC) + timedelta(days=30))
        self.document(alert, ("air.txt", "text/plain", b"Air them for two hours.\n"))
        self.gateway.wait_until_delivered()
        wait_for(lambda: not self._due())

    def key(self, local_part: str) -> bytes:
        """The certificate that serves an address."""
        with self.gateway.reading() as session:
            found = mailing_list.key_of(session, f"{local_part}@{DOMAIN}", DOMAIN)
        assert found is not None
        return found.certificate

    def post(self, who: str, to: str, subject: str, text: str, **how: object) -> str:
        mail = self.officers[who].write(
            to=[f"{to}@{DOMAIN}"], certificates=[self.key(to)], subject=subject, text=text,
            **how,  # type: ignore[arg-type]
        )  # fmt: skip
        return self.send(who, to, mail)

    def send(self, who: str, to: str, mail: bytes) -> str:
        """Hand a mail in; the newest posting as paths have it."""
        code, said = self.gateway.send(mail, self.officers[who].address, [f"{to}@{DOMAIN}"])
        assert code == 250, said
        with self.gateway.reading() as session:
            newest = session.scalar(select(Posting).order_by(Posting.id.desc()).limit(1))
            return newest.label.replace("-", "/") if newest else ""

    def newest(self) -> str:
        """Message-ID of the newest posting, as subscribers see it."""
        with self.gateway.reading() as session:
            newest = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
            return newest.message_id(DOMAIN)

    def with_html(self, who: str, to: str) -> bytes:
        """A mail whose text is there as HTML too."""
        author = self.officers[who]
        address = f"{to}@{DOMAIN}"
        entity = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
        entity.set_content("Look at seal A-17 and its neighbour.\n")
        entity.add_alternative(HTML, subtype="html")
        signed = signed_entity(entity.as_bytes(), author.program.sign(entity.as_bytes()))
        sealed = author.program.encrypt(signed, [self.key(to)])
        fields = {"From": author.address, "To": address, "Subject": "TLP:GREEN With HTML"}
        return header_lines(fields) + encrypted_entity(sealed)

    def document(self, form: str, file: tuple[str, str, bytes]) -> None:
        """A document in the Library, by Bo, approved by Ana."""
        self.post("bo", "library", "A document", form, attachments=[file])
        with self.gateway.reading() as session:
            newest = session.scalars(select(Version).order_by(Version.id.desc()).limit(1)).one()
            assert newest.status is Status.WAITING, "it was not taken"
            label = newest.label
        self.say("ana", f"approve {label}")

    def say(self, who: str, line: str) -> None:
        """A command by mail, done once this returns."""
        self.post(who, "gateway", "commands", line + "\n")

    def mails(self, who: str) -> list[str]:
        """The texts of all mails that a member got, oldest first."""
        officer = self.officers[who]
        return [officer.read(one).text for one in self.gateway.copies(officer.address)]

    def link_mailed(self, who: str, after: int) -> str:
        """The path of a login mail's link. after: how many mails they had before."""
        found: list[str] = []

        def has_come() -> bool:
            texts = self.mails(who)[after:]
            found[:] = [path for one in texts for path in re.findall(r"(/login/\S+)", one)]
            return bool(found)

        wait_for(has_come)
        return found[0]

    def _due(self) -> int:
        with self.gateway.reading() as session:
            query = select(func.count()).where(ArchiveEntry.indexed_at.is_(None))
            return session.scalar(query) or 0


def picture() -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((900, 600)).save(stream, "PNG")
    return stream.getvalue()
