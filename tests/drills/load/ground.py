"""A gateway under load: its own processes, with people on its lists, seen from outside."""

from __future__ import annotations

import smtplib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from gateway.app import open_app
from gateway.settings import SmtpSection
from tests.bench.gateways import Serving
from tests.bench.people import Person, enrol
from tests.faults.mail_server import MailServer
from tests.gateway import DOMAIN, Handed, RunningGateway, short_place
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
"""Where there is one gateway."""
SETTINGS = {
    "policy.postings_an_hour": 10**6, "policy.new_member_postings": 0, "delivery.workers": 2,
}  # fmt: skip
PATIENCE_SECONDS = 600.0
AGAIN_SECONDS = 0.5
BASE_BYTES, CONNECTION_BYTES, OPENED = 250_000_000, 500_000, 10
_NUMBERS = count(1)


class Ground(RunningGateway):
    """people: subscribers of its lists, beside the author. settings: beside SETTINGS.

    due: list -> copies that must come of all that was answered 250.
    """

    def __init__(
        self,
        template: RunningGateway,
        author: Officer,
        people: Sequence[Person],
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.mail_server = MailServer()
        handoff = {"handoff.to": f"smtp://127.0.0.1:{self.mail_server.port}"}
        chosen = {**SETTINGS, **handoff, **(settings or {})}
        super().__init__(short_place("load"), template.domain, chosen)
        self.list = f"wildlife@{self.domain}"
        self.author = author
        self.subscribers = len(people) + 1
        self.due = Counter[str]()
        self.found_as(template)
        app = open_app(self.state)
        enrol(app, author, people)
        app.keyring.close()
        app.close()
        self._of_list = self.certificate(self.list)

    def close(self) -> None:
        super().close()
        self.mail_server.close()

    def mail(self, text: str = "Two containers.\n", *, sign: bool = True) -> bytes:
        """A new mail of the author's to the list."""
        return self.author.write(
            to=[self.list], certificates=[self._of_list], subject=f"Posting {next(_NUMBERS)}",
            text=text, sign=sign,
        )  # fmt: skip

    # The honest client.

    def insist(self, mail: bytes, counted: Counter[str]) -> float:
        """Hand a mail to the list in as a mail server does, again until it is taken: seconds until
        its 250. counted: what it was answered before."""
        begun = time.monotonic()
        while True:
            code = self._tried(mail)
            if code == 250:
                self.due[self.list] += self.subscribers
                return time.monotonic() - begun
            counted[f"{code}" if code else "nothing"] += 1
            assert code < 500, f"an honest mail was answered {code}"
            assert time.monotonic() - begun < PATIENCE_SECONDS, "an honest mail was never taken"
            time.sleep(AGAIN_SECONDS)

    def _tried(self, mail: bytes) -> int:
        """The code of the reply that decided; 0 where the connection ended without one."""
        try:
            return self.send(mail, self.author.address, [self.list])[0]
        except smtplib.SMTPResponseException as refused:
            return refused.smtp_code
        except (OSError, smtplib.SMTPException):
            return 0

    def honest(self, mails: int, pause: float = 0.2) -> tuple[list[float], Counter[str]]:
        """So many mails one after the other: seconds of each, and what was answered but 250."""
        counted = Counter[str]()
        seconds = []
        for _ in range(mails):
            seconds.append(self.insist(self.mail(), counted))
            time.sleep(pause)
        return seconds, counted

    # Its processes, and what came of it.

    @property
    def serving(self) -> Serving:
        assert self._server is not None
        return Serving(self.port, self._server.pid)

    def forget_peaks(self) -> None:
        serving = self.serving
        serving.forget_peak()
        Path(f"/proc/{serving.pid}/clear_refs").write_text("5")

    def memory(self) -> tuple[int, int, int]:
        """Bytes: the most that the server took, that a delivery process took, and the bound that
        docs/operating.md has for a server with one door."""
        chosen = {
            name.removeprefix("smtp."): value
            for name, value in self._settings.items()
            if name.startswith("smtp.")
        }
        smtp = SmtpSection.model_validate(chosen)
        mails = smtp.held_bytes + OPENED * smtp.message_bytes
        bound = BASE_BYTES + mails + CONNECTION_BYTES * smtp.connections
        return self.peak_memory(), self.serving.peak(), bound

    def lost_and_doubled(self) -> tuple[int, int]:
        """Of the copies that are due."""
        ours = (one for one in self.mail_server.handed if field(one, "To") in self.due)
        copies = Counter((one.recipient, field(one, "Message-ID")) for one in ours)
        return self.due.total() - len(copies), copies.total() - len(copies)


def field(copy: Handed, name: str) -> str:
    """A field of a copy's own header; "" where it has none."""
    before, _, after = copy.data[:8192].partition(f"\r\n{name}: ".encode())
    return after.partition(b"\r\n")[0].decode() if b"\r\n\r\n" not in before else ""
