"""Fixtures that several files share; one of the same name in a file goes before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.store import ledger
from tests import programs
from tests.programs import KeyRequest, Program
from tests.unit import applicants


@pytest.fixture(scope="module")
def founded() -> Iterator[applicants.Place]:
    """A gateway with few members, for the tests of one file."""
    with applicants.founded() as made:
        yield made


@pytest.fixture
def place(founded: applicants.Place) -> Iterator[applicants.Place]:
    """The same without what the test before left; its ledger is sound afterwards."""
    yield founded
    founded.clear()
    with founded.app.database.reading() as session:
        assert ledger.verify(session).fault is None


@pytest.fixture(scope="module", params=["gpg", "sq", "rnp", "sequoia"])
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    """Each OpenPGP program in turn, with a key."""
    with TemporaryDirectory(prefix="program") as folder:
        try:
            one = programs.start(
                request.param, Path(folder), KeyRequest("Ana <ana@customs.example>")
            )
        except programs.ProgramMissing as error:
            pytest.skip(str(error))
        yield one
        one.close()
