"""Who answered whom: a thread's postings as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

MOST_DEPTH = 12
"""Levels of a tree; answers further down stand beside what they answer."""


class Answering(Protocol):
    """token: a posting's; ancestors: the tokens of what it answers, the nearest last."""

    @property
    def token(self) -> str: ...

    @property
    def ancestors(self) -> tuple[str, ...]: ...


_One = TypeVar("_One", bound=Answering)


@dataclass(frozen=True, slots=True)
class Node(Generic[_One]):
    """A posting and the answers to it, in their order."""

    one: _One
    answers: tuple[Node[_One], ...]


def tree(postings: Sequence[_One]) -> tuple[Node[_One], ...]:
    """Each posting under the nearest of its ancestors that stands before it; what has none there is
    a root. So whatever is missing, or not the reader's to see, leaves no gap."""
    place = {one.token: index for index, one in enumerate(postings)}
    depth: list[int] = []
    under: dict[int | None, list[int]] = {}
    parents: list[int | None] = []
    for index, one in enumerate(postings):
        before = (place.get(token, index) for token in reversed(one.ancestors))
        parent = next((found for found in before if found < index), None)
        if parent is not None and depth[parent] == MOST_DEPTH - 1:
            parent = parents[parent]
        depth.append(0 if parent is None else depth[parent] + 1)
        parents.append(parent)
        under.setdefault(parent, []).append(index)

    def grown(parent: int | None) -> tuple[Node[_One], ...]:
        return tuple(Node(postings[one], grown(one)) for one in under.get(parent, ()))

    return grown(None)
