"""Copies that come back: read, counted, and what follows for their readers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from gateway import dispatch
from gateway.bounces import counting
from gateway.delivery.handoff import Copy
from gateway.delivery.worker import Worker
from gateway.message.envelope import Envelope
from gateway.notices.notice import queue
from gateway.posting import directory
from gateway.posting.opening import inflation_limit
from gateway.store import ledger
from gateway.store import member as members
from gateway.store.bounce import Bounce, Reachability
from gateway.store.member import State
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.upkeep import bounces as upkeep
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Officer
from tests.unit.group import Group, Hand
from tests.unit.returned import DELAYED, FAILED, FULL, QMAIL, VACATION, Refusing, dsn

ROLES = {
    "ana": (),
    "bo": (),
    "cy": ("contact-point",),
    "ada": ("administrator",),
}


class Post:
    """What goes out to Bo, and comes back."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.app = group.app

    def address(self, name: str) -> str:
        return self.group.officers[name].address

    def out(self, name: str = "bo", hand: Hand | None = None) -> list[Copy]:
        """All that is due goes out; the copies for one of them."""
        hand = hand or Hand()
        asyncio.run(Worker(self.app, "worker", hand).drain())
        return [one for one in hand.taken if one.recipient == self.address(name)]

    def copy(self) -> Copy:
        """A new posting's copy for Bo."""
        self.group.post("ana")
        (copy,) = [one for one in self.out() if one.sender]
        return copy

    def back(self, address: str, mail: bytes | None = None, sender: str = "") -> str:
        (said,) = self.back_to((address,), mail, sender)
        return said

    def back_to(
        self, addresses: tuple[str, ...], mail: bytes | None = None, sender: str = ""
    ) -> list[str]:
        mail = dsn() if mail is None else mail
        envelope = Envelope(sender, addresses, mail, "127.0.0.1", self.app.clock())
        replies = dispatch.submit(self.app, envelope, inflation_limit(self.app.config)) or ()
        return [f"{one.code} {one.status}" for one in replies]

    def pass_days(self, days: float = 1) -> None:
        self.group.later += timedelta(days=days)

    def bounce_for_days(self, days: int, mail: bytes | None = None) -> None:
        for _ in range(days):
            assert self.back(self.copy().sender, mail) == "250 2.0.0"
            self.pass_days()

    def probe(self) -> Copy:
        """The probe that is due for Bo."""
        (probe,) = [one for one in self.out() if one.sender]
        return probe

    def stop(self) -> None:
        """Bo's delivery, as it is stopped in earnest."""
        self.bounce_for_days(3)
        self.back(self.probe().sender)
        assert self.row().stopped_at

    def row(self) -> Reachability:
        found = self.found()
        assert found is not None
        return found

    def found(self) -> Reachability | None:
        with self.app.database.reading() as session:
            bo = members.get(session, self.address("bo"))
            return session.get(Reachability, bo.id)

    def states(self) -> list[str]:
        """Of the copies for Bo that are not sent."""
        with self.app.database.reading() as session:
            bo = members.get(session, self.address("bo"))
            query = select(OutboxEntry.state).where(
                OutboxEntry.member_id == bo.id, OutboxEntry.posting_id.is_not(None),
                OutboxEntry.state != Delivery.SENT,
            )  # fmt: skip
            return [str(one) for one in session.scalars(query)]


@pytest.fixture(scope="module")
def founded() -> Iterator[Group]:
    with pytest.MonkeyPatch.context() as environment:
        # The members' clocks don't go with the gateway's.
        environment.setenv("ENVIRONET_POLICY_SIGNATURE_DAYS", "1000")
        environment.setenv("ENVIRONET_POLICY_COMMAND_HOURS", "24000")
        with Group(ROLES) as made:
            yield made


@pytest.fixture
def post(founded: Group) -> Post:
    """Nothing on its way, nobody unreachable."""
    founded.deliver()
    founded.set_member("bo", state=State.ACTIVE)
    with founded.app.database.transaction() as session:
        session.execute(delete(Reachability))
        session.execute(delete(Bounce))
        session.execute(
            update(OutboxEntry)
            .where(OutboxEntry.state.in_((Delivery.PARKED, Delivery.REFUSED)))
            .values(state=Delivery.DROPPED)
        )
    return Post(founded)


