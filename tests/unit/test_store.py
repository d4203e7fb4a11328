"""The database: migrations, the outbox's leases, the ledger's chain, holds, the vault."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway.crypto.vault import Vault, new_key
from gateway.errors import Malformed, Unavailable, UsageError
from gateway.store import leasing, ledger, member, outbox
from gateway.store.database import Database
from gateway.store.leasing import Result
from gateway.store.mailing_list import GatewayKey, MailingList, Moderation, Purpose
from gateway.store.member import Kind, Member, State
from gateway.store.outbox import Delivery
from gateway.store.posting import Placement, Posting, PostingList, Thread
from tests.unit.schema import differences

NOW = datetime(2026, 3, 14, 2, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database("sqlite:///environet.sqlite", tmp_path)
    made.migrate()
    with made.transaction() as session:
        ledger.start(session)
    yield made
    made.close()


def fill(session: Session, members: int = 5) -> tuple[MailingList, Posting]:
    """A list, members and an accepted posting of the first."""
    session.add(GatewayKey(fingerprint="F", address="wildlife@x.example", purpose=Purpose.LIST,
                           certificate=b"", key_ids="", created_at=NOW))  # fmt: skip
    on = MailingList(letter="B", local_part="wildlife", title="Wildlife", description="",
                     key_fingerprint="F", moderation=Moderation.OPEN)  # fmt: skip
    session.add(on)
    people = [
        member.add(session, address=f"m{number}@x.example", name=f"M {number}", organisation="O",
                   kind=Kind.AGENCY, country="KE", now=NOW)
        for number in range(members)
    ]  # fmt: skip
    started = Thread(started_at=NOW)
    session.add(started)
    session.flush()
    posting = Posting(
        token="t", author_id=people[0].id, thread_id=started.id, references="", received_at=NOW,
        signed_at=NOW, key_fingerprint="K", marking="TLP:AMBER", submission=b"", details=b"",
        certificate=b"",
    )  # fmt: skip
    posting.placements.append(
        PostingList(mailing_list=on, position=0, placement=Placement.ACCEPTED, rule="accept")
    )
    session.add(posting)
    session.flush()
    return on, posting


def test_migrations_make_the_tables_that_the_code_has(database: Database) -> None:
    assert differences(database) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    database.migrate()


def test_a_reading_session_writes_nothing(database: Database) -> None:
    with pytest.raises(Unavailable), database.reading() as session:
        fill(session)
    with database.reading() as session:
        assert session.query(Member).count() == 0


def test_a_fault_takes_the_whole_transaction_back(database: Database) -> None:
    def fail_after_filling() -> None:
        with database.transaction() as session:
            fill(session)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_filling()
    with database.reading() as session:
        assert session.query(Member).count() == 0


def test_a_database_that_is_gone_is_our_fault(tmp_path: Path) -> None:
    gone = Database("sqlite:///not/there.sqlite", tmp_path)
    with pytest.raises(Unavailable), gone.transaction() as session:
        session.execute(text("SELECT 1"))
    gone.close()


def test_every_subscriber_is_queued_once_and_only_they(database: Database) -> None:
    with database.transaction() as session:
        on, posting = fill(session)
        people = session.query(Member).order_by(Member.id).all()
        member.tick_off(session, people[1], [on])
        people[2].state = State.SUSPENDED
        people[3].state = State.REMOVED
        session.flush()
        assert outbox.queue_posting(session, posting, on, NOW) == 2
        assert outbox.queue_posting(session, posting, on, NOW) == 0
        queued = {entry.member_id for entry, _ in outbox.unfinished(session)}
        assert queued == {people[0].id, people[4].id}


def test_a_lease_is_one_workers_until_it_runs_out(database: Database) -> None:
    with database.transaction() as session:
        on, posting = fill(session)
        outbox.queue_posting(session, posting, on, NOW)
        first = leasing.lease(session, "a", NOW, MINUTE, 3)
        second = leasing.lease(session, "b", NOW, MINUTE, 3)
        assert first is not None
        assert second is not None
        assert [len(first.entries), len(second.entries)] == [3, 2]
        assert not {one.id for one in first.entries} & {one.id for one in second.entries}
        assert leasing.lease(session, "c", NOW, MINUTE, 3) is None
        leasing.renew(session, "a", NOW, 3 * MINUTE)
        later = leasing.lease(session, "c", NOW + 2 * MINUTE, MINUTE, 9)
        assert later is not None
        assert [one.id for one in later.entries] == [one.id for one in second.entries]


def test_a_result_counts_only_for_who_holds_the_lease(database: Database) -> None:
    with database.transaction() as session:
        on, posting = fill(session, 1)
        outbox.queue_posting(session, posting, on, NOW)
        held = leasing.lease(session, "a", NOW, MINUTE, 9)
        assert held is not None
        entry = held.entries[0].id
        leasing.lease(session, "b", NOW + 2 * MINUTE, MINUTE, 9)
    sent = [Result(entry, Delivery.SENT, NOW, None)]
    for owner, expected in (("a", {"leased": 1}), ("b", {"sent": 1})):
        with database.quick_transaction() as connection:
            leasing.record(connection, owner, sent)
        with database.reading() as session:
            assert outbox.totals(session) == expected


def test_a_deferred_copy_waits_and_counts_its_attempts(database: Database) -> None:
    with database.transaction() as session:
        on, posting = fill(session, 1)
        outbox.queue_posting(session, posting, on, NOW)
        held = leasing.lease(session, "a", NOW, MINUTE, 9)
        assert held is not None
    again = Result(held.entries[0].id, Delivery.WAITING, NOW, "450 later", NOW + MINUTE)
    with database.quick_transaction() as connection:
        leasing.record(connection, "a", [again])
    with database.transaction() as session:
        assert leasing.lease(session, "a", NOW, MINUTE, 9) is None
        next_one = leasing.lease(session, "a", NOW + MINUTE, MINUTE, 9)
        assert next_one is not None
        assert next_one.entries[0].attempts == 1
        assert leasing.release(session, "a") == 1


def test_parked_entries_are_retried_and_dropped_by_hand(database: Database) -> None:
    with database.transaction() as session:
        on, posting = fill(session, 1)
        outbox.queue_posting(session, posting, on, NOW)
        entry, _ = outbox.unfinished(session)[0]
        entry.state = Delivery.PARKED
        session.flush()
        assert outbox.retry(session, entry.id, NOW + MINUTE).state is Delivery.WAITING
        assert outbox.drop(session, entry.id, "left", NOW).reason == "left"
        with pytest.raises(UsageError, match="dropped"):
            outbox.retry(session, entry.id, NOW)


@pytest.mark.parametrize(
    ("tampering", "fault"),
    [
        ("UPDATE ledger SET detail = '{}' WHERE sequence = 2", "entry 2 was changed"),
        ("UPDATE ledger SET at = '2020-01-01 00:00:00' WHERE sequence = 1", "entry 1 was changed"),
        ("DELETE FROM ledger WHERE sequence = 2", "entry 2 is missing"),
        ("DELETE FROM ledger WHERE sequence = 3", "the newest entries are missing"),
        ("SELECT 1", None),
    ],
)
def test_the_ledger_finds_what_was_changed(
    database: Database, tampering: str, fault: str | None
) -> None:
    with database.transaction() as session:
        for number in range(3):
            ledger.enter(session, NOW, "tested", n=number, who="Zoë")
        session.execute(text(tampering))
    with database.reading() as session:
        verdict = ledger.verify(session)
    assert (verdict.fault or "").startswith(fault or "")
    assert (verdict.fault is None) == (fault is None)


def test_the_vault_opens_what_it_sealed_where_it_sealed_it() -> None:
    vault = Vault({1: new_key()})
    sealed = vault.seal("posting/1/submission", b"ivory")
    assert b"ivory" not in sealed
    assert vault.open("posting/1/submission", sealed) == b"ivory"
    with pytest.raises(Malformed):
        vault.open("posting/2/submission", sealed)
    with pytest.raises(Malformed):
        vault.open("posting/1/submission", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    for damaged in (b"", sealed[:10], b"\0" + sealed, bytes(4) + sealed[4:], b"w" + sealed[1:]):
        with pytest.raises(Malformed):
            vault.open("posting/1/submission", damaged)
    with pytest.raises(Unavailable):
        Vault({2: new_key()}).open("posting/1/submission", sealed)


def test_a_new_data_key_seals_and_the_old_one_opens_and_hashes_stay() -> None:
    old, new = new_key(), new_key()
    before, after = Vault({1: old}), Vault({1: old, 2: new})
    assert after.open("x", before.seal("x", b"ivory")) == b"ivory"
    with pytest.raises(Unavailable):
        before.open("x", after.seal("x", b"ivory"))
    assert before.keyed_hash("p", "v") == after.keyed_hash("p", "v")
    assert before.keyed_hash("p", "v") != before.keyed_hash("q", "v")


@pytest.mark.parametrize("name", ["", "Ana\r\nBcc: x", "Ana <x@y.example>", "A" * 101, "A\u202eB"])
def test_a_name_that_could_deceive_is_not_taken(database: Database, name: str) -> None:
    with pytest.raises(UsageError, match="name"), database.transaction() as session:
        member.add(session, address="a@x.example", name=name, organisation="O", kind=Kind.AGENCY,
                   country="KE", now=NOW)  # fmt: skip
