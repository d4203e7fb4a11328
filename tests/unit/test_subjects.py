"""An answer whose program knew no subject but "..." is called after what it answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import thread
from tests.unit.group import Got, Group

BARE = "Re: [Wildlife] ..."


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group({"ana": (), "bo": (), "cy": ()}) as made:
        yield made


def test_an_answer_to_a_placeholder_has_the_name_of_what_it_answers(group: Group) -> None:
    first = begun(group)
    (second,) = answer(group, first)
    assert second.subject == "[Wildlife] Re: Ivory (Ana Berg, KE)"
    assert "Subject:   Re: Ivory   (not signed)" in second.text
    (third,) = answer(group, second, "AW: ...")
    assert third.subject == "[Wildlife] Re: Ivory (Ana Berg, KE)"
    references = str(third.reading.entity["References"]).split()
    assert references == [first.message_id, second.message_id]


def test_on_another_list_it_has_not(group: Group) -> None:
    group.say("cy", "tick off B")
    first = begun(group)
    group.post("ana", "wildlife", "waste", subject=BARE, in_reply_to=first.message_id)
    assert {one.to: one.subject for one in group.deliver()} == {
        "ana": "[Wildlife] Re: Ivory (Ana Berg, KE)",
        "bo": "[Wildlife] Re: Ivory (Ana Berg, KE)",
        "cy": "[Waste] Re: ... (Ana Berg, KE)",
    }


def test_what_was_withdrawn_is_named_no_more(group: Group) -> None:
    label = group.post("ana", subject="Ivory")
    (first,) = to_bo(group)
    (second,) = answer(group, first)
    assert "is withdrawn" in group.say("ana", f"withdraw {label}")
    (third,) = answer(group, second)
    assert third.subject == "[Wildlife] Re: ... (Ana Berg, KE)"


def test_what_not_every_reader_may_know_of_is_not_named(group: Group) -> None:
    group.deliver()
    group.post("ana", subject="Ivory", text="TLP:AMBER+STRICT\n\nTwo tons.\n")
    (first,) = to_bo(group)
    (second,) = answer(group, first)
    assert second.subject == "[Wildlife] Re: ... (Ana Berg, KE)"


def test_what_its_author_called_it_stands(group: Group) -> None:
    first = begun(group)
    for subject in ("Re: Ivory ...", "Help:", "Ivory: ..."):
        (second,) = answer(group, first, subject)
        assert second.subject == f"[Wildlife] {subject} (Ana Berg, KE)"
    group.post("ana", subject="...")
    (alone,) = to_bo(group)
    assert alone.subject == "[Wildlife] ... (Ana Berg, KE)"


@given(st.text())
def test_an_answers_subject_is_one_of_its_answers_too(subject: str) -> None:
    assert thread.answer_to("Ivory: two tons") == "Re: Ivory: two tons"
    made = thread.answer_to(subject)
    assert thread.answer_to(made) == made
    assert made.endswith(subject)


def begun(group: Group) -> Got:
    group.deliver()
    group.post("ana", subject="Ivory")
    (copy,) = to_bo(group)
    return copy


def answer(group: Group, copy: Got, subject: str = BARE) -> list[Got]:
    group.post("ana", subject=subject, in_reply_to=copy.message_id)
    return to_bo(group)


def to_bo(group: Group) -> list[Got]:
    return [one for one in group.deliver() if one.to == "bo" and one.kind != "notice"]
