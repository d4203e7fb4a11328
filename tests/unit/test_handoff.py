"""Copies go to the mail server with exactly one outcome each, and never two in doubt."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.delivery.handoff import Copy, Lost, Outcome, parse
from gateway.delivery.smtp_client import SmtpHandoff
from gateway.delivery.smtp_wire import Timeouts
from gateway.errors import UsageError

SMTP_SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:/usr/bin")
EHLO = "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 20000000\r\n250 SMTPUTF8"
RESET, SILENCE = "reset", "silence"
QUICK = Timeouts(connect=2, greeting=2, command=2, data=2, block=2, end=2, farewell=0.2, idle=5)
HEAD = b"From: ENVIRONET Waste <waste@lists.example>\r\nSubject: [Waste] ...\r\n\r\n"


def copy(number: int, recipient: str = "", body: bytes = b"wcBMA9\r\n" * 200) -> Copy:
    sender = f"bounce+{number}@lists.example"
    parts = (HEAD, b"X-Copy: %d\r\n" % number, body)
    assert b"\n." not in b"".join(parts)
    return Copy(
        number, sender, recipient or f"m{number}@customs.example", parts, sum(map(len, parts))
    )


def copies(count: int) -> list[Copy]:
    return [copy(number) for number in range(1, count + 1)]


class Sink:
    """An SMTP server that answers as its script says, and watches what the client may not do.

    script: the start of a command line, or ". RECIPIENT" for a content and "+ RECIPIENT" for its
    first bytes, to its replies in order;
    when they are used up, or if there is only a string, that is the reply for good. "" in a list
    stands for the usual reply. 421 and RESET end the connection, SILENCE never answers.
    """

    def __init__(self, script: dict[str, str | list[str]] | None = None, ehlo: str = EHLO) -> None:
        self.script = script or {}
        self.ehlo = ehlo
        self.delay = 0.0
        self.keep = True
        self.tls: ssl.SSLContext | None = None
        self.port = 0
        self.connections = 0
        self.received: dict[str, list[bytes]] = {}
        self.lines: list[str] = []
        self.recorded: set[str] = set()  # recipients of copies whose outcome is recorded
        self.faults: list[str] = []
        self.most_in_doubt = 0

    def _reply(self, line: str, usual: str) -> str:
        for start, replies in self.script.items():
            if line.startswith(start):
                if isinstance(replies, str):
                    return replies
                if replies:
                    return replies.pop(0) or usual
        return usual

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._session(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, reply: str) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        if reply == RESET:
            writer.transport.abort()
            raise ConnectionResetError
        if reply == SILENCE:
            await asyncio.sleep(60)
        writer.write(f"{reply}\r\n".encode())
        if reply.startswith("421"):
            await writer.drain()
            raise ConnectionResetError

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mail, recipient, buffer = False, "", b""
        done: list[str] = []
        await self._say(writer, self._reply("CONNECT", "220 sink.example ESMTP"))
        while True:
            while b"\r\n" not in buffer:
                if not (data := await reader.read(65536)):
                    return
                buffer += data
            raw, _, buffer = buffer.partition(b"\r\n")
            line = raw.decode()
            self.lines.append(line)
            verb = line[:4].upper()
            if buffer and "PIPELINING" not in self.ehlo:
                self.faults.append(f"did not wait for the reply to {line}")
            usual = "250 2.0.0 Ok"
            if verb == "EHLO":
                usual = self.ehlo
            elif verb == "MAIL" and mail:
                usual = "503 5.5.1 nested MAIL command"
            elif verb == "DATA":
                usual = "354 go on" if recipient else "554 5.5.1 no valid recipients"
            elif verb == "QUIT":
                usual = "221 2.0.0 Bye"
            elif verb == "STAR":
                usual = "220 2.0.0 Go"
            reply = self._reply(line, usual)
            await self._say(writer, reply)
            if verb == "STAR" and reply[0] == "2":
                assert self.tls
                await writer.start_tls(self.tls)
            elif verb == "MAIL":
                mail = mail or reply[0] == "2"
            elif verb == "RCPT" and reply[0] == "2":
                recipient = line[9:-1]
            elif verb == "RSET":
                mail, recipient = False, ""
            elif verb == "QUIT":
                return
            elif reply.startswith("354"):
                if self._reply(f"+ {recipient}", "") == RESET:
                    await reader.read(1)
                    await self._say(writer, RESET)
                buffer, content = await self._content(reader, buffer, done)
                if content == b"" or not recipient:
                    self.faults += [f"content without recipient: {content!r}"] if content else []
                    await self._say(writer, "554 5.5.1 no valid recipients")
                else:
                    reply = self._reply(f". {recipient}", "250 2.0.0 queued as 4Zx")
                    if reply[0] == "2" or reply == RESET:
                        self.received.setdefault(recipient, []).append(content)
                    done.append(recipient)
                    in_doubt = [one for one in done if one not in self.recorded]
                    self.most_in_doubt = max(self.most_in_doubt, len(in_doubt))
                    await self._say(writer, reply)
                mail, recipient = False, ""

    async def _content(
        self, reader: asyncio.StreamReader, buffer: bytes, done: list[str]
    ) -> tuple[bytes, bytes]:
        content, tail = [], b"\r\n"
        while True:
            if not buffer and not (buffer := await reader.read(65536)):
                raise ConnectionResetError
            if not set(done) <= self.recorded:
                self.faults.append("content before the outcome of the one before")
            seen = tail + buffer
            if (end := seen.find(b"\r\n.\r\n")) >= 0:
                content.append(seen[: end + 2])
                return seen[end + 5 :], b"".join(content)[2:]
            content.append(seen[:-4] if self.keep else b"")
            tail, buffer = seen[-4:], b""


@asynccontextmanager
async def serving(
    sink: Sink, connections: int = 4, timeouts: Timeouts = QUICK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[SmtpHandoff]:
    async with await asyncio.start_server(sink.serve, "127.0.0.1", 0) as server:
        sink.port = server.sockets[0].getsockname()[1]
        handoff = SmtpHandoff(
            "127.0.0.1",
            sink.port,
            "lists.example",
            connections=connections,
            timeouts=timeouts,
            tls=tls,
        )
        try:
            yield handoff
        finally:
            await handoff.close()


async def hand(sink: Sink, handoff: SmtpHandoff, given: Sequence[Copy]) -> dict[int, Outcome]:
    """Deliver, with a record that takes its time and tells the sink; one outcome for each copy."""
    outcomes: dict[int, Outcome] = {}
    names = {one.id: one.recipient for one in given}

    async def record(group: Sequence[Outcome]) -> None:
        await asyncio.sleep(0.003)
        for one in group:
            assert one.id not in outcomes
            outcomes[one.id] = one
            sink.recorded.add(names[one.id])

    await handoff.deliver(given, record)
    assert sorted(outcomes) == sorted(names)
    assert sink.faults == []
    assert sink.most_in_doubt <= 1
    return outcomes


def run(sink: Sink, given: Sequence[Copy], connections: int = 4) -> dict[int, Outcome]:
    async def main() -> dict[int, Outcome]:
        async with serving(sink, connections) as handoff:
            return await hand(sink, handoff, given)

    return asyncio.run(main())


def states(outcomes: dict[int, Outcome]) -> dict[int, str]:
    return {number: outcome.state for number, outcome in sorted(outcomes.items())}


@pytest.mark.parametrize("connections", [1, 4])
def test_every_copy_arrives_once_and_whole_with_at_most_one_in_doubt(connections: int) -> None:
    sink, given = Sink(), copies(60)
    outcomes = run(sink, given, connections)
    assert {one.state for one in outcomes.values()} == {"sent"}
    assert outcomes[1].text == "2.0.0 queued as 4Zx"
    assert sink.received == {one.recipient: [b"".join(one.parts)] for one in given}
    assert sink.connections == connections
    assert sink.most_in_doubt == 1
    assert f"MAIL FROM:<bounce+1@lists.example> SIZE={given[0].size}" in sink.lines


def test_content_and_next_commands_travel_together() -> None:
    """One round trip a copy: with 30 ms for each reply, four replies would take 120 ms a copy."""
    sink = Sink()
    sink.delay = 0.03
    told: list[float] = []

    async def serve_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers with what it has read; a round trip costs 30 ms, whatever is in it."""
        writer.write(b"220 sink.example\r\n")
        content = False
        while data := await reader.read(1 << 20):
            told.append(time.monotonic())
            await asyncio.sleep(0.03)
            for line in data.split(b"\r\n"):
                if content and line == b".":
                    content = False
                    writer.write(b"250 taken\r\n")
                elif not content and line[:4] == b"EHLO":
                    writer.write(f"{EHLO}\r\n".encode())
                elif not content and line[:4] in (b"MAIL", b"RCPT"):
                    writer.write(b"250 Ok\r\n")
                elif not content and line == b"DATA":
                    content = True
                    writer.write(b"354 go on\r\n")
                elif not content and line == b"QUIT":
                    writer.write(b"221 Bye\r\n")
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve_at_once, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            handoff = SmtpHandoff("127.0.0.1", port, "lists.example", connections=1)
            await handoff.deliver(copies(10), lambda group: None)
            assert len(told) == 12  # EHLO, the first commands, and ten groups
            await handoff.close()

    asyncio.run(main())


