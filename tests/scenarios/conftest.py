"""One cast for all stories: keys and founded gateways are made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.cast import Cast


@pytest.fixture(scope="session")
def cast() -> Iterator[Cast]:
    made = Cast()
    yield made
    made.close()
