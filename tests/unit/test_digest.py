"""Digests: what is collected for whom, when it is sent, and that nothing is lost or sent twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, event, select

from gateway.administration.profiles import next_digest
from gateway.app import App
from gateway.errors import Unavailable
from gateway.message.marking import Marking
from gateway.store import collected, mailing_list
from gateway.store import member as members
from gateway.store.member import DeliveryMode, Kind, Member, State
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Posting
from gateway.upkeep import digests, extracts
from tests.gateway import DOMAIN
from tests.unit.commanding import Place, Told, as_joined, changed, joined, started

WILDLIFE, GENERAL, WASTE = (f"{one}@{DOMAIN}" for one in ("wildlife", "general", "waste"))
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with started() as made:
        yield made


@pytest.fixture
def bo(place: Place) -> Iterator[Place]:
    """The place, in which Bo gets a daily digest, and nothing is collected yet."""
    place.ask("bo", "deliver digest daily\n")
    yield place
    as_joined(place, "bo")
    with place.app.database.transaction() as session:
        session.execute(delete(OutboxEntry).where(OutboxEntry.posting_id.is_not(None)))


def post(place: Place, who: str, *to: str, text: str = "84 raw tusks.\n", **how: object) -> str:
    """The label of a posting that was taken."""
    how.setdefault("subject", "Ivory at Mombasa")
    mail = place.mail(who, text, *to, **how)  # type: ignore[arg-type]
    assert place.submit(mail, *to).startswith("250")
    with place.app.database.reading() as session:
        newest = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
        return newest.label


def later(app: App, by: timedelta = DAY) -> App:
    return replace(app, clock=lambda: app.clock() + by)


def made(place: Place, by: timedelta = DAY) -> list[Told]:
    """Digests that are made a day from now."""
    before = place.newest()
    digests.run(later(place.app, by))
    return [one for one in place.told(before) if one.template == "digest"]


def entries(place: Place, name: str) -> dict[str, Delivery]:
    """Label -> what became of somebody's copies."""
    with place.app.database.reading() as session:
        number = members.get(session, place.address(name)).id
        query = select(OutboxEntry).where(
            OutboxEntry.member_id == number, OutboxEntry.posting_id.is_not(None)
        )
        return {
            session.get_one(Posting, one.posting_id).label: one.state
            for one in session.scalars(query)
        }


