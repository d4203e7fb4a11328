"""Copies on their way: who gets none after all, and what goes out in the clear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from gateway.administration import people
from gateway.administration.people import Particulars
from gateway.app import utc_now
from gateway.crypto import certificate as openpgp
from gateway.delivery.handoff import Outcome
from gateway.delivery.watch import LOOK_SECONDS, Reach, Watch
from gateway.delivery.worker import Worker
from gateway.notices.notice import Attachment, Manner, queue
from gateway.posting import withdrawal
from gateway.store import certificate as certificates
from gateway.store import member
from gateway.store import posting as postings
from gateway.store.actor import OPERATOR
from gateway.store.certificate import MemberCertificate
from gateway.store.leasing import Lease, Reader
from gateway.store.member import State
from gateway.store.outbox import Delivery, Notice, OutboxEntry
from tests import programs
from tests.gateway import DOMAIN
from tests.officers import Officer, parse, signed_parts
from tests.unit.group import Group, Hand
from tests.unit.test_handoff import Sink, copies, serving

ROLES = {
    "ana": (),
    "bo": (),
    "mei": ("expert:B",),
    "ada": ("administrator",),
    "ed": ("support",),
}


@pytest.fixture(scope="module")
def founded() -> Iterator[Group]:
    with Group(ROLES) as made:
        yield made


@pytest.fixture
def group(founded: Group) -> Group:
    for name in ROLES:
        founded.set_member(name, state=State.ACTIVE)
    founded.deliver()
    return founded


def later(group: Group, change: Callable[[], None]) -> Callable[[], None]:
    """Something that happens in the middle of a fan-out, and the time until the next look."""

    def happens() -> None:
        change()
        time.sleep(LOOK_SECONDS + 0.05)

    return happens


def states(group: Group) -> dict[str, tuple[Delivery, str | None]]:
    """What became of the newest posting's copies, and why."""
    names = {one.address: name for name, one in group.officers.items()}
    with group.app.database.reading() as session:
        rows = session.execute(
            select(member.Member.address, OutboxEntry)
            .join(OutboxEntry, OutboxEntry.member_id == member.Member.id)
            .where(OutboxEntry.posting_id.is_not(None))
            .order_by(OutboxEntry.id)
        )
        newest: dict[int, dict[str, tuple[Delivery, str | None]]] = {}
        for address, entry in rows:
            newest.setdefault(entry.posting_id or 0, {})[names[address]] = (
                entry.state,
                entry.reason,
            )
    return newest[max(newest)]


# While copies go out


def test_who_is_suspended_in_the_middle_of_a_lease_gets_no_copy(group: Group) -> None:
    group.post("ana")
    got = group.deliver(later(group, lambda: group.set_member("ed", state=State.SUSPENDED)))
    assert {one.to for one in got} == {"ana", "bo", "mei", "ada"}
    assert states(group)["ed"] == (Delivery.DROPPED, "the member is not active")


def test_a_copy_is_encrypted_anew_where_the_certificate_was_replaced_meanwhile(
    group: Group,
) -> None:
    old = group.officers["ed"]
    with Officer.create("sequoia", old.name, old.address) as new:

        def replaced(by: Officer) -> None:
            with group.app.database.transaction() as session:
                found = member.get(session, by.address)
                admitted = openpgp.admit(by.certificate, group.app.clock())
                certificates.replace(session, found, admitted, group.app.clock())

        group.post("ana")
        group.officers["ed"] = new
        try:
            got = group.deliver(later(group, lambda: replaced(new)))
        finally:
            group.officers["ed"] = old
            replaced(old)
        # Opened with the new key alone.
        assert [one.to for one in got].count("ed") == 1
        assert states(group)["ed"] == (Delivery.SENT, None)


def test_a_copy_waits_where_the_certificate_was_revoked_meanwhile(group: Group) -> None:
    now = group.app.clock()

    def revoke(at: object, until: object) -> None:
        with group.app.database.transaction() as session:
            row = certificates.of(session, member.get(session, "ed@customs.example"))
            assert isinstance(row, MemberCertificate)
            row.revoked_at, row.encrypts_until = at, until  # type: ignore[assignment]

    group.post("ana")
    got = group.deliver(later(group, lambda: revoke(now, now)))
    revoke(None, None)
    assert "ed" not in {one.to for one in got}
    assert states(group)["ed"] == (Delivery.PARKED, "the certificate is revoked")


