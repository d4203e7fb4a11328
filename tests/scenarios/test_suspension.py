"""Suspension in the middle of a fan-out: within a second, copies not yet sent are not sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope

from gateway.store import member
from gateway.store.member import State
from tests.gateway import DOMAIN, RunningGateway, Sink, short_place
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
MEMBERS = 24
SECONDS_A_COPY = 1.5
"""Longer than a suspension may take, so that what is on its way to a connection counts too."""


class SlowSink(Sink):
    """A mail server that takes its time for each copy, and notes when the content began to come."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[tuple[float, str]] = []

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:
        # The content is small: it came at once.
        self.begun.append((time.monotonic(), str(envelope.rcpt_tos[0])))
        await asyncio.sleep(SECONDS_A_COPY)
        return await super().handle_DATA(server, session, envelope)


@dataclass(frozen=True)
class Fanout:
    gateway: RunningGateway
    sink: SlowSink
    officers: Mapping[str, Officer]


@pytest.fixture
def fanout() -> Iterator[Fanout]:
    """A server that is up, and members, of whom the first one writes."""
    sink = SlowSink()
    officers = {
        one.address: one
        for one in (
            Officer.create("sequoia", f"Officer {number}", f"o{number}@customs.example")
            for number in range(MEMBERS)
        )
    }
    handoff = f"smtp://127.0.0.1:{sink.port}"
    with RunningGateway(short_place("suspend"), settings={"handoff.to": handoff}) as gateway:
        gateway.found()
        folder = gateway.place / "certificates"
        folder.mkdir()
        for one in officers.values():
            (folder / one.address).write_bytes(one.certificate)
        gateway.import_members(
            [
                {"address": one.address, "name": one.name, "organisation": "Customs",
                 "country": "KE", "kind": "customs", "certificate": one.address}
                for one in officers.values()
            ],
            folder,
        )  # fmt: skip
        yield Fanout(gateway, sink, officers)
    sink.close()
    for one in officers.values():
        one.close()


def test_within_a_second_copies_not_yet_sent_are_not_sent(fanout: Fanout) -> None:
    gateway, sink = fanout.gateway, fanout.sink
    gateway.start()
    ana = fanout.officers["o0@customs.example"]
    mail = ana.write(
        to=[LIST], certificates=[gateway.certificate(LIST)], subject="Ivory", text="84 tusks.\n"
    )
    assert gateway.send(mail, ana.address, [LIST])[0] == 250
    while len(sink.begun) < 2:
        time.sleep(0.01)
    with gateway.writing() as session:
        for address in fanout.officers:
            if address != ana.address:
                member.get(session, address).state = State.SUSPENDED
    suspended_at = time.monotonic()
    gateway.wait_until_delivered()
    late = [one for at, one in sink.begun if at > suspended_at + 1 and one != ana.address]
    assert late == []
    totals = gateway.totals()
    assert totals["sent"] == len(sink.handed)
    assert totals["dropped"] == MEMBERS - totals["sent"] > 0
    assert "dropped, the member is not active" in gateway.log_text
    assert gateway.stop() == 0
