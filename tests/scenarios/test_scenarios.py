"""Whole-server stories: each folder with a story.toml is one, told in README.md's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.officers import ProgramMissing
from tests.scenarios.cast import Cast
from tests.scenarios.runner import Play
from tests.scenarios.story import read

STORIES = sorted(path.parent for path in Path(__file__).parent.glob("*/story.toml"))


@pytest.mark.parametrize("folder", STORIES, ids=lambda folder: folder.name)
def test_story(folder: Path, cast: Cast) -> None:
    story = read(folder / "story.toml")
    assert story.last_delivers, "a story ends with a mail that goes through"
    try:
        play = Play(story, cast)
    except ProgramMissing as error:
        pytest.skip(str(error))
    try:
        peak = play.run()
    finally:
        play.close()
    print(f"{folder.name}: at most {peak >> 20} MiB in the server process")
