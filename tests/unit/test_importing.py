"""An old list's archive comes in: threaded, dated, unverified, once; and what is read of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from gateway.app import App
from gateway.archive import importing, mbox
from gateway.archive.conversations import Conversations, without_replies
from gateway.archive.importing import Outcome
from gateway.archive.mbox import Span
from gateway.posting import evidence
from gateway.store import statistics
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.member import State
from gateway.store.outbox import OutboxEntry
from gateway.store.posting import Posting, Standing
from tests.gateway import CommandFailed
from tests.unit.group import Group
from tests.unit.visitor import browser

DAY = datetime(2009, 11, 17, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group({"ana": (), "bo": (), "ada": ("administrator",)}) as made:
        yield made


def old_mail(name: str, answers: str = "", **fields: str) -> bytes:
    """A mail of 2009. name: of its Message-ID, such as "root"."""
    given = {
        "From": "Kofi Mensah <kofi@old.example>",
        "Date": "Tue, 17 Nov 2009 12:00:00 +0000",
        "Subject": name,
        "Message-ID": "<" + "-".join(name.split()) + "@old.example>",
        **({"References": " ".join(f"<{one}@old.example>" for one in answers.split())}
           if answers else {}),
        **{field.replace("_", "-"): value for field, value in fields.items() if field != "text"},
    }  # fmt: skip
    head = "".join(f"{field}: {value}\n" for field, value in given.items() if value)
    return f"{head}\n{fields.get('text', f'The text of {name}.')}\n".encode()


def box(*mails: bytes) -> bytes:
    return b"".join(mbox.entry(one, "kofi@old.example", DAY) for one in mails)


def taken(group: Group, tmp_path: Path, data: bytes, *options: str, on: str = "B") -> Outcome:
    """Import a file; what the command says of it."""
    file = tmp_path / "old.mbox"
    file.write_bytes(data)
    said = group.gateway.environet("archive", "import", str(file), "--list", on, "--json", *options)
    told = json.loads(said)
    faults = [(one["position"], one["why"]) for one in told["faults"]]
    return Outcome(told["imported"], told["known"], told["failed"], faults)


def newest(group: Group, count: int) -> list[tuple[str, str, int, list[str]]]:
    """(label, subject, thread, subjects of what it answers) of the last postings."""
    app = group.app
    with app.database.reading() as session:
        query = select(Posting).where(Posting.withdrawn_at.is_(None)).order_by(Posting.id)
        rows = list(session.scalars(query))
        named = {one.token: evidence.fields(app.vault, one).subject for one in rows}
        return [
            (one.label, named[one.token], one.thread_id, [named[each] for each in one.ancestors])
            for one in rows[-count:]
        ]


def posting(app: App, label: str) -> Posting:
    with app.database.reading() as session:
        return session.get_one(Posting, int(label.partition("-")[2]))


def test_a_file_comes_in_threaded_and_in_the_order_of_its_dates(
    group: Group, tmp_path: Path
) -> None:
    """The answer stands before the question in the file, and says an earlier date."""
    done = taken(
        group,
        tmp_path,
        box(
            old_mail("answer", "root", Date="Mon, 16 Nov 2009 08:00:00 +0000"),
            old_mail("other", Date="Wed, 18 Nov 2009 08:00:00 +0000"),
            old_mail("root"),
            old_mail("second answer", "root answer", Date="Thu, 19 Nov 2009 08:00:00 +0100"),
        ),
    )
    assert (done.imported, done.known, done.failed) == (4, 0, 0)
    root, answer, other, second = newest(group, 4)
    assert [one[1] for one in (root, answer, other, second)] == [
        "root", "answer", "other", "second answer",
    ]  # fmt: skip
    assert (root[3], answer[3], second[3]) == ([], ["root"], ["root", "answer"])
    assert root[2] == answer[2] == second[2] != other[2]
    assert posting(group.app, second[0]).received_at == datetime(2009, 11, 19, 7, tzinfo=UTC)


def test_answers_to_a_mail_that_is_missing_are_one_thread(group: Group, tmp_path: Path) -> None:
    done = taken(group, tmp_path, box(old_mail("left", "ghost"), old_mail("right", "ghost")))
    assert done.imported == 2
    left, right = newest(group, 2)
    assert left[2] == right[2]
    # A second file, such as next year's, goes on with the thread.
    taken(group, tmp_path, box(old_mail("later", "ghost"), old_mail("latest", "right")))
    later, latest = newest(group, 2)
    assert later[2] == latest[2] == left[2]
    assert (later[3], latest[3]) == ([], ["right"])


def test_a_mail_is_taken_once(group: Group, tmp_path: Path) -> None:
    first = [old_mail("once"), old_mail("twice", "once")]
    assert taken(group, tmp_path, box(*first)).imported == 2
    again = taken(group, tmp_path, box(*first, old_mail("thrice", "twice")))
    assert (again.imported, again.known) == (1, 2)
    assert newest(group, 1)[0][3] == ["once", "twice"]
    other_list = taken(group, tmp_path, box(*first), on="A")
    assert (other_list.imported, other_list.known) == (2, 0)


def test_an_import_that_was_cut_off_is_run_again(group: Group, tmp_path: Path) -> None:
    names = [f"long-{number}" for number in range(450)]
    mails = [old_mail(one, names[at - 1] if at else "") for at, one in enumerate(names)]
    file = tmp_path / "long.mbox"
    file.write_bytes(box(*mails))
    told: list[int] = []

    class CutOff(Exception):
        """What a kill is to a process."""

    def progress(count: int) -> None:
        told.append(count)
        if len(told) == 2:
            raise CutOff

    found = importing.read(
        group.app, file, Outcome(), by_subject=False, progress=lambda count: None
    )
    with pytest.raises(CutOff):
        importing.keep(group.app, file, found, "B", Outcome(), progress)
    again = taken(group, tmp_path, file.read_bytes())
    assert (again.imported, again.known) == (50, 400)
    rows = newest(group, 450)
    assert len({one[2] for one in rows}) == 1
    assert rows[-1][3][-1] == "long-448"


def test_replies_by_subject_only_where_that_is_asked_for(group: Group, tmp_path: Path) -> None:
    mails = box(old_mail("a", Subject="[old] Ivory"), old_mail("b", Subject="Re: [old] ivory"))
    taken(group, tmp_path, mails)
    first, second = newest(group, 2)
    assert first[2] != second[2]
    taken(group, tmp_path, mails, "--by-subject", on="C")
    first, second = newest(group, 2)
    assert first[2] == second[2]
    assert second[3] == []  # whom it answers would be a guess


def test_nobody_is_credited_and_nothing_is_sent(group: Group, tmp_path: Path) -> None:
    group.deliver()
    ana = group.officers["ana"].address
    taken(group, tmp_path, box(old_mail("by ana", From=f"Ana Berg <{ana}>")))
    ((label, *_),) = newest(group, 1)
    with group.app.database.reading() as session:
        found = session.get_one(Posting, int(label.partition("-")[2]))
        assert found.author.address == "archive@environet.example"
        assert (found.standing, found.key_fingerprint) == (Standing.UNVERIFIED, "")
        assert session.get_one(ArchiveEntry, found.id)
        query = select(OutboxEntry).where(OutboxEntry.posting_id == found.id)
        assert session.scalars(query).all() == []
    assert group.deliver() == []
    assert group.ledger("imported")[-1] == {
        "list": "wildlife", "postings": 1, "first": label, "last": label, "by": "operator",
    }  # fmt: skip


def test_its_readers_see_that_it_is_unverified(group: Group, tmp_path: Path) -> None:
    taken(group, tmp_path, box(old_mail("pangolins", text="Three crates of scales.")))
    ((label, *_),) = newest(group, 1)
    group.deliver()
    got = group.ask("bo", f"get {label}")
    assert "Three crates of scales." in got.text
    assert "Author:    Kofi Mensah <kofi@old.example>" in got.text
    assert "Standing:  UNVERIFIED, from an imported archive" in got.text
    assert "Signature: none." in got.text
    assert "Signature: good" not in got.text
    with browser(group) as bo:
        bo.log_in("bo")
        page = bo.text(f"/{label.replace('-', '/')}")
        assert "UNVERIFIED" in page
        assert "Three crates of scales." in page
        original = bo.get(f"/{label.replace('-', '/')}/raw")
        assert original.content.startswith(b"From: Kofi Mensah")


def test_it_can_be_answered_and_withdrawn(group: Group, tmp_path: Path) -> None:
    taken(group, tmp_path, box(old_mail("question")))
    ((label, _, thread, _),) = newest(group, 1)
    there = posting(group.app, label)
    group.post("ana", in_reply_to=there.message_id("environet.example"))
    assert newest(group, 1)[0][2] == thread
    assert f"{label} is withdrawn." in group.say("ada", f"withdraw {label}")
    again = taken(group, tmp_path, box(old_mail("question")))
    assert (again.imported, again.known) == (0, 1)


@pytest.mark.parametrize(
    ("given", "date"),
    [
        ({"Date": "Tue, 17 Nov 2009 23:30:00 -0500"}, datetime(2009, 11, 18, 4, 30, tzinfo=UTC)),
        ({"Date": "17 Nov 2009 10:00"}, datetime(2009, 11, 17, 10, tzinfo=UTC)),
        ({"Date": "Thu, 1 Jan 1970 00:00:00 +0000"}, DAY),
        ({"Date": "Fri, 1 Jan 2999 00:00:00 +0000"}, DAY),
        ({"Date": "last Tuesday"}, DAY),
        ({"Date": "Mon, 99 Foo 20099999999 99:99:99 +9999"}, DAY),
        (
            {"Date": "", "Received": "from a by b; Sun, 15 Nov 2009 09:00:00 +0000"},
            datetime(2009, 11, 15, 9, tzinfo=UTC),
        ),
    ],
)
def test_an_odd_date_gives_way_to_a_better_one(
    group: Group, tmp_path: Path, given: dict[str, str], date: datetime
) -> None:
    taken(group, tmp_path, box(old_mail(f"dated {given}".replace(":", ""), **given)))
    ((label, *_),) = newest(group, 1)
    assert posting(group.app, label).received_at == date


def test_what_is_not_taken_is_named_by_its_position(group: Group, tmp_path: Path) -> None:
    done = taken(
        group,
        tmp_path,
        box(
            old_mail("good one"),
            old_mail("secret", Subject="TLP:RED informant"),
            old_mail("misspelt", Subject="TLP:PURPLE what"),
            old_mail("wide", X=("x " * 200_000)),
            old_mail("strict", text="TLP:AMBER+STRICT\n\nFor you alone."),
            old_mail("good two", text="TLP:GREEN\n\nFor all."),
        ),
    )
    assert (done.imported, done.failed) == (2, 4)
    assert [one[0] for one in sorted(done.faults)] == [2, 3, 4, 5]
    label = newest(group, 1)[0][0]
    assert posting(group.app, label).marking == "TLP:GREEN"
    assert "informant" not in json.dumps(done.faults)


def test_a_mail_that_breaks_mime_comes_in_as_text(group: Group, tmp_path: Path) -> None:
    broken = old_mail(
        "cut off",
        MIME_Version="1.0",
        Content_Type='multipart/mixed; boundary="b"',
        text="--b\nContent-Type: text/plain\n\nThe file ends he",
    )
    assert taken(group, tmp_path, box(broken)).imported == 1
    ((label, *_),) = newest(group, 1)
    with browser(group) as bo:
        bo.log_in("bo")
        assert "The file ends he" in bo.text(f"/{label.replace('-', '/')}")


def test_there_must_be_such_a_list(group: Group, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="there is no list 'Q'"):
        taken(group, tmp_path, box(old_mail("nowhere")), on="Q")
    with pytest.raises(CommandFailed, match="there is no list 'wildlife-owner'"):
        taken(group, tmp_path, box(old_mail("nowhere")), on="wildlife-owner")


def test_a_file_that_is_no_mbox_has_no_mails(group: Group, tmp_path: Path) -> None:
    for data in (b"", b"\n\n", b"Hello\n\nFrom here on it rained.\n", b"\x00\xff" * 5000):
        done = taken(group, tmp_path, data)
        assert (done.imported, done.failed) == (0, 0)


# The format


MAILS = st.lists(
    st.lists(
        st.sampled_from(
            [b"From here", b">From there", b"From a@b.example Tue Nov 17 12:00:00 2009", b"", b"x"]
        ),
        max_size=6,
    ).map(lambda lines: b"Subject: x\n\n" + b"\n".join([*lines, b"end"]) + b"\n"),
    min_size=1,
    max_size=4,
)


@given(MAILS)
def test_what_is_written_is_read_back(mails: list[bytes]) -> None:
    stream = BytesIO(box(*mails))
    found = list(mbox.spans(stream))
    assert [mbox.mail(stream, one) for one in found] == mails
    assert {one.moment for one in found} == {DAY}


def test_a_separator_within_a_long_line_is_none() -> None:
    """A line is read in pieces; who filled one with blanks could begin a mail in the next."""
    piece = " " * (1 << 16)
    text = f"One.\n{piece}From x@y.example Tue Nov 17 12:00:00 2009\nSubject: Two\n\nTwo.\n"
    data = b"From x@y.example Tue Nov 17 12:00:00 2009\n" + old_mail("x", text=text)
    assert len(list(mbox.spans(BytesIO(data)))) == 1


def test_what_is_imported_counts_in_no_statistics(group: Group, tmp_path: Path) -> None:
    now = group.app.clock()
    taken(group, tmp_path, box(old_mail("first")))

    def counted() -> tuple[Sequence[tuple[State, int]], object]:
        with group.app.database.reading() as session:
            return statistics.states(session), statistics.postings(session, now)

    before = counted()
    lately = f"{now - timedelta(days=3):%a, %d %b %Y %H:%M:%S +0000}"
    assert taken(group, tmp_path, box(old_mail("lately", Date=lately))).imported == 1
    assert counted() == before
    assert State.REMOVED not in dict(before[0])


def test_a_sentence_that_begins_with_from_ends_no_mail() -> None:
    text = "One.\n\nFrom here on it rained.\n\nFrom what I hear, on Tue Nov 17 2009 too.\n"
    data = b"From x@y.example Tue Nov 17 12:00:00 2009\n" + old_mail("x", text=text)
    assert len(list(mbox.spans(BytesIO(data)))) == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3)), max_size=12))
def test_all_mails_are_given_once_and_what_is_answered_before(
    mails: list[tuple[int, list[int]]],
) -> None:
    """Circles among them."""
    gathered = Conversations()
    for position, (number, answered) in enumerate(mails):
        gathered.add(
            Span(position, 0, 0, None), -position, str(number), [*map(str, answered)], None
        )
    given_ = [one.span.position for one in gathered.in_order()]
    assert sorted(given_) == list(range(len(mails)))


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Ivory", ("ivory", False)),
        ("Re: Ivory", ("ivory", True)),
        ("RE: [list] Fwd: AW:  Ivory  today", ("ivory today", True)),
        ("Re[2]: Ivory", ("ivory", True)),
        ("[list] Ivory", ("ivory", False)),
        ("Re:", ("", True)),
    ],
)
def test_replies_have_the_subject_of_what_they_answer(subject: str, base: tuple[str, bool]) -> None:
    assert without_replies(subject) == base
