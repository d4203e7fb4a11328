"""One posting to many subscribers: seconds from its 250 to the last copy at a local sink.

Beside it, in the same run: one gpg sign-and-encrypt call a subscriber, without any SMTP; and the
floors, two X25519 operations a subscriber and Postfix's smtp-source with mails of the same size.
"""

from __future__ import annotations

import base64
import os
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pysequoia
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, select

from gateway.app import App, open_app
from gateway.crypto import certificate as openpgp
from gateway.crypto.encryptor import Encryptor, Recipient
from gateway.delivery.copies import copies
from gateway.delivery.writing import posting_letter
from gateway.store import certificate as certificates
from gateway.store import mailing_list, member, outbox
from gateway.store.member import Kind
from gateway.store.posting import Posting
from tests.bench.smtp_floor import smtp_sink, smtp_source
from tests.officers import Officer

DOMAIN = "environet.example"
LIST = f"wildlife@{DOMAIN}"
GPG_CALLS = 30
FLOOR_OPERATIONS = 2000
SOURCE_MAILS = 300
SESSIONS = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds. door: from the end of DATA to 250; delivery: from the 250 to the last copy; cpu: of
    the delivery process; source: smtp-source's, a mail of `wire` bytes, which a copy has."""

    size: int
    wire: int
    door: float
    delivery: float
    cpu: float
    source: float


def run(counts: list[int], sizes: list[int]) -> None:
    """Print the table. smtp-source: a mail of the same size to the same sink over as many
    connections; gpg call: signing and encrypting for one, without SMTP."""
    place = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    try:
        author = Officer.create("gpg", "Ana Lind", "ana@customs.example", place / "ana")
        certs = _certificates(max(counts))
        gpg = {size: _one_gpg_call(author, certs[0], size) for size in sizes}
        floor = _floor()
        print(f"floor of the public-key work, two X25519: {floor * 1e3:.3f} ms a copy\n")
        heads = ("subscribers", "text bytes", "DATA to 250", "250 to last", "a copy", "CPU a copy",
                 "smtp-source", "gpg call")  # fmt: skip
        print(" ".join(f"{head:>11}" for head in heads))
        for count in counts:
            for one in _measure(place / f"s{count}", author, certs[:count], sizes):
                cells = (
                    f"{count}",
                    f"{one.size}",
                    f"{one.door * 1e3:.0f} ms",
                    f"{one.delivery:.3f} s",
                    f"{one.delivery / count * 1e3:.3f} ms",
                    f"{one.cpu / count * 1e3:.3f} ms",
                    f"{one.source * 1e3:.3f} ms",
                    f"{gpg[one.size] * 1e3:.3f} ms",
                )
                print(" ".join(f"{cell:>11}" for cell in cells), flush=True)
        author.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _measure(
    place: Path, author: Officer, certs: list[bytes], sizes: list[int]
) -> Iterator[Figures]:
    place.mkdir()
    state = place / "state"
    with smtp_sink() as sink:
        _environet(state, "init", "--domain", DOMAIN, "--smtp", "127.0.0.1:0",
                   "--handoff", f"smtp://127.0.0.1:{sink}")  # fmt: skip
        app = open_app(state)
        _enrol(app, author, certs)
        try:
            with _server(state) as port:
                _post(app, author, port, 100, sink)  # the first reads every certificate
                for size in sizes:
                    yield _post(app, author, port, size, sink)
        finally:
            app.keyring.close()
            app.close()


@contextmanager
def _server(state: Path) -> Iterator[int]:
    """The port of a running gateway."""
    server = subprocess.Popen(
        [sys.executable, "-m", "gateway", "--state", str(state), "serve"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    port = 0
    for line in server.stdout or ():
        if line.startswith("listening: smtp "):
            port = int(line.rpartition(":")[2])
        if line.strip() == "ready":
            break
    try:
        time.sleep(1)  # the delivery process is starting, too
        yield port
    finally:
        server.terminate()
        server.wait(20)


def _post(app: App, author: Officer, port: int, size: int, sink: int) -> Figures:
    with app.database.reading() as session:
        certificate = mailing_list.get(session, "wildlife").key.certificate
    mail = author.write(to=[LIST], certificates=[certificate], subject="Bench", text=_text(size))
    cpu_before = _worker_cpu()
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail(author.address)
        client.rcpt(LIST)
        started = time.time()
        code, reply = client.data(mail)
        accepted = time.time()
    if code != 250:
        raise SystemExit(f"refused: {code} {reply!r}")
    while True:
        with app.database.reading() as session:
            totals = outbox.totals(session)
            last = session.scalar(select(func.max(outbox.OutboxEntry.finished_at)))
        if set(totals) == {"sent"} and last is not None:
            break
        time.sleep(0.05)
    cpu = _worker_cpu() - cpu_before
    wire = _copy_size(app)
    source = smtp_source(sink, wire, SOURCE_MAILS, SESSIONS) / SOURCE_MAILS
    return Figures(size, wire, accepted - started, last.timestamp() - accepted, cpu, source)


def _text(size: int) -> str:
    """Text that does not compress, as attachments don't."""
    return base64.encodebytes(os.urandom(size)).decode()[:size]


def _copy_size(app: App) -> int:
    """Bytes on the wire of a copy of the newest posting."""
    with app.database.reading() as session:
        posting = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
        on = mailing_list.get(session, "wildlife")
        letter = posting_letter(session, app, posting, on, app.clock())
        one = next(iter(certificates.addressees(session, [posting.author_id]).values()))
    reader = Recipient(1, one.certificate, one.fingerprint, one.key_ids)
    made = copies(Encryptor(), letter, [reader], on.key.certificate, lambda _: ("", ""), {})
    return next(made).size


def _worker_cpu() -> float:
    """Seconds of processor time of the delivery processes now running."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = (stat.parent / "cmdline").read_bytes().split(b"\0")
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if b"worker" in words and b"gateway" in words:
            total += (int(fields[11]) + int(fields[12])) / 100
    return total


def _certificates(count: int) -> list[bytes]:
    made = []
    for number in range(count):
        key = pysequoia.Tsk.generate(f"Officer {number} <o{number}@member.example>")
        made.append(bytes(key.extract_certificate()))
    return made


def _enrol(app: App, author: Officer, certs: list[bytes]) -> None:
    now = app.clock()
    everybody = [(author.address, author.certificate)]
    everybody += [(f"o{number}@member.example", data) for number, data in enumerate(certs[1:])]
    with app.database.transaction() as session:
        for address, data in everybody:
            added = member.add(
                session, address=address, name="Officer", organisation="Agency",
                kind=Kind.AGENCY, country="KE", now=now,
            )  # fmt: skip
            certificates.admit(session, added, openpgp.read(data), now)


def _one_gpg_call(author: Officer, certificate: bytes, size: int) -> float:
    text = _text(size).encode()
    started = time.perf_counter()
    for _ in range(GPG_CALLS):
        author.program.encrypt(text, [certificate], sign=True)
    return (time.perf_counter() - started) / GPG_CALLS


def _floor() -> float:
    """Seconds for one ephemeral key and one shared secret, as each PKESK needs."""
    peer = X25519PrivateKey.generate().public_key()
    started = time.perf_counter()
    for _ in range(FLOOR_OPERATIONS):
        own = X25519PrivateKey.generate()
        own.public_key()
        own.exchange(peer)
    return (time.perf_counter() - started) / FLOOR_OPERATIONS


def _environet(state: Path, *words: str) -> None:
    command = [sys.executable, "-m", "gateway", "--state", str(state), *words]
    subprocess.run(command, check=True, capture_output=True)
