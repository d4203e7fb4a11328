"""The points are those of the document: each of its steps has one, and each is in the code."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import isfunction
from pathlib import Path

import pytest

from tests.faults.points import POINTS, UPKEEP, Point

FLOW = (Path(__file__).parents[2] / "docs/mail-flow.md").read_text()
STEPS = {
    int(number): text
    for number, text in re.findall(
        r"^(\d+)\. \*\*\w+\.\*\*(.*?)(?=^\d+\. \*\*|^## |^\S)", FLOW, re.MULTILINE | re.DOTALL
    )
}


def test_the_document_has_its_thirteen_steps() -> None:
    assert sorted(STEPS) == list(range(1, 14))


def test_each_step_of_a_mail_has_a_point_and_the_upkeep_too() -> None:
    assert {point.step for point in POINTS} == {UPKEEP, *STEPS}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.label)
def test_a_point_is_a_function_of_the_gateway(point: Point) -> None:
    module, _, name = point.target.partition(":")
    found: object = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert isfunction(found)


@pytest.mark.parametrize(
    "point", [point for point in POINTS if point.step != UPKEEP], ids=lambda point: point.label
)
def test_a_point_is_in_a_file_that_its_step_names(point: Point) -> None:
    file = point.target.partition(":")[0].replace(".", "/") + ".py"
    assert f"`{file}`" in STEPS[point.step]
