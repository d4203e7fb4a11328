"""`make demo`: a throw-away gateway with five made-up officers, a posting sent and read, and a web
archive with what they wrote in the weeks before.

Everything is real: the gateway runs as its own process and is fed by SMTP, each officer has a
GnuPG home of their own, and what is shown as decrypted and verified is what gpg said. The weeks
before are lived through with the clock set back (contrib/demo_past.py).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pysequoia

from contrib import demo_past
from contrib.demo_visit import Visit
from tests.officers import Officer, Reading
from tests.programs import Gpg, KeyRequest

DOMAIN = "environet.example"
LIST = f"wildlife@{DOMAIN}"
GATEWAY = f"gateway@{DOMAIN}"
WEB_PORT = 8080
PATIENCE_SECONDS = 90


class GpgWithSequoiaKey(Gpg):
    """GnuPG, reading with a key that Sequoia made."""

    def _generate(self, request: KeyRequest) -> bytes:
        key = pysequoia.Tsk.generate(request.user_id)
        self._gpg("--import", data=bytes(key))
        return str(key.extract_certificate()).encode()


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    address: str
    organisation: str
    country: str
    kind: str
    key: str
    tick_off: str = ""
    roles: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)


PEOPLE = (
    Person(
        "Ana Lind", "ana.lind@customs.example", "Revenue Authority", "KE", "customs", "cv25519",
        roles=("moderator", "librarian", "auditor"),
    ),
    Person(
        "Bo Berg", "bo.berg@police.example", "Police Authority", "SE", "agency", "rsa3072",
        roles=("administrator",), languages=("en", "fr"),
    ),
    Person(
        "Chau Tran", "chau.tran@forest.example", "Forest Service", "VN", "agency", "sequoia",
    ),
    Person(
        "Inés Rojas", "ines.rojas@aduana.example", "Customs Service", "PE", "customs", "nistp256",
        roles=("expert:B",), languages=("es", "en"),
    ),
    Person(
        "Eva Novak", "eva.novak@inspect.example", "Inspectorate", "CZ", "agency", "cv25519", "B",
        roles=("expert:D",), languages=("en", "fr"),
    ),
)  # fmt: skip


class Demo:
    """A running throw-away gateway. `close` leaves nothing behind."""

    def __init__(self) -> None:
        # GnuPG's sockets need a short path.
        self.place = Path(tempfile.mkdtemp(prefix="environet-demo-", dir="/tmp"))
        self.state = self.place / "state"
        self.mailboxes = self.place / "mail"
        self.officers: dict[str, Officer] = {}
        self._server: subprocess.Popen[str] | None = None
        self.port = 0
        self._entries_before = 0
        self._copies_before: set[Path] = set()
        # Browsers keep the login's cookies on https and on localhost alone.
        self.archive = f"http://localhost:{_free_port(WEB_PORT)}"
        os.environ |= {
            "ENVIRONET_WEB_LISTEN": self.archive.removeprefix("http://"),
            "ENVIRONET_WEB_URL": self.archive,
        }

    def environet(self, *words: str) -> str:
        command = [sys.executable, "-m", "gateway", "--state", str(self.state), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"environet {' '.join(words)}: {done.stderr}")
        return done.stdout

    def found(self) -> None:
        step("A new gateway, with a key for each of its seven topics")
        show("environet init", f"--domain {DOMAIN} --smtp 127.0.0.1:0 --handoff maildir:…/mail")
        self.environet(
            "init", "--domain", DOMAIN, "--smtp", "127.0.0.1:0",
            "--handoff", f"maildir:{self.mailboxes}",
        )  # fmt: skip

    def enrol(self) -> None:
        step("Five officers in five countries make their keys and become members")
        for person in PEOPLE:
            home = self.place / person.address.partition("@")[0]
            officer = _officer(person, home)
            self.officers[person.address] = officer
            file = self.place / f"{person.address}.asc"
            file.write_bytes(officer.certificate)
            chosen = ["--tick-off", person.tick_off] if person.tick_off else []
            chosen += [word for role in person.roles for word in ("--role", role)]
            chosen += [word for one in person.languages for word in ("--language", one)]
            self.environet(
                "member", "add", person.address, "--name", person.name,
                "--organisation", person.organisation, "--country", person.country,
                "--kind", person.kind, "--certificate", str(file), *chosen,
            )  # fmt: skip
            note = f"ticked off topic {person.tick_off}" if person.tick_off else ""
            show(
                f"{person.name}, {person.country}",
                f"{person.key:9}{officer.fingerprint[:4]}…{officer.fingerprint[-4:]}  {note}",
            )

    def live_the_past(self) -> None:
        step("Some weeks go by: they write to each other about seven topics")
        by_name = {one.name.split()[0].lower(): one for one in self.officers.values()}
        by_name["ines"] = by_name["inés"]
        count = demo_past.live(self.state, by_name)
        show("Signed and judged", f"{count} mails, each as of its day")

    def serve(self) -> None:
        step("The server starts")
        command = [sys.executable, "-m", "gateway", "--state", str(self.state), "serve"]
        with (self.place / "log").open("w") as log:
            self._server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        ready = opened = False
        for line in self._server.stdout or ():
            if line.startswith("listening: smtp "):
                self.port = int(line.rpartition(":")[2])
            opened = opened or line.startswith("listening: web ")
            ready = ready or line.strip() == "ready"
            if opened and ready:
                break
        else:
            raise SystemExit(f"The server did not start:\n{(self.place / 'log').read_text()}")
        show("SMTP", f"127.0.0.1:{self.port}")
        show("Web archive", self.archive)
        self.wait_until_delivered()
        self._entries_before = len(self._entries())
        self._copies_before = set(self.mailboxes.glob("*/new/*"))

    def send(self, subject: str, text: str, attachments: Sequence[tuple[str, str, bytes]]) -> None:
        author = self.officers[PEOPLE[0].address]
        certificate = self.environet("key", "export", LIST).encode()
        mail = author.write(
            to=[LIST], certificates=[certificate], subject=subject, text=text,
            attachments=attachments,
        )  # fmt: skip
        show("Signed and encrypted", f"by {author.name}'s gpg, {len(mail)} bytes")
        show("DATA is answered", self.hand_in(mail, LIST))

    def hand_in(self, mail: bytes, recipient: str) -> str:
        """A mail of Ana's by SMTP; what the gateway answers to it."""
        with smtplib.SMTP("127.0.0.1", self.port) as client:
            client.ehlo("ana.customs.example")
            client.mail(PEOPLE[0].address)
            client.rcpt(recipient)
            code, reply = client.data(mail)
        if code != 250:
            raise SystemExit(f"The mail to {recipient} was not taken: {code} {reply.decode()}")
        return f"{code} {reply.decode()}"

    def wait_until_delivered(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            queue = json.loads(self.environet("queue", "--json"))
            if not queue["entries"] and queue["totals"].get("sent"):
                return
        raise SystemExit(f"Not delivered within {PATIENCE_SECONDS} s:\n{self.environet('queue')}")

    def show_way(self) -> None:
        step("What the gateway decided (environet ledger list)")
        for entry in self._entries()[self._entries_before :]:
            detail = json.loads(entry["detail"])
            words = ", ".join(f"{name} {value}" for name, value in sorted(detail.items()))
            show(entry["event"], words)
        show("Ledger", self.environet("ledger", "verify").strip())

    def read_all(self) -> bool:
        """Open every copy with its officer's own gpg. True where all is as it should be."""
        step("What each officer's own gpg decrypts and verifies")
        list_certificate = self.environet("key", "export", LIST).encode()
        lists_key = json.loads(self.environet("list", "show", "wildlife", "--json"))["fingerprint"]
        author = self.officers[PEOPLE[0].address]
        good = True
        for person in PEOPLE:
            copies = self._copies(person)
            if "B" in person.tick_off:
                good &= not copies
                show(person.name, "nothing, as wished" if not copies else "A COPY NOT WANTED")
                continue
            good &= bool(copies)
            show(person.name, f"{len(copies)} in the mailbox")
            for copy in copies:
                mail = _on_the_wire(copy)
                reading = self.officers[person.address].read(mail, list_certificate)
                good &= _tell(reading, lists_key, author)
        return good

    def login_link(self) -> str:
        """The link of the login mail that Ana's own gpg opens."""
        ana = PEOPLE[0]
        step(f"{ana.name} asks for a way into the web archive")
        mail = self.officers[ana.address].write(
            to=[GATEWAY], certificates=[self.environet("key", "export", GATEWAY).encode()],
            subject="login", text="login\n",
        )  # fmt: skip
        before = set(self._copies(ana))
        self.hand_in(mail, GATEWAY)
        show("A signed mail", f"to {GATEWAY}, with one word in it: login")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for copy in set(self._copies(ana)) - before:
                text = self.officers[ana.address].read(_on_the_wire(copy)).text
                if found := re.search(rf"{re.escape(self.archive)}/login/\S+", text):
                    show("An encrypted answer", "opened by her gpg, with a link in it")
                    return found[0]
            time.sleep(0.1)
        raise SystemExit("The login mail did not come.")

    def _entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self.environet("ledger", "list", "--json"))
        return entries

    def _copies(self, person: Person) -> list[Path]:
        """What came into a mailbox since the demonstration's past."""
        found = (self.mailboxes / person.address / "new").glob("*")
        return sorted(set(found) - self._copies_before)

    def close(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
        for officer in self.officers.values():
            officer.close()
        subprocess.run(
            ["gpgconf", "--homedir", str(self.state / "gnupg"), "--kill", "all"],
            capture_output=True, check=False,
        )  # fmt: skip
        shutil.rmtree(self.place, ignore_errors=True)


def _free_port(wished: int) -> int:
    """The port that is wished for, or any that is free on this machine."""
    for port in (wished, 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise SystemExit("No port is free for the web archive.")


def _on_the_wire(copy: Path) -> bytes:
    return copy.read_bytes().replace(b"\n", b"\r\n")


def _officer(person: Person, home: Path) -> Officer:
    if person.key != "sequoia":
        made = datetime.now(UTC) - demo_past.BEGAN
        return Officer.create("gpg", person.name, person.address, home, person.key, created=made)
    request = KeyRequest(f"{person.name} <{person.address}>")
    program = GpgWithSequoiaKey(home, request)
    return Officer(person.name, person.address, program, own_home=False)


def _tell(reading: Reading, lists_key: str, author: Officer) -> bool:
    by_list = reading.list_signature == lists_key
    by_author = reading.author(author.certificate) == author.fingerprint
    show("  subject outside", str(reading.outer["Subject"]))
    show("  subject inside", str(reading.entity["Subject"]))
    show("  encrypted to", ", ".join(reading.pkesk_key_ids) + " and nobody else")
    show("  list's signature", "good" if by_list else "BAD")
    show("  author's signature", f"good, {author.name}" if by_author else "BAD")
    show("  attachments", ", ".join(reading.attachments))
    for line in reading.text.strip().splitlines()[:12]:
        print(f"      | {line}")
    return by_list and by_author and len(reading.pkesk_key_ids) == 1


def step(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(what: str, text: str) -> None:
    print(f"   {what:<22} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the first posting")
    once = parser.parse_args().once
    demo = Demo()
    signal.signal(signal.SIGTERM, _interrupt)
    good = False
    try:
        demo.found()
        demo.enrol()
        demo.live_the_past()
        demo.serve()
        step(f"Ana Lind writes to {LIST}")
        demo.send(
            "Ivory at Mombasa",
            "Dear colleagues,\n\n84 raw tusks in a container of tea, bound for Hai Phong.\n"
            "The seal list is attached. Who knows this shipper's other routes?\n\nAna\n",
            [("seals.csv", "text/csv", b"seal;container;count\r\nA-17;CSQU3054383;84\r\n")],
        )
        demo.wait_until_delivered()
        demo.show_way()
        good = demo.read_all()
        link = demo.login_link()
        if once:
            good &= _look(demo.archive, link)
        step("All copies decrypted and verified." if good else "SOMETHING IS WRONG, see above.")
        if not once:
            _go_on(demo, link)
    except KeyboardInterrupt:
        print("\nStopping.")
    finally:
        demo.close()
    sys.exit(0 if good else 1)


def _look(archive: str, link: str) -> bool:
    """Log in to the archive, and search it. True where something is found."""
    visit = Visit(archive)
    visit.log_in(link)
    front = visit.page("/")
    show("The front page", f"{len(front)} bytes, shown after the link's button was pressed")
    found = visit.search("ivory")
    show("A search for ivory", f"{len(found)} postings: {', '.join(found[:5])} …")
    return "Ana Lind" in front and len(found) > 1


def _go_on(demo: Demo, link: str) -> None:
    step("The gateway goes on running until Ctrl-C")
    show("THE WEB ARCHIVE", demo.archive)
    show("Ana's login link", link)
    show("", "open it in Firefox or Chromium on this machine within ten minutes; it is good once")
    show("Send more", "type a line here; Ana posts it and everybody's copy is shown")
    show("From a mail program", f"SMTP 127.0.0.1, port {demo.port}, no TLS needed, to {LIST}")
    show("Officers' GnuPG homes", f"{demo.place}/ana.lind and so on")
    show("The lists' keys", f"environet --state {demo.state} key export {LIST}")
    show("What is going on", f"{demo.place}/log")
    for line in sys.stdin:
        if line.strip():
            demo.send(line.strip(), f"{line.strip()}\n", [])
            demo.wait_until_delivered()
            demo.read_all()
    while True:  # no terminal to read from: just serve
        time.sleep(3600)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
