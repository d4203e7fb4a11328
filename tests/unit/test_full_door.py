"""A door that is full: who keeps it waiting gives way, and clients get their turns."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.intake.limits import LEAST_RATE, Lately, Limits, Pace
from gateway.intake.tls import make_self_signed, tls_context
from gateway.intake.turns import Turns
from tests.unit.smtp_peer import ACCEPTED, NOW, Mailbox, OpenDoor, RawClient, open_door

SLOW = "421 4.4.2 Too slow while others wait, try again later"
TOO_MANY = "421 4.7.0 Too many connections, try again later"
NO_ROOM = "452 4.3.1 Too much mail at once, try again later"
FAR_BEHIND = 0.3
TEXT = b"Two containers.\r\n" * 10_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    make_self_signed("gateway.example", certfile, keyfile, now=NOW - timedelta(days=3000))
    return certfile, keyfile


def begun(door: OpenDoor, text: bytes) -> RawClient:
    """A client that has sent so much of a mail."""
    client = RawClient(door)
    client.greet()
    client.begin_data()
    client.send(text)
    return client


# Connections


def test_who_is_furthest_behind_makes_room() -> None:
    limits = Limits(connections=3, behind_seconds=FAR_BEHIND, ousted_seconds=0)
    with open_door(Mailbox(), limits) as door, RawClient(door) as first:
        time.sleep(FAR_BEHIND / 3)
        with begun(door, b"half") as second, ExitStack() as clients:
            time.sleep(FAR_BEHIND / 3)
            third = clients.enter_context(RawClient(door))
            with RawClient(door) as fourth:
                assert fourth.rest() == [TOO_MANY]  # nobody is far behind yet
            time.sleep(FAR_BEHIND)
            with RawClient(door) as fifth, RawClient(door) as sixth:
                fifth.greet()
                sixth.greet()
                assert first.rest()[-1] == SLOW
                assert second.rest() == [SLOW]
                third.greet()


def test_the_last_connections_are_for_clients_that_have_none() -> None:
    with open_door(Mailbox(), Limits(connections=10)) as door, ExitStack() as clients:
        for _ in range(9):
            clients.enter_context(RawClient(door)).greet()
        with RawClient(door) as tenth:
            assert tenth.rest() == [TOO_MANY]
        with RawClient(door, source="127.0.0.2") as other:
            other.greet()


def test_who_sends_steadily_and_who_waits_for_us_keep_their_places() -> None:
    finish = threading.Event()
    limits = Limits(connections=2, behind_seconds=FAR_BEHIND)
    with (
        open_door(Mailbox(finish=finish), limits) as door,
        begun(door, b"steady\r\n") as steady,
        begun(door, b"whole\r\n.\r\n") as waiting,
    ):
        for _ in range(10):
            time.sleep(FAR_BEHIND / 5)
            steady.send(b"x" * int(LEAST_RATE * FAR_BEHIND) + b"\r\n")
        with RawClient(door) as late:
            assert late.rest() == [TOO_MANY]
        finish.set()
        assert waiting.reply() == str(ACCEPTED)
        steady.send(b".\r\n")
        assert steady.reply() == str(ACCEPTED)


def test_commands_that_were_sent_ahead_keep_nobody_waiting() -> None:
    mailbox = Mailbox()
    ahead = b"NOOP\r\n" * 5000 + b"MAIL FROM:<>\r\nRCPT TO:<topic@lists.example>\r\nDATA\r\n"
    with (
        open_door(mailbox, Limits(commands=10_000)) as door,
        begun(door, b"of the other\r\n") as other,
        RawClient(door) as client,
    ):
        client.greet()
        door.stand_still(0.5)
        client.send(ahead + b"of the many\r\n.\r\nQUIT\r\n")
        other.send(b".\r\n")
        assert other.reply() == str(ACCEPTED)
        assert client.rest()[-2:] == [str(ACCEPTED), "221 2.0.0 Bye"]
    assert [one.data for one in mailbox.kept] == [b"of the other\r\n", b"of the many\r\n"]


def test_who_was_told_to_go_and_lingers_makes_room() -> None:
    limits = Limits(connections=1, behind_seconds=FAR_BEHIND)
    with open_door(Mailbox(), limits) as door, RawClient(door) as lingering:
        time.sleep(1.5 * FAR_BEHIND)
        lingering.send(b"NOOP\n")
        assert lingering.rest()[-1].startswith("500 5.5.2 ")
        with RawClient(door) as other:
            other.greet()


def test_who_made_room_has_nobody_make_room_for_a_while() -> None:
    limits = Limits(connections=1, behind_seconds=FAR_BEHIND)
    with (
        open_door(Mailbox(), limits) as door,
        RawClient(door, source="127.0.0.2"),
        ExitStack() as clients,
    ):
        time.sleep(1.5 * FAR_BEHIND)
        clients.enter_context(RawClient(door, source="127.0.0.3")).greet()
        time.sleep(1.5 * FAR_BEHIND)
        with RawClient(door, source="127.0.0.2") as back:
            assert back.rest() == [TOO_MANY]
        with RawClient(door, source="127.0.0.4") as new:
            new.greet()


def test_what_was_lately() -> None:
    now = 100.0
    lately = Lately(60, lambda: now)
    lately.add("192.0.2.7")
    assert "192.0.2.7" in lately
    assert "192.0.2.8" not in lately
    now += 60
    assert "192.0.2.7" not in lately
    for number in range(20_000):
        lately.add(f"192.0.2.{number}")
    assert sum(f"192.0.2.{number}" in lately for number in range(20_000)) == 10_000
    assert "192.0.2.19999" in lately


def test_a_pace() -> None:
    now = 100.0
    pace = Pace(lambda: now)
    now += 7
    assert pace.behind() == 7
    pace.came(2 * int(LEAST_RATE))
    assert pace.behind() == 5
    with pace.our_turn():
        now += 60
        assert pace.behind() == 0
    assert pace.behind() == 5
    pace.came(10**6)
    now += 1
    assert pace.behind() == 1  # nothing is saved up


@pytest.mark.parametrize("implicit", [True, False])
def test_who_never_ends_a_handshake_counts_and_goes(
    certificate: tuple[Path, Path], implicit: bool
) -> None:
    limits = Limits(connections=1, behind_seconds=FAR_BEHIND, ousted_seconds=0)
    opened = open_door(Mailbox(), limits, tls=tls_context(*certificate), implicit_tls=implicit)
    with opened as door, ExitStack() as clients:
        for _ in range(2):
            client = clients.enter_context(RawClient(door))
            if not implicit:
                client.greet()
                assert client.say("STARTTLS").startswith("220 ")
            with RawClient(door) as other:
                assert other.rest() == [TOO_MANY]
            time.sleep(1.5 * FAR_BEHIND)
        trusting = ssl.create_default_context(cafile=certificate[0])
        with RawClient(door, trusting if implicit else None) as good:
            good.greet()
        door.close(0)


# Memory


def test_large_mails_leave_room_for_small_ones() -> None:
    mailbox = Mailbox()
    with open_door(mailbox, Limits(held_bytes=3 * len(TEXT))) as door, ExitStack() as clients:
        large = [clients.enter_context(begun(door, TEXT)) for _ in range(4)]
        time.sleep(0.2)
        with begun(door, b"small\r\n.\r\n") as small:
            assert small.reply() == str(ACCEPTED)
        for one in large:
            one.send(b".\r\n")
        replies = sorted(one.reply() for one in large)
        assert set(replies) == {str(ACCEPTED), NO_ROOM}
    assert sum(len(one.data) for one in mailbox.kept) <= 3 * len(TEXT)


def test_who_holds_memory_and_is_behind_gives_way() -> None:
    limits = Limits(held_bytes=2 * len(TEXT) + 100_000, behind_seconds=FAR_BEHIND)
    with open_door(Mailbox(), limits) as door, begun(door, TEXT) as slow:
        time.sleep(1.5 * FAR_BEHIND)
        with begun(door, TEXT + b".\r\n") as other:
            assert other.reply() == str(ACCEPTED)
        slow.send(b".\r\n")
        assert slow.reply() == NO_ROOM
        assert slow.say("NOOP").startswith("250 ")


# Turns


def test_clients_have_their_turns_one_after_the_other() -> None:
    had: list[str] = []

    async def work(turns: Turns, client: str) -> None:
        async with turns.turn(client):
            had.append(client)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        turns = Turns(1)
        wanted = [*["many"] * 5, "few", "one", "few"]
        await asyncio.gather(*(work(turns, client) for client in wanted))

    asyncio.run(all_of_them())
    assert had == ["many", "many", "few", "one", "many", "few", "many", "many"]


def test_whoever_leaves_while_they_wait_or_as_their_turn_comes_holds_nobody_up() -> None:
    async def main() -> None:
        turns = Turns(1)
        async with turns.turn("first"):
            leaving = [asyncio.create_task(turns.turn(one).__aenter__()) for one in ("a", "b")]
            await asyncio.sleep(0)
            leaving[0].cancel()
        leaving[1].cancel()
        async with asyncio.timeout(10), turns.turn("last"):
            pass

    asyncio.run(main())
