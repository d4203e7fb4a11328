"""What `make fuzz` begins with, as it is and damaged, and what it once found, goes through each
target; the fuzzer itself is run by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

_NAMES = sorted(TARGETS)


@pytest.mark.parametrize("name", _NAMES)
def test_every_example_goes_through_its_target(name: str) -> None:
    examples = list(seeds.of(name))
    assert examples
    for example in examples:
        TARGETS[name](example)


@pytest.mark.parametrize("name", _NAMES)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_every_damaged_example_goes_through_its_target(name: str, data: st.DataObject) -> None:
    examples = seeds.ours()[name]
    example = bytearray(data.draw(st.sampled_from(examples)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(example)))
        length = data.draw(st.integers(0, 12))
        example[start : start + length] = data.draw(
            st.binary(max_size=6) | st.sampled_from(examples).map(lambda one: one[:300])
        )
    TARGETS[name](bytes(example))


@pytest.mark.parametrize("name", _NAMES)
def test_any_bytes_go_through_each_target(name: str) -> None:
    for example in (b"", b"\x00", b"\xff" * 1000, b"\r\n" * 500, b"--bound\r\n" * 200):
        TARGETS[name](example)
