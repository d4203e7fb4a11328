"""Programs that answer all that they get, and lists that are subscribed to each other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select

from gateway.store.hold import Hold
from gateway.store.posting import Posting
from tests.drills.load.doors import Make
from tests.drills.load.ground import LIST, Ground
from tests.drills.load.row import Row
from tests.gateway import DOMAIN, Handed
from tests.officers import encrypted_entity, header_lines

QUIET_SECONDS = 8.0
"""Without a mail, and a loop has ended."""
MOST_SECONDS = 90.0
RATE = 10
MOST_HELD = 20
COMMANDS = f"gateway@{DOMAIN}"

Answer = Callable[[Ground, Handed], tuple[bytes, str, str] | None]
"""To a mail: what is sent (mail, envelope sender, recipient), or None."""


@dataclass(frozen=True, slots=True)
class Loop:
    """does: what the author's program does. most: postings that may come of it, and of what is held
    beside them."""

    does: str
    answer: Answer
    most: int = 1
    most_held: int = 0
    begins_at: str = LIST


def member_loops(make: Make, size: float) -> Row:
    row = Row(
        "a member's loop",
        "A program answers each mail that its member gets, at once; the limits are "
        f"{RATE} postings and {RATE} mails with commands an hour.",
    )
    limits = {"policy.postings_an_hour": RATE, "policy.commands_an_hour": RATE}
    for loop in LOOPS:
        with make(people=4, **limits) as ground:
            ground.start()
            ground.honest(1)
            ground.wait_until_delivered()
            _play(ground, loop, row)
            row.server, row.worker, row.bound = ground.memory()
    return row


def _play(ground: Ground, loop: Loop, row: Row) -> None:
    if loop.begins_at == COMMANDS:
        _send(ground, _written(ground, COMMANDS, "help\n", "help"))
    answered = Counter[str]()
    taken, begun, quiet_since = 0, time.monotonic(), time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        new = ground.mail_server.handed[taken:]
        taken += len(new)
        for one in new:
            quiet_since = time.monotonic()
            sent = loop.answer(ground, one) if one.recipient == ground.author.address else None
            if sent is not None:
                answered[_send(ground, sent)] += 1
        if time.monotonic() - begun > MOST_SECONDS:
            row.wrong.append(f"{loop.does}: it goes on")
            break
        time.sleep(0.02)
    held = _held(ground)
    postings = _postings(ground) - held
    told = ", ".join(f"{code} × {number}" for code, number in answered.items())
    row.told.append(f"{loop.does}: {postings} postings went out, {held} are held; it heard {told}")
    if postings > loop.most or held > loop.most_held:
        row.wrong.append(f"{loop.does}: too many postings")


def _postings(ground: Ground) -> int:
    with ground.reading() as session:
        return session.scalar(select(func.count()).select_from(Posting)) or 0


def _held(ground: Ground) -> int:
    with ground.reading() as session:
        return session.scalar(select(func.count()).select_from(Hold)) or 0


def _send(ground: Ground, sent: tuple[bytes, str, str]) -> str:
    mail, sender, recipient = sent
    return str(ground.send(mail, sender, [recipient])[0])


def _written(ground: Ground, to: str, text: str, subject: str) -> tuple[bytes, str, str]:
    mail = ground.author.write(
        to=[to], certificates=[ground.certificate(to)], subject=subject, text=text
    )
    return mail, ground.author.address, to


# What programs do.


def redirected(ground: Ground, one: Handed) -> tuple[bytes, str, str]:
    return one.data, ground.author.address, ground.list


def away(ground: Ground, one: Handed) -> tuple[bytes, str, str]:
    """RFC 3834."""
    fields = {"Auto-Submitted": "auto-replied"}
    mail = ground.author.write(
        to=[ground.list], subject="Away", text="Back on Monday.\n", form="plain", headers=fields
    )
    return mail, "", ground.list


def signed_anew(ground: Ground, one: Handed) -> tuple[bytes, str, str]:
    """What an agency's gateway does that opens, signs and encrypts all mail."""
    author = ground.author
    letter = author.read(one.data).plain
    message = author.program.encrypt(letter, [ground.certificate(ground.list)], True)
    fields = {"From": f"{author.name} <{author.address}>", "To": ground.list, "Subject": "..."}
    return header_lines(fields) + encrypted_entity(message), author.address, ground.list


def forwarded(ground: Ground, one: Handed) -> tuple[bytes, str, str]:
    """The gateway's notices, too."""
    return _written(ground, ground.list, ground.author.read(one.data).text[:2000], "Fwd: it")


def commanded(ground: Ground, one: Handed) -> tuple[bytes, str, str] | None:
    if one.sender:
        return None
    return _written(ground, COMMANDS, ground.author.read(one.data).text[:2000], "Re: it")


LOOPS = (
    Loop("redirects each mail as it is", redirected),
    Loop("says that its member is away", away),
    Loop("opens each mail, and signs and encrypts it anew", signed_anew),
    Loop("forwards each mail as a new one, signed and encrypted", forwarded, RATE, MOST_HELD),
    Loop("answers each answer to a command", commanded, begins_at=COMMANDS),
)


# Two lists.


def lists_subscribed_to_each_other(make: Make, size: float) -> Row:
    row = Row(
        "two lists",
        "Lists of two gateways are members of each other's, and a member of one of them writes.",
    )
    with make(people=4) as one, make(people=4, other=True) as other:
        for here, there in ((one, other), (other, one)):
            _subscribe(here, there)
            here.start()
        one.honest(1)
        one.wait_until_delivered()
        taken = {one: 0, other: 0}
        begun = quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < QUIET_SECONDS:
            for here, there in ((one, other), (other, one)):
                new = here.mail_server.handed[taken[here] :]
                taken[here] += len(new)
                quiet_since = time.monotonic() if new else quiet_since
                for copy in new:
                    if copy.recipient == there.list:
                        row.replies[_send(there, (copy.data, copy.sender, there.list))] += 1
            if time.monotonic() - begun > MOST_SECONDS:
                row.wrong.append("it goes on")
                break
            time.sleep(0.02)
        row.told.append(f"postings: {_postings(one)} on the one, {_postings(other)} on the other")
        if (_postings(one), _postings(other)) != (1, 0):
            row.wrong.append("what a list wrote was taken")
        row.server, row.worker, row.bound = one.memory()
    return row


def _subscribe(here: Ground, there: Ground) -> None:
    file = here.place / "list.asc"
    file.write_bytes(there.certificate(there.list))
    here.environet(
        "member", "add", there.list, "--name", "A List", "--organisation", "Gateway",
        "--country", "KE", "--kind", "agency", "--certificate", str(file),
    )  # fmt: skip