# What one copy of three meets, and what becomes of it; the other two are always sent.
BAD = "m2@customs.example"
REPLIES: dict[str, tuple[dict[str, str | list[str]], str, int]] = {
    "MAIL 451": ({"MAIL FROM:<bounce+2@": "451 4.3.0 later"}, "deferred", 451),
    "MAIL 452": ({"MAIL FROM:<bounce+2@": "452 4.3.1 no room"}, "deferred", 452),
    "MAIL 550": ({"MAIL FROM:<bounce+2@": "550 5.7.1 no"}, "refused", 550),
    "MAIL 552": ({"MAIL FROM:<bounce+2@": "552 5.3.4 too big"}, "refused", 552),
    "RCPT 450": ({f"RCPT TO:<{BAD}>": "450 4.2.0 greylisted"}, "deferred", 450),
    "RCPT 452": ({f"RCPT TO:<{BAD}>": "452 4.2.2 full"}, "deferred", 452),
    "RCPT 550": ({f"RCPT TO:<{BAD}>": "550 5.1.1 unknown"}, "refused", 550),
    "RCPT 550, DATA 354": (
        {f"RCPT TO:<{BAD}>": "550 5.1.1 unknown", "DATA": "354 go on"},
        "refused",
        550,
    ),
    "DATA 451": ({"DATA": ["", "451 4.3.0 later", ""]}, "deferred", 451),
    "DATA 554": ({"DATA": ["", "554 5.3.0 no", ""]}, "refused", 554),
    "content 451": ({f". {BAD}": "451 4.3.0 later"}, "deferred", 451),
    "content 452": ({f". {BAD}": "452 4.3.1 no room"}, "deferred", 452),
    "content 550": ({f". {BAD}": "550 5.7.1 not wanted"}, "refused", 550),
    "content 554": ({f". {BAD}": "554-5.6.0 not\r\n554 5.6.0 wanted"}, "refused", 554),
}


