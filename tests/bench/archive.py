"""The web archive over archives of growing size: how long its pages and searches take.

A real `environet web` answers over HTTP, and every page is one that a browser would get. Its cost
is to grow with what a page shows, and not with the archive.
"""

from __future__ import annotations

import http.client
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import func, select, text

from gateway.app import App, utc_now
from gateway.archive import indexing
from gateway.founding import found
from gateway.message import entity, submission
from gateway.posting import evidence
from gateway.settings import WebSection
from gateway.store.mailing_list import MailingList
from gateway.store.posting import Posting, PostingList
from gateway.store.web_session import WebSession
from gateway.web import sessions
from gateway.web.listening import listening
from tests.bench import wording
from tests.bench.made_up import READERS, Author, fill
from tests.postgresql import Server, running_server

DOMAIN = "environet.example"
EACH = 5
"""Queries of a kind; each by every reader."""
AT_ONCE = 50
"""Readers at once, each of whom asks for some pages one after the other."""
PAGES_EACH = 8
LONG_THREAD = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds; `index` and `page`, of a thread, bytes; `rate` pages a second.

    Of each kind of page the median and the 95th percentile; indexing: of one posting; busy_*: with
    AT_ONCE readers.
    """

    indexing: float
    index: float
    search: float
    search_95: float
    slowest: float
    thread: float
    thread_95: float
    page: float
    topic: float
    topic_95: float
    front: float
    front_95: float
    rate: float
    busy_95: float


def run(sizes: Sequence[int], databases: Sequence[str]) -> None:
    """Print a table for each database, and how the figures grow."""
    for kind in databases:
        with ExitStack() as ends:
            server = ends.enter_context(running_server()) if kind == "postgresql" else None
            print(f"\n{kind}: {len(READERS.all)} kinds of readers, {AT_ONCE} at once at the end")
            measured: list[Figures] = []
            for size in sizes:
                place = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
                try:
                    measured.append(_measure(place / "state", size, server))
                finally:
                    shutil.rmtree(place, ignore_errors=True)
                _print(size, measured[-1])
            if len(sizes) > 1:
                grown = sizes[-1] / sizes[0]
                print(f"growth from {sizes[0]} to {sizes[-1]} postings, which is × {grown:.0f}:")
                print("  " + ", ".join(_growth(measured[0], measured[-1])), flush=True)


def _print(size: int, one: Figures) -> None:
    rows = (
        ("indexing, a posting", f"{one.indexing * 1e3:.2f} ms"),
        ("index", f"{one.index / 1e6:.1f} MB"),
        ("search", _pair(one.search, one.search_95)),
        ("slowest kind of search", _milliseconds(one.slowest)),
        (f"thread page of {LONG_THREAD}", _pair(one.thread, one.thread_95)),
        ("its size", f"{one.page / 1e3:.0f} kB"),
        ("topic page", _pair(one.topic, one.topic_95)),
        ("front page", _pair(one.front, one.front_95)),
        (f"{AT_ONCE} readers at once", f"{one.rate:.0f} pages/s"),
        ("a page of theirs, 95 %", _milliseconds(one.busy_95)),
    )
    print(f"\n{size} postings (median, 95 %)")
    for name, value in rows:
        print(f"  {name:<28} {value:>20}", flush=True)


def _pair(median: float, most: float) -> str:
    return f"{_milliseconds(median)}, {_milliseconds(most)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"


def _growth(first: Figures, last: Figures) -> Iterator[str]:
    for one in fields(Figures):
        before, after = getattr(first, one.name), getattr(last, one.name)
        yield f"{one.name} × {after / before:.1f}"


def _measure(state: Path, size: int, server: Server | None) -> Figures:
    chosen = {"domain": DOMAIN, "web.listen": "127.0.0.1:0"}
    if server is not None:
        chosen["database.url"] = server.database(f"archive{size}")
    app = found(state, chosen, utc_now, lambda _: None)
    try:
        authors = fill(app, size)
        left, started = indexing.due_count(app), time.perf_counter()
        while indexing.due_count(app):
            indexing.run(app)
        indexed = (time.perf_counter() - started) / left
        _settle(app)
        with _web(state) as port:
            readers = [_Reader(port, _log_in(app, authors, one)) for one in READERS.all]
            for one in readers:
                one.get("/")  # once each of its processes has started
            return _figures(app, readers, indexed)
    finally:
        app.keyring.close()
        app.close()


def _figures(app: App, readers: Sequence[_Reader], indexed: float) -> Figures:
    chance = random.Random(7)
    threads = _threads(app)
    topics = [f"/{letter}" for letter in "ABCDEFG"]
    searches = {
        kind: [f"/search?q={quote(one)}" for one in queries]
        for kind, queries in _queries(app, chance).items()
    }
    for reader in readers:  # the first page of each is made of templates that are read first
        reader.get("/"), reader.get(topics[0]), reader.get(threads[0]), reader.get("/search?q=of")
    by_kind = {
        kind: [reader.timed(one) for one in paths for reader in readers]
        for kind, paths in searches.items()
    }
    search = [one for times in by_kind.values() for one in times]
    thread = [readers[0].timed(one) for one in threads for _ in range(3)]
    topic = [reader.timed(one) for one in topics for reader in readers for _ in range(2)]
    front = [reader.timed("/") for reader in readers for _ in range(10)]
    mix = ["/", *topics, *threads, *(one for paths in searches.values() for one in paths)]
    rate, busy = _all_at_once(readers, mix, chance)
    return Figures(
        indexing=indexed,
        index=_index_bytes(app),
        search=statistics.median(search),
        search_95=_most(search),
        slowest=max(statistics.median(times) for times in by_kind.values()),
        thread=statistics.median(thread),
        thread_95=_most(thread),
        page=len(readers[0].get(threads[0])),
        topic=statistics.median(topic),
        topic_95=_most(topic),
        front=statistics.median(front),
        front_95=_most(front),
        rate=rate,
        busy_95=_most(busy),
    )


def _most(times: Sequence[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(times, n=20)[-1]


class _Reader:
    """A member's browser, its connection kept open."""

    def __init__(self, port: int, cookie: str) -> None:
        self.port, self.cookie = port, cookie
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, path: str) -> bytes:
        try:
            answer = self._ask(path)
        except http.client.RemoteDisconnected:  # after a while of nothing
            answer = self._ask(path)
        body = answer.read()
        # What a reader may not see is not there for them; everything else must be.
        if answer.status not in (200, 404):
            raise SystemExit(f"{path}: {answer.status} {body[:500]!r}")
        return body

    def _ask(self, path: str) -> http.client.HTTPResponse:
        fields = {"Cookie": f"{sessions.COOKIE}={self.cookie}", "Host": f"archive.{DOMAIN}"}
        self._connection.request("GET", path, headers=fields)
        return self._connection.getresponse()

    def timed(self, path: str) -> float:
        started = time.perf_counter()
        self.get(path)
        return time.perf_counter() - started


