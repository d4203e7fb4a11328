"""Load behind the doors: a mail server that is away, and a few who wait beside ten thousand."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import make_msgid
from itertools import count

from sqlalchemy import func, select

from gateway.store.outbox import OutboxEntry
from tests.drills.load.doors import HONEST_MAILS, Make
from tests.drills.load.ground import PATIENCE_SECONDS, Ground, field
from tests.drills.load.row import Row
from tests.gateway import DOMAIN, Handed

READERS = 20
SMALL, MODERATED, COMMANDS = f"coral@{DOMAIN}", f"reef@{DOMAIN}", f"gateway@{DOMAIN}"
FEW = 5
ALONE = 5
MOST_BESIDE = 12
MOST_DELAY = 2.0
"""Seconds by which much that is under way may delay a little."""


def mail_server_away(make: Make, size: float) -> Row:
    postings = int(10_000 * size / READERS)
    row = Row(
        "mail server away",
        f"{postings * READERS} copies are queued ({postings} postings to {READERS} subscribers) "
        "while nobody takes them; then everybody is turned away (421) for ten seconds; then they "
        "are taken.",
    )
    with make(people=READERS - 1, **{"delivery.first_retry_seconds": 10}) as ground:
        ground.start()
        row.before, _ = ground.honest(HONEST_MAILS)
        ground.wait_until_delivered()
        ground.forget_peaks()
        ground.mail_server.shut()
        row.during = _posted(ground, postings)
        waiting, tries = _queued(ground)
        row.told.append(f"copies waiting: {waiting}; tries of a copy so far: {tries}")
        with _turning_away(ground.mail_server.port) as turned_away:
            time.sleep(10)
        row.told.append(f"connections turned away within ten seconds: {len(turned_away)}")
        if len(turned_away) > 200:
            row.wrong.append("that is a storm")
        ground.mail_server.open()
        begun = time.monotonic()
        ground.wait_until_delivered(PATIENCE_SECONDS)
        row.told.append(f"all taken {time.monotonic() - begun:.0f} s after it was back")
        row.server, row.worker, row.bound = ground.memory()
        row.lost, row.doubled = ground.lost_and_doubled()
    return row


def _posted(ground: Ground, postings: int) -> list[float]:
    """Seconds that each of so many mails took, of four clients at once."""
    seconds: list[float] = []
    counted = Counter[str]()
    left = iter(range(postings))

    def work() -> None:
        for _ in left:
            seconds.append(ground.insist(ground.mail(), counted))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not counted, f"while the mail server was away: {counted}"
    return seconds


def _queued(ground: Ground) -> tuple[int, int]:
    """Copies that wait, and how often the one was tried that was tried most often."""
    with ground.reading() as session:
        most = session.scalar(select(func.max(OutboxEntry.attempts))) or 0
    totals = ground.totals()
    return totals.get("waiting", 0) + totals.get("leased", 0), most


@contextmanager
def _turning_away(port: int) -> Iterator[list[float]]:
    """A mail server that has no time for anybody. When each came."""
    came: list[float] = []
    with socket.create_server(("127.0.0.1", port)) as listener:

        def work() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                came.append(time.monotonic())
                with connection:
                    connection.sendall(b"421 4.3.2 Not now\r\n")

        thread = threading.Thread(target=work)
        thread.start()
        yield came
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


# Fairness


class Few:
    """What a few wait for: the copies of a posting to five, and the answer to a moderator's command
    by mail, which releases a held one."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        author = ground.author.address
        others = [f"o{number}@member.example" for number in range(2, FEW + 1)]
        invited = [word for one in (author, *others) for word in ("--invite", one)]
        ground.environet("list", "add", "coral", "--letter", "OPC", "--title", "Coral", *invited)
        ground.environet("list", "add", "reef", "--letter", "OPR", "--title", "Reef",
                         "--moderation", "all", *invited)  # fmt: skip
        ground.environet("member", "role", author, "--add", "moderator")
        self._keys = {one: ground.certificate(one) for one in (SMALL, MODERATED, COMMANDS)}
        self._holds = count(1)

    def hold(self, number: int) -> None:
        """Have so many postings held, for commands to release."""
        for _ in range(number):
            self._send(MODERATED, "Held.\n")

    def posting(self) -> float:
        """Seconds from the 250 of a posting to five until their last copy came."""
        after = len(self._ground.mail_server.handed)
        begun, _ = self._send(SMALL, "Coral.\n")
        self._ground.due[SMALL] += FEW
        return self._came(after, FEW, lambda one: field(one, "To") == SMALL) - begun

    def command(self) -> float:
        """Seconds from the 250 of a command until its answer came."""
        after = len(self._ground.mail_server.handed)
        begun, name = self._send(COMMANDS, f"approve H-{next(self._holds)}\n")
        self._ground.due[MODERATED] += FEW
        return self._came(after, 1, lambda one: field(one, "In-Reply-To") == name) - begun

    def _send(self, to: str, text: str) -> tuple[float, str]:
        """When it was answered 250, and its Message-ID."""
        author, name = self._ground.author, make_msgid(domain="customs.example")
        mail = author.write(
            to=[to], certificates=[self._keys[to]], subject="Few", text=text, message_id=name
        )
        code, told = self._ground.send(mail, author.address, [to])
        assert code == 250, told
        return time.monotonic(), name

    def _came(self, after: int, number: int, wanted: Callable[[Handed], bool]) -> float:
        """When so many copies had come that are wanted."""
        handed, deadline = self._ground.mail_server.handed, time.monotonic() + PATIENCE_SECONDS
        while True:
            new = len(handed)
            number -= sum(wanted(one) for one in handed[after:new])
            after = new
            if number <= 0:
                return time.monotonic()
            assert time.monotonic() < deadline, "what a few wait for did not come"
            time.sleep(0.005)