@pytest.mark.parametrize("ehlo", [EHLO, "250 sink.example"], ids=["pipelining", "step by step"])
@pytest.mark.parametrize("case", REPLIES)
def test_a_negative_reply_concerns_one_copy(case: str, ehlo: str) -> None:
    script, state, code = REPLIES[case]
    script = {start: list(one) if isinstance(one, list) else one for start, one in script.items()}
    sink = Sink(script, ehlo)
    outcomes = run(sink, copies(3), connections=1)
    assert states(outcomes) == {1: "sent", 2: state, 3: "sent"}
    assert outcomes[2].code == code
    assert not outcomes[2].in_doubt
    assert sorted(sink.received) == ["m1@customs.example", "m3@customs.example"]
    assert sink.connections == 1


def test_one_refused_of_ten() -> None:
    sink = Sink({"RCPT TO:<m4@": "550 5.1.1 <m4@customs.example>: unknown"})
    outcomes = run(sink, copies(10))
    assert [number for number, state in states(outcomes).items() if state != "sent"] == [4]
    assert outcomes[4].text == "5.1.1 <m4@customs.example>: unknown"
    assert len(sink.received) == 9


def test_replies_are_made_fit_for_a_log() -> None:
    sink = Sink({". m1@": "550-5.7.1 a\x1b[31m\tb\r\n550 5.7.1 é" + "c" * 300})
    text = run(sink, copies(1))[1].text
    assert text.startswith("5.7.1 a[31mb 5.7.1 ccc")
    assert len(text) == 200