def test_what_is_withdrawn_in_the_middle_of_a_lease_stops(group: Group) -> None:
    label = group.post("ana")

    def withdraw() -> None:
        with group.app.database.transaction() as session:
            withdrawal.withdraw(session, group.app, postings.get(session, label), OPERATOR)

    got = group.deliver(later(group, withdraw))
    assert len([one for one in got if one.kind == "wildlife"]) == 1
    told = {one.to for one in got if one.kind == "notice"}
    # The others may have got it: their copies were under way.
    assert told == {"ana", "bo", "mei", "ada", "ed"}
    assert {why for _, why in states(group).values()} == {"the posting was withdrawn", None}


def test_the_database_is_asked_twice_a_second_at_most() -> None:
    looks = 0

    def look() -> dict[int, Reader]:
        nonlocal looks
        looks += 1
        return {}

    there = {1: Reader(7, State.ACTIVE, ("F", None, None, 1))}
    lease = Lease(1, None, 1, ())
    watch = Watch(lease, Reach(), there, look, utc_now)
    assert all(watch.wants(1) for _ in range(1000))
    assert looks == 0
    time.sleep(LOOK_SECONDS + 0.05)
    # It is another worker's now: nothing is to be written down of it.
    assert [watch.wants(1) for _ in range(1000)] == [False] * 1000
    assert (looks, watch.called_back) == (1, {})


def test_a_copy_that_was_announced_already_is_called_back_before_its_content() -> None:
    """With pipelining the next copy's MAIL, RCPT and DATA travel with the content before."""
    sink, given = Sink(), copies(6)
    wanted = {3: True}

    def not_wanted_any_more(line: str) -> bool:
        return line.startswith("RCPT TO:<m3@")

    given[2] = replace(
        given[2], wanted=lambda: not any(map(not_wanted_any_more, sink.lines)) and wanted[3]
    )
    outcomes: dict[int, Outcome] = {}

    async def record(group: Sequence[Outcome]) -> None:
        for one in group:
            outcomes[one.id] = one
            sink.recorded.add(f"m{one.id}@customs.example")

    async def run() -> None:
        async with serving(sink, 1) as handoff:
            await handoff.deliver(given, record)

    asyncio.run(run())
    assert {one: each.state for one, each in outcomes.items()} == dict.fromkeys(
        [1, 2, 4, 5, 6], "sent"
    )
    assert set(sink.received) == {f"m{one}@customs.example" for one in (1, 2, 4, 5, 6)}
    assert sink.connections == 2
    assert sink.faults == []


def test_a_copy_that_is_not_wanted_is_not_even_announced() -> None:
    sink, given = Sink(), [replace(one, wanted=lambda: False) for one in copies(3)]

    async def run() -> None:
        async with serving(sink, 2) as handoff:
            await handoff.deliver([*given, copies(4)[3]], lambda group: None)

    asyncio.run(run())
    assert set(sink.received) == {"m4@customs.example"}
    assert not any("m1@" in line for line in sink.lines)


# Desks


def test_a_suspended_member_writes_to_the_desks_and_is_answered(group: Group) -> None:
    group.set_member("bo", state=State.SUSPENDED)
    for desk, reads in (("environet", "ada"), ("support", "ed")):
        group.post("bo", desk, subject="Why am I suspended?")
        got = group.deliver()
        assert {(one.to, one.kind) for one in got} == {(reads, desk), ("bo", desk)}
        question = next(one for one in got if one.to == reads)
        assert "Standing:  SUSPENDED MEMBER\n" in question.text
        group.post(reads, desk, in_reply_to=question.message_id)
        answers = group.deliver()
        assert {one.to for one in answers} == {reads, "bo"}
        assert not any("Standing:" in one.text for one in answers)


