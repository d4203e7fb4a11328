"""Debian's Postfix with a configuration, ports and a queue of its own under a temporary folder, set
up by the files in contrib/postfix; and a mail server elsewhere that says what it is told to.

with running_postfix(["handoff", "front-proxy"], ports, Routes(...)) as postfix: ...
"""

from __future__ import annotations

import json
import os
import re
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.gateway import Sink
from tests.mail_servers import HOST, POSTFIX_MASTER, free_port, greets, open_place, wait_until

SAMPLES = Path(__file__).parent.parent / "contrib" / "postfix"
_LISTENING = "\nsmtp inet"


@dataclass(frozen=True, slots=True)
class Postfix:
    """front: the port that clients come to; out: where the gateway hands copies off."""

    place: Path
    front: int
    out: int

    @property
    def log_text(self) -> str:
        with suppress(FileNotFoundError):
            return (self.place / "log").read_text(errors="replace")
        return ""

    def start(self) -> None:
        _run("postfix", "-c", self.place / "etc", "start")
        wait_until(lambda: greets(self.front), "Postfix greets")

    def stop(self) -> None:
        """At once, whatever is under way; what it has in its queue stays there."""
        _run("postfix", "-c", self.place / "etc", "abort")

    def queue(self) -> list[dict[str, Any]]:
        """Each mail in the queue, as postqueue(1) describes it."""
        lines = _run("postqueue", "-c", self.place / "etc", "-j").splitlines()
        return [json.loads(line) for line in lines]

    def flush(self) -> None:
        """Try all that is in the queue again, now."""
        _run("postqueue", "-c", self.place / "etc", "-f")

    def hand_in(self, mail: bytes, sender: str, recipients: Sequence[str]) -> tuple[int, str]:
        """What a client at the front gets told: the first refusal, or the answer to the data."""
        with smtplib.SMTP(HOST, self.front, "client.example", timeout=60) as client:
            client.ehlo()
            code, text = client.mail(sender)
            for recipient in recipients:
                if code == 250:
                    code, text = client.rcpt(recipient)
            if code == 250:
                code, text = client.data(mail)
            return code, text.decode()


@dataclass(frozen=True, slots=True)
class Routes:
    """Where Postfix sends what is not for the gateway, as no DNS says it: `near`'s domains to an
    LMTP port, all else to an SMTP port, both on this machine."""

    near: Sequence[str] = ()
    near_port: int = 0
    else_port: int = 0


@contextmanager
def running_postfix(
    samples: Sequence[str], ports: Mapping[str, int], routes: Routes
) -> Iterator[Postfix]:
    """Postfix with Debian's master.cf and some of the files in contrib/postfix, in their order, as
    they are but for the ports. ports: "127.0.0.1:8025" -> the gateway's own port."""
    with open_place("postfix") as place:
        server = Postfix(place, free_port(), free_port())
        etc = place / "etc"
        etc.mkdir()
        moved = {**ports, f"{HOST}:10025": server.out}
        base = _MAIN.format(
            place=place, near=" ".join(routes.near), near_port=routes.near_port,
            else_port=routes.else_port, host=HOST,
        )  # fmt: skip
        (etc / "main.cf").write_text("\n".join([base, *_samples(samples, "main.cf", moved)]))
        master = _master(_samples(samples, "master.cf", moved))
        (etc / "master.cf").write_text(
            master.replace(_LISTENING, f"\n{HOST}:{server.front} inet"),
        )
        for name in ("queue", "data"):
            (place / name).mkdir()
        shutil.chown(place / "data", "postfix")
        _run("postconf", "-c", etc, "-F", "*/*/chroot=n")
        try:
            server.start()
            yield server
        finally:
            with suppress(AssertionError):  # it is stopped already
                server.stop()


class Elsewhere(Sink):
    """Somebody else's mail server. answers: what it says to RCPT, by address; all others it takes.
    asked: each RCPT, in order."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked: list[str] = []
        super().__init__()

    async def handle_RCPT(
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        """aiosmtpd's hook."""
        self.asked.append(address)
        refusal = self.answers.get(address)
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 2.1.5 Known"


def _master(samples: Sequence[str]) -> str:
    """Debian's master.cf and what the samples add; one that listens takes the place of its line."""
    added = "\n".join(["", *samples, ""])
    debians = re.sub(r"(?m)^smtp +inet", "smtp inet", POSTFIX_MASTER.read_text())
    if _LISTENING in added:
        debians = re.sub(r"(?m)^smtp inet .*$", "", debians)
    return debians + added


def _samples(names: Sequence[str], kind: str, ports: Mapping[str, int]) -> list[str]:
    """Files of contrib/postfix with other ports: those of the names that there are of the kind."""
    files = [SAMPLES / f"{name}.{kind}" for name in names]
    found = [file.read_text() for file in files if file.exists()]
    for where, port in ports.items():
        host, _, number = where.rpartition(":")
        for before, after in (
            (where, f"{host}:{port}"),
            (f"[{host}]:{number}", f"[{host}]:{port}"),
        ):
            found = [text.replace(before, after) for text in found]
    return found


def _run(program: str, *words: object) -> str:
    path = {**os.environ, "PATH": f"/usr/sbin:/usr/bin:{os.environ['PATH']}"}
    # Postfix's own programs go on holding the output when the command is done.
    with tempfile.TemporaryFile("w+") as output:
        command = [program, *map(str, words)]
        done = subprocess.run(
            command, stdout=output, stderr=output, check=False, env=path, cwd="/", timeout=60
        )
        output.seek(0)
        text = output.read()
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}:\n{text}")
    return text


_MAIN = """\
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
maillog_file = {place}/log
maillog_file_prefixes = {place}
myhostname = mail.example
mydomain = example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
smtputf8_enable = yes
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
virtual_mailbox_domains = {near}
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:{host}:{near_port}
default_transport = smtp:[{host}]:{else_port}
smtp_tls_security_level = none
"""
