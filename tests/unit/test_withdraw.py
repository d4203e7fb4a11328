"""Reading postings back, and withdrawing them: who may, and what is left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import select

from gateway.delivery.worker import Worker
from gateway.posting import visibility
from gateway.store import mailing_list, member
from gateway.store import posting as postings
from gateway.store.hold import Hold
from gateway.store.mailing_list import Moderation
from gateway.store.member import State
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Posting
from tests.gateway import CommandFailed
from tests.postgresql import of_sqlite
from tests.unit.group import Group, Hand

ROLES = {
    "ana": (),
    "bo": (),
    "mei": ("expert:B",),
    "cy": (),
    "awa": ("moderator:B",),
    "ada": ("administrator",),
}
SECRET = "Zwyrtkglimpf under the third pallet"


@pytest.fixture(scope="module")
def founded() -> Iterator[Group]:
    """Bo and Ana are on a list by invitation, the others are not; Cy ticked Wildlife off."""
    with Group(ROLES) as made:
        made.add_coral("ana", "bo")
        made.tick_off("cy", "wildlife")
        yield made


@pytest.fixture
def group(founded: Group) -> Group:
    """As it was founded, with nothing on its way."""
    for name in ROLES:
        founded.set_member(name, state=State.ACTIVE)
    founded.set_list("wildlife", moderation=Moderation.OPEN)
    founded.deliver()
    return founded


def readers(group: Group, label: str) -> set[str]:
    """Who may read a posting, by the function and by the query alike."""
    found = set()
    with group.app.database.reading() as session:
        posting = postings.get(session, label)
        for name, officer in group.officers.items():
            one = member.get(session, officer.address)
            listed = select(Posting.id).where(visibility.readable(session, one))
            may = visibility.may_read(session, one, posting)
            assert (posting.id in set(session.scalars(listed))) is may
            if may:
                found.add(name)
    return found


def states(group: Group, label: str) -> dict[str, Delivery]:
    """Who has a copy, and what became of it."""
    names = {one.address: name for name, one in group.officers.items()}
    with group.app.database.reading() as session:
        query = (
            select(member.Member.address, OutboxEntry.state)
            .join(OutboxEntry, OutboxEntry.member_id == member.Member.id)
            .where(OutboxEntry.posting_id == postings.get(session, label).id)
        )
        return {names[address]: state for address, state in session.execute(query)}


ALL = set(ROLES)


# Who may read


@pytest.mark.parametrize(
    ("marking", "may"),
    [("TLP:AMBER", ALL - {"cy"}), ("TLP:GREEN", ALL), ("TLP:CLEAR", ALL)],
)
def test_a_topics_posting_is_its_subscribers_and_a_green_one_everybodys(
    group: Group, marking: str, may: set[str]
) -> None:
    assert readers(group, group.post("ana", subject=f"{marking} Ivory")) == may


def test_who_got_it_before_ticking_off_may_read_it_still(group: Group) -> None:
    label = group.post("ana", "waste")
    group.deliver()
    group.say("bo", "tick off A")
    assert "bo" in readers(group, label)
    assert "bo" not in readers(group, group.post("ana", "waste"))
    group.say("bo", "tick on A")


def test_a_strict_posting_is_for_those_who_got_it(group: Group) -> None:
    group.set_member("mei", state=State.SUSPENDED)
    label = group.post("ana", subject="TLP:AMBER+STRICT Ivory")
    group.set_member("bo", state=State.SUSPENDED)
    group.deliver()
    for name in ("mei", "bo"):
        group.set_member(name, state=State.ACTIVE)
    # Bo was to get it, and was suspended before it went.
    assert states(group, label)["bo"] is Delivery.DROPPED
    assert readers(group, label) == {"ana", "awa", "ada"}


def test_a_list_by_invitation_is_for_the_invited(group: Group) -> None:
    label = group.post("ana", "op-coral", subject="TLP:GREEN Reef")
    assert readers(group, label) == {"ana", "bo"}
    for invited, may in ((False, {"ana"}), (True, {"ana", "bo"})):
        with group.app.database.transaction() as session:
            coral = mailing_list.get(session, "op-coral")
            bo = member.get(session, group.officers["bo"].address)
            mailing_list.invite(session, coral, bo.id, invited=invited)
        assert readers(group, label) == may


def test_a_desks_posting_is_for_its_readers_and_those_who_wrote_in_the_thread(
    group: Group,
) -> None:
    label = group.post("ana", "wildlife-experts", subject="TLP:CLEAR Ivory")
    question = next(one for one in group.deliver() if one.to == "mei")
    group.post("mei", "wildlife-experts", in_reply_to=question.message_id)
    assert readers(group, label) == {"ana", "mei"}
    assert readers(group, group.post("bo", "wildlife-owner")) == {"bo", "awa"}
    assert readers(group, group.post("bo", "environet")) == {"bo", "ada"}


def test_who_wrote_in_a_thread_at_one_desk_has_no_part_in_it_at_another(group: Group) -> None:
    group.post("ana", "wildlife-experts", "waste-experts")
    question = next(one for one in group.deliver() if one.to == "mei")
    group.post("cy", "waste-experts", in_reply_to=question.message_id)
    answer = group.post("mei", "wildlife-experts", in_reply_to=question.message_id)
    assert readers(group, answer) == {"ana", "mei"}


def test_who_becomes_an_expert_reads_nothing_of_what_was_asked_before(group: Group) -> None:
    usual = group.post("ana", "wildlife-experts")
    group.say("bo", "expertise B ivory")
    try:
        assert readers(group, usual) == {"ana", "mei"}
        assert readers(group, group.post("ana", "wildlife-experts")) == {"ana", "mei", "bo"}
    finally:
        group.say("bo", "expertise B none")


def test_what_is_held_is_its_authors_alone(group: Group) -> None:
    group.set_list("wildlife", moderation=Moderation.ALL)
    assert readers(group, group.post("ana", subject="TLP:GREEN Ivory")) == {"ana"}


def test_who_is_not_active_reads_nothing(group: Group) -> None:
    label = group.post("ana", subject="TLP:CLEAR Ivory")
    group.set_member("ana", state=State.SUSPENDED)
    assert readers(group, label) == ALL - {"ana"}


# Reading


def test_get_sends_the_posting_with_its_attachments_and_its_evidence(group: Group) -> None:
    label = group.post(
        "ana", text=f"{SECRET}\n", attachments=[("map.bin", "application/octet-stream", b"\x00N")]
    )
    group.deliver()
    answer = group.ask("bo", f"get {label}")
    assert f"{label} of Ana Berg (Inspectorate, KE), of" in answer.words
    assert "Author:    Ana Berg <ana@customs.example>" in answer.text
    assert SECRET in answer.text
    assert answer.reading.attachments == {"map.bin": b"\x00N"}
    ana = group.officers["ana"]
    assert answer.reading.author(ana.certificate) == ana.fingerprint
    assert group.ledger("read")[-1]["posting"] == label


@pytest.mark.parametrize("typed", ["b{0}", "B {0}", "b-{0}", "B–{0}", "{0}"])
def test_a_label_is_read_as_people_type_it(group: Group, typed: str) -> None:
    number = group.post("ana").partition("-")[2]
    assert f"B-{number} of Ana Berg" in group.say("bo", "get " + typed.format(number))


def test_what_is_not_theirs_is_as_what_there_is_not(group: Group) -> None:
    label = group.post("ana", "op-coral")
    number = label.partition("-")[2]
    typed = [label, f"opc {number}", number, f"A-{number}", "OPC-999999", "B-0", "-", "ivory"]
    before = len(group.ledger("read"))
    for command in ("get", "thread", "withdraw"):
        said = group.say("mei", *(f"{command} {one}" for one in typed))
        for one in typed[:-2]:
            assert f"there is no posting '{one}'" in said
    assert len(group.ledger("read")) == before


def test_a_thread_is_listed_as_far_as_it_may_be_read(group: Group) -> None:
    first = group.post("ana", subject="Ivory at Mombasa")
    copy = next(one for one in group.deliver() if one.to == "mei")
    group.set_member("bo", state=State.SUSPENDED)
    second = group.post(
        "mei",
        subject="TLP:AMBER+STRICT Re: [Wildlife] Ivory at Mombasa (Ana Berg, KE)",
        in_reply_to=copy.message_id,
    )
    group.deliver()
    group.set_member("bo", state=State.ACTIVE)
    both = group.say("ana", f"thread {second}")
    assert both.index(f" {first} 2") < both.index(f" {second} 2")
    assert "Mei Berg (Inspectorate, KE) TLP:AMBER+STRICT Re: Ivory at Mombasa" in both
    alone = group.say("bo", f"thread {first}")
    assert f"{first} " in alone
    assert second not in alone
    assert "Mei" not in alone
    assert group.ledger("thread-read")[-1]["postings"] == 1


def test_a_long_thread_is_cut(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.command.archive.MOST_LISTED", 2)
    labels = [group.post("ana")]
    copy = next(one for one in group.deliver() if one.to == "bo")
    labels += [group.post("bo", in_reply_to=copy.message_id) for _ in range(2)]
    said = group.say("ana", f"thread {labels[0]}")
    assert "The newest 2 of a longer thread" in said
    assert f" {labels[1]} " in said
    assert f" {labels[2]} " in said
    assert f" {labels[0]} " not in said.partition("thread:")[2].partition("To have")[0]


# Withdrawing


def test_withdrawing_erases_the_posting_and_leaves_that_it_was_there(group: Group) -> None:
    label = group.post("ana", text=f"{SECRET}\n", subject="Kryptonite")
    group.deliver()
    said = group.say("ana", f"withdraw {label}")
    assert f"{label} is withdrawn." in said
    with group.app.database.reading() as session:
        row = postings.get(session, label)
        assert (row.submission, row.details, row.certificate) == (b"", b"", b"")
        assert row.withdrawn_at is not None
        assert row.author.address == "ana@customs.example"
    told = {one.to: one for one in group.told}
    assert set(told) == {"bo", "mei", "awa", "ada"}
    assert told["bo"].subject == f"[ENVIRONET] {label} was withdrawn"
    assert f"posting {label} of Ana Berg (Inspectorate, KE), of" in told["bo"].words
    assert "delete that copy" in told["bo"].words
    assert "Kryptonite" not in told["bo"].words
    for line in (f"get {label}", f"thread {label}"):
        said = group.say("bo", line)
        assert "withdrawn" in said
        assert SECRET not in said
        assert "Kryptonite" not in said
    assert group.ledger("withdrawn")[-1]["told"] == 4


def test_copies_that_did_not_go_yet_are_dropped_and_nobody_is_told_of_them(group: Group) -> None:
    label = group.post("ana")
    with group.app.database.transaction() as session:
        mei = member.get(session, group.officers["mei"].address)
        number = postings.get(session, label).id
        waiting = session.scalars(
            select(OutboxEntry).where(
                OutboxEntry.posting_id == number, OutboxEntry.member_id == mei.id
            )
        ).one()
        waiting.state = Delivery.PARKED
    mail = group.write("ana", "gateway", text=f"withdraw {label}\n", subject="x")
    assert group.submit(mail, "gateway") == ["250 2.0.0"]
    got = group.deliver()
    assert [(one.to, one.kind) for one in got] == [("ana", "notice")]
    assert set(states(group, label).values()) == {Delivery.DROPPED}


def test_an_administrator_may_withdraw_and_the_author_is_told(group: Group) -> None:
    label = group.post("ana")
    group.deliver()
    group.say("ada", f"withdraw {label}")
    told = {one.to: one for one in group.told}
    assert set(told) == {"ana", "bo", "mei", "awa"}
    assert "was withdrawn by an administrator" in told["ana"].words
    assert "by an administrator" in told["bo"].words
    assert f"{label} was withdrawn already, on 20" in group.say("ana", f"withdraw {label}")


def test_others_may_not(group: Group) -> None:
    label = group.post("ana")
    said = group.say("awa", f"withdraw {label}")
    assert f"only its author or an administrator may withdraw {label}" in said
    assert SECRET in group.say("bo", f"get {group.post('ana', text=SECRET)}")


def test_who_was_suspended_since_is_asked_to_delete_the_copy_too(group: Group) -> None:
    label = group.post("ana")
    group.deliver()
    group.set_member("bo", state=State.SUSPENDED)
    group.set_member("mei", state=State.REMOVED)
    group.say("ana", f"withdraw {label}")
    assert {one.to for one in group.told} == {"bo", "awa", "ada"}


def test_a_held_posting_is_withdrawn_with_its_hold_and_its_moderators_are_told(
    group: Group,
) -> None:
    group.set_list("wildlife", moderation=Moderation.ALL)
    label = group.post("ana")
    shown = [one for one in group.deliver() if one.to == "awa"]
    assert "84 raw tusks." in shown[0].text
    group.say("ana", f"withdraw {label}")
    assert f"[ENVIRONET] {label} was withdrawn" in {
        one.subject for one in group.told if one.to == "awa"
    }
    with group.app.database.reading() as session:
        number = postings.get(session, label).id
        (hold,) = session.scalars(select(Hold).where(Hold.posting_id == number))
    assert hold.decision == "discarded"
    assert "was discarded already" in group.say("awa", f"approve {hold.label}")
    assert states(group, label) == {}


def test_a_notice_on_its_way_goes_without_what_was_withdrawn(group: Group) -> None:
    label = group.post("ana", text=f"{SECRET}\n")
    group.deliver()
    for who, line in (("bo", f"get {label}"), ("ana", f"withdraw {label}")):
        mail = group.write(who, "gateway", text=f"{line}\n", subject="x")
        assert group.submit(mail, "gateway") == ["250 2.0.0"]
    answer = next(one for one in group.deliver() if one.to == "bo")
    assert f"{label} was withdrawn meanwhile." in answer.text
    assert SECRET not in answer.text


def test_a_request_is_closed_with_its_question(group: Group) -> None:
    label = group.post("ana", "wildlife-experts")
    assert label in group.say("mei", "open requests")
    group.say("ana", f"withdraw {label}")
    assert label not in group.say("mei", "open requests")


def test_it_does_not_come_back_by_another_list_that_it_was_for(group: Group) -> None:
    mail = group.write("ana", "wildlife", "waste", text=SECRET)
    assert group.submit(mail, "wildlife") == ["250 2.0.0"]
    with group.app.database.reading() as session:
        label = session.scalars(select(Posting).order_by(Posting.id.desc())).first().label  # type: ignore[union-attr]
    group.say("ana", f"withdraw {label}")
    assert group.submit(mail, "waste") == ["250 2.0.0"]
    assert group.submit(mail, "wildlife") == ["250 2.0.0"]
    assert group.deliver() == []
    with group.app.database.reading() as session:
        assert len(postings.get(session, label).placements) == 1


def test_an_entry_of_a_withdrawn_posting_is_dropped_by_the_worker(group: Group) -> None:
    """However it came to be there."""
    label = group.post("ana")
    with group.app.database.transaction() as session:
        posting = postings.get(session, label)
        posting.withdrawn_at = group.app.clock()
        posting.submission = posting.details = posting.certificate = b""
    hand = Hand()
    asyncio.run(Worker(group.app, "other", hand).drain())
    assert hand.taken == []
    assert set(states(group, label).values()) == {Delivery.DROPPED}


@of_sqlite
def test_nothing_of_it_is_left_in_the_database(group: Group) -> None:
    label = group.post("ana", text=SECRET)
    group.deliver()
    with group.app.database.reading() as session:
        sealed = postings.get(session, label).submission
    group.say("ana", f"withdraw {label}")
    file = group.gateway.state / "environet.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    # In another process: to close the file in this one would drop SQLite's locks on it (fcntl(2)).
    content = subprocess.run(["cat", file], capture_output=True, check=True).stdout
    assert sealed[200:232] not in content


def test_the_operator_sees_that_it_was_there(group: Group) -> None:
    label = group.post("ana")
    group.say("ana", f"withdraw {label}")
    listed = json.loads(group.gateway.environet("posting", "list", "--most", "1", "--json"))
    assert (listed[0]["posting"], listed[0]["withdrawn_at"] is None) == (label, False)
    with pytest.raises(CommandFailed, match=f"{label} was withdrawn on .* nothing of it is left"):
        group.gateway.environet("posting", "show", label)
