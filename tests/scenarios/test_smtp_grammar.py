"""A running gateway among clients that hold to no grammar: `make fuzz` has as many as there is time
for, and here are the same few hundred each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from gateway.store.hold import Hold
from gateway.store.outbox import OutboxEntry
from gateway.store.posting import Posting
from tests.fuzz import dialogue
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
_DIALOGUES = 300
_MOST_GROWTH = 64 * 2**20


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(short_place("grammar")) as gateway:
        gateway.found()
        yield gateway


def test_no_dialogue_gets_a_wrong_reply_or_leaves_anything_behind(gateway: RunningGateway) -> None:
    with Officer.create("sequoia", "Ana Lind", "ana@customs.example") as ana:
        gateway.add_member(ana, organisation="Revenue Authority", country="KE")
        gateway.start()
        address = ("127.0.0.1", gateway.port)
        memory = gateway.peak_memory()
        for number in range(_DIALOGUES):
            one = dialogue.made(number)
            assert (number, dialogue.faults(one, dialogue.held(address, one))) == (number, [])
        assert gateway.peak_memory() - memory < _MOST_GROWTH
        with gateway.reading() as session:
            for table in (Posting, Hold, OutboxEntry):
                assert session.scalar(select(func.count()).select_from(table)) == 0
        log = gateway.log_text
        assert "Traceback" not in log
        assert dialogue.WORD.decode().lower() not in log.lower()
        mail = ana.write(to=[LIST], subject="Ivory", text="Two containers.",
                         certificates=[gateway.certificate(LIST)])  # fmt: skip
        assert gateway.send(mail, ana.address, [LIST])[0] == 250
