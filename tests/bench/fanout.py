"""One posting to many subscribers: seconds from its 250 to the last copy at a local sink, beside
the floors on the same machine in the same run.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from gateway.app import App
from gateway.crypto.encryptor import Encryptor, Recipient
from gateway.delivery.copies import copies
from gateway.delivery.writing import posting_letter
from gateway.settings import HandoffSection
from gateway.store import certificate as certificates
from gateway.store import mailing_list
from gateway.store.posting import Posting
from tests.bench import floors, gateways
from tests.bench.door import parts
from tests.bench.gateways import Serving
from tests.bench.people import Person, made
from tests.bench.smtp_floor import smtp_sink, smtp_source
from tests.officers import Officer
from tests.postgresql import running_server

TRIALS = 3
FEW_BYTES = 300_000_000
"""A run that puts more than this on the wire is made once."""
SOURCE_BYTES, SOURCE_MAILS = 300_000_000, 3000
UNSIGNED = {"dkim_sign": "no"}
"""Left to the mail server: what it costs has a row of its own."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds. wire: bytes of a copy; door: from the end of DATA to 250; delivery: from the 250 to
    the last copy; cpu: of the delivery processes; peak: bytes of the largest of them."""

    subscribers: int
    size: int
    wire: int
    door: float
    delivery: float
    cpu: float
    peak: int

    @property
    def a_copy(self) -> float:
        return self.delivery / self.subscribers


@contextmanager
def crowd(count: int) -> Iterator[tuple[Path, Officer, list[Person]]]:
    """A place for gateways, an author, and so many subscribers beside them."""
    place = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    author = Officer.create("gpg", "Ana Lind", "ana@customs.example", place / "ana")
    try:
        yield place, author, made(count - 1)
    finally:
        author.close()
        shutil.rmtree(place, ignore_errors=True)


def run(counts: Sequence[int], sizes: Sequence[int], workers: int, most_bytes: float) -> None:
    """Print the table of copies on SQLite, of what the 250 waits for, and of memory.

    most_bytes: cells that would put more on the wire are left out.
    """
    with crowd(max(counts)) as (place, author, people):
        one, all_ = floors.public_key(1), floors.public_key(floors.PROCESSORS)
        print(f"{workers} workers, {floors.PROCESSORS} processors; (a) two X25519 a copy:"
              f" {one * 1e3:.3f} ms on one processor, {all_ * 1e3:.3f} ms on all")  # fmt: skip
        gpg = {
            size: floors.gpg_call(author, people[0].certificate, gateways.text(size).encode())
            for size in sizes
        }
        shown(("subscribers", "text bytes", "wire bytes", "DATA to 250", "250 to last", "a copy",
               "copies/s", "CPU a copy", "worker MB", "(b) source", "(c) gpg",
               "to (a)+(b)"))  # fmt: skip
        waits: dict[int, dict[str, float]] = {}
        for count in counts:
            chosen = [size for size in sizes if 1.4 * size * count <= most_bytes]
            with (
                smtp_sink() as sink,
                gateways.founded(place / f"s{count}", author, people[: count - 1], sink) as app,
            ):
                for size in sizes if count == counts[-1] else ():
                    waits[size] = parts(app, author, size)
                with gateways.served(app.state, workers, **UNSIGNED) as serving:
                    posted(app, author, serving, 100)  # the first reads every certificate
                    for size in chosen:
                        found = _best(app, author, serving, count, size)
                        source = _source(sink, found, workers)
                        shown(_cells(found, all_, source, gpg[size]))
                    if count == counts[-1] and sizes[-1] not in chosen:
                        _memory(app, author, serving, sizes[-1])
                with gateways.served(app.state, workers) as serving:
                    posted(app, author, serving, 100)
                    found = _best(app, author, serving, count, chosen[0])
                    print(f"{count:>11}  with DKIM signatures of our own: "
                          f"{found.a_copy * 1e3:.3f} ms a copy, {found.cpu / count * 1e3:.3f} ms"
                          " of CPU", flush=True)  # fmt: skip
        _print_parts(waits, counts[-1])


def databases(count: int, size: int, workers: Sequence[int]) -> None:
    """Print copies a second by number of workers, on SQLite and on PostgreSQL."""
    with crowd(count) as (place, author, people), ExitStack() as ends:
        server = ends.enter_context(running_server(durable=True))
        shown(("database", "workers", "subscribers", "text bytes", "a copy", "copies/s",
               "CPU a copy", "database CPU"))  # fmt: skip
        for kind in ("sqlite", "postgresql"):
            url = server.fresh() if kind == "postgresql" else ""
            with (
                smtp_sink() as sink,
                gateways.founded(place / kind, author, people, sink, url) as app,
            ):
                for number in workers:
                    with gateways.served(app.state, number, **UNSIGNED) as serving:
                        posted(app, author, serving, 100)
                        before = gateways.database_cpu(server)
                        trials = [posted(app, author, serving, size) for _ in range(TRIALS)]
                        spent = (gateways.database_cpu(server) - before) / (TRIALS * count)
                    found = statistics.median_low([one.a_copy for one in trials])
                    cpu = statistics.mean(one.cpu for one in trials) / count
                    shown((kind, f"{number}", f"{count}", f"{size}", _ms(found),
                           f"{1 / found:.0f}", _ms(cpu), _ms(spent)))  # fmt: skip


def slope(counts: Sequence[int], size: int, workers: int) -> None:
    """Print how the time grows with the subscribers, for the first posting, when no certificate has
    been read yet, and for the next."""
    with crowd(max(counts)) as (place, author, people):
        shown(("subscribers", "text bytes", "DATA to 250", "first", "next", "a copy", "slope",
               "worker MB"))  # fmt: skip
        before: Figures | None = None
        for count in counts:
            with (
                smtp_sink() as sink,
                gateways.founded(place / f"s{count}", author, people[: count - 1], sink) as app,
                gateways.served(app.state, workers, **UNSIGNED) as serving,
            ):
                first = posted(app, author, serving, size)
                found = posted(app, author, serving, size)
            ratio = f"{found.a_copy / before.a_copy:.2f}" if before else ""
            shown((f"{count}", f"{size}", f"{found.door * 1e3:.0f} ms", f"{first.delivery:.2f} s",
                   f"{found.delivery:.2f} s", _ms(found.a_copy), ratio,
                   f"{found.peak / 1e6:.0f}"))  # fmt: skip
            before = found


def _best(app: App, author: Officer, serving: Serving, count: int, size: int) -> Figures:
    """The median of some runs, or the one of a large one."""
    trials = TRIALS if count * size <= FEW_BYTES else 1
    found = [posted(app, author, serving, size) for _ in range(trials)]
    return sorted(found, key=lambda one: one.delivery)[trials // 2]


def posted(app: App, author: Officer, serving: Serving, size: int) -> Figures:
    """Post once, and wait for the last copy."""
    mail = gateways.written(app, author, size)
    serving.forget_peak()
    before = serving.cpu()
    started, accepted = gateways.sent(serving.port, author.address, mail)
    last = gateways.delivered(app)
    cpu, peak = serving.cpu() - before, serving.peak()
    wire, count = _copy(app)
    return Figures(count, size, wire, accepted - started, last - accepted, cpu, peak)


def _copy(app: App) -> tuple[int, int]:
    """Bytes on the wire of a copy of the newest posting, and how many get one."""
    with app.database.reading() as session:
        posting = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
        on = mailing_list.get(session, "wildlife")
        letter = posting_letter(session, app, posting, on, app.clock())
        one = next(iter(certificates.addressees(session, [posting.author_id]).values()))
        count = gateways.copies_of(session, posting.id)
    reader = Recipient(1, one.certificate, one.fingerprint, one.key_ids)
    found = copies(Encryptor(), letter, [reader], on.key.certificate, lambda _: ("", ""), {})
    return next(found).size, count


def _source(sink: int, found: Figures, workers: int) -> float:
    """Seconds a mail of Postfix's smtp-source, over as many connections."""
    mails = max(20, min(SOURCE_MAILS, SOURCE_BYTES // found.wire))
    sessions = min(workers * HandoffSection().connections, mails)
    return min(smtp_source(sink, found.wire, mails, sessions) / mails for _ in range(TRIALS))


def _memory(app: App, author: Officer, serving: Serving, size: int) -> None:
    """The memory of a worker with all certificates read and a mail of the largest size under way;
    then the posting is withdrawn from the outbox."""
    mail = gateways.written(app, author, size)
    serving.forget_peak()
    gateways.sent(serving.port, author.address, mail)
    gateways.handed_off(app, 200)
    peak = serving.peak()
    gateways.forget_outbox(app)
    gateways.delivered(app)
    print(f"worker's memory at {size} bytes of text, so many subscribers: {peak / 1e6:.0f} MB",
          flush=True)  # fmt: skip


def _print_parts(waits: dict[int, dict[str, float]], count: int) -> None:
    print(f"\nDATA to 250 at {count} subscribers, and its parts")
    for size, found in waits.items():
        told = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in found.items())
        print(f"{size:>11}  {told}", flush=True)


def _cells(found: Figures, public_key: float, source: float, gpg: float) -> tuple[str, ...]:
    return (
        f"{found.subscribers}",
        f"{found.size}",
        f"{found.wire}",
        f"{found.door * 1e3:.0f} ms",
        f"{found.delivery:.3f} s",
        _ms(found.a_copy),
        f"{1 / found.a_copy:.0f}",
        _ms(found.cpu / found.subscribers),
        f"{found.peak / 1e6:.0f}",
        _ms(source),
        _ms(gpg),
        f"{found.a_copy / (public_key + source):.2f}",
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def shown(cells: Sequence[str]) -> None:
    """Print a row of a table, whose columns are as wide everywhere."""
    print(" ".join(f"{cell:>12}" for cell in cells), flush=True)
