"""Real mails of other projects lie outside of this one; ENVIRONET_CORPORA names the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path:
    folder = os.environ.get("ENVIRONET_CORPORA")
    if not folder:
        pytest.skip("ENVIRONET_CORPORA names no folder of real mails")
    return Path(folder)