def test_a_bounce_counts_once(post: Post) -> None:
    copy = post.copy()
    for _ in range(3):
        assert post.back(copy.sender) == "250 2.0.0"
    assert post.row().score == 2
    post.pass_days(2)
    post.back(copy.sender)
    assert post.row().score == 2
    assert [one["kind"] for one in post.group.ledger("bounced")][-1] == "hard"


def test_bounces_that_come_at_once_count_once(post: Post) -> None:
    addresses = [post.copy().sender for _ in range(2)] * 2
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(post.back, addresses)) == {"250 2.0.0"}
    assert post.row().score == pytest.approx(2, abs=0.01)


def test_bounces_of_several_members_wait_for_one_another_in_one_order(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.group.post("ana")
    hand = Hand()
    (to_bo,) = post.out("bo", hand)
    (to_ana,) = [one for one in hand.taken if one.recipient == post.address("ana")]
    both = (to_ana.sender, to_bo.sender)
    first_has_written = Event()

    def enter(*words: Any, **detail: Any) -> None:
        ledger.enter(*words, **detail)
        if not first_has_written.is_set():
            first_has_written.set()
            time.sleep(0.5)  # The second locks what it can.

    monkeypatch.setattr(counting, "ledger", SimpleNamespace(enter=enter))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(post.back_to, both)
        assert first_has_written.wait(30)
        second = threads.submit(post.back_to, both[1:])
        assert (first.result(), second.result()) == (["250 2.0.0"] * 2, ["250 2.0.0"])
    assert post.row().score == pytest.approx(2, abs=0.01)


def test_on_one_day_no_more_counts_than_the_worst(post: Post) -> None:
    copies = [post.copy() for _ in range(3)]
    for copy, fields in zip(copies, (FULL, FULL, FAILED), strict=True):
        post.back(copy.sender, dsn(fields))
    assert post.row().score == pytest.approx(2, abs=0.01)
    assert post.out() == []


def test_a_score_fades(post: Post) -> None:
    post.back(post.copy().sender)
    post.pass_days(7)
    post.back(post.copy().sender)
    assert post.row().score == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("mail", [dsn(DELAYED), VACATION], ids=["delayed", "vacation"])
def test_a_delay_and_a_vacation_are_no_bounces(post: Post, mail: bytes) -> None:
    address = post.copy().sender
    assert post.back(address, mail) == "250 2.0.0"
    assert post.found() is None
    post.back(address)  # which has not used the address up
    assert post.row().score == 2


def test_a_made_up_address_is_none(post: Post) -> None:
    copy = post.copy()
    number, _, token = copy.sender.removeprefix("bounce+").partition("@")[0].partition("-")
    other = "0" if token[0] != "0" else "1"
    for made_up in (
        f"bounce+{int(number) + 1}-{token}", f"bounce+{number}-{other}{token[1:]}",
        f"bounce+0{number}-{token}", f"bounce+{number}-{token[:19]}", f"bounce+{number}",
        f"bounce+{'9' * 5000}-{token}", "bounce+-",
    ):  # fmt: skip
        address = f"{made_up}@{DOMAIN}"
        assert directory.recipient(post.app, address) == directory.UNKNOWN
        post.back(address)
    assert post.found() is None
    assert len(token) == 20  # of 16 values each: 80 bits
    assert directory.recipient(post.app, copy.sender.upper()) is None


def test_who_writes_to_the_address_is_no_server(post: Post) -> None:
    address = post.copy().sender
    person = b"From: bo@customs.example\r\nSubject: Re: Ivory\r\n\r\nUser unknown? Me?\r\n"
    assert post.back(address, person, "bo@customs.example") == "550 5.1.1"
    assert post.back(address, QMAIL, "bo@customs.example") == "550 5.1.1"
    assert post.found() is None
    assert post.back(address, dsn(), "postmaster@customs.example") == "250 2.0.0"
    assert post.row().score == 2


def test_a_bounce_of_long_ago_does_nothing(post: Post) -> None:
    address = post.copy().sender
    post.pass_days(31)
    assert post.back(address) == "250 2.0.0"
    assert post.found() is None


def test_nothing_of_the_mail_is_kept(post: Post) -> None:
    secret = "zwyrtkglimpf"
    post.back(post.copy().sender, dsn(FAILED.replace("no such user", f"no such user {secret}")))
    with post.app.database.reading() as session:
        (kept,) = session.scalars(select(Bounce))
        values = {name: getattr(kept, name) for name in ("hard", "status", "dialect")}
    assert values == {"hard": True, "status": "5.1.1", "dialect": "dsn"}
    assert secret not in json.dumps(post.group.ledger("bounced"))


def test_at_the_limit_a_probe_goes_out_and_delivery_goes_on(post: Post) -> None:
    post.bounce_for_days(2)
    assert [one for one in post.out() if one.sender] == []
    post.bounce_for_days(1)
    probe = post.probe()
    assert directory.bounced_entry(post.app, probe.sender) == probe.id
    opened = post.group._opened(probe)
    assert opened.kind == "notice"
    assert "resume " in opened.text
    assert post.copy().sender
    assert post.row().stopped_at is None


def test_a_probe_that_does_not_come_back_clears_the_score(post: Post) -> None:
    post.bounce_for_days(3)
    post.probe()
    post.pass_days(2)
    upkeep.run(post.app)
    assert post.found()
    post.pass_days(1)
    upkeep.run(post.app)
    assert post.found() is None


def test_a_probe_that_was_not_sent_clears_nothing(post: Post) -> None:
    post.bounce_for_days(3)
    post.pass_days(5)
    upkeep.run(post.app)
    assert post.row().probe_id


def test_a_probe_that_comes_back_stops_delivery_and_others_are_told_once(post: Post) -> None:
    post.bounce_for_days(3)
    assert post.back(post.probe().sender, dsn(FULL)) == "250 2.0.0"
    assert post.row().stopped_at
    assert post.group.ledger("delivery-stopped")[-1]["by"] == "gateway"
    upkeep.run(post.app)
    upkeep.run(post.app)
    told = post.group.deliver()
    assert {one.to for one in told} == {"cy", "ada"}
    assert len(told) == 2
    assert all(f"resume {post.address('bo')}" in one.text for one in told)


def test_what_is_for_a_stopped_member_waits_and_goes_out_when_it_is_resumed(post: Post) -> None:
    post.stop()
    post.group.post("ana")
    assert post.out() == []
    assert post.states() == ["parked"]
    (row,) = json.loads(post.group.gateway.environet("bounce", "list", "--json"))
    assert (row["address"], row["waiting"], row["status"]) == (post.address("bo"), 1, "5.1.1")
    printed = post.group.gateway.environet("bounce", "resume", post.address("bo"))
    assert printed.strip().endswith("copies that waited: 1.")
    assert len(post.out()) == 1
    assert post.states() == []
    with pytest.raises(CommandFailed, match="is not stopped"):
        post.group.gateway.environet("bounce", "resume", post.address("bo"))


def test_a_digest_waits_too(post: Post) -> None:
    post.stop()
    with post.app.database.transaction() as session:
        queue(session, post.app, members.get(session, post.address("bo")), "digest", "x", "x")
    assert post.out() == []
    assert "sent now: 1." in post.group.say("ada", f"resume {post.address('bo')}")


def test_a_stopped_member_is_answered(post: Post) -> None:
    post.stop()
    assert "as mails to the address came back" in post.group.say("bo", "profile")


def test_a_stopped_member_who_writes_is_probed_and_has_it_back_when_that_arrives(
    post: Post,
) -> None:
    post.stop()
    post.pass_days(2)
    post.group.post("bo")
    post.back(post.probe().sender)
    post.group.post("bo")
    assert [one for one in post.out() if one.sender] == []  # one a day
    post.pass_days()
    post.group.post("bo")
    code = post.group._opened(post.probe()).text.split("resume ")[1].split()[0]
    assert "not the code" in post.group.say("bo", "resume aaaaaaaaaa")
    assert post.row().stopped_at
    said = post.group.say("bo", f"resume {code}")
    assert "sent now: 3." in said
    assert post.found() is None
    assert post.group.ledger("delivery-resumed")[-1]["copies"] == 3


def test_without_a_word_it_is_resumed_when_the_probe_has_not_come_back(post: Post) -> None:
    post.stop()
    post.group.post("ana")
    post.out()
    post.pass_days(7)
    upkeep.run(post.app)
    probe = post.probe()
    post.back(probe.sender)
    assert post.row().stopped_at
    post.pass_days(7)
    upkeep.run(post.app)
    post.probe()
    post.pass_days(3)
    upkeep.run(post.app)
    assert post.found() is None
    assert len(post.out()) == 1


def test_only_who_is_in_charge_resumes_another(post: Post) -> None:
    post.stop()
    line = f"resume {post.address('bo')}"
    assert "whom you are in charge of" in post.group.say("ana", line)
    assert post.row().stopped_at
    assert "is resumed" in post.group.say("cy", line)
    assert "is not stopped" in post.group.say("ada", line)


def test_a_refusal_by_our_mail_server_counts_once(post: Post) -> None:
    for _ in range(3):
        post.group.post("ana")
    post.out(hand=Refusing([post.address("bo")]))
    assert post.states() == ["refused"] * 3
    upkeep.run(post.app)
    upkeep.run(post.app)
    assert post.row().score == 2
    post.pass_days(1.5)
    upkeep.run(post.app)
    assert post.row().score == 2
    assert post.group.ledger("bounced")[-1]["dialect"] == "handoff"


def test_a_mail_server_that_refuses_everything_for_days_stops_nobody(post: Post) -> None:
    for _ in range(5):
        post.group.post("ana")
        addresses = [one.address for one in post.group.officers.values()]
        post.out(hand=Refusing(addresses, "5.7.1 relay access denied"))
        upkeep.run(post.app)
        post.pass_days()
    assert post.row().score < post.app.config.bounce.limit
    assert post.row().probe_id is None


def test_a_refused_probe_stops_delivery(post: Post) -> None:
    post.bounce_for_days(3)
    post.out(hand=Refusing([post.address("bo")]))
    upkeep.run(post.app)
    assert post.row().stopped_at


def test_nothing_counts_for_who_is_suspended(post: Post) -> None:
    address = post.copy().sender
    post.group.set_member("bo", state=State.SUSPENDED)
    assert post.back(address) == "250 2.0.0"
    assert post.found() is None


def test_it_is_so_on_the_wire() -> None:
    """A whole gateway, with mail servers before and behind it."""
    with (
        RunningGateway(short_place("bounce"), sink=True) as gateway,
        Officer.create("sequoia", "Bo Berg", "bo@customs.example") as bo,
    ):
        gateway.found()
        gateway.add_member(bo)
        gateway.start()
        to = f"wildlife@{DOMAIN}"
        mail = bo.write(
            to=[to], certificates=[gateway.certificate(to)], subject="Ivory", text="84 tusks.\n"
        )
        assert gateway.send(mail, bo.address, [to])[0] == 250
        gateway.wait_until_delivered()
        assert gateway.sink
        (copy,) = gateway.sink.handed
        assert gateway.send(dsn(), "", [copy.sender]) == (250, "2.0.0 Accepted")
        assert gateway.send(dsn(), "", [copy.sender]) == (250, "2.0.0 Accepted")
        made_up = copy.sender.replace("bounce+", "bounce+1")
        assert gateway.send(dsn(), "", [made_up])[0] == 550
        (row,) = json.loads(gateway.environet("bounce", "list", "--json"))
        assert (row["address"], row["score"], row["status"]) == (bo.address, 2.0, "5.1.1")
