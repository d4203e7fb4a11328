"""What all tests share."""

from __future__ import annotations

import pytest


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Octets of a key that was made for the test don't name it: each process makes another."""
    return argname if isinstance(val, bytes) else None
