"""Load in small: who is answered, what comes of loops, whose copies come first.

Nothing is timed here; `make drill WHAT=load` has the thousands, and the seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from gateway import dispatch
from gateway.app import App, open_app
from gateway.delivery import worker as delivery
from gateway.delivery.worker import Worker
from gateway.message.envelope import Envelope
from gateway.posting import pipeline
from gateway.posting.pipeline import ACCEPTED
from gateway.store.hold import Hold
from gateway.store.posting import Posting
from tests.bench.people import made
from tests.drills.load import clients
from tests.drills.load.clients import Crowd
from tests.drills.load.ground import Ground, field
from tests.gateway import DOMAIN, Handed, RunningGateway, short_place
from tests.officers import Officer, encrypted_entity, header_lines
from tests.scenarios.test_worker import Hand

LIST, SMALL = f"wildlife@{DOMAIN}", f"coral@{DOMAIN}"
MANY, FEW = 60, 5
CONNECTIONS = 20


@pytest.fixture(scope="module")
def ana() -> Iterator[Officer]:
    with Officer.create("sequoia", "Ana Lind", "ana@customs.example") as officer:
        yield officer


@pytest.fixture(scope="module")
def template() -> Iterator[RunningGateway]:
    with RunningGateway(short_place("load")) as gateway:
        gateway.found()
        yield gateway


def test_slow_clients_and_floods_keep_no_honest_one_out(
    template: RunningGateway, ana: Officer
) -> None:
    settings = {"smtp.connections": CONNECTIONS, "smtp.connections_per_client": 5}
    with Ground(template, ana, made(FEW - 1), settings) as ground:
        ground.start()
        slow = Crowd(ground.port, 2 * CONNECTIONS, clients.SLOW, addresses=100, again=1)
        with slow:
            _, answered = ground.honest(2)
        assert set(answered) <= {"421"}
        assert slow.counted["421"] >= 1
        acts = (clients.unknown_recipients, clients.no_commands, clients.mails([b"\r\nx\r\n"]))
        flood = Crowd(ground.port, 3 * CONNECTIONS, acts, addresses=1)
        with flood:
            _, answered = ground.honest(2)
        assert not answered
        assert min(flood.counted[code] for code in ("421", "500", "523", "550")) >= 1
        ground.wait_until_delivered()
        assert ground.lost_and_doubled() == (0, 0)
        server, _, bound = ground.memory()
        assert server < bound


@pytest.fixture
def crowd(
    template: RunningGateway, ana: Officer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Ground, App]]:
    """A gateway that is not served, with many on one list and few on another."""
    monkeypatch.setenv("ENVIRONET_DELIVERY_BATCH", "10")
    monkeypatch.setenv("ENVIRONET_POLICY_POSTINGS_AN_HOUR", "3")
    with Ground(template, ana, made(MANY - 1)) as ground:
        few = [ana.address, *(f"o{number}@member.example" for number in range(2, FEW + 1))]
        invited = [word for one in few for word in ("--invite", one)]
        ground.environet("list", "add", "coral", "--letter", "OPC", "--title", "Coral", *invited)
        app = open_app(ground.state)
        yield ground, app
        app.close()


def submitted(app: App, mail: bytes, sender: str, to: str = LIST) -> str:
    """The reply."""
    envelope = Envelope(sender, (to,), mail, "127.0.0.1", app.clock())
    (reply,) = dispatch.submit(app, envelope, 1 << 26) or ()
    return str(reply)


def delivered(app: App) -> list[Handed]:
    hand = Hand()
    asyncio.run(Worker(app, "w", hand).drain())
    return [Handed(one.sender, one.recipient, b"".join(one.parts)) for one in hand.seen]


def count(app: App, what: type[Posting] | type[Hold]) -> int:
    with app.database.reading() as session:
        return session.scalar(select(func.count()).select_from(what)) or 0


@pytest.mark.timeout(120)
def test_few_have_theirs_before_many_are_half_through(
    crowd: tuple[Ground, App], ana: Officer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long a mail takes to encrypt, its turn is not over before a copy of it went out.
    monkeypatch.setattr(delivery, "SLICE_SECONDS", 0.0)
    ground, app = crowd
    assert submitted(app, ground.mail(), ana.address) == str(ACCEPTED)
    small = ana.write(
        to=[SMALL], certificates=[ground.certificate(SMALL)], subject="Few", text="Coral.\n"
    )
    assert submitted(app, small, ana.address, SMALL) == str(ACCEPTED)
    copies = [field(one, "To") for one in delivered(app) if one.sender]
    assert Counter(copies) == {LIST: MANY, SMALL: FEW}
    assert SMALL not in copies[MANY // 2 + FEW :]


def test_a_program_that_sends_all_that_it_gets_back_comes_to_an_end(
    crowd: tuple[Ground, App], ana: Officer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MOST_HELD", 1)
    ground, app = crowd
    assert submitted(app, ground.mail(), ana.address) == str(ACCEPTED)
    copy = next(one for one in delivered(app) if one.recipient == ana.address)
    # As it is, opened and signed anew, and without the signature of the list.
    letter = ana.read(copy.data)
    bare = letter.entity.as_bytes()
    for sent in (copy.data, *(signed_anew(ground, ana, one) for one in (letter.plain, bare))):
        assert submitted(app, sent, ana.address) == str(ACCEPTED)
    assert count(app, Posting) == 1
    # As a mail of its own, to which the gateway says that it is held, and so on.
    replies = [submitted(app, ground.mail(letter.text), ana.address) for _ in range(5)]
    assert [one[:3] for one in replies] == ["250", "250", "250", "450", "450"]
    assert (count(app, Posting), count(app, Hold)) == (4, 1)
    told = [one for one in delivered(app) if not one.sender]
    assert [one.recipient for one in told] == [ana.address]


def test_a_stranger_who_knows_a_message_id_hears_what_all_strangers_hear(
    crowd: tuple[Ground, App], ana: Officer
) -> None:
    ground, app = crowd
    assert submitted(app, ground.mail(), ana.address) == str(ACCEPTED)
    copy = next(one for one in delivered(app) if one.recipient == ana.address)
    letter = ana.read(copy.data).plain
    with Officer.create("sequoia", "Eve Sly", "eve@unknown.example") as eve:
        assert submitted(app, signed_anew(ground, eve, letter), eve.address).startswith("550 ")


def test_a_member_who_signs_a_broken_multipart_is_answered_for_good(
    crowd: tuple[Ground, App], ana: Officer
) -> None:
    ground, app = crowd
    broken = b"Content-Type: multipart/signed\r\n\r\nNo boundary.\r\n"
    assert submitted(app, signed_anew(ground, ana, broken), ana.address)[0] in "25"


def signed_anew(ground: Ground, author: Officer, letter: bytes) -> bytes:
    message = author.program.encrypt(letter, [ground.certificate(LIST)], True)
    fields = {"From": author.address, "To": LIST, "Subject": "..."}
    return header_lines(fields) + encrypted_entity(message)
