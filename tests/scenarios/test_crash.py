"""kill -9 at random moments: what was answered 250 reaches every subscriber, and once."""

from __future__ import annotations

import random
import smtplib
import threading
import time
from collections import Counter

from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
POSTINGS = 50
READERS = 5
KILLS = 12
CONNECTIONS = 4
SEED = 20260314


def test_kill_at_random_moments_loses_and_doubles_nothing() -> None:
    chance = random.Random(SEED)
    settings = {"handoff.connections": CONNECTIONS, "delivery.first_retry_seconds": 1}
    with (
        RunningGateway(short_place("crash"), settings=settings, sink=True) as gateway,
        Officer.create("gpg", "Ana Lind", "ana@customs.example") as ana,
    ):
        gateway.found()
        gateway.add_member(ana)
        readers = [
            Officer.create("sequoia", f"R {number}", f"r{number}@member.example")
            for number in range(READERS)
        ]
        for reader in readers:
            gateway.add_member(reader)
        certificate = gateway.certificate(LIST)
        mails = [
            ana.write(
                to=[LIST], certificates=[certificate], subject=f"Posting {n}", text="Ivory.\n"
            )
            for n in range(POSTINGS)
        ]
        gateway.start()
        client = threading.Thread(target=_insist_on_all, args=(gateway, ana, mails))
        client.start()
        kills = 0
        while client.is_alive() or kills < KILLS:
            time.sleep(chance.uniform(0.02, 0.5))
            if kills < KILLS:
                gateway.kill()
                gateway.start()
                kills += 1
        client.join()
        gateway.wait_until_delivered()
        everybody = [ana, *readers]
        copies = {
            one.address: Counter(map(_message_id, gateway.copies(one.address))) for one in everybody
        }
        print(f"\n{kills} kills, {POSTINGS} postings, {len(everybody)} subscribers: "
              f"{sum(sum(one.values()) for one in copies.values())} copies")  # fmt: skip
        for address, counted in copies.items():
            assert len(counted) == POSTINGS, f"{address} misses postings"
        doubled = sum(sum(one.values()) - POSTINGS for one in copies.values())
        print(f"doubled, each in flight when killed: {doubled}")
        assert doubled <= kills * CONNECTIONS
        assert gateway.totals() == {"sent": POSTINGS * len(everybody)}
        assert "unbroken" in gateway.environet("ledger", "verify")
        some = readers[0].read(gateway.copies(readers[0].address)[-1])
        assert str(some.entity["Subject"]).startswith("[Wildlife] Posting ")


def test_a_worker_alone_may_die() -> None:
    with (
        RunningGateway(short_place("worker"), sink=True) as gateway,
        Officer.create("sequoia", "Ana Lind", "ana@customs.example") as ana,
    ):
        gateway.found()
        gateway.add_member(ana)
        certificate = gateway.certificate(LIST)
        gateway.start()
        for number in range(3):
            for pid in gateway.workers():
                gateway.kill_process(pid)
            mail = ana.write(to=[LIST], certificates=[certificate], subject=f"{number}", text="x\n")
            assert gateway.send(mail, ana.address, [LIST])[0] == 250
            gateway.wait_until_delivered()
        assert len(gateway.copies(ana.address)) == 3


def _insist_on_all(gateway: RunningGateway, author: Officer, mails: list[bytes]) -> None:
    for mail in mails:
        _insist(gateway, author, mail)


def _insist(gateway: RunningGateway, author: Officer, mail: bytes) -> None:
    """What a sender's mail server does: the same mail again until it is answered 250."""
    while True:
        try:
            if gateway.send(mail, author.address, [LIST])[0] == 250:
                time.sleep(0.1)  # so that the kills meet the whole run, not its first second
                return
        except (OSError, smtplib.SMTPException):
            pass
        time.sleep(0.05)


def _message_id(copy: bytes) -> bytes:
    return next(line for line in copy.split(b"\r\n") if line.lower().startswith(b"message-id:"))