def test_who_is_suspended_since_is_answered_where_they_began_and_nowhere_else(
    group: Group,
) -> None:
    group.post("ana", "environet")
    question = next(one for one in group.deliver() if one.to == "ada")
    group.post("bo", "environet", in_reply_to=question.message_id)
    group.deliver()
    for name in ("ana", "bo"):
        group.set_member(name, state=State.SUSPENDED)
    group.post("ada", "environet", in_reply_to=question.message_id)
    assert {one.to for one in group.deliver()} == {"ada", "ana"}
    assert set(states(group)) == {"ada", "ana"}


def test_a_suspended_member_gets_no_experts_answers_though_they_asked(group: Group) -> None:
    group.post("ana", "wildlife-experts")
    question = next(one for one in group.deliver() if one.to == "mei")
    group.set_member("ana", state=State.SUSPENDED)
    group.post("mei", "wildlife-experts", in_reply_to=question.message_id)
    assert {one.to for one in group.deliver()} == {"mei"}


def test_an_expert_who_is_suspended_after_the_question_gets_no_copy(group: Group) -> None:
    group.post("ana", "wildlife-experts")
    group.set_member("mei", state=State.SUSPENDED)
    assert "mei" not in {one.to for one in group.deliver()}


def test_a_member_whose_key_has_expired_is_heard_at_the_desk_and_marked(group: Group) -> None:
    ends = utc_now() + timedelta(seconds=4)
    dan = Officer.create("gpg", "Dan Old", "dan@customs.example", expires=ends)
    who = Particulars(dan.address, dan.name, "Police", "DK")
    with group.app.database.transaction() as session:
        admitted = openpgp.admit(dan.certificate, utc_now())
        people.add(session, group.app, OPERATOR, who, admitted)
    group.officers["dan"] = dan
    try:
        time.sleep(max(0.0, (ends - utc_now()).total_seconds() + 1.1))
        # gpg signs with an expired key only as of a time when it was none.
        mail = dan.write(
            to=[f"environet@{DOMAIN}"], certificates=[group.key("environet")],
            subject="My key", text="It has expired.\n", at=ends - timedelta(seconds=1),
            options=("--ignore-time-conflict", "--ignore-valid-from"),
        )  # fmt: skip
        assert group.submit(mail, "wildlife") == ["550 5.7.1"]
        assert group.submit(mail, "environet") == ["250 2.0.0"]
        (copy,) = group.deliver()
        assert states(group)["dan"] == (Delivery.PARKED, "the certificate has expired")
    finally:
        del group.officers["dan"]
        dan.close()
    assert (copy.to, copy.kind) == ("ada", "environet")
    assert f"Standing:  KEY EXPIRED ON {ends:%Y-%m-%d}\n" in copy.text


def test_strangers_are_not_heard_at_the_desks(group: Group) -> None:
    with Officer.create("sequoia", "Mal Ory", "mal@stranger.example") as stranger:
        for desk in ("environet", "support", "wildlife-experts"):
            mail = stranger.write(
                to=[f"{desk}@{DOMAIN}"], certificates=[group.key(desk)], subject="x", text="x\n"
            )
            assert group.submit(mail, desk) == ["550 5.7.1"]
    assert group.deliver() == []


def test_a_desks_letter_is_the_desks_own_and_nothing_to_subscribe_to(group: Group) -> None:
    group.post("ana", "wildlife-experts", subject="Ivory")
    question = next(one for one in group.deliver() if one.to == "mei")
    outer = question.reading.outer
    address = f"wildlife-experts@{DOMAIN}"
    assert outer["From"] == f"ENVIRONET Wildlife experts <{address}>"
    assert (outer["To"], outer["List-Id"]) == (
        address, f"Wildlife experts <wildlife-experts.{DOMAIN}>",
    )  # fmt: skip
    assert outer["List-Post"] == f"<mailto:{address}>"
    for name in ("List-Unsubscribe", "List-Archive", "List-Owner"):
        assert outer[name] is None
    assert question.subject == "[Wildlife experts] Ivory (Ana Berg, KE)"
    # The prefix and the ending are the gateway's: an answer does not gather them.
    group.post(
        "mei", "wildlife-experts", subject=f"Re: {question.subject}",
        in_reply_to=question.message_id,
    )  # fmt: skip
    assert {one.subject for one in group.deliver()} == {
        "[Wildlife experts] Re: Ivory (Mei Berg, KE)"
    }


# Notices


