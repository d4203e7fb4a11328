"""Search over sealed postings: the same on both databases, and never more than one may read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from gateway.archive import examples, extraction, hits, indexing, searching
from gateway.archive.query import QueryFault
from gateway.archive.searching import Order
from gateway.message import entity
from gateway.store import archive_entry, mailing_list, member
from gateway.store.archive_entry import ArchiveEntry
from gateway.store.mailing_list import Invitation, Moderation
from gateway.store.posting import Posting
from tests.unit.group import Group
from tests.unit.searchers import found, group_on, index, pdf, pdf_of, results

FRENCH = (
    "Les douaniers ont saisi des défenses d'éléphants et du bois de rose dans un conteneur à "
    "Pointe-Noire. Les saisies ont été signalées aux autorités, qui enquêtent sur l'exportateur.\n"
)
SPANISH = (
    "La aduana decomisó colmillos de elefante en dos camiones. Las exportaciones salieron del país "
    "por carretera, con árboles talados y documentos falsos de la empresa exportadora.\n"
)
ENGLISH = (
    "We seized 84 raw elephant tusks behind the false bottom of container CSQU3054383, which was "
    "bound for Pointe-Noire. The seal was ML-KE0045127. Rosewood logs covered the bottom.\n"
)
CHINESE = "海关在港口查获一批象牙，货主来自内罗毕。\n"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    with group_on(request.param) as made:
        made.set_member("ben", languages="fr")
        made.set_member("carla", languages="es")
        made.post("ana", subject="Ivory seizures at Mombasa", text=ENGLISH)  # B-1
        made.post("ben", "logging", subject="Bois de rose", text=FRENCH)  # E-2
        made.post("carla", "waste", subject="Decomiso", text=SPANISH)
        made.post("ana", subject="象牙", text=CHINESE)  # B-4
        made.post(
            "ana", "general", subject="Papers", text="TLP:GREEN\n\nSee what is attached.\n",
            attachments=[
                ("manifest-Tanga.csv", "text/csv", b"item,weight\npangolin scales,120 kg\n"),
                ("report.pdf", "application/pdf", pdf("Rhinoceros horns were declared as resin")),
                ("page.html", "text/html", b"<p>Read the <b>shipping</b> note</p>"),
            ],
        )  # G-5  # fmt: skip
        made.post(
            "ben", subject="Container with ivory", text="An ivory carving, not more.\n"
        )  # B-6
        assert index(made) == 6
        yield made


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        # Stems, each in its posting's language.
        ("seizure", ["B-1"]),
        ("seized tusk", ["B-1"]),
        ("saisie", ["E-2"]),
        ("éléphant", ["E-2", "B-1"]),
        ("exportación", ["A-3", "E-2"]),
        ("camión árbol", ["A-3"]),
        # Accents, case and width make no difference.
        ("ELEPHANT defenses", ["E-2"]),
        ("arbol pais", ["A-3"]),
        ("ＩＶＯＲＹ", ["B-6", "B-1"]),
        # Next to each other.
        ('"false bottom"', ["B-1"]),
        ('"bottom false"', []),
        ("Pointe-Noire", ["E-2", "B-1"]),
        ('"pointe noire"', ["E-2", "B-1"]),
        ("noire-pointe", []),
        ('"d\'éléphants et du bois"', ["E-2"]),
        # A phrase ends where its field does: "Mombasa We seized".
        ('"at mombasa"', ["B-1"]),
        ('"mombasa we"', []),
        # Numbers as they stand on boxes and papers.
        ("CSQU3054383", ["B-1"]),
        ("ML-KE0045127", ["B-1"]),
        # Without blanks.
        ("象牙", ["B-4"]),
        ("港口 象牙", ["B-4"]),
        ("牙象", []),
        # One, the other, none.
        ("tusks OR colmillos", ["A-3", "B-1"]),
        ("pointe-noire NOT tusks", ["E-2"]),
        ("pointe-noire -tusks", ["E-2"]),
        ("(tusks OR saisie) pointe-noire", ["E-2", "B-1"]),
        ("-pointe-noire", ["B-6", "G-5", "B-4", "A-3"]),
        ("-(tusks OR topic:A) -from:ben", ["G-5", "B-4"]),
        ("marking:green OR colmillos", ["G-5", "A-3"]),
        ("-marking:amber", ["G-5"]),
        # Where.
        ("subject:ivory", ["B-6", "B-1"]),
        ("subject:tusks", []),
        ('subject:"ivory seizure"', ["B-1"]),
        ("filename:manifest", ["G-5"]),
        ("filename:pangolin", []),
        ("manifest", ["G-5"]),
        # What is attached.
        ("pangolin", ["G-5"]),
        ("rhinoceros horn", ["G-5"]),
        ('"shipping note"', ["G-5"]),
        ("has:attachment", ["G-5"]),
        # Particulars.
        ("from:ben", ["B-6", "E-2"]),
        ("from:BEN@customs.example ivory", ["B-6"]),
        ('from:"ben berg"', ["B-6", "E-2"]),
        ("from:customs.example topic:A", ["A-3"]),
        ("from:inspectorate topic:logging", ["E-2"]),
        ("from:ke topic:waste", ["A-3"]),
        ("from:berg -from:ana", ["B-6", "A-3", "E-2"]),
        ("from:en", []),
        ("from:nobody", []),
        ("topic:wildlife@environet.example", ["B-6", "B-4", "B-1"]),
        ("marking:tlp:green", ["G-5"]),
        ("thread:E-2", ["E-2"]),
        ("thread:B-99", []),
        ("date:2020", []),
        ("after:2020 before:9999-12-31 colmillo", ["A-3"]),
        ("date:..9999 colmillo", ["A-3"]),
        ("date:0001.. colmillo", ["A-3"]),
    ],
)  # fmt: skip
def test_a_query_finds(group: Group, query: str, labels: list[str]) -> None:
    assert found(group, "mo", query) == labels


def test_days_begin_at_midnight_utc(group: Group) -> None:
    day = datetime(2026, 3, 14, tzinfo=UTC)
    moments = {1: day - timedelta(microseconds=1), 2: day, 3: day + timedelta(hours=23, minutes=59)}
    with moved(group, moments):
        assert found(group, "mo", "date:2026-03-14") == ["A-3", "E-2"]
        assert found(group, "mo", "before:2026-03-14") == ["B-1"]
        assert found(group, "mo", "after:2026-03-14 before:2026-04") == ["A-3", "E-2"]
        assert found(group, "mo", "date:2026-02..2026-03-13 OR colmillos") == ["A-3", "B-1"]
        assert found(group, "mo", "-date:2026-03", Order.OLDEST)[:1] == ["B-4"]
        # In the order of their days, whatever their numbers.
        newest = ["B-6", "G-5", "B-4", "A-3", "E-2", "B-1"]
        assert found(group, "mo", "from:berg") == newest
        assert found(group, "mo", "from:berg", Order.OLDEST) == newest[::-1]


class moved:
    """Postings taken at other moments, for a while. moments: id -> when."""

    def __init__(self, group: Group, moments: dict[int, datetime]) -> None:
        self.group = group
        with group.app.database.reading() as session:
            query = select(Posting.id, Posting.received_at).where(Posting.id.in_(moments))
            self.before = {one.id: one.received_at for one in session.execute(query)}
        self.moments = moments

    def __enter__(self) -> None:
        self.move(self.moments)

    def __exit__(self, *_: object) -> None:
        self.move(self.before)

    def move(self, moments: dict[int, datetime]) -> None:
        with self.group.app.database.transaction() as session:
            for id_, at in moments.items():
                session.execute(update(Posting).where(Posting.id == id_).values(received_at=at))
        indexing.mark_all(self.group.app)
        index(self.group)


def test_relevance_puts_words_of_the_subject_first(group: Group) -> None:
    in_subject = group.post("carla", subject="Rhino horn", text="Nothing.\n")
    picture = ("rhino.bin", "application/octet-stream", b"\0")
    in_name = group.post("ben", subject="Two", text="-\n", attachments=[picture])
    in_text = group.post("ben", subject="Three", text="A rhino with a horn.\n")
    assert found(group, "mo", "rhino", Order.RELEVANCE) == [in_subject, in_name, in_text]
    assert found(group, "mo", "rhino") == [in_text, in_name, in_subject]
    withdraw(group, "ben", in_text, in_name)
    withdraw(group, "carla", in_subject)


def test_more_is_not_counted_than_is_said(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = results(group, "mo", "from:berg")
    assert (everything.count, everything.capped) == (6, False)
    monkeypatch.setattr(searching, "MOST_COUNTED", 3)
    some = results(group, "mo", "from:berg", order=Order.NEWEST)
    assert (some.count, some.capped, len(some.hits)) == (3, True, 3)
    # What fits best comes first, wherever it stands.
    assert found(group, "mo", "seizure OR from:berg", Order.RELEVANCE)[0] == "B-1"


def test_pages_follow_one_another(group: Group) -> None:
    first = results(group, "mo", "from:berg", order=Order.NEWEST, most=4)
    second = results(group, "mo", "from:berg", order=Order.NEWEST, most=4, page=2)
    beyond = results(group, "mo", "from:berg", order=Order.NEWEST, most=4, page=9)
    labels = [one.label for one in (*first.hits, *second.hits)]
    assert labels == ["B-6", "G-5", "B-4", "A-3", "E-2", "B-1"]
    assert beyond.hits == ()
    assert beyond.count == 6


def test_each_filter_finds_as_many_as_it_says(group: Group) -> None:
    asked = "from:berg OR ivory"
    found_all = results(group, "mo", asked)
    counted = {facet.kind.value: facet.choices for facet in found_all.facets}
    assert [(one.label, one.count) for one in counted["Topic"]] == [
        ("A Waste", 1), ("B Wildlife", 3), ("E Logging", 1), ("G General", 1),
    ]  # fmt: skip
    assert [(one.label, one.count) for one in counted["Author"]] == [
        ("Ana Berg", 3), ("Ben Berg", 2), ("Carla Berg", 1),
    ]  # fmt: skip
    assert [one.label for one in counted["Marking"]] == ["TLP:AMBER", "TLP:GREEN"]
    assert "Year" not in counted, "one year alone leaves nothing out"
    for choices in counted.values():
        for one in choices:
            assert results(group, "mo", one.query).count == one.count


def test_a_passage_shows_the_words_that_were_found(group: Group) -> None:
    (hit,) = results(group, "mo", "saisie elephant").hits
    marked = [one.text for one in hit.passage if one.marked]
    assert marked == ["saisi", "éléphants", "saisies"]
    assert "".join(one.text for one in hit.passage).startswith("Les douaniers ont saisi des")
    (hit,) = results(group, "mo", 'subject:seizure "raw elephant tusks"').hits
    assert [one.text for one in hit.subject if one.marked] == ["seizures"]
    assert [one.text for one in hit.passage if one.marked] == ["raw elephant tusks"]


def test_what_is_quoted_is_shown_only_where_nothing_else_fits(group: Group) -> None:
    said = "> We lost the walrus.\n\nNo walrus here.\n\n> A narwhal too.\n"
    label = group.post("ana", subject="Quoted", text=said)
    (hit,) = results(group, "mo", "walrus").hits
    assert "lost" not in "".join(one.text for one in hit.passage)
    (hit,) = results(group, "mo", "narwhal").hits
    assert [one.text for one in hit.passage if one.marked] == ["narwhal"]
    withdraw(group, "ana", label)


def test_a_downloads_ids_are_in_the_order_of_their_dates(group: Group) -> None:
    with group.app.database.reading() as session:
        reader = member.get(session, group.officers["mo"].address)
        ids = searching.found_ids(session, group.app, reader, "ivory OR saisie", 2)
        none = searching.found_ids(session, group.app, reader, " ", 2)
    assert ids == [2, 6]
    assert none == []


@pytest.mark.parametrize(
    ("query", "place", "offered"),
    [
        ('ivory "false bottom', 6, 'ivory "false bottom"'),
        ("(ivory", 0, "ivory"),
        ("ivory OR", 6, "ivory"),
        ("form:ana", 0, "from:ana"),
        ("has:atachment", 4, "has:attachment"),
        ("ivory date:2026-13", 11, "ivory"),
        ("topic:", 0, ""),
        ("…", 0, ""),
    ],
)
def test_a_query_that_is_wrong_says_where(
    group: Group, query: str, place: int, offered: str
) -> None:
    with pytest.raises(QueryFault) as caught:
        results(group, "ana", query)
    assert (caught.value.at, caught.value.suggestion) == (place, offered)


def test_every_example_of_the_help_finds_something(group: Group) -> None:
    labels = [
        group.post("ana", subject="Seizure", text="Ivory in containers with a false bottom.\n"),
        group.post("ana", subject="Rosewood", text="Ivory, rosewood, Pointe-Noire.\n",
                   attachments=[("manifest.csv", "text/csv", b"a,b\n")]),
    ]  # fmt: skip
    assert len(examples.EXAMPLES) == 10
    for query, _ in examples.EXAMPLES:
        assert found(group, "mo", query), query
    withdraw(group, "ana", *labels)


# What they may not read


def test_a_list_by_invitation_is_not_there_for_others(group: Group) -> None:
    group.set_list("fishing", by_invitation=True)
    with group.app.database.transaction() as session:
        coral = mailing_list.get(session, "fishing")
        for name in ("ana", "carla"):
            theirs = member.get(session, group.officers[name].address)
            session.add(Invitation(list_id=coral.id, member_id=theirs.id))
    label = group.post("ana", "fishing", subject="Coelacanth", text="A coelacanth, ivory too.\n")
    both = group.post("ana", "wildlife", "fishing", subject="Dugong", text="A dugong.\n")
    assert found(group, "carla", "coelacanth") == [label]
    assert [one.topics for one in results(group, "carla", "dugong").hits] == [
        ("Wildlife", "Fishing")
    ]
    for query in ("coelacanth", "subject:coelacanth", "ivory", "from:ana", "-nothing",
                  "coelacanth OR marking:amber", "-marking:green", f"thread:{label}"):  # fmt: skip
        seen = results(group, "ben", query)
        assert label not in [one.label for one in seen.hits], query
        assert "Fishing" not in str([facet.choices for facet in seen.facets])
        assert seen.count == len(seen.hits)
    (hit,) = results(group, "ben", "dugong").hits
    assert (hit.label, hit.topics) == (both, ("Wildlife",))
    for name in ("F", "fishing", "nowhere"):
        with pytest.raises(QueryFault) as caught:
            results(group, "ben", f"topic:{name}")
        assert "(fishing)" not in str(caught.value)
    assert found(group, "carla", "topic:F") == [both, label]
    withdraw(group, "ana", label, both)
    group.set_list("fishing", by_invitation=False)


def test_a_strict_marking_is_found_by_those_who_got_it(group: Group) -> None:
    group.say("carla", "tick off D")
    label = group.post("ana", "ozone", subject="Cylinders", text="TLP:AMBER+STRICT\n\nFreon.\n")
    group.deliver()
    assert found(group, "ben", "freon") == [label]
    assert found(group, "carla", "freon") == []
    assert results(group, "carla", "freon OR colmillo").count == 1
    withdraw(group, "ana", label)


def test_what_is_held_is_found_by_those_who_decide(group: Group) -> None:
    group.set_list("wildlife", moderation=Moderation.ALL)
    label = group.post("ana", subject="Held back", text="A quagga.\n")
    group.set_list("wildlife", moderation=Moderation.OPEN)
    assert found(group, "mo", "quagga") == []
    assert found(group, "ben", "quagga") == found(group, "ben", "quagga is:held") == []
    assert found(group, "ana", "quagga") == [label], "one's own"
    assert found(group, "ana", "is:held") == []
    for who in ("mo", "ada"):
        (hit,) = results(group, who, "is:held topic:B").hits
        assert (hit.label, hit.path) == (label, f"/held/{hit.hold}")
        assert hit.hold.startswith("H-")
    assert found(group, "mo", "is:held topic:E") == []
    for query in ("-is:held", "ivory OR is:held", "(quagga OR (is:held ivory))"):
        with pytest.raises(QueryFault):
            results(group, "mo", query)
    withdraw(group, "ana", label)
    assert found(group, "mo", "is:held") == []


def test_nobody_who_is_suspended_finds_anything(group: Group) -> None:
    group.set_member("carla", state=member.State.SUSPENDED)
    assert results(group, "carla", "from:berg").count == 0
    group.set_member("carla", state=member.State.ACTIVE)


# What is gone, and what waits


def withdraw(group: Group, who: str, *labels: str) -> None:
    group.say(who, *(f"withdraw {one}" for one in labels))
    index(group)


def entry_of(group: Group, label: str) -> ArchiveEntry:
    with group.app.database.reading() as session:
        return session.get_one(ArchiveEntry, int(label.partition("-")[2]))


def count_in_index(group: Group) -> int:
    with group.app.database.reading() as session:
        return session.scalar(text("SELECT count(*) FROM posting_index")) or 0


def test_what_is_withdrawn_is_gone_at_once(group: Group) -> None:
    label = group.post("ana", subject="Thylacine", text="A thylacine.\n")
    assert found(group, "mo", "thylacine") == [label]
    before = count_in_index(group)
    group.say("ana", f"withdraw {label}")
    assert count_in_index(group) == before - 1
    assert entry_of(group, label).place is None
    assert entry_of(group, label).indexed_at is None, "what is left in its pages is to be rewritten"
    assert index(group) == 1
    assert entry_of(group, label).indexed_at is not None
    assert found(group, "mo", "thylacine") == []


def test_a_posting_withdrawn_while_it_is_read_is_not_put_in(group: Group) -> None:
    label = group.post("ana", subject="Aurochs", text="An aurochs.\n")
    made = indexing._made(group.app, int(label.partition("-")[2]))
    assert made.terms
    group.say("ana", f"withdraw {label}")
    with group.app.database.transaction() as session:
        assert not indexing._keep(session, group.app, made)
    assert index(group) == 1
    assert found(group, "mo", "aurochs") == []


def test_two_indexers_at_once_do_no_harm(group: Group) -> None:
    label = group.post("ana", subject="Moa", text="A moa.\n")
    made = [indexing._made(group.app, int(label.partition("-")[2])) for _ in range(2)]
    kept = []
    for one in made:
        with group.app.database.transaction() as session:
            kept.append(indexing._keep(session, group.app, one))
    assert kept == [True, False]
    assert found(group, "mo", "moa") == [label]
    withdraw(group, "ana", label)


@pytest.mark.parametrize("at", [0, -1])
def test_a_damaged_posting_is_named_and_stops_no_other(
    group: Group, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    damaged = group.post("ana", subject="Dodo", text="A dodo.\n")
    good = group.post("ana", subject="Great auk", text="An auk.\n")
    number = int(damaged.partition("-")[2])
    with group.app.database.transaction() as session:
        row = session.get_one(Posting, number)
        values = bytearray(row.submission)
        values[at] ^= 1
        row.submission = bytes(values)
    assert found(group, "mo", "auk") == [good]
    assert found(group, "mo", "dodo") == []
    assert f"posting {number} is indexed without its words" in caplog.text
    assert "odo" not in caplog.text
    assert entry_of(group, damaged).indexed_at is not None
    # It is there, by what is known of it.
    (hit,) = [one for one in results(group, "mo", "from:ana topic:B").hits if one.label == damaged]
    assert hit.passage == ()
    withdraw(group, "ana", damaged, good)


def test_reindexing_finds_again_what_was_lost(group: Group) -> None:
    with group.app.database.transaction() as session:
        session.execute(text("DELETE FROM posting_index WHERE 1 = 1"))
    assert found(group, "mo", "tusks") == []
    total = indexing.mark_all(group.app)
    assert indexing.due_count(group.app) == total
    assert found(group, "mo", "tusks OR colmillo") == ["A-3", "B-1"]
    assert indexing.due_count(group.app) == 0


def test_the_languages_of_the_index_are_those_of_its_postings(group: Group) -> None:
    with group.app.database.reading() as session:
        assert set(archive_entry.languages(session)) >= {"en", "es", "fr"}
    assert [entry_of(group, one).language for one in ("B-1", "E-2", "A-3", "B-4")] == [
        "en", "fr", "es", "",
    ]  # fmt: skip


# What would cost too much


def test_a_page_looks_through_so_much_text_and_no_more(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 200 * "Nothing of note. " + "Then a pangolinesque end.\n"
    for _ in range(3):
        group.post("ana", text=text, subject="At length")

    def marked() -> list[bool]:
        shown = results(group, "ana", "pangolinesque").hits
        return [any(piece.marked for piece in one.passage) for one in shown]

    assert marked() == [True, True, True]
    monkeypatch.setattr(hits, "MOST_CHARACTERS", 2 * len(text))
    monkeypatch.setattr(hits, "FEW_CHARACTERS", 100)
    assert marked() == [True, True, False]


def loop() -> bytes:
    """A page tree that is its own child."""
    return pdf_of(b"", kids="[2 0 R 2 0 R]")


def bomb() -> bytes:
    """A page of 600 MB in less than one."""
    return pdf_of(b"(" + bytes(600 << 20) + b") Tj")


@pytest.mark.parametrize("made", [loop, bomb, lambda: b"%PDF-1.7\n" + b"x" * 1000])
def test_a_hostile_pdf_costs_its_words_alone(made: object) -> None:
    assert callable(made)
    mail = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n" + made()
    begun = time.monotonic()
    assert extraction._of_pdf(entity.read(mail)).strip() == ""
    assert time.monotonic() - begun < 60