@pytest.mark.parametrize(
    ("mode", "now", "then"),
    [
        (DeliveryMode.DAILY, "2026-03-11 05:59", "2026-03-11 06:00"),
        (DeliveryMode.DAILY, "2026-03-11 06:00", "2026-03-12 06:00"),
        (DeliveryMode.WEEKLY, "2026-03-11 05:00", "2026-03-16 06:00"),
        (DeliveryMode.WEEKLY, "2026-03-16 05:59", "2026-03-16 06:00"),
        (DeliveryMode.WEEKLY, "2026-03-16 06:00", "2026-03-23 06:00"),
        (DeliveryMode.WEEKLY, "2026-03-15 23:00", "2026-03-16 06:00"),
    ],
)
def test_when_a_digest_is_due(place: Place, mode: DeliveryMode, now: str, then: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert next_digest(mode, place.app, at) == datetime.fromisoformat(then).replace(tzinfo=UTC)


def test_postings_are_collected_and_sent_by_topic_and_thread(bo: Place) -> None:
    first = post(bo, "ana", WILDLIFE, text="Dear all,\n\n  84 raw tusks.\n> quoted\n",
                 attachments=[("manifest.pdf", "application/pdf", b"x")])  # fmt: skip
    with bo.app.database.reading() as session:
        token = session.get_one(Posting, int(first[2:])).token
    second = post(bo, "ana", GENERAL, subject="Meeting", text="On Monday.\n")
    third = post(bo, "mei", WASTE, WILDLIFE, subject="Batteries", text="Two tons.\n")
    answer = post(bo, "mei", WILDLIFE, subject="Re: [Wildlife] Ivory at Mombasa (Ana Lind, CH)",
                  text="African.\n", in_reply_to=f"<{token}@{DOMAIN}>")  # fmt: skip
    assert set(entries(bo, "bo").values()) == {Delivery.COLLECTED}
    assert digests.run(bo.app) == 0, "it is not due yet"
    (told,) = made(bo)
    assert told.reader == "bo"
    headings = [line for line in told.text.splitlines() if line.strip()[:2] in ("==", "--")]
    assert headings == [
        f"======== A  Waste <{WASTE}>", "  -------- Batteries",
        f"======== B  Wildlife <{WILDLIFE}>", "  -------- Ivory at Mombasa",
        f"======== G  General <{GENERAL}>", "  -------- Meeting", "========",
    ]  # fmt: skip
    body = told.text[told.text.index("========") :]
    in_order = [body.index(f"\n  {one}  ") for one in (third, first, answer, second)]
    assert in_order == sorted(in_order)
    text = joined(told.text)
    assert f"{first} Ana Lind (Inspectorate, KE) Date: " in text
    assert "Marking: TLP:AMBER Subject: Ivory at Mombasa Attachments: manifest.pdf" in text
    assert "\n      Dear all,\n\n        84 raw tusks.\n      > quoted\n" in told.text
    assert f"get {first} Archive: https://archive.{DOMAIN}/B/{first[2:]}" in text
    assert (
        f"mailto:{WILDLIFE}?subject=Re%3A%20%5BWildlife%5D%20Ivory%20at%20Mombasa"
        f"&In-Reply-To=%3C{token}%40{DOMAIN}%3E" in text
    )
    assert set(entries(bo, "bo").values()) == {Delivery.SENT}
    assert set(entries(bo, "ana").values()) == {Delivery.WAITING}, "others get each as it comes"
    assert made(bo) == [], "nothing is sent twice"


def test_a_text_looks_like_nothing_of_the_digests_own(bo: Place) -> None:
    forged = "x\u2028  B-99  Ada Lind (Inspectorate, CH)\x0b======== B  Wildlife\r\nlast\n"
    post(bo, "ana", WILDLIFE, text=forged)
    (told,) = made(bo)
    assert "\n        B-99  Ada Lind" in told.text
    assert "\n      ======== B  Wildlife\n" in told.text
    assert all(ord(char) >= 32 or char == "\n" for char in told.text)


def test_a_long_text_is_cut_and_a_large_posting_named(
    bo: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = post(bo, "ana", WILDLIFE, text="tusk " * 5000 + "\n")
    monkeypatch.setattr(extracts, "_MOST_SEALED", 10_000)
    large = post(
        bo, "ana", WILDLIFE, attachments=[("a.bin", "application/zip", bytes(range(256)) * 100)]
    )
    (told,) = made(bo)
    assert told.text.count("tusk") <= 4001
    assert joined(told.text).count(f"There is more of it: get {label}") == 1
    assert f"There is more of it: get {large}" in joined(told.text)


def test_the_first_text_is_shown_where_there_is_html_alone(bo: Place) -> None:
    from tests.officers import encrypted_entity, header_lines

    html = b'Content-Type: text/html; charset=utf-8; hp="cipher"\r\nTo: ' + WILDLIFE.encode()
    html += b"\r\nSubject: H\r\n\r\n<p>Two <b>tons</b></p><p>of tea</p>\r\n"
    message = bo.people["ana"].program.encrypt(html, [bo.keys[WILDLIFE]], sign=True)
    mail = header_lines({"From": "x@x.example", "To": WILDLIFE}) + encrypted_entity(message)
    assert bo.submit(mail, WILDLIFE).startswith("250")
    (told,) = made(bo)
    assert "      Two tons\n      of tea\n" in told.text


def test_what_is_urgent_or_strict_is_in_no_digest(bo: Place) -> None:
    strict = post(bo, "ana", WILDLIFE, text="TLP:AMBER+STRICT\n\nFor you alone.\n")
    assert entries(bo, "bo") == {strict: Delivery.WAITING}
    stricter = post(bo, "ana", GENERAL)
    withdrawn = post(bo, "ana", GENERAL)
    shown = post(bo, "ana", GENERAL, text="Shown to all.\n")
    with bo.app.database.transaction() as session:
        session.get_one(Posting, int(stricter[2:])).marking = Marking.AMBER_STRICT.label
        session.get_one(Posting, int(withdrawn[2:])).withdrawn_at = bo.app.clock()
    (told,) = made(bo)
    assert "Shown to all." in told.text
    assert stricter not in told.text
    assert withdrawn not in told.text
    assert entries(bo, "bo") == {
        strict: Delivery.WAITING, stricter: Delivery.WAITING,
        withdrawn: Delivery.DROPPED, shown: Delivery.SENT,
    }  # fmt: skip


def test_ticking_off_takes_what_was_collected_along(bo: Place) -> None:
    wildlife = post(bo, "ana", WILDLIFE)
    both = post(bo, "ana", WILDLIFE, WASTE, text="For both.\n")
    general = post(bo, "ana", GENERAL)
    bo.ask("bo", "tick off B\n")
    assert entries(bo, "bo") == {
        wildlife: Delivery.DROPPED, both: Delivery.COLLECTED, general: Delivery.COLLECTED,
    }  # fmt: skip
    (told,) = made(bo)
    assert "======== A  Waste" in told.text, "it was posted there, too"
    assert "======== B" not in told.text
    assert "For both." in told.text


def test_back_to_each_sends_what_was_collected(bo: Place) -> None:
    label = post(bo, "ana", WILDLIFE)
    assert "on its way to you now" in bo.ask("bo", "deliver each\n")
    assert entries(bo, "bo") == {label: Delivery.WAITING}
    assert made(bo) == []
    label = post(bo, "ana", WILDLIFE)
    assert entries(bo, "bo")[label] is Delivery.WAITING


def test_nothing_for_a_while_begins_with_a_last_digest(bo: Place) -> None:
    before = post(bo, "ana", WILDLIFE, text="Before.\n")
    bo.ask("bo", f"deliver none until {(bo.app.clock() + 5 * DAY).date()}\n")
    post(bo, "ana", WILDLIFE, text="Meanwhile.\n")
    (told,) = made(bo, timedelta())
    assert "Before." in told.text
    assert entries(bo, "bo") == {before: Delivery.SENT}, "nothing is collected meanwhile"


def test_a_suspended_member_gets_none(bo: Place) -> None:
    label = post(bo, "ana", WILDLIFE)
    bo.ask("ada", "suspend bo@customs.example\n")
    assert made(bo) == []
    assert entries(bo, "bo") == {label: Delivery.DROPPED}
    bo.ask("ada", "restore bo@customs.example\n")


def test_a_member_who_was_added_with_a_digest_gets_it(bo: Place) -> None:
    """Nobody has said yet when the first is due: the next one after the oldest posting."""
    with bo.app.database.transaction() as session:
        members.get(session, "bo@customs.example").digest_at = None
    assert made(bo, timedelta()) == []
    with bo.app.database.transaction() as session:
        members.get(session, "bo@customs.example").digest_at = None
    post(bo, "ana", WILDLIFE)
    assert digests.run(bo.app) == 0
    with bo.app.database.transaction() as session:
        one = members.get(session, "bo@customs.example")
        assert one.digest_at is not None
        one.digest_at = None
    assert len(made(bo)) == 1


@pytest.mark.parametrize("bound", ["MOST_POSTINGS", "MOST_BYTES"])
def test_what_is_too_much_for_one_digest_comes_in_the_next(
    bo: Place, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [post(bo, "ana", WILDLIFE, text=f"{one} {'x' * 60}\n") for one in range(5)]
    monkeypatch.setattr(digests, bound, 2 if bound == "MOST_POSTINGS" else 200)
    told = made(bo)
    assert [[one for one in labels if one in each.text] for each in told] == [
        labels[:2], labels[2:4], labels[4:],
    ]  # fmt: skip
    assert ["another digest that comes right after" in joined(one.text) for one in told] == [
        True, True, False,
    ]  # fmt: skip


def test_two_rounds_at_once_make_one_digest(bo: Place) -> None:
    for number in range(3):
        post(bo, "ana", WILDLIFE, text=f"{number}\n")
    before = bo.newest()
    due = later(bo.app)
    rounds = [threading.Thread(target=digests.run, args=(due,)) for _ in range(4)]
    for one in rounds:
        one.start()
    for one in rounds:
        one.join()
    assert [one.template for one in bo.told(before)] == ["digest"]


def test_wherever_it_breaks_off_nothing_is_lost_or_sent_twice(bo: Place) -> None:
    """The clock, which is read at every step, fails at the first, at the second, and so on."""
    labels = {post(bo, "ana", WILDLIFE), post(bo, "ana", GENERAL)}
    due, before = later(bo.app), bo.newest()
    broken: list[Delivery] = []
    for most in range(1, 50):
        ticks = iter(range(most))

        def clock(ticks: Iterator[int] = ticks) -> datetime:
            if next(ticks, None) is None:
                raise Unavailable("the power is cut")
            return due.clock()

        with suppress(Unavailable):
            digests.run(replace(due, clock=clock))
            break
        told = [one.template for one in bo.told(before)]
        state = Delivery.SENT if told else Delivery.COLLECTED
        assert entries(bo, "bo") == dict.fromkeys(labels, state)
        broken.append(state)
    assert broken.count(Delivery.COLLECTED) > 3, "it broke off at several steps"
    assert [one.template for one in bo.told(before)] == ["digest"]
    assert entries(bo, "bo") == dict.fromkeys(labels, Delivery.SENT)


def test_a_posting_is_opened_once_for_all_its_readers(bo: Place) -> None:
    """The work grows with the readers, and not with readers times what it takes to open mails."""
    now = bo.app.clock()
    with bo.app.database.transaction() as session:
        session.add_all(
            Member(address=f"m{one}@x.example", name="M", organisation="O", kind=Kind.AGENCY,
                   country="KE", joined_at=now, delivery=DeliveryMode.DAILY)
            for one in range(20)
        )  # fmt: skip
    for number in range(3):
        post(bo, "ana", WILDLIFE, text=f"{number}\n")
    opened, counts = [], []

    def watch(_: object, __: object, statement: str, *___: object) -> None:
        counts.append(statement)
        if "posting.submission" in statement and "length" not in statement:
            opened.append(statement)

    event.listen(bo.app.database.engine, "before_cursor_execute", watch)
    try:
        told = made(bo)
    finally:
        event.remove(bo.app.database.engine, "before_cursor_execute", watch)
        with bo.app.database.transaction() as session:
            for one in session.scalars(select(Member).where(Member.address.like("m%@x.example"))):
                one.state = State.REMOVED
    assert len(told) == 21
    assert len(opened) == 3
    assert len(counts) < 21 * 25


def test_what_goes_into_a_digest_is_what_was_collected(bo: Place) -> None:
    post(bo, "ana", WILDLIFE)
    with bo.app.database.reading() as session:
        number = members.get(session, "bo@customs.example").id
        (entry,) = collected.of(session, number)
        assert entry.list_id == mailing_list.get(session, "B").id
    with bo.app.database.transaction() as session:
        assert collected.settle(session, [entry.id], Delivery.SENT, "", bo.app.clock())
        assert not collected.settle(session, [entry.id], Delivery.SENT, "", bo.app.clock())


def test_the_hour_is_a_setting(place: Place) -> None:
    app = changed(place.app, "upkeep", digest_hour=22)
    at = datetime(2026, 3, 11, 21, 0, tzinfo=UTC)
    assert next_digest(DeliveryMode.DAILY, app, at) == at.replace(hour=22)