@pytest.mark.parametrize("end", [RESET, "421 4.3.2 shutting down"])
@pytest.mark.parametrize("start", ["MAIL FROM:<bounce+2@", "RCPT TO:<m2@", "DATA"])
@pytest.mark.parametrize("ehlo", [EHLO, "250 sink.example"], ids=["pipelining", "step by step"])
def test_a_connection_lost_before_the_content_costs_no_copy(
    start: str, end: str, ehlo: str
) -> None:
    sink = Sink({start: ["", end] if start == "DATA" else [end]}, ehlo)
    assert set(states(run(sink, copies(5), connections=1)).values()) == {"sent"}
    assert sink.connections == 2
    assert all(len(contents) == 1 for contents in sink.received.values())


def test_a_copy_that_always_breaks_the_connection_is_deferred_alone() -> None:
    sink = Sink({"RCPT TO:<m2@": RESET})
    outcomes = run(sink, copies(5), connections=1)
    assert states(outcomes) == {1: "sent", 2: "deferred", 3: "sent", 4: "sent", 5: "sent"}
    assert not outcomes[2].in_doubt


def test_reset_after_the_content_leaves_that_copy_in_doubt() -> None:
    sink = Sink({f". {BAD}": [RESET]})
    outcomes = run(sink, copies(5), connections=1)
    assert states(outcomes) == {1: "sent", 2: "deferred", 3: "sent", 4: "sent", 5: "sent"}
    assert [one.id for one in outcomes.values() if one.in_doubt] == [2]
    assert all(len(contents) == 1 for contents in sink.received.values())


def test_reset_amid_the_content_costs_no_copy() -> None:
    sink = Sink({"+ m2@": [RESET]})
    given = [copy(number, body=b"wcBMA9TqVx0mNfYkAQf+Lh0w\r\n" * 300_000) for number in (1, 2, 3)]
    assert states(run(sink, given, connections=1)) == {1: "sent", 2: "sent", 3: "sent"}
    assert sink.connections == 2


def test_421_to_the_content_is_an_answer() -> None:
    outcomes = run(Sink({f". {BAD}": "421 4.3.2 shutting down"}), copies(3), connections=1)
    assert outcomes[2] == Outcome(2, "deferred", 421, "4.3.2 shutting down")
    assert states(outcomes)[3] == "sent"


def test_silence_after_the_content_ends_in_doubt() -> None:
    async def main() -> dict[int, Outcome]:
        sink = Sink({". m1@": SILENCE})
        async with serving(sink, 1, Timeouts(end=0.1, farewell=0.1)) as handoff:
            return await hand(sink, handoff, copies(2))

    outcomes = asyncio.run(main())
    assert outcomes[1] == Outcome(
        1, "deferred", None, "the mail server was silent for 0.1 s", in_doubt=True
    )
    assert outcomes[2].state == "sent"


