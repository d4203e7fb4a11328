"""IMAP servers that mean harm, or have fallen silent: nothing of theirs fills the memory or keeps
the process waiting, and nothing of what they say of mails is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gateway.errors import Unavailable
from gateway.intake import imap_mailbox
from gateway.intake.imap_mailbox import LoginRefused, Mailbox, NotDone, connect
from gateway.settings import ImapSection

Saying = Callable[[], Iterator[bytes]]
GREETING = b"* OK [CAPABILITY IMAP4rev1 IDLE MOVE] ready\r\n"
SERVERS_PATIENCE = 10.0
ANSWERS: Mapping[bytes, bytes] = {
    b"CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE MOVE\r\n",
    b"SELECT": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n",
}


@contextmanager
def server(harm: Mapping[bytes, Saying], greeting: bytes = GREETING) -> Iterator[ImapSection]:
    """One that answers OK to all but some commands, to which it says something else for as long as
    it is heard. Settings to reach it by."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    client.settimeout(SERVERS_PATIENCE)
                    client.sendall(greeting)
                    _talk(client, harm)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield ImapSection(
            host="127.0.0.1", port=listener.getsockname()[1], security="none", user="gate",
            password_file="password",
        )  # fmt: skip
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _talk(client: socket.socket, harm: Mapping[bytes, Saying]) -> None:
    tag = b""
    for line in client.makefile("rb"):
        words = line.upper().split()
        if len(words) > 1:  # DONE ends the command before it
            tag = words[0]
        command = words[2] if words[1:2] == [b"UID"] else words[min(1, len(words) - 1)]
        if command in harm:
            for said in harm[command]():
                client.sendall(said.replace(b"TAG", tag))
        else:
            client.sendall(ANSWERS.get(command, b"") + tag + b" OK done\r\n")


def saying(*said: bytes) -> Saying:
    return lambda: iter(said)


def without_end(said: bytes) -> Saying:
    def say() -> Iterator[bytes]:
        while True:
            yield said

    return say


@pytest.fixture
def state(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("secret-word\n")
    return tmp_path


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is silent is given up soon."""
    monkeypatch.setattr(imap_mailbox, "COMMAND_SECONDS", 0.5)


def reading(mailbox: Mailbox) -> bytes | None:
    mailbox.select()
    return mailbox.fetch(1, 5000, 0.5)


def listing(mailbox: Mailbox) -> list[int]:
    mailbox.select()
    return [one.uid for one in mailbox.waiting(11, 13)]


def waiting(mailbox: Mailbox) -> None:
    mailbox.select()
    mailbox.wait(0.2)


FLOODS = {
    "4 GB": (b"FETCH", saying(b"* 1 FETCH (UID 1 BODY[]<0> {4294967296}\r\n"), reading),
    "many literals": (
        b"FETCH", without_end(b"* 1 FETCH (UID 1 BODY[]<0> {9999}\r\n" + b"x" * 9999 + b")\r\n"),
        reading,
    ),
    "lines": (b"SEARCH", without_end(b"* SEARCH" + b" 4711" * 5000 + b"\r\n"), listing),
    "a line": (b"SEARCH", without_end(b"4711 " * 5000), listing),
    "news": (b"IDLE", saying(b"+ idling\r\n", *[b"* OK " + b"x" * 9000 + b"\r\n"] * 150), waiting),
}  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS)
def test_an_answer_without_end_is_cut_off(
    flood: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_mailbox, "COMMAND_SECONDS", 60.0)
    command, harm, ask = FLOODS[flood]
    with ExitStack() as ends:
        settings = ends.enter_context(server({command: harm}))
        mailbox = ends.enter_context(connect(settings, state))
        with pytest.raises(Unavailable, match="it breaks off"):
            ask(mailbox)


DRIPS = {
    "the greeting": (b"", None),
    "the login": (b"LOGIN", None),
    "a fetch": (b"FETCH", reading),
    "a wait": (b"IDLE", waiting),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_a_server_that_never_comes_to_an_end_is_given_up(drip: str, state: Path) -> None:
    ended = threading.Event()

    def dripping() -> Iterator[bytes]:
        while not ended.wait(0.05):
            yield b"*"

    command, ask = DRIPS[drip]
    with ExitStack() as ends:
        greeting = GREETING if command else b"*"
        settings = ends.enter_context(server({command: dripping}, greeting))
        ends.callback(ended.set)
        if ask is None:
            with pytest.raises(Unavailable, match="no answer within"):
                connect(settings, state)
        else:
            mailbox = ends.enter_context(connect(settings, state))
            with pytest.raises(Unavailable, match="no answer within"):
                ask(mailbox)


def test_a_refused_login_is_told_apart_from_one_that_was_broken_off(state: Path) -> None:
    said = b"TAG NO [AUTHENTICATIONFAILED] Not you\r\n"
    with server({b"LOGIN": saying(said)}) as settings, pytest.raises(LoginRefused, match="Not you"):
        connect(settings, state)
    with server({b"LOGIN": saying(b"* BYE\r\n", b"nonsense\r\n")}) as settings:
        with pytest.raises(Unavailable) as caught:
            connect(settings, state)
        assert not isinstance(caught.value, LoginRefused)


def test_a_server_that_repeats_the_password_is_not_quoted(state: Path) -> None:
    said = b'TAG NO what is "secret-word"?\r\n'
    with server({b"LOGIN": saying(said)}) as settings, pytest.raises(LoginRefused) as caught:
        connect(settings, state)
    assert "secret-word" not in str(caught.value)


def test_what_a_server_says_of_mails_is_not_told(state: Path) -> None:
    said = (b"* 1 FETCH (UID 1 Content\r\n", b"TAG NO Content\r\n")
    with server({b"FETCH": saying(*said)}) as settings, connect(settings, state) as mailbox:
        with pytest.raises(NotDone) as caught:
            reading(mailbox)
        assert str(caught.value) == "IMAP server, FETCH: it refuses"


def test_no_more_of_a_mail_is_taken_than_was_asked_for(state: Path) -> None:
    body = b"* 1 FETCH (UID 1 BODY[]<0> {9000}\r\n" + b"x" * 9000 + b")\r\n"
    others = b"* 2 FETCH (UID 2 BODY[]<0> {1}\r\ny)\r\n"
    with (
        server({b"FETCH": saying(others + body + b"TAG OK done\r\n")}) as settings,
        connect(settings, state) as mailbox,
    ):
        assert reading(mailbox) == b"x" * 5000
        assert mailbox.fetch(3, 5000, 1.0) is None


def test_more_mails_than_there_can_be_are_not_listed(state: Path) -> None:
    many = b" ".join(b"%d" % uid for uid in range(1, 5000))
    sizes = b"".join(b"* %d FETCH (UID %d RFC822.SIZE 9)\r\n" % (n, n) for n in range(1, 5000))
    harm = {
        b"SEARCH": saying(b"* SEARCH " + many + b"\r\nTAG OK done\r\n"),
        b"FETCH": saying(sizes + b"TAG OK done\r\n"),
    }
    with server(harm) as settings, connect(settings, state) as mailbox:
        assert listing(mailbox) == [1, 2, 3]


def test_what_came_before_the_wait_ends_it(state: Path) -> None:
    """The news may be in the same packet as the word that IDLE has begun."""
    harm = {b"IDLE": saying(b"+ idling\r\n* 2 EXISTS\r\n"), b"DONE": saying(b"TAG OK done\r\n")}
    with server(harm) as settings, connect(settings, state) as mailbox:
        mailbox.select()
        mailbox.wait(2 * SERVERS_PATIENCE)
