"""Load at the doors: slow clients, floods, and large mails at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.bench import gateways
from tests.drills.load import clients
from tests.drills.load.clients import Act, Crowd
from tests.drills.load.ground import PATIENCE_SECONDS, Ground
from tests.drills.load.row import Row

HONEST_MAILS = 10
SETTLING_SECONDS = 30.0
CLIENTS_OF_ONE = 20
LARGE_BYTES = 36_000_000

Make = Callable[..., Ground]


def slow_clients(make: Make, size: float) -> Row:
    number = int(1000 * size)
    row = Row(
        "slow clients",
        f"{number} clients at once, each from another address: silent from the beginning, after "
        "EHLO, after RCPT, within STARTTLS; NOOP a second; a byte of a mail a second. Whoever is "
        "sent away comes back after five seconds.",
    )
    with make(**{"smtp.connections": number // 2}) as ground:
        ground.start()
        crowd = Crowd(ground.port, number, clients.SLOW, addresses=number, again=5)
        _beside(row, ground, crowd, settled=number // 2)
    return row


def floods(make: Make, size: float) -> list[Row]:
    """From one address: connections, recipients, commands, mails that are refused at once."""
    plain = b"Subject: Offer\r\n\r\n" + b"Buy now.\r\n" * 500
    kinds: tuple[tuple[str, str, int, tuple[Act, ...]], ...] = (
        ("connections", "200 clients that connect again and again", 200, (clients.silent,)),
        ("recipients", "20 clients that ask for recipients nobody knows", 20,
         (clients.unknown_recipients,)),
        ("commands", "20 clients that say commands, or what is none, without end", 20,
         (clients.commands, clients.no_commands)),
        ("plain mails", "20 clients that hand in mails in the clear", 20,
         (clients.mails([plain]),)),
    )  # fmt: skip
    rows = []
    with make() as ground:
        ground.start()
        for name, did, number, acts in kinds:
            row = Row(f"flood: {name}", f"From one address: {did}.")
            _beside(row, ground, Crowd(ground.port, number, acts, addresses=1))
            rows.append(row)
    return rows


def unsigned_mails(make: Make, size: float) -> list[Row]:
    """Mails that gpg has to decrypt before they are refused."""
    rows = []
    with make() as ground:
        ground.start()
        written = [ground.mail(gateways.text(8000), sign=False) for _ in range(100)]
        for name, addresses in (("one address", 1), ("25 addresses", int(25 * size) or 2)):
            number = addresses * CLIENTS_OF_ONE
            row = Row(
                f"unsigned: {name}"[:18],
                f"{number} clients from {name} that hand in mails without end, of 8 KB, encrypted "
                "to the list and not signed.",
            )
            acts = (clients.mails(written),)
            _beside(row, ground, Crowd(ground.port, number, acts, addresses=addresses))
            rows.append(row)
    return rows


def _beside(row: Row, ground: Ground, crowd: Crowd, settled: float = 1) -> None:
    """An honest client alone, and then beside a crowd, once so many of that are served."""
    row.before, _ = ground.honest(HONEST_MAILS)
    ground.forget_peaks()
    with crowd:
        deadline = time.monotonic() + SETTLING_SECONDS
        while crowd.most_held < settled and time.monotonic() < deadline:
            time.sleep(0.2)
        row.during, answered = ground.honest(HONEST_MAILS)
        row.server, row.worker, row.bound = ground.memory()
    row.replies = crowd.counted
    row.told.append(f"connections at once: {crowd.most_held}")
    if answered:
        listed = ", ".join(f"{code} × {number}" for code, number in answered.items())
        row.told.append(f"the honest client, before its 250: {listed}")
    ground.wait_until_delivered(PATIENCE_SECONDS)
    row.lost, row.doubled = ground.lost_and_doubled()


def large_mails(make: Make, size: float) -> Row:
    """Of members, who try again until they are taken."""
    number = max(2, int(8 * size))
    octets = int(LARGE_BYTES * size)
    settings = {} if size == 1 else {
        "smtp.message_bytes": int(50 * 2**20 * size), "smtp.held_bytes": int(150 * 2**20 * size)
    }  # fmt: skip
    with make(people=0, **settings) as ground:
        ground.start()
        written = [ground.mail(gateways.text(octets)) for _ in range(number)]
        row = Row(
            "large mails",
            f"{number} mails of {len(written[0]) / 1e6:.0f} MB at once, each tried again until it "
            "is taken; and a client that holds the half of one.",
        )
        row.before, _ = ground.honest(HONEST_MAILS)
        ground.forget_peaks()
        with Crowd(ground.port, 2, (clients.half(written[0]),), addresses=2, again=5) as holding:
            time.sleep(1)
            _all_at_once(row, ground, written)
        row.replies += holding.counted
        row.server, row.worker, row.bound = ground.memory()
        ground.wait_until_delivered(PATIENCE_SECONDS)
        row.lost, row.doubled = ground.lost_and_doubled()
    return row


def _all_at_once(row: Row, ground: Ground, written: Sequence[bytes]) -> None:
    taken: list[float] = []
    answered = Counter[str]()
    threads = [
        threading.Thread(target=lambda one=one: taken.append(ground.insist(one, answered)))
        for one in written
    ]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        seconds, refused = ground.honest(1)
        row.during += seconds
        answered.update(refused)
    row.replies = answered + Counter({"250": len(taken)})
    row.told.append(f"all were taken after {max(taken, default=0):.0f} s")
    if len(taken) < len(written):
        row.wrong.append(f"{len(written) - len(taken)} of them were not taken")


def greedy_clients(make: Make, size: float) -> Row:
    number = int(500 * size)
    row = Row(
        "greedy clients",
        f"{number} clients, each from another address, that send commands without end and read no "
        "reply.",
    )
    with make() as ground:
        ground.start()
        crowd = Crowd(ground.port, number, (clients.greedy,), addresses=number)
        _beside(row, ground, crowd, settled=number)
    return row
