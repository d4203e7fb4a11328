"""The same mails to the same subscribers by Schleuder and by the gateway, in the same run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from contrib.bench import schleuder
from contrib.bench.schleuder import Subscriber
from gateway.app import KEYRING
from gateway.message.armor import dearmor
from tests.bench import gateways
from tests.bench.fanout import UNSIGNED, crowd, posted, shown
from tests.bench.people import Person
from tests.bench.smtp_floor import smtp_sink
from tests.officers import Officer


def run(count: int, sizes: Sequence[int], workers: int) -> None:
    """Print a line a size. Schleuder's time is that of its process, which ends with the last copy;
    ours is from the last byte of DATA to the last copy."""
    if not schleuder.is_there():
        print("\n(d) Schleuder is not installed and left out (as root: apt-get install schleuder)")
        return
    print(f"\n(d) Schleuder beside the gateway, {count} subscribers, the same keys and mails")
    shown(("text bytes", "Schleuder", "a copy", "gateway", "a copy", "times faster"))
    with (
        crowd(count) as (place, author, people),
        smtp_sink() as sink,
        gateways.founded(place / "gateway", author, people, sink) as app,
        schleuder.founded(
            place / "peer", gateways.LIST, _secret_key(place / "gateway" / KEYRING),
            _subscribers(author, people), sink,
        ) as peer,
        gateways.served(app.state, workers, **UNSIGNED) as serving,
    ):  # fmt: skip
        posted(app, author, serving, 100)
        for size in sizes:
            found = posted(app, author, serving, size)
            ours = found.door + found.delivery
            theirs = peer.post(gateways.written(app, author, size))
            shown((f"{size}", f"{theirs:.2f} s", f"{theirs / count * 1e3:.1f} ms",
                   f"{ours:.2f} s", f"{ours / count * 1e3:.2f} ms",
                   f"{theirs / ours:.0f}"))  # fmt: skip


def _secret_key(home: Path) -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--export-secret-keys", gateways.LIST]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _subscribers(author: Officer, people: Sequence[Person]) -> list[Subscriber]:
    certificate = dearmor(author.certificate, "PUBLIC KEY BLOCK")
    own = Subscriber(author.address, author.fingerprint, certificate)
    others = (
        Subscriber(f"o{number}@member.example", one.keys[0][0], one.certificate)
        for number, one in enumerate(people)
    )
    return [own, *others]