def tell(group: Group, name: str, text: str, **how: object) -> None:
    with group.app.database.transaction() as session:
        one = member.get(session, group.officers[name].address)
        queue(session, group.app, one, "test", "Your key", text, Manner(**how))  # type: ignore[arg-type]


@pytest.mark.parametrize(("regardless", "reached"), [(True, {"bo"}), (False, set())])
def test_a_notice_reaches_who_is_not_active_only_where_it_says_so(
    group: Group, regardless: bool, reached: set[str]
) -> None:
    group.set_member("bo", state=State.SUSPENDED)
    tell(group, "bo", "Text.\n", regardless=regardless)
    assert {one.to for one in group.deliver()} == reached


def test_a_plain_notice_is_signed_and_can_be_read_by_anybody(group: Group) -> None:
    """Its lines are as a mail server takes them: none begins with a dot."""
    text = ".a line\n..\n.\n" + "Grüße, 😀 " * 30 + "\n.end\n"
    certificate = b"\x00.binary\r\n.x" * 40
    tell(
        group, "bo", text, plain=True, sender="register", answers="1@x.example",
        attachments=(Attachment("register.asc", "application/pgp-keys", certificate),),
    )  # fmt: skip
    hand = Hand()
    asyncio.run(Worker(group.app, "other", hand).drain())
    (copy,) = hand.taken
    mail = b"".join(copy.parts)
    lines = mail.split(b"\r\n")
    assert not any(line.startswith(b".") for line in lines)
    assert max(map(len, lines)) <= 998
    assert b"\n" not in mail.replace(b"\r\n", b"")
    assert (copy.sender, copy.size) == ("", len(mail))
    outer = parse(mail)
    assert outer["Subject"] == "[ENVIRONET] Your key"
    assert outer["From"] == f"ENVIRONET <register@{DOMAIN}>"
    assert outer["Auto-Submitted"] == "auto-replied"
    assert outer["MIME-Version"] == "1.0"
    reading = group.officers["bo"].read(mail, group.key("register"))
    assert reading.list_signature is not None
    assert reading.pkesk_key_ids == ()
    assert reading.text == text
    assert reading.attachments == {"register.asc": certificate}
    assert reading.entity["Subject"] == outer["Subject"]
    assert reading.entity["HP-Outer"] is None
    assert reading.entity.get_param("hp") == "clear"


def test_a_plain_notice_that_was_changed_on_its_way_is_not_good(group: Group) -> None:
    tell(group, "bo", "Call 1234.\n", plain=True)
    hand = Hand()
    asyncio.run(Worker(group.app, "other", hand).drain())
    mail = b"".join(hand.taken[0].parts).replace(b"1234", b"6666")
    body, signature = signed_parts(mail)
    assert programs.verify_detached(body, signature, group.key("gateway")) is None


def test_a_plain_notice_reaches_who_has_no_certificate(group: Group) -> None:
    with group.app.database.transaction() as session:
        one = member.get(session, "bo@customs.example")
        held = certificates.of(session, one)
        assert held is not None
        kept = held.data
        session.delete(held)
    tell(group, "bo", "Text.\n", plain=True)
    tell(group, "bo", "Secret.\n")
    (got,) = group.deliver()
    with group.app.database.transaction() as session:
        one = member.get(session, "bo@customs.example")
        certificates.admit(session, one, openpgp.read(kept), group.app.clock())
        newest = session.scalars(
            select(OutboxEntry).order_by(OutboxEntry.id.desc()).limit(1)
        ).one()  # fmt: skip
        assert (newest.state, newest.reason) == (Delivery.PARKED, "the certificate has expired")
    assert (got.to, got.kind, got.text) == ("bo", "plain", "Text.\n")


def test_a_plain_notice_never_has_a_posting_with_it(group: Group) -> None:
    label = group.post("ana", text="Zwyrtkglimpf.\n")
    group.deliver()
    tell(group, "bo", "Text.\n", plain=True, enclosed=(int(label.partition("-")[2]),))
    (got,) = group.deliver()
    assert "Zwyrtkglimpf" not in got.reading.outer.as_string()
    with group.app.database.reading() as session:
        newest = session.scalars(select(Notice).order_by(Notice.id.desc()).limit(1)).one()
    assert newest.body == b""