def beside_a_posting(make: Make, size: float) -> Row:
    many = int(10_000 * size)
    row = Row(
        "beside a posting",
        f"A posting to {many} subscribers is under way: seconds from the 250 of one to {FEW} until "
        "the last of them has it, and from that of a moderator's command to its answer.",
    )
    with make(people=many - 1) as ground:
        ground.start()
        few = Few(ground)
        few.hold(ALONE + MOST_BESIDE)
        alone = _both(few, lambda number: number < ALONE)
        ground.forget_peaks()
        came = len(ground.mail_server.handed)
        ground.insist(ground.mail(), Counter())
        _until(lambda: len(ground.mail_server.handed) - came > many / 20)
        before = len(ground.mail_server.handed)
        beside = _both(
            few, lambda number: number < MOST_BESIDE and _copies_left(ground) > many / 10
        )
        _compare(row, alone, beside)
        row.told.append(f"meanwhile {len(ground.mail_server.handed) - before} other copies came")
        ground.wait_until_delivered(PATIENCE_SECONDS)
        row.server, row.worker, row.bound = ground.memory()
        row.lost, row.doubled = ground.lost_and_doubled()
    return row


def beside_notices(make: Make, size: float) -> Row:
    many = int(10_000 * size)
    row = Row(
        "beside notices",
        f"{many} members are told of a key ('key announce'), a mail each: the same.",
    )
    with make(people=many - 1) as ground:
        ground.start()
        few = Few(ground)
        few.hold(ALONE + MOST_BESIDE)
        alone = _both(few, lambda number: number < ALONE)
        ground.forget_peaks()
        ground.environet("key", "announce", COMMANDS)
        _until(lambda: len(ground.mail_server.handed) > many / 100)
        beside = _both(few, lambda number: number < MOST_BESIDE and _copies_left(ground) > FEW)
        _compare(row, alone, beside)
        row.told.append(f"notices left then: {_copies_left(ground)}")
        row.server, row.worker, row.bound = ground.memory()
    return row


Times = tuple[list[float], list[float]]
"""Seconds of postings and of commands."""


def _both(few: Few, goes_on: Callable[[int], bool]) -> Times:
    postings: list[float] = []
    commands: list[float] = []
    while goes_on(len(postings)):
        postings.append(few.posting())
        commands.append(few.command())
    return postings, commands


def _compare(row: Row, alone: Times, beside: Times) -> None:
    row.before, row.during = alone[0], beside[0]
    for name, before, during in zip(("posting", "command"), alone, beside, strict=True):
        if not during:
            row.wrong.append(f"{name}: what is large was over too soon to tell")
            continue
        delay = statistics.median(during) - statistics.median(before)
        row.told.append(
            f"{name}: alone {_seconds(before)}, beside {_seconds(during)}: {delay:.2f} s more"
        )
        if delay > MOST_DELAY:
            row.wrong.append(f"a {name} waits for {delay:.1f} s more")


def _seconds(some: Sequence[float]) -> str:
    return f"{statistics.median(some):.2f} s, at worst {max(some):.2f} s"


def _copies_left(ground: Ground) -> int:
    return _queued(ground)[0]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
