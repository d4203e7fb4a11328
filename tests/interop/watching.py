"""A gateway that commands are sent to, and a look at all that changes by them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from gateway.store import hold as holds
from gateway.store import ledger, member
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.models import Base
from tests.gateway import RunningGateway
from tests.interop.typed_cases import Case
from tests.officers import Officer

TO = "gateway@environet.example"
LIST = "wildlife@environet.example"
ACCEPTED = (250, "2.0.0 Accepted")
UNTOUCHED = {"ticked off": "", "own copies": True, "delivery": "each", "languages": ""}
OWN_OR_RECORD = {
    "member", "tick_off", "ledger", "ledger_head", "command_mail", "unconfirmed", "notice",
    "outbox", "data_key", "archive_entry",
}  # fmt: skip
"""archive_entry: an earlier posting may be indexed at any moment."""


@dataclass(frozen=True, slots=True)
class World:
    """A gateway with members; certificate: of its address for commands."""

    gateway: RunningGateway
    certificate: bytes
    mira: Officer
    ana: Officer


@dataclass(frozen=True, slots=True)
class Seen:
    """Of an officer and the gateway at one moment."""

    copies: int
    entries: int
    others: str


def played(world: World, officer: Officer, mail: bytes, case: Case) -> None:
    """A mail that says itself whom it is for: it is run, and then again it is not."""
    before = seen(world, officer)
    sent(world, mail, officer)
    check(world, officer, case, before, told(world, officer, newest(world, officer, before)))
    again(world, mail, officer)


def confirmed(world: World, mail: bytes, case: Case, write: Callable[[bytes, str], bytes]) -> None:
    """As `played`; where the mail is to be confirmed, that is written in answer to its answer."""
    before = seen(world, world.mira)
    sent(world, mail, world.mira)
    answer = newest(world, world.mira, before)
    again(world, mail, world.mira)
    follow_up(world, case, before, mail, answer, write)


def follow_up(
    world: World,
    case: Case,
    before: Seen,
    mail: bytes,
    answer: bytes,
    write: Callable[[bytes, str], bytes],
) -> None:
    mira = world.mira
    said = told(world, mira, answer)
    if not case.changes or is_bound(world, mail):
        check(world, mira, case, before, said)
        return
    assert profile(world, mira) == UNTOUCHED
    assert events(world, before) == ["commands"]
    before = seen(world, mira)
    second = write(answer, confirmation(world, answer))
    sent(world, second, mira)
    check(world, mira, case, before, told(world, mira, newest(world, mira, before)))
    again(world, second, mira)
    again(world, mail, mira)


def is_bound(world: World, mail: bytes) -> bool:
    """Whether a mail says under its signature whom it is for."""
    return world.mira.read(mail).entity["To"] is not None


def check(world: World, officer: Officer, case: Case, before: Seen, said: str) -> None:
    for one in case.told:
        assert one in said
    for one in case.untold:
        assert one not in said
    assert profile(world, officer) == {**UNTOUCHED, **case.changes}
    assert sorted(events(world, before)) == sorted(["commands", *case.events])
    assert others(world, officer) == before.others


def again(world: World, mail: bytes, officer: Officer) -> None:
    """The same mail does nothing more, and is not answered."""
    before, chosen = seen(world, officer), profile(world, officer)
    assert world.gateway.send(mail, officer.address, [TO]) == ACCEPTED
    world.gateway.wait_until_delivered()
    assert seen(world, officer) == before
    assert profile(world, officer) == chosen


def sent(world: World, mail: bytes, officer: Officer) -> None:
    assert world.gateway.send(mail, officer.address, [TO]) == ACCEPTED
    world.gateway.wait_until_delivered()


def newest(world: World, officer: Officer, before: Seen) -> bytes:
    """The one answer that came since."""
    copies = world.gateway.copies(officer.address)[before.copies :]
    answers = [one for one in copies if b"\r\nIn-Reply-To: " in one]
    assert len(answers) == 1
    return answers[0]


def told(world: World, officer: Officer, mail: bytes) -> str:
    """What a mail of the gateway says, whose signature gpg finds good."""
    reading = officer.read(mail, world.certificate)
    assert reading.list_signature is not None
    return reading.text


def confirmation(world: World, answer: bytes) -> str:
    found = re.findall(r"^ {4}(confirm [0-9a-f]{20})$", told(world, world.mira, answer), re.M)
    assert len(found) == 1
    return f"{found[0]}\n"


def seen(world: World, officer: Officer) -> Seen:
    with world.gateway.reading() as session:
        entries = sum(1 for _ in ledger.entries(session))
    copies = len(world.gateway.copies(officer.address))
    return Seen(copies, entries, others(world, officer))


def events(world: World, before: Seen) -> list[str]:
    with world.gateway.reading() as session:
        return [one.event for one in ledger.entries(session)][before.entries :]


def profile(world: World, officer: Officer) -> dict[str, Any]:
    """What an officer chose for themselves."""
    with world.gateway.reading() as session:
        found = member.get(session, officer.address)
        letters = [session.get_one(MailingList, one.list_id).letter for one in found.ticked_off]
        return {
            "ticked off": " ".join(sorted(letters)),
            "own copies": found.own_copies,
            "delivery": str(found.delivery),
            "languages": found.languages,
        }


def others(world: World, officer: Officer) -> str:
    """All that the gateway has besides an officer's own choices, mail and its record."""
    found = []
    with world.gateway.reading() as session:
        for table in Base.metadata.sorted_tables:
            if table.name not in OWN_OR_RECORD:
                found += [(table.name, *row) for row in session.execute(select(table))]
        rest = select(Member.__table__).where(Member.address != officer.address)
        return repr([*found, *session.execute(rest)])


def decision(world: World, number: int) -> str:
    with world.gateway.reading() as session:
        return str(holds.get(session, f"H-{number}").decision)


def held(world: World) -> tuple[bytes, int]:
    """A posting of Ana's that waits: (what a moderator gets, number of its hold)."""
    before = len(world.gateway.copies(world.mira.address))
    certificate = world.gateway.certificate(LIST)
    mail = world.ana.write(
        to=[LIST], certificates=[certificate], subject="Two containers",
        text="discard H-1\nThey are at Mombasa.\ntick off G\n",
    )  # fmt: skip
    assert world.gateway.send(mail, world.ana.address, [LIST]) == ACCEPTED
    world.gateway.wait_until_delivered()
    (notice,) = world.gateway.copies(world.mira.address)[before:]
    (number,) = set(re.findall(r"approve H-(\d+)", told(world, world.mira, notice)))
    return notice, int(number)


def inline(world: World, text: str) -> bytes:
    """gpg's armor as the text of a mail."""
    certificates = [world.certificate, world.mira.certificate]
    return world.mira.write(
        to=[TO], certificates=certificates, subject="commands", text=text, form="inline"
    )


def swaks(world: World, mail: bytes, officer: Officer) -> None:
    server = ["--server", "127.0.0.1", "--port", str(world.gateway.port)]
    command = ["swaks", *server, "--from", officer.address, "--to", TO, "--data", "-"]
    done = subprocess.run(command, input=mail, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    world.gateway.wait_until_delivered()