def _all_at_once(
    readers: Sequence[_Reader], mix: Sequence[str], chance: random.Random
) -> tuple[float, list[float]]:
    """(pages a second, seconds of each page) with many readers who wait for nothing."""
    plans = [chance.choices(mix, k=PAGES_EACH) for _ in range(AT_ONCE)]
    times: list[float] = []

    def read(reader: _Reader, plan: Sequence[str]) -> None:
        times.extend([reader.timed(one) for one in plan])

    threads = [
        threading.Thread(
            target=read,
            args=(_Reader(readers[at % len(readers)].port, readers[at % len(readers)].cookie), one),
        )
        for at, one in enumerate(plans)
    ]
    started = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if len(times) != AT_ONCE * PAGES_EACH:
        raise SystemExit("a reader got no answer")
    return len(times) / (time.perf_counter() - started), times


def _queries(app: App, chance: random.Random) -> dict[str, list[str]]:
    """By kind: words of different frequency, what joins them, and filters."""
    words = wording.vocabularies()["en"].words
    common = [words[at] for at in chance.sample(range(60, 160), EACH)]
    medium = [words[at] for at in chance.sample(range(800, 1500), EACH)]
    rare = [words[at] for at in chance.sample(range(15_000, 30_000), EACH)]
    now = app.clock()

    def joined(write: Callable[[int], str]) -> list[str]:
        return [write(at) for at in range(EACH)]

    return {
        "rare": rare,
        "medium": medium,
        "common": common,
        "and": joined(lambda at: f"{common[at]} {common[at - 1]}"),
        "or": joined(lambda at: f"{common[at]} OR {medium[at]}"),
        "not": joined(lambda at: f"{medium[at]} NOT {common[at]}"),
        "phrase": [f'"{one}"' for one in _phrases(app, chance)],
        "topic": joined(lambda at: f"{common[at]} topic:{'ABCDEFG'[at % 7]}"),
        "author": joined(lambda at: f'{common[at]} from:"Officer {wording.coined(at)}"'),
        "period": joined(
            lambda at: f"{common[at]} after:{now - timedelta(days=300 * (at + 1)):%Y-%m-%d}"
        ),
        "attachment": joined(lambda at: f"{medium[at]} has:attachment"),
    }