@pytest.mark.parametrize("start", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", ". "])
@pytest.mark.parametrize("end", [RESET, "421 4.3.2 no", "not SMTP"])
def test_a_server_that_never_works_defers_everything_without_hammering(
    start: str, end: str
) -> None:
    sink = Sink({start: end})
    outcomes = run(sink, copies(200))
    assert set(states(outcomes).values()) == {"deferred"}
    assert sink.connections <= 12
    assert sum(one.in_doubt for one in outcomes.values()) <= 12


def test_no_server_at_all() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        handoff = parse(f"smtp://127.0.0.1:{unused.getsockname()[1]}", "lists.example")
        groups: list[Sequence[Outcome]] = []
        start = time.monotonic()
        asyncio.run(handoff.deliver(copies(300), groups.append))
    assert time.monotonic() - start < 1
    outcomes = [one for group in groups for one in group]
    assert sorted(one.id for one in outcomes) == list(range(1, 301))
    assert {one.state for one in outcomes} == {"deferred"}
    assert "cannot reach the mail server" in outcomes[0].text


def test_a_server_that_was_lost_is_asked_until_it_is_there_again() -> None:
    async def main() -> None:
        sink = Sink()
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            port = place.getsockname()[1]
        handoff = SmtpHandoff("127.0.0.1", port, "lists.example", connections=1, timeouts=QUICK)
        await handoff.check()  # nothing is known yet, so nobody is asked
        assert states(await hand(sink, handoff, [copy(1)])) == {1: "deferred"}
        for _ in range(2):
            with pytest.raises(Lost, match="cannot reach the mail server"):
                await handoff.check()
        async with await asyncio.start_server(sink.serve, "127.0.0.1", port):
            await handoff.check()
            await handoff.check()
            assert states(await hand(sink, handoff, [copy(2)])) == {2: "sent"}
            assert sink.connections == 1
            await handoff.close()

    asyncio.run(main())


def test_a_server_that_limits_connections_gets_everything_over_the_others() -> None:
    sink = Sink({"CONNECT": ["", "421 4.7.0 too many connections"] + ["421 4.7.0 no"] * 9})
    assert set(states(run(sink, copies(40))).values()) == {"sent"}


def test_a_server_without_extensions() -> None:
    sink = Sink({"EHLO": "500 5.5.1 what?"}, "250 sink.example")
    assert set(states(run(sink, copies(6), 2)).values()) == {"sent"}
    assert "HELO lists.example" in sink.lines
    assert "MAIL FROM:<bounce+1@lists.example>" in sink.lines


def test_too_large_for_the_server() -> None:
    given = [copy(1), copy(2, body=b"wcBMA9\r\n" * 1000), copy(3)]
    sink = Sink(ehlo=EHLO.replace("20000000", "5000"))
    outcomes = run(sink, given, connections=1)
    assert states(outcomes) == {1: "sent", 2: "refused", 3: "sent"}
    assert (outcomes[2].code, outcomes[2].text[:5]) == (552, "5.3.4")


@pytest.mark.parametrize(("offered", "state"), [(True, "sent"), (False, "refused")])
def test_smtputf8(offered: bool, state: str) -> None:
    sink = Sink(ehlo=EHLO if offered else "250 sink.example")
    outcomes = run(sink, [copy(1), copy(2, "björn@customs.example")])
    assert states(outcomes) == {1: "sent", 2: state}
    assert any(line.endswith(" SMTPUTF8") for line in sink.lines) is offered
    assert "SMTPUTF8" in outcomes[2].text or offered


def test_an_address_cannot_carry_a_command() -> None:
    sink = Sink()
    outcomes = run(sink, [copy(1, "a@b.example>\r\nRCPT TO:<c@d.example"), copy(2)])
    assert states(outcomes) == {1: "refused", 2: "sent"}
    assert not any("c@d.example" in line for line in sink.lines)


@pytest.mark.parametrize("connections", [1, 4])
def test_after_a_failed_record_nothing_more_is_sent(connections: int) -> None:
    async def main() -> None:
        sink = Sink()

        def record(group: Sequence[Outcome]) -> None:
            raise OSError("the database is gone")

        async with serving(sink, connections) as handoff:
            with pytest.raises(OSError, match="database"):
                await handoff.deliver(copies(50), record)
            await asyncio.sleep(0.05)
        assert len(sink.received) == connections
        assert sink.faults == []

    asyncio.run(main())


def test_after_a_failed_record_other_connections_finish_and_stop() -> None:
    async def source() -> AsyncIterator[Copy]:
        for one in copies(500):
            yield one
            if one.id == 1:
                await asyncio.sleep(0.05)  # its outcome is alone in its group

    async def main() -> None:
        sink = Sink()
        done: list[Outcome] = []

        async def record(group: Sequence[Outcome]) -> None:
            await asyncio.sleep(0.1)
            done.extend(group)
            if group[0].id == 1:
                raise OSError("the database is gone")

        async with serving(sink) as handoff:
            with pytest.raises(OSError, match="database"):
                await handoff.deliver(source(), record)
        assert 1 < len(done) < 10
        assert len(sink.received) == len(done), "what was sent is recorded all the same"

    asyncio.run(main())


def test_outcomes_are_recorded_in_groups() -> None:
    async def main() -> None:
        groups: list[int] = []

        async def record(group: Sequence[Outcome]) -> None:
            groups.append(len(group))
            await asyncio.sleep(0.005)

        async with serving(Sink()) as handoff:
            await handoff.deliver(copies(100), record)
        assert sum(groups) == 100
        assert max(groups) <= 4
        assert len(groups) < 60

    asyncio.run(main())


def test_connections_are_kept_and_a_stale_one_costs_nothing() -> None:
    async def main() -> None:
        sink = Sink()
        async with serving(sink, 1) as handoff:
            await hand(sink, handoff, copies(2))
            await hand(sink, handoff, [copy(3)])
            assert sink.connections == 1
            sink.script["MAIL"] = ["421 4.4.2 idle too long"]
            assert states(await hand(sink, handoff, [copy(4)])) == {4: "sent"}
            sink.script["MAIL"] = [RESET]
            assert states(await hand(sink, handoff, [copy(5)])) == {5: "sent"}
            assert sink.connections == 3
        assert sink.lines[-1] == "QUIT"

    asyncio.run(main())


def test_an_idle_connection_is_ended_with_quit() -> None:
    async def main() -> None:
        sink = Sink()
        async with serving(sink, 2, Timeouts(idle=0.05)) as handoff:
            await hand(sink, handoff, copies(4))
            await asyncio.sleep(0.2)
            assert sink.lines.count("QUIT") == 2

    asyncio.run(main())


def test_copies_may_come_slowly_and_fail_to_come() -> None:
    async def source() -> AsyncIterator[Copy]:
        for one in copies(5):
            await asyncio.sleep(0.01)
            yield one
        raise RuntimeError("no more")

    async def main() -> None:
        sink = Sink()
        done: list[Outcome] = []
        async with serving(sink) as handoff:
            with pytest.raises(RuntimeError, match="no more"):
                await handoff.deliver(source(), done.extend)
        assert sorted(one.id for one in done) == [1, 2, 3, 4, 5]
        assert len(sink.received) == 5

    asyncio.run(main())


def test_cancelling_leaves_one_in_doubt_per_connection() -> None:
    async def main() -> None:
        sink = Sink()
        done: list[Outcome] = []

        def record(group: Sequence[Outcome]) -> None:
            done.extend(group)
            sink.recorded.update(f"m{one.id}@customs.example" for one in group)

        async with serving(sink) as handoff:
            delivering = asyncio.create_task(handoff.deliver(copies(5000), record))
            await asyncio.sleep(0.2)
            delivering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await delivering
            await asyncio.sleep(0.05)
        assert 0 < len(done) < 5000
        assert len(sink.received) - len(done) <= 4

    asyncio.run(main())


def test_a_large_tail_shared_by_all_copies_is_not_copied() -> None:
    tail = b"wcBMA9TqVx0mNfYkAQf+Lh0w\r\n" * 500_000  # 13 MB

    async def main() -> None:
        sink = Sink()
        sink.keep = False
        async with serving(sink) as handoff:
            given = [copy(number, body=tail) for number in range(1, 9)]
            tracemalloc.start()
            outcomes = await hand(sink, handoff, given)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert set(states(outcomes).values()) == {"sent"}
        assert peak < 6_000_000, "four connections, each with one chunk and what the sink holds"

    asyncio.run(main())


def test_a_content_refused_before_its_end_is_cut_short() -> None:
    sink = Sink({"DATA": ["", "354 go on\r\n552 5.3.4 too big"]})
    start = time.monotonic()
    outcomes = run(sink, copies(4), connections=1)
    assert time.monotonic() - start < 1, "the next copy need not wait for replies that won't come"
    assert "m2@customs.example" not in sink.received
    assert outcomes[2] == Outcome(2, "refused", 552, "5.3.4 too big")
    assert [number for number, state in states(outcomes).items() if state == "sent"] == [1, 3, 4]
    assert sink.connections == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink.example")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "sink.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.mark.parametrize("case", ["good", "not trusted", "not offered"])
def test_starttls(case: str, certificate: Path) -> None:
    sink = Sink(ehlo=EHLO + ("" if case == "not offered" else "\r\n250 STARTTLS"))
    sink.ehlo = sink.ehlo.replace("250 SMTPUTF8\r\n", "250-SMTPUTF8\r\n")
    sink.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    sink.tls.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=None if case == "not trusted" else certificate)

    async def main() -> dict[int, Outcome]:
        async with serving(sink, 2, tls=trust) as handoff:
            given = [*copies(5), copy(6, body=b"wcBMA9TqVx0mNfYkAQf+Lh0w\r\n" * 40_000)]
            return await hand(sink, handoff, given)

    outcomes = asyncio.run(main())
    assert {one.state for one in outcomes.values()} == {"sent" if case == "good" else "deferred"}
    assert not any(line.startswith("MAIL") for line in sink.lines) or case == "good"
    # RFC 3207 4.2: what was offered in the clear counts for nothing
    assert case != "good" or sink.lines.count("EHLO lists.example") == 2 * sink.connections
    assert "TLS" in outcomes[1].text or case == "good"


