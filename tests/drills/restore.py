"""A backup made while mail comes in and copies go out, restored elsewhere once all else is lost."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path

from sqlalchemy import select

from gateway.store.hold import Hold
from gateway.store.member import Member
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Placement, Posting, PostingList
from tests import postgresql
from tests.administrators import FILE, Administrators, administrators
from tests.gateway import DOMAIN, Handed, RunningGateway, short_place
from tests.officers import Officer

LIST, COMMANDS = f"wildlife@{DOMAIN}", f"gateway@{DOMAIN}"
RULE = "signed-before-restore"
SETTINGS = {"backup.certificate": FILE, "handoff.connections": 2, "policy.postings_an_hour": 10**6}
_PATIENCE_SECONDS = 120.0

Copies = set[tuple[str, str]]
"""(token of a posting, address of its reader)."""


def run(words: list[str]) -> bool:
    """words: --mails N that come in (60), --readers N beside the author (5)."""
    parser = argparse.ArgumentParser(prog="make drill WHAT=restore WORDS=")
    parser.add_argument("--mails", type=int, default=60, help="that come in")
    parser.add_argument("--readers", type=int, default=5, help="beside their author")
    chosen = parser.parse_args(words)
    reports = {"SQLite": drill(chosen.mails, chosen.readers)}
    if postgresql.programs() is None:
        print("No PostgreSQL: it is left out (as root: apt-get install postgresql).")
    else:
        server = postgresql.shared_server()
        databases = server.fresh(), server.fresh()
        reports["PostgreSQL"] = drill(chosen.mails, chosen.readers, databases)
    print(table(reports))
    for name, report in reports.items():
        for one in report.wrong:
            print(f"{name}: {one}")
    return not any(report.wrong for report in reports.values())


def table(reports: Mapping[str, Report]) -> str:
    """A line for each figure, a column for each database."""
    lines = [f"{'':<58}" + "".join(f"{name:>14}" for name in reports)]
    for what in next(iter(reports.values())).told:
        cells = [report.told.get(what, "-") for report in reports.values()]
        lines.append(f"{what:<58}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


@dataclass(slots=True)
class Report:
    """What was seen. told: what, and a figure; wrong: what is not as docs/backup.md has it."""

    told: dict[str, object] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def demand(self, is_so: bool, what: str) -> None:
        if not is_so:
            self.wrong.append(what)


@dataclass(slots=True)
class _Drill:
    """lost, restored: the gateway before and after. mails: that come in, in order."""

    lost: RunningGateway
    restored: RunningGateway
    administrators: Administrators
    author: Officer
    readers: Sequence[Officer]
    report: Report
    mails: Sequence[bytes] = ()
    early: bytes = b""  # a mail of commands, signed before the restore

    @property
    def addresses(self) -> list[str]:
        return [self.author.address, *(one.address for one in self.readers)]

    def found(self, mails: int) -> None:
        self.lost.found()
        self.administrators.give(self.lost)
        for one in (self.author, *self.readers):
            self.lost.add_member(one)
        certificate = self.lost.certificate(LIST)
        self.mails = [
            self.author.write(to=[LIST], certificates=[certificate], subject=f"Ivory {n}",
                              text=f"Container {n}.\n")
            for n in range(mails)
        ]  # fmt: skip
        self.early = self.command(self.lost, "help")

    def command(self, gateway: RunningGateway, text: str) -> bytes:
        certificates = [gateway.certificate(COMMANDS)]
        return self.author.write(to=[COMMANDS], certificates=certificates, subject="", text=text)

    def keep_and_lose(self) -> tuple[Path, dict[str, object]]:
        """The backup's file, and what the command said of it."""
        sink, told = self.lost.sink, self.report.told
        assert sink is not None
        sink.room = len(self.addresses) + 1
        self.lost.start()
        third = len(self.mails) // 3
        self._send(self.mails[:third])
        _until(lambda: len(sink.handed) >= sink.room)
        file, begun = self.restored.place / "backup.tar.gpg", time.monotonic()
        meanwhile = threading.Thread(target=self._send, args=(self.mails[third : 2 * third],))
        meanwhile.start()
        made = json.loads(self.lost.environet("backup", str(file), "--json"))
        told["seconds that the backup took"] = f"{time.monotonic() - begun:.1f}"
        told["its size, KB"] = f"{made['size'] / 1000:.0f}"
        meanwhile.join()
        sink.room += len(self.addresses)
        self._send(self.mails[2 * third :])
        _until(lambda: len(sink.handed) >= sink.room)
        self.lost.kill()
        self.lost.lose()
        told["mails that came in before it"] = third
        told["while it was made"] = third
        told["after it was made"] = len(self.mails) - 2 * third
        return file, made

    def _send(self, mails: Sequence[bytes]) -> None:
        for mail in mails:
            code = self.lost.send(mail, self.author.address, [LIST])[0]
            self.report.demand(code == 250, "a mail was not answered 250")

    def restore(self, file: Path, made: dict[str, object]) -> int:
        """How many mails are lost with the disk: a number of the last."""
        told, demand = self.report.told, self.report.demand
        begun = time.monotonic()
        said = self.restored.restore(file, self.administrators.key)
        told["seconds that the restore took"] = f"{time.monotonic() - begun:.1f}"
        with self.restored.reading() as session:
            postings = set(session.scalars(select(Posting.token)))
            query = (
                select(Posting.token, Member.address, OutboxEntry.state)
                .join(OutboxEntry, OutboxEntry.posting_id == Posting.id)
                .join(Member, Member.id == OutboxEntry.member_id)
            )
            states = {(row[0], row[1]): row[2] for row in session.execute(query)}
        parked = {one for one, state in states.items() if state == Delivery.PARKED}
        gone = _copies(self.lost)
        lost = len(self.mails) - len(postings)
        told["postings in the restored archive"] = len(postings)
        told["mails lost with the disk"] = lost
        told["copies that had gone when the backup was made"] = len(states) - len(parked)
        told["copies parked"] = len(parked)
        told["of these, had gone before the machine was lost"] = len(parked & gone)
        demand(len(postings) >= len(self.mails) // 3, "a mail from before the backup is not in it")
        demand(lost >= len(self.mails) // 3, "a mail from after the backup is in it")
        demand(bool(parked) and said["parked"] >= len(parked), "nothing was in flight")
        demand(bool(parked & gone), "no copy went out between backup and loss")
        demand({*states.values()} <= {Delivery.SENT, Delivery.PARKED}, "something is not parked")
        every = {(token, address) for token in postings for address in self.addresses}
        demand(every <= gone | parked, "a copy is lost, and nobody is told")
        head = said["head"] == made["head"] and said["ledger_fault"] is None
        demand(head, "the ledger is not that of the backup")
        return lost

    def go_on(self, lost: int) -> None:
        told, demand, restored = self.report.told, self.report.demand, self.restored
        restored.start()
        for mail in self.mails:
            demand(restored.send(mail, self.author.address, [LIST])[0] == 250, "not a 250")
        with restored.reading() as session:
            rules = list(session.scalars(select(Hold.rule)))
        told["lost ones that came again, held for a moderator"] = len(rules)
        demand(rules == [RULE] * lost, "what came again was not held, or more than that")
        code = restored.send(self.early, self.author.address, [COMMANDS])[0]
        demand(code == 550, "commands signed before the restore were run")
        self._write_anew()
        again = _copies(restored) & _copies(self.lost)
        told["copies that went out twice by themselves"] = len(again)
        demand(not again, "something went out again")
        demand("Container 0." in restored.environet("posting", "show", "B-1"), "not readable")
        restored.environet("queue", "retry", "--parked")
        restored.environet("hold", "approve", "H-1")
        restored.wait_until_delivered(_PATIENCE_SECONDS)
        told["sent again once the administrator says so"] = len(
            _copies(restored) & _copies(self.lost)
        )
        with restored.reading() as session:
            accepted = PostingList.placement == Placement.ACCEPTED
            postings = session.scalars(select(Posting.token).join(PostingList).where(accepted))
            every = {(token, one) for token in postings for one in self.addresses}
        missing = every - _copies(restored) - _copies(self.lost)
        told["copies that never came"] = len(missing)
        demand(not missing, "copies never came")
        verified = json.loads(restored.environet("ledger", "verify", "--json"))
        demand(verified["ok"], "the ledger is broken")

    def _write_anew(self) -> None:
        """A posting and a mail of commands, after the restore."""
        restored, author = self.restored, self.author
        mail = author.write(to=[LIST], certificates=[restored.certificate(LIST)], subject="New",
                            text="After the restore.\n")  # fmt: skip
        for written, to in ((mail, LIST), (self.command(restored, "login"), COMMANDS)):
            self.report.demand(restored.send(written, author.address, [to])[0] == 250, "not taken")
        restored.wait_until_delivered(_PATIENCE_SECONDS)
        for one in (author, *self.readers):
            read = [one.read(copy).text for copy in restored.copies(one.address)]
            new = sum("After the restore." in text for text in read)
            self.report.demand(new == 1, f"{one.address} has the new posting {new} times")
            if one is author:
                self.report.demand(any("/login/" in text for text in read), "no link to log in")


def drill(mails: int, readers: int, databases: tuple[str, str] | None = None) -> Report:
    """databases: URLs for before and after; None for what the tests are run on."""
    of_lost, of_restored = [{"database.url": one} for one in databases or ()] or [{}, {}]
    with ExitStack() as stack:
        new = stack.enter_context
        made = _Drill(
            new(_gateway("lost", of_lost)),
            new(_gateway("restored", of_restored)),
            new(administrators()),
            new(Officer.create("gpg", "Ana Lind", "ana@customs.example")),
            [new(Officer.create("sequoia", f"R {n}", f"r{n}@member.example"))
             for n in range(readers)],
            Report(),
        )  # fmt: skip
        made.found(mails)
        made.go_on(made.restore(*made.keep_and_lose()))
        return made.report


def _gateway(name: str, settings: Mapping[str, object]) -> RunningGateway:
    return RunningGateway(short_place(name), settings={**SETTINGS, **settings}, sink=True)


def _copies(gateway: RunningGateway) -> Copies:
    """Those of postings, which come from a bounce address."""
    assert gateway.sink is not None
    return {(_token(one), one.recipient) for one in gateway.sink.handed}


def _token(one: Handed) -> str:
    return str(message_from_bytes(one.data)["Message-ID"]).strip("<>").partition("@")[0]


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to it in time")
        time.sleep(0.02)
