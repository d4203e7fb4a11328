"""Documents in the search index and in lists of them, the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from gateway.archive import query
from gateway.archive.query import QueryFault
from gateway.library import documents, indexing, searching
from gateway.library.documents import Chosen
from gateway.message.thread import plain
from gateway.store import member
from gateway.store.library import Category
from gateway.upkeep.rounds import INDEXING, run_due
from tests.unit.group import Group
from tests.unit.searchers import group_on

ROLES = {"ana": (), "bo": (), "cy": (), "lia": ("librarian",)}
NOTE = [("notes.txt", "text/plain", b"The plywood came from Douala.\n")]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    """L-1 for all, with a second version; L-2 of Wildlife and TLP:AMBER, which Cy ticked off; L-3
    of a list to which Ana and Lia are invited, and of General; L-4 an alert in French."""
    with group_on(request.param, ROLES) as made:
        made.add_coral("ana", "lia")
        made.tick_off("cy", "wildlife")
        until = f"until: {made.app.clock():%Y}-12-31\n"
        hand_in(made, "title: Tusks, first edition\ncategory: manual\nlanguage: en\n")
        hand_in(made, "replaces: L-1\ntitle: Tusks, second edition\n\nWeighing of ivory.\n")
        hand_in(made, "TLP:AMBER\ntitle: Scales\ncategory: manual\nlanguage: en\ntopics: B\n")
        hand_in(made, "title: Reefs\ncategory: training\nlanguage: es\ntopics: OPC, G\n")
        hand_in(made, f"title: Faux permis\ncategory: alert\nlanguage: fr\ntopics: G\n{until}")
        while run_due(made.app, INDEXING)["library-index"]:
            pass
        yield made


def hand_in(group: Group, form: str) -> str:
    label = group.hand_in("ana", form, NOTE)
    assert "is approved" in group.say("lia", f"approve {label}")
    return label


def found(group: Group, who: str, typed: str) -> str:
    """The labels of what somebody finds, the newest first."""
    with group.app.database.reading() as session:
        reader = member.get(session, group.officers[who].address)
        made = searching.found(session, group.app, reader, query.parse(typed), 10)
        assert made.count == len(made.listed)
        return " ".join(one.version.label for one in made.listed)


@pytest.mark.parametrize(
    ("typed", "labels"),
    [
        ("tusk", "L-1/2"),
        ("first", ""),
        ("ivory", "L-1/2"),
        ('"weighing of ivory"', "L-1/2"),
        ('"ivory weighing"', ""),
        ("permis", "L-4"),
        ("PERMI", "L-4"),
        ("plywood", "L-4 L-3 L-2 L-1/2"),
        ("filename:notes", "L-4 L-3 L-2 L-1/2"),
        ("subject:plywood", ""),
        ("plywood NOT tusks", "L-4 L-3 L-2"),
        ("plywood topic:B", "L-2"),
        ("topic:G", "L-4 L-3"),
        ("marking:amber", "L-2"),
        ("tusks OR scales", "L-2 L-1/2"),
        ("from:ana has:attachment", "L-4 L-3 L-2 L-1/2"),
        ("from:bo", ""),
        ("plywood before:2020", ""),
        ("plywood after:2020", "L-4 L-3 L-2 L-1/2"),
        ("plywood thread:B-1", ""),
        ("", ""),
    ],
)
def test_documents_are_found_by_what_they_say(group: Group, typed: str, labels: str) -> None:
    assert found(group, "ana", typed) == labels


def test_what_a_member_may_not_read_is_not_found(group: Group) -> None:
    assert found(group, "cy", "plywood") == "L-4 L-3 L-1/2"
    assert found(group, "bo", "plywood") == "L-4 L-3 L-2 L-1/2"
    with pytest.raises(QueryFault, match="there is no list 'OPC'"):
        found(group, "bo", "topic:OPC")
    assert found(group, "ana", "topic:OPC") == "L-3"


def test_the_words_that_were_found_are_marked(group: Group) -> None:
    with group.app.database.reading() as session:
        bo = member.get(session, group.officers["bo"].address)
        (one,) = searching.found(session, group.app, bo, query.parse("tusk ivory"), 10).listed
    assert [piece.text for piece in (*one.title, *one.passage) if piece.marked] == [
        "Tusks", "ivory",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("who", "chosen", "labels"),
    [
        ("ana", Chosen(), "L-4 L-3 L-2 L-1/2"),
        ("cy", Chosen(), "L-4 L-3 L-1/2"),
        ("ana", Chosen(category=Category.MANUAL), "L-2 L-1/2"),
        ("cy", Chosen(category=Category.MANUAL), "L-1/2"),
        ("ana", Chosen(language="es"), "L-3"),
        ("ana", Chosen(category=Category.MANUAL, language="fr"), ""),
    ],
)
def test_documents_are_browsed(group: Group, who: str, chosen: Chosen, labels: str) -> None:
    with group.app.database.reading() as session:
        reader = member.get(session, group.officers[who].address)
        listed = documents.listed(session, reader, chosen, 10)
        assert " ".join(one.label for one in listed) == labels
        assert documents.counts(session, reader, chosen).total == len(listed)
        pages = documents.listed(session, reader, chosen, 1)
        while pages and (more := documents.listed(session, reader, chosen, 1, pages[-1].id)):
            pages += more
        assert pages == listed


def test_each_value_says_how_many_there_are_behind_it(group: Group) -> None:
    with group.app.database.reading() as session:
        bo = member.get(session, group.officers["bo"].address)
        counts = documents.counts(session, bo, Chosen())
        assert [(str(one), count) for one, count in counts.categories] == [
            ("training", 1), ("manual", 2), ("alert", 1),
        ]  # fmt: skip
        assert [(one.letter, count) for one, count in counts.topics] == [("B", 1), ("G", 2)]
        assert counts.languages == (("en", 2), ("es", 1), ("fr", 1))
        manuals = documents.counts(session, bo, Chosen(category=Category.MANUAL))
        assert [count for _, count in manuals.categories] == [1, 2, 1]
        assert manuals.languages == (("en", 2),)
        assert [one.label for one in documents.alerts(session, bo, group.app.clock())] == ["L-4"]


def test_what_is_withdrawn_leaves_nothing_in_the_index(group: Group) -> None:
    label = hand_in(group, "title: Quagga\ncategory: background\nlanguage: en\n")
    indexing.run(group.app)
    assert found(group, "bo", "quagga") == label
    before = rows(group)
    group.say("lia", f"withdraw {label}")
    assert found(group, "bo", "quagga") == ""
    assert rows(group) == before - 1
    assert indexing.run(group.app) == 1
    assert indexing.run(group.app) == 0


def test_the_index_is_built_anew(group: Group) -> None:
    said = group.gateway.environet("archive", "reindex")
    assert "documents are indexed" in plain(said)
    assert found(group, "ana", "plywood") == "L-4 L-3 L-2 L-1/2"


def rows(group: Group) -> int:
    with group.app.database.reading() as session:
        return session.scalar(text("SELECT count(*) FROM document_index")) or 0
