"""Logging in to the web archive: the mail, the link, the button, and what ends a session."""

from collections.abc import Iterator

import pytest

from tests.unit.group import Group
from tests.unit.visitor import browser


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group({"ana": (), "bo": ()}) as made:
        yield made


def test_a_member_logs_in_with_the_link_of_a_mail(group: Group) -> None:
    with browser(group) as ana:
        assert ana.get("/").headers["location"] == "/login"
        ana.log_in("ana")
        assert "Wildlife" in ana.text("/")