def _phrases(app: App, chance: random.Random) -> Iterator[str]:
    """Two words that stand beside each other in some posting."""
    with app.database.reading() as session:
        last = session.scalar(select(func.max(Posting.id))) or 1
        for _ in range(EACH):
            posting = session.get_one(Posting, chance.randint(1, last))
            _, opened = evidence.opened(app.vault, posting)
            plain = next(submission.text_parts(entity.read(opened.payload)))
            line = plain.rstrip().splitlines()[-1]
            yield " ".join(line.strip(" .>").split()[:2])


def _threads(app: App) -> list[str]:
    """Addresses of threads of some fifty postings that every subscriber may read."""
    count = func.count().label("count")
    with app.database.reading() as session:
        found_ = session.execute(
            select(func.min(Posting.id), func.min(MailingList.letter))
            .join(PostingList, PostingList.posting_id == Posting.id)
            .join(MailingList, MailingList.id == PostingList.list_id)
            .where(
                Posting.marking.in_(("TLP:GREEN", "TLP:AMBER")),
                MailingList.letter.in_(tuple("ACDEFG")),
            )
            .group_by(Posting.thread_id)
            .order_by(func.abs(count - LONG_THREAD))
            .limit(10)
        )
        return [f"/{letter}/{number}/thread" for number, letter in found_]


def _log_in(app: App, authors: Sequence[Author], address: str) -> str:
    """The cookie of a session of theirs."""
    (one,) = [author for author in authors if author.address == address]
    token, now = secrets.token_urlsafe(32), app.clock()
    hashed = sessions.token_hash(app, token)
    with app.database.transaction() as session:
        session.add(
            WebSession(
                token_hash=hashed, member_id=one.id, key_fingerprint=one.fingerprint,
                agent=app.vault.seal(f"web-session/{hashed}/agent", b"bench"),
                started_at=now, seen_at=now, ends_at=now + timedelta(hours=12),
                last_visit=now - timedelta(days=3),
            )
        )  # fmt: skip
    return token


def _settle(app: App) -> None:
    """What PostgreSQL does by itself sooner or later."""
    if app.database.engine.dialect.name == "postgresql":
        with app.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                text("VACUUM ANALYZE")
            )


def _index_bytes(app: App) -> float:
    queries = ["SELECT pg_total_relation_size('posting_index')"]
    if app.database.engine.dialect.name == "sqlite":
        queries = [
            "SELECT sum(length(block)) FROM posting_index_data",
            "SELECT sum(length(c0)) FROM posting_index_content",
        ]
    with app.database.engine.connect() as connection:
        return float(sum(connection.scalar(text(one)) or 0 for one in queries))


@contextmanager
def _web(state: Path) -> Iterator[int]:
    """The port of a running web archive, with as many processes as `serve` has by default."""
    command = [sys.executable, "-m", "gateway", "--state", str(state), "web", "--socket"]
    with listening("127.0.0.1:0") as listener, ExitStack() as ends:
        descriptor = listener.fileno()
        for _ in range(WebSection().processes):
            process = subprocess.Popen(
                [*command, str(descriptor)], stdin=subprocess.PIPE, pass_fds=(descriptor,)
            )
            ends.callback(process.wait)
            ends.callback(process.terminate)
        yield listener.getsockname()[1]
