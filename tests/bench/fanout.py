"""One posting to many subscribers: seconds from its 250 to the last copy at a local sink.

Beside it, in the same run: one gpg sign-and-encrypt call a subscriber, without any SMTP; and the
floor of the public-key work, two X25519 operations a subscriber.
"""

from __future__ import annotations

import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pysequoia
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, select

from gateway.app import App, open_app
from gateway.crypto import certificate as openpgp
from gateway.store import certificate as certificates
from gateway.store import member, outbox
from gateway.store.member import Kind
from tests.officers import Officer

DOMAIN = "environet.example"
LIST = f"wildlife@{DOMAIN}"
SINK = "/usr/sbin/smtp-sink"
GPG_CALLS = 30
FLOOR_OPERATIONS = 2000


@dataclass(frozen=True, slots=True)
class Figures:
    """seconds: from the 250 to the last copy. door: from end of DATA to 250. cpu: of the delivery
    process, seconds. All for `subscribers` copies of a posting with `size` bytes of text."""

    subscribers: int
    size: int
    door: float
    seconds: float
    cpu: float


def run(counts: list[int], sizes: list[int]) -> None:
    """Print the table."""
    if not Path(SINK).exists():
        raise SystemExit(f"{SINK} is missing: install Debian's postfix")
    place = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    try:
        author = Officer.create("gpg", "Ana Lind", "ana@customs.example", place / "ana")
        certs = _certificates(max(counts))
        gpg = {size: _one_gpg_call(author, certs[0], size) for size in sizes}
        print(f"public-key floor, 2 X25519 operations:  {_floor() * 1e3:8.3f} ms a copy")
        for size in sizes:
            print(f"one gpg call a copy, {size:>9} bytes:     {gpg[size] * 1e3:8.3f} ms a copy")
        print(f"\n{'subscribers':>11} {'bytes':>9} {'door':>8} {'250 to last':>12} "
              f"{'a copy':>10} {'CPU a copy':>11} {'gpg / ours':>11}")  # fmt: skip
        for count in counts:
            for figures in _measure(place / f"s{count}", author, certs[:count], sizes):
                each = figures.seconds / count
                print(
                    f"{count:>11} {figures.size:>9} {figures.door * 1e3:>5.0f} ms "
                    f"{figures.seconds:>10.3f} s {each * 1e3:>7.3f} ms "
                    f"{figures.cpu / count * 1e3:>8.3f} ms {gpg[figures.size] / each:>11.0f}",
                    flush=True,
                )
        author.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _measure(place: Path, author: Officer, certs: list[bytes], sizes: list[int]) -> list[Figures]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sink_port = free.getsockname()[1]
    place.mkdir()
    state = place / "state"
    _environet(state, "init", "--domain", DOMAIN, "--smtp", "127.0.0.1:0",
               "--handoff", f"smtp://127.0.0.1:{sink_port}")  # fmt: skip
    app = open_app(state)
    _enrol(app, author, certs)
    sink = subprocess.Popen([SINK, "-u", "nobody", f"127.0.0.1:{sink_port}", "1024"])
    server = subprocess.Popen(
        [sys.executable, "-m", "gateway", "--state", str(state), "serve"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        port = 0
        for line in server.stdout or ():
            if line.startswith("listening: smtp "):
                port = int(line.rpartition(":")[2])
            if line.strip() == "ready":
                break
        time.sleep(1)
        _post(app, author, port, 100)  # the first reads every certificate
        return [_post(app, author, port, size) for size in sizes]
    finally:
        server.terminate()
        server.wait(20)
        sink.kill()
        app.keyring.close()
        app.close()


def _post(app: App, author: Officer, port: int, size: int) -> Figures:
    lines = "Forty-two tusks in a container of tea, seal A-17.\n" * (size // 50 + 1)
    with app.database.reading() as session:
        from gateway.store import mailing_list

        certificate = mailing_list.get(session, "wildlife").key.certificate
    mail = author.write(to=[LIST], certificates=[certificate], subject="Bench", text=lines[:size])
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail(author.address)
        client.rcpt(LIST)
        before_cpu = _worker_cpu()
        started = time.time()
        code, reply = client.data(mail)
        accepted = time.time()
    if code != 250:
        raise SystemExit(f"refused: {code} {reply!r}")
    while True:
        with app.database.reading() as session:
            totals = outbox.totals(session)
            last = session.scalar(select(func.max(outbox.OutboxEntry.finished_at)))
        if set(totals) <= {"sent"}:
            break
        time.sleep(0.05)
    assert last is not None
    done = last if isinstance(last, datetime) else datetime.fromisoformat(str(last))
    seconds = done.replace(tzinfo=UTC).timestamp() - accepted
    return Figures(0, size, accepted - started, seconds, _worker_cpu() - before_cpu)


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
    text = b"x" * size
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
