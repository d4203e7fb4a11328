"""The blind index: both databases find the same, and what is removed is not even in their pages."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select, text

from gateway.crypto.vault import Vault
from gateway.store import search_index
from gateway.store.database import Database
from gateway.store.posting import Posting
from gateway.store.search_index import (
    GAP,
    MOST_OF_ONE,
    MOST_PLACES,
    POSTINGS,
    AllOf,
    AnyOf,
    Match,
    Phrase,
    Without,
)
from tests import postgresql

VAULT = Vault({1: b"k" * 32})
WORDS = [VAULT.short_hash("search", f"word {number}") for number in range(12)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    state = tmp_path_factory.mktemp("state")
    if request.param == "sqlite":
        yield from migrated("sqlite:///index.sqlite", state)
    else:
        with postgresql.running_server() as server:
            yield from migrated(server.database("blind"), state)


def migrated(url: str, state: Path) -> Iterator[Database]:
    made = Database(url, state)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def documents(database: Database) -> Mapping[int, Sequence[str]]:
    """Key -> its terms, two hundred of them in the index."""
    chance = random.Random(4)
    made = {
        1 + number * 7_000_000_000: [
            chance.choice([*WORDS, GAP]) for _ in range(chance.randint(1, 12))
        ]
        for number in range(200)
    }
    with database.transaction() as session:
        session.execute(text(f"DELETE FROM {POSTINGS}"))
        for key, terms in made.items():
            search_index.replace(session, POSTINGS, key, terms)
    return made


def meant(match: Match, terms: Sequence[str]) -> bool:
    """What a match says, without any database."""
    match match:
        case Phrase(wanted):
            return any(
                tuple(terms[at : at + len(wanted)]) == wanted for at in range(len(terms))
            )  # fmt: skip
        case AllOf(parts):
            return all(meant(one, terms) for one in parts)
        case AnyOf(parts):
            return any(meant(one, terms) for one in parts)
        case Without(part, but):
            return meant(part, terms) and not meant(but, terms)


def some_match(chance: random.Random, depth: int) -> Match:
    kind = chance.choice(["phrase", "all", "any", "without"]) if depth else "phrase"
    if kind == "phrase":
        return Phrase(tuple(chance.choices(WORDS, k=chance.choice([1, 1, 2, 3]))))
    if kind == "without":
        return Without(some_match(chance, depth - 1), some_match(chance, depth - 1))
    parts = tuple(some_match(chance, depth - 1) for _ in range(chance.randint(2, 3)))
    return AllOf(parts) if kind == "all" else AnyOf(parts)


def test_every_match_finds_what_it_says(
    database: Database, documents: Mapping[int, Sequence[str]]
) -> None:
    chance = random.Random(7)
    found_any = 0
    with database.reading() as session:
        for _ in range(300):
            match = some_match(chance, 3)
            right = [key for key, terms in documents.items() if meant(match, terms)]
            found = search_index.keys(session, POSTINGS, match, 1000, descending=False)
            assert found == right, match
            found_any += bool(found)
    assert found_any > 100


def test_keys_come_from_either_end_between_bounds(
    database: Database, documents: Mapping[int, Sequence[str]]
) -> None:
    word = Phrase((WORDS[0],))
    right = [key for key, terms in documents.items() if meant(word, terms)]
    with database.reading() as session:
        newest = search_index.keys(session, POSTINGS, word, 3)
        older = search_index.keys(session, POSTINGS, word, 3, below=newest[-1])
        between = search_index.keys(
            session, POSTINGS, word, 3, above=right[4], below=right[9], descending=False
        )
    assert newest + older == right[::-1][:6]
    assert between == right[5:8]


def test_thousands_of_ids_go_along_at_once(database: Database) -> None:
    with database.reading() as session:
        among = search_index.among(session, Posting.id, range(50_000))
        assert session.scalars(select(Posting.id).where(among)).all() == []


def test_what_is_replaced_is_found_by_the_new_alone(database: Database) -> None:
    old, new = Phrase((WORDS[1],)), Phrase((WORDS[2],))
    with database.transaction() as session:
        session.execute(text(f"DELETE FROM {POSTINGS}"))
        search_index.replace(session, POSTINGS, 5, [WORDS[1]])
        search_index.replace(session, POSTINGS, 5, [WORDS[2]])
        assert search_index.keys(session, POSTINGS, old, 9) == []
        assert search_index.keys(session, POSTINGS, new, 9) == [5]


def test_what_is_removed_is_not_in_the_pages_either(
    tmp_path: Path,
) -> None:
    """FTS5 alone would leave it there, beside a note that it is gone."""
    database = Database("sqlite:///pages.sqlite", tmp_path)
    database.migrate()
    file = tmp_path / "pages.sqlite"
    secret = VAULT.short_hash("search", "a word of one posting alone")
    # A term's first letters may stand with the term before it.
    rest = secret[3:].encode()
    for key in range(1, 40):
        with database.transaction() as session:
            terms = [secret] if key == 20 else [VAULT.short_hash("search", f"{key}")]
            search_index.replace(session, POSTINGS, key, [*terms, WORDS[3]])
    assert rest in pages(database, file)
    with database.transaction() as session:
        search_index.remove(session, POSTINGS, 20)
    assert rest in pages(database, file), "then there is nothing to purge"
    steps = 0
    left = True
    while left:
        with database.transaction() as session:
            left = search_index.purge(session, POSTINGS)
        steps += 1
    assert rest not in pages(database, file)
    assert steps < 10
    with database.reading() as session:
        assert len(search_index.keys(session, POSTINGS, Phrase((WORDS[3],)), 99)) == 38
    database.close()


def pages(database: Database, file: Path) -> bytes:
    """The database's file, with all that its log had."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    return file.read_bytes()


def test_both_databases_are_given_what_both_keep() -> None:
    bounded = search_index.bounded([WORDS[0]] * 1000 + [WORDS[1]] * 2)
    assert bounded.count(WORDS[0]) == MOST_OF_ONE
    assert bounded[1000:] == [WORDS[1]] * 2
    assert len(search_index.bounded(str(one) for one in range(40_000))) == MOST_PLACES


def test_a_long_text_is_found_at_its_end_and_no_further(database: Database) -> None:
    terms = search_index.bounded([WORDS[0], *(WORDS[1] for _ in range(20_000)), WORDS[2]])
    near = search_index.bounded([*(f"w{one}" for one in range(MOST_PLACES - 2)), *WORDS[4:8]])
    with database.transaction() as session:
        session.execute(text(f"DELETE FROM {POSTINGS}"))
        search_index.replace(session, POSTINGS, 1, terms)
        search_index.replace(session, POSTINGS, 2, near)
        for words, found in (
            (WORDS[0:1], [1]), (WORDS[2:3], []), (WORDS[4:6], [2]), (WORDS[6:7], []),
        ):  # fmt: skip
            assert search_index.keys(session, POSTINGS, Phrase(tuple(words)), 9) == found