def test_endless_reply_is_cut_off() -> None:
    sink = Sink({"EHLO": "\r\n".join(["250-more and more and more"] * 4000)})
    outcomes = run(sink, copies(3))
    assert set(states(outcomes).values()) == {"deferred"}
    assert outcomes[1].text == "the mail server's reply has no end"


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "smtp:",
        "smtp://",
        "smtp://:25",
        "smtp://mail.example:none",
        "smtp://mail.example:99999",
        "smtp://ana@mail.example",
        "smtp://mail.example/path",
        "smtp://mail.example?tls=1",
        "lmtp://mail.example",
        "mail.example:25",
        "maildir:",
    ],
)
def test_a_setting_that_names_no_way_out(setting: str) -> None:
    with pytest.raises(UsageError, match="cannot deliver to"):
        parse(setting, "lists.example")


@pytest.mark.parametrize("hostname", ["", "lists example", "lists.example\r\nMAIL", "bjö.example"])
def test_a_host_name_fit_for_ehlo(hostname: str) -> None:
    with pytest.raises(UsageError, match="host name"):
        parse("smtp://127.0.0.1", hostname)


@contextmanager
def smtp_sink(*options: str) -> Iterator[str]:
    if SMTP_SINK is None:
        pytest.skip("Postfix's smtp-sink is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = ("-u", "nobody") if os.geteuid() == 0 else ()  # it refuses to work as root
    with subprocess.Popen([SMTP_SINK, *user, *options, f"127.0.0.1:{port}", "100"]) as process:
        try:
            for _ in range(100):
                with socket.socket() as trial:
                    if trial.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            assert process.poll() is None
            yield f"smtp://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "state", "code"),
    [
        ((), "sent", 250),
        (("-p",), "sent", 250),
        (("-e",), "sent", 250),
        (("-f", "MAIL"), "refused", 500),
        (("-f", "RCPT"), "refused", 500),
        (("-r", "DATA"), "deferred", 450),
        (("-r", "."), "deferred", 450),
        (("-Q", "."), "deferred", 421),
        (("-Q", "MAIL"), "deferred", 421),
        (("-q", "."), "deferred", None),
        (("-q", "EHLO"), "deferred", None),
    ],
    ids=lambda value: " ".join(value) or "plain" if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("size", [2_000, 1_400_000])
def test_postfix_smtp_sink(
    options: tuple[str, ...], state: str, code: int | None, size: int
) -> None:
    body = b"wcBMA9TqVx0mNfYkAQf+Lh0w\r\n" * (size // 26)
    outcomes: list[Outcome] = []
    with smtp_sink(*options) as setting:

        async def main() -> None:
            handoff = parse(setting, "lists.example")
            await handoff.deliver([copy(n, body=body) for n in range(1, 21)], outcomes.extend)
            await handoff.close()

        asyncio.run(main())
    assert sorted(one.id for one in outcomes) == list(range(1, 21))
    assert {(one.state, one.code) for one in outcomes} == {(state, code)}


def test_smtp_sink_that_stops_reading_blocks_nobody() -> None:
    """-A: a reply right after 354, then the server reads no more, and the reply may get lost."""
    outcomes: list[Outcome] = []
    body = b"wcBMA9TqVx0mNfYkAQf+Lh0w\r\n" * 60_000
    with smtp_sink("-A", "0") as setting:
        handoff = parse(setting, "lists.example")
        given = [copy(number, body=body) for number in range(1, 9)]
        asyncio.run(asyncio.wait_for(handoff.deliver(given, outcomes.extend), 10))
    assert sorted(one.id for one in outcomes) == list(range(1, 9))
    assert {(one.state, one.code) for one in outcomes} <= {("refused", 550), ("deferred", None)}
    assert not any(one.in_doubt for one in outcomes)


def test_nothing_is_begun_once_it_is_no_longer_ours() -> None:
    """As after a pause in which the lease ran out: another process may be sending the rest."""
    outcomes: list[Outcome] = []
    given = [copy(number, body=b"wcBMA9TqVx0mNfYkAQf+Lh0w\r\n") for number in range(1, 41)]
    with smtp_sink() as setting:

        async def main() -> None:
            handoff = parse(setting, "lists.example", connections=2)
            await handoff.deliver(given, outcomes.extend, lambda: len(outcomes) < 10)
            await handoff.close()

        asyncio.run(asyncio.wait_for(main(), 10))
    assert 10 <= len(outcomes) <= 14
    assert {one.state for one in outcomes} == {"sent"}
