"""Dialogues with the SMTP and LMTP doors over real sockets."""

from __future__ import annotations

import logging
import socket
import ssl
import stat
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gateway.errors import OUR_FAULT, Reply, Unavailable, UsageError
from gateway.intake.door import combine
from gateway.intake.limits import Limits, client_of
from gateway.intake.path import NULL_PATH, split_path
from gateway.intake.tls import make_self_signed, tls_context
from tests.unit.smtp_peer import ACCEPTED, NOW, UNKNOWN, Mailbox, RawClient, open_door

TEXT = b"Subject: Seizure\r\n\r\nTwo containers.\r\n"
HELD = Reply(250, "2.0.0", "Held for a moderator")
LATER = Reply(451, "4.3.0", "Later")
NOT_YOU = Reply(550, "5.7.1", "Not signed by a member")


# Transactions


def test_a_mail_is_submitted_as_it_was_sent() -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data("topic@lists.example", "other@lists.example")
        client.send(TEXT + b"..a dot\r\n.\r\n")
        assert client.reply() == "250 2.0.0 Accepted"
        assert client.say("QUIT") == "221 2.0.0 Bye"
        assert client.reply() == ""
    (envelope,) = mailbox.kept
    assert envelope.sender == "officer@customs.example"
    assert envelope.recipients == ("topic@lists.example", "other@lists.example")
    assert envelope.data == TEXT + b".a dot\r\n"
    assert envelope.peer == "127.0.0.1"
    assert envelope.received_at == NOW


def test_extensions_are_announced_and_authentication_is_not() -> None:
    with open_door(Mailbox()) as door, RawClient(door) as client:
        offered = client.greet().split("\n")
        assert offered == [
            "250-gateway.example",
            "250-PIPELINING",
            f"250-SIZE {50 * 1024 * 1024}",
            "250-8BITMIME",
            "250-SMTPUTF8",
            "250 ENHANCEDSTATUSCODES",
        ]
        assert client.say("AUTH PLAIN AGFkbWluAGFkbWlu").startswith("500 5.5.1 ")


def test_a_plain_helo_will_do() -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        assert client.greet("HELO") == "250 gateway.example"
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(ACCEPTED)
    assert mailbox.kept[0].data == TEXT


def test_two_mails_of_one_connection_pipelined_in_one_write() -> None:
    mailbox = Mailbox()
    transaction = (
        b"MAIL FROM:<officer@customs.example>\r\nRCPT TO:<nobody@lists.example>\r\n"
        b"RCPT TO:<topic@lists.example>\r\nDATA\r\n"
    )
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.send(
            transaction + b"one\r\n.\r\n" + transaction + b"two\r\n.\r\n" + b"NOOP\r\nQUIT\r\n"
        )
        codes = [reply[:9] for reply in client.rest()]
    mail = ["250 2.1.0", "550 5.1.1", "250 2.1.5", "354 End d", "250 2.0.0"]
    assert codes == [*mail, *mail, "250 2.0.0", "221 2.0.0"]
    assert [envelope.data for envelope in mailbox.kept] == [b"one\r\n", b"two\r\n"]
    assert {envelope.recipients for envelope in mailbox.kept} == {("topic@lists.example",)}


def test_a_client_that_sends_byte_by_byte() -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        for byte in b"MAIL FROM:<officer@customs.example>\r\nRCPT TO:<topic@lists.example>\r\n":
            client.send(bytes([byte]))
        assert client.reply() == "250 2.1.0 Sender OK"
        assert client.reply() == "250 2.1.5 Recipient OK"
        assert client.say("DATA").startswith("354")
        for byte in TEXT + b"..\r\n.\r\n":
            client.send(bytes([byte]))
            time.sleep(0.001)
        assert client.reply() == str(ACCEPTED)
    assert mailbox.kept[0].data == TEXT + b".\r\n"


def test_the_replies_reach_a_client_that_has_closed_its_side() -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == [str(ACCEPTED)]
    assert len(mailbox.kept) == 1


@pytest.mark.parametrize("text", [b"", b"\r\n", b".\r\n", b"\r\n.\r\n", b"no header"])
def test_odd_but_whole_messages(text: bytes) -> None:
    mailbox = Mailbox()
    stuffed = (b"\r\n" + text).replace(b"\r\n.", b"\r\n..")[2:]
    end = b".\r\n" if not text or text.endswith(b"\r\n") else b"\r\n.\r\n"
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(stuffed + end)
        assert client.reply() == str(ACCEPTED)
    assert mailbox.kept[0].data == (text if not text or text.endswith(b"\r\n") else text + b"\r\n")


def test_the_null_sender_is_taken_and_the_null_recipient_is_not() -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        assert client.say("MAIL FROM:<>") == "250 2.1.0 Sender OK"
        assert client.say("RCPT TO:<>").startswith("553 5.1.3 ")
        assert client.say("RCPT TO:<Postmaster>") == "250 2.1.5 Recipient OK"
        assert client.say("DATA").startswith("354")
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(ACCEPTED)
    assert mailbox.kept[0].sender == ""
    assert mailbox.kept[0].recipients == ("Postmaster",)


def test_an_address_in_utf8_needs_its_parameter() -> None:
    mailbox = Mailbox(known=("zöllner@zürich.example",))
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        assert client.say("MAIL FROM:<zoë@customs.example>").startswith("553 5.6.7 ")
        assert client.say("MAIL FROM:<a@customs.example>").startswith("250")
        assert client.say("RCPT TO:<zöllner@zürich.example>").startswith("553 5.6.7 ")
        assert client.say("RSET") == "250 2.0.0 OK"
        assert client.say("MAIL FROM:<zoë@customs.example> SMTPUTF8 BODY=8BITMIME").startswith(
            "250 2.1.0"
        )
        assert client.say("RCPT TO:<zöllner@zürich.example>").startswith("250 2.1.5")
        assert client.say("DATA").startswith("354")
        client.send("Grüße\r\n.\r\n".encode())
        assert client.reply() == str(ACCEPTED)
        client.send(b"MAIL FROM:<zo\xeb@customs.example> SMTPUTF8\r\n")
        assert client.reply().startswith("500 5.5.2 ")
    assert mailbox.kept[0].sender == "zoë@customs.example"
    assert mailbox.kept[0].data == "Grüße\r\n".encode()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("<a.b+c@x.example>", ("a.b+c@x.example", "")),
        ("<a@x.example> SIZE=12 BODY=7BIT", ("a@x.example", " SIZE=12 BODY=7BIT")),
        ("<>", (NULL_PATH, "")),
        ("<postMASTER>", ("postMASTER", "")),
        ("<@r1.example,@r2.example:a@x.example>", ("a@x.example", "")),
        ('<"a \\" b"@x.example>', ('"a \\" b"@x.example', "")),
        ("<a@[IPv6:2001:db8::1]>", ("a@[IPv6:2001:db8::1]", "")),
        ("a@x.example", None),
        ("<a@x.example", None),
        ("<a@x.example>SIZE=1", None),
        ("<a(comment)@x.example>", None),
        ("<a b@x.example>", None),
        ("<a..b@x.example>", None),
        ("<a@x..example>", None),
        ("<a>", None),
        ("<a@x.example\x00>", None),
        ("<a@b@x.example>", None),
    ],
)
def test_paths(argument: str, expected: tuple[str, str] | None) -> None:
    assert split_path(argument) == expected


# Outcomes


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ((ACCEPTED,), ACCEPTED),
        ((NOT_YOU, HELD, LATER), HELD),
        ((NOT_YOU, LATER, UNKNOWN), LATER),
        ((NOT_YOU, UNKNOWN), NOT_YOU),
    ],
)
def test_one_reply_for_all_recipients(replies: tuple[Reply, ...], expected: Reply) -> None:
    assert combine(replies) == expected


def test_lmtp_answers_for_each_recipient() -> None:
    mailbox = Mailbox(
        answer=lambda _, recipient: ACCEPTED if recipient.startswith("topic") else NOT_YOU
    )
    with open_door(mailbox, protocol="lmtp") as door, RawClient(door) as client:
        assert client.reply() == "220 gateway.example LMTP"
        assert client.say("EHLO client.example").startswith("500 5.5.1 ")
        assert client.say("HELO client.example").startswith("500 5.5.1 ")
        assert client.say("MAIL FROM:<>").startswith("503 5.5.1 ")
        assert "250-PIPELINING" in client.say("LHLO client.example")
        client.begin_data("topic@lists.example", "other@lists.example", "topic@lists.example")
        client.send(TEXT + b".\r\n")
        assert [client.reply() for _ in range(3)] == [str(ACCEPTED), str(NOT_YOU), str(ACCEPTED)]
        assert client.say("QUIT").startswith("221 ")
    assert mailbox.kept[0].recipients[1] == "other@lists.example"


def test_lmtp_refuses_an_oversized_mail_for_each_recipient() -> None:
    mailbox, limits = Mailbox(), Limits(message_bytes=2000)
    with open_door(mailbox, limits, protocol="lmtp") as door, RawClient(door) as client:
        client.greet("LHLO")
        client.begin_data("topic@lists.example", "other@lists.example")
        client.send(b"x" * 70 + b"\r\n" + b"y" * 70 + b"\r\n" * 1000 + b".\r\n")
        assert [client.reply()[:9], client.reply()[:9]] == ["552 5.3.4", "552 5.3.4"]
        assert client.say("NOOP").startswith("250 ")
    assert mailbox.kept == []


def test_a_refusal_of_the_decision_reaches_the_client() -> None:
    with open_door(Mailbox(answer=lambda *_: NOT_YOU)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == "550 5.7.1 Not signed by a member"
        assert client.say("NOOP") == "250 2.0.0 OK"


def test_a_fault_is_temporary_and_its_message_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    mailbox = Mailbox(fault=ValueError(TEXT))
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(OUR_FAULT)
        assert client.say("MAIL FROM:<>").startswith("250 ")
        assert client.say("RCPT TO:<faulty@lists.example>") == str(OUR_FAULT)
        assert client.say("NOOP").startswith("250 ")
    assert "ValueError" in caplog.text
    assert "LookupError" in caplog.text
    assert "in submit" in caplog.text
    assert "faulty@" not in caplog.text
    assert "containers" not in caplog.text


def test_a_named_failure_is_logged_with_its_text(caplog: pytest.LogCaptureFixture) -> None:
    fault = Unavailable("the agent does not answer")
    fault.__cause__ = KeyError("secret")
    with open_door(Mailbox(fault=fault)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(OUR_FAULT)
    assert "Unavailable: the agent does not answer" in caplog.text
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text


def test_a_fault_of_the_dialogue_itself_is_temporary_and_its_end() -> None:
    with open_door(Mailbox()) as door, RawClient(door) as client:
        client.greet()
        # A digit to str.isdigit(), by which aiosmtpd judges, but not to int().
        client.send("MAIL FROM:<officer@customs.example> SIZE=²\r\nNOOP\r\n".encode())
        assert client.rest() == [str(OUR_FAULT)]


def test_too_few_replies_are_a_fault_of_ours() -> None:
    class Terse(Mailbox):
        async def submit(self, envelope: object) -> tuple[Reply, ...]:
            return (ACCEPTED,)

    with open_door(Terse(), protocol="lmtp") as door, RawClient(door) as client:
        client.greet("LHLO")
        client.begin_data("topic@lists.example", "other@lists.example")
        client.send(TEXT + b".\r\n")
        assert [client.reply(), client.reply()] == [str(OUR_FAULT)] * 2


def test_no_content_and_no_address_in_any_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with open_door(Mailbox()) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(ACCEPTED)
        client.send(b"Containers are no command\r\n")  # what a confused client does
        assert client.reply().startswith("500 5.5.1 ")
    assert f"mail of {len(TEXT)} bytes from 127.0.0.1: 250 2.0.0 Accepted" in caplog.text
    assert "ontainers" not in caplog.text
    assert "customs.example" not in caplog.text


# A client that leaves


def test_a_client_that_leaves_within_data_submits_nothing() -> None:
    mailbox = Mailbox()
    with open_door(mailbox) as door:
        for ending in (b"", b"\r\n", b"\r\n.", b"\r\n.\r"):
            with RawClient(door) as client:
                client.greet()
                client.begin_data()
                client.send(b"Two containers." + ending)
                client.socket.shutdown(socket.SHUT_WR)
                assert client.rest() == []
    assert mailbox.kept == []


def test_a_decision_goes_on_without_its_client() -> None:
    mailbox = Mailbox(finish=threading.Event())
    assert mailbox.finish is not None
    with open_door(mailbox) as door:
        with RawClient(door) as client:
            client.greet()
            client.begin_data()
            client.send(TEXT + b".\r\n")
            assert mailbox.started.wait(10)
            reset = b"\1\0\0\0\0\0\0\0"  # linger on, no seconds: close sends RST
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        time.sleep(0.2)
        mailbox.finish.set()
        door.close(10)
    assert [envelope.data for envelope in mailbox.kept] == [TEXT]


# Order and syntax


def test_commands_out_of_order() -> None:
    with open_door(Mailbox()) as door, RawClient(door) as client:
        assert client.reply().startswith("220 ")
        for command in ("MAIL FROM:<>", "RCPT TO:<topic@lists.example>", "DATA"):
            assert client.say(command).startswith("503 5.5.1 ")
        client.say("EHLO client.example")
        for command in ("RCPT TO:<topic@lists.example>", "DATA"):
            assert client.say(command).startswith("503 5.5.1 ")
        assert client.say("MAIL FROM:<>").startswith("250 ")
        assert client.say("MAIL FROM:<>").startswith("503 5.5.1 ")
        assert client.say("DATA").startswith("503 5.5.1 ")
        assert client.say("RCPT TO:<topic@lists.example>").startswith("250 ")
        assert client.say("DATA now").startswith("501 5.5.4 ")
        assert client.say("EHLO client.example").startswith("250-")
        assert client.say("RCPT TO:<topic@lists.example>").startswith("503 5.5.1 ")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("", "500 5.5.1"),
        ("XYZZY", "500 5.5.1"),
        ("EHLO", "501 5.5.4"),
        ("HELO", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
        ("MAIL FROM:", "553 5.1.3"),
        ("MAIL FROM:officer@customs.example", "553 5.1.3"),
        ("MAIL FROM:<officer@customs.example> BODY=BINARYMIME", "501 5.5.4"),
        ("MAIL FROM:<officer@customs.example> RET=HDRS", "555 5.5.4"),
        ("MAIL FROM:<officer@customs.example> SIZE=52428801", "552 5.3.4"),
        ("MAIL FROM:<officer@customs.example> SIZE=many", "501 5.5.4"),
        ("VRFY topic@lists.example", "252 2.5.0"),
        ("VRFY nobody@lists.example", "252 2.5.0"),
        ("EXPN topic", "502 5.5.1"),
        ("HELP", "214 2.0.0"),
        ("STARTTLS", "454 4.7.0"),
        ("NOOP whatever", "250 2.0.0"),
        ("rset", "250 2.0.0"),
        ("QUIT now", "501 5.5.4"),
    ],
)
def test_each_reply_has_its_status(command: str, status: str) -> None:
    with open_door(Mailbox()) as door, RawClient(door) as client:
        client.greet()
        assert client.say(command).startswith(status + " ")
        assert client.say("NOOP") == "250 2.0.0 OK"


@pytest.mark.parametrize(
    "command", [b"NOOP\n", b"NOOP\rNOOP\r\n", b"MAIL FROM:<>\nRCPT TO:<topic@lists.example>\r\n"]
)
def test_a_command_line_ends_by_crlf_alone(command: bytes) -> None:
    with open_door(Mailbox()) as door, RawClient(door) as client:
        client.greet()
        client.send(command + b"NOOP\r\n")
        assert client.rest() == ["500 5.5.2 Only <CR><LF> ends a command line"]


def test_an_overlong_command_line_is_dropped_whole() -> None:
    with open_door(Mailbox()) as door, RawClient(door) as client:
        client.greet()
        client.send(b"NOOP " + b"x" * 300_000 + b"\r\n" + b"NOOP " + b"y" * 993 + b"\r\n")
        assert client.reply() == "500 5.5.2 Command line too long"
        assert client.reply() == "250 2.0.0 OK"


# Limits


@pytest.mark.parametrize(("length", "status"), [(998, "250 2.0.0"), (999, "500 5.5.2")])
@pytest.mark.parametrize("before", [b"", b"a\r\n" * 90_000])
@pytest.mark.parametrize("first", [b"x", b"."])
def test_the_length_of_a_line(length: int, status: str, before: bytes, first: bytes) -> None:
    mailbox = Mailbox()
    line = first + b"x" * (length - 1)
    stuffing = b"." if first == b"." else b""
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(before + stuffing + line + b"\r\n" + before + b".\r\n")
        assert client.reply().startswith(status)
        assert client.say("NOOP").startswith("250 ")
    kept = [before + line + b"\r\n" + before] if status == "250 2.0.0" else []
    assert [envelope.data for envelope in mailbox.kept] == kept


@pytest.mark.parametrize(("surplus", "status"), [(0, "250 2.0.0"), (1, "552 5.3.4")])
def test_the_size_of_a_message(surplus: int, status: str) -> None:
    mailbox = Mailbox()
    # Dots that transparency adds are not counted: RFC 1870 3.
    text = b".\r\n" * 100 + b"x" * (700 - 2 + surplus) + b"\r\n"
    with open_door(mailbox, Limits(message_bytes=1000)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(text.replace(b".\r\n", b"..\r\n") + b".\r\n")
        assert client.reply().startswith(status)
        assert client.say("NOOP").startswith("250 ")
    assert [envelope.data for envelope in mailbox.kept] == ([] if surplus else [text])


def test_far_more_data_than_taken_ends_the_session() -> None:
    mailbox = Mailbox()
    with open_door(mailbox, Limits(message_bytes=10_000)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(b"x" * 70 + b"\r\n" + b"more\r\n" * 7000)
        assert client.reply().startswith("421 4.7.0 ")
        assert client.reply() == ""
    assert mailbox.kept == []


def test_mails_of_all_clients_share_the_memory() -> None:
    mailbox = Mailbox()
    with (
        open_door(mailbox, Limits(held_bytes=450_000)) as door,
        RawClient(door) as one,
        RawClient(door) as two,
    ):
        for client in (one, two):
            client.greet()
            client.begin_data()
        one.send(b"first\r\n" * 30_000)
        time.sleep(0.3)
        two.send(b"second\r\n" * 30_000)
        time.sleep(0.3)
        two.send(b"second\r\n.\r\n")
        assert two.reply().startswith("452 4.3.1 ")
        one.send(b".\r\n")
        assert one.reply() == str(ACCEPTED)
        two.begin_data()
        two.send(b"second\r\n.\r\n")
        assert two.reply() == str(ACCEPTED)
    assert [len(envelope.data) for envelope in mailbox.kept] == [210_000, 8]


def test_the_number_of_recipients() -> None:
    mailbox = Mailbox()
    with open_door(mailbox, Limits(recipients=2)) as door, RawClient(door) as client:
        client.greet()
        client.say("MAIL FROM:<>")
        for _ in range(2):
            assert client.say("RCPT TO:<topic@lists.example>").startswith("250 ")
        assert client.say("RCPT TO:<other@lists.example>").startswith("452 4.5.3 ")
        assert client.say("DATA").startswith("354")
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(ACCEPTED)
    assert len(mailbox.kept[0].recipients) == 2


@pytest.mark.parametrize("limits", [Limits(connections=2), Limits(connections_per_client=2)])
def test_the_number_of_connections(limits: Limits) -> None:
    with open_door(Mailbox(), limits) as door, RawClient(door) as one, RawClient(door) as two:
        one.greet()
        two.greet()
        with RawClient(door) as three:
            assert three.rest() == ["421 4.7.0 Too many connections, try again later"]
        assert one.say("QUIT").startswith("221 ")
        assert one.reply() == ""
        with RawClient(door) as four:
            four.greet()


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_who_counts_as_one_client(peer: str, client: str) -> None:
    assert client_of(peer) == client


def test_the_number_of_errors_and_of_commands() -> None:
    with open_door(Mailbox(), Limits(errors=3, commands=6)) as door:
        with RawClient(door) as client:
            client.greet()
            for command in ("XYZZY", "DATA", "MAIL"):
                assert client.say(command).startswith("50")
            assert client.say("NOOP") == "421 4.7.0 Too many errors"
            assert client.reply() == ""
        with RawClient(door) as client:
            client.greet()
            client.send(b"NOOP\r\n" * 10)
            assert client.rest() == ["250 2.0.0 OK"] * 5 + ["421 4.7.0 Too many commands"]


@pytest.mark.parametrize("said", [b"", b"NOO"])
def test_an_idle_client_is_dismissed(said: bytes) -> None:
    with open_door(Mailbox(), Limits(idle_seconds=0.3)) as door, RawClient(door) as client:
        client.greet()
        client.send(said)
        assert client.rest() == ["421 4.4.2 Timed out waiting for you"]


def test_a_message_has_its_time_even_if_its_client_is_never_idle() -> None:
    mailbox = Mailbox()
    with open_door(mailbox, Limits(data_seconds=0.5)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        for _ in range(12):
            client.send(b"tick\r\n")
            time.sleep(0.05)
        assert client.rest() == ["421 4.4.2 Timed out waiting for you"]
    assert mailbox.kept == []


def test_a_slow_but_steady_client_is_not_idle() -> None:
    with open_door(Mailbox(), Limits(idle_seconds=0.5)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        for _ in range(10):
            client.send(b"tick\r\n")
            time.sleep(0.1)
        client.send(b".\r\n")
        assert client.reply() == str(ACCEPTED)


def test_a_client_stalled_within_data_is_dismissed() -> None:
    mailbox = Mailbox()
    with open_door(mailbox, Limits(idle_seconds=0.3)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(b"stalled")
        assert client.rest() == ["421 4.4.2 Timed out waiting for you"]
    assert mailbox.kept == []


def test_a_slow_decision_is_not_idleness() -> None:
    mailbox = Mailbox(finish=threading.Event())
    assert mailbox.finish is not None
    with open_door(mailbox, Limits(idle_seconds=0.2)) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        time.sleep(0.6)
        mailbox.finish.set()
        assert client.reply() == str(ACCEPTED)
        assert client.say("NOOP").startswith("250 ")


def test_a_client_that_never_reads_is_dropped() -> None:
    limits = Limits(idle_seconds=0.5, commands=10_000_000)
    with open_door(Mailbox(), limits) as door, RawClient(door) as client:
        client.greet()
        with pytest.raises(ConnectionError):
            client.send(b"HELP\r\n" * 10_000_000)


# The end


def test_closing_the_door() -> None:
    mailbox = Mailbox(finish=threading.Event())
    assert mailbox.finish is not None
    with (
        open_door(mailbox) as door,
        RawClient(door) as idle,
        RawClient(door) as sending,
        RawClient(door) as waiting,
    ):
        idle.greet()
        sending.greet()
        sending.begin_data()
        sending.send(b"half a mess")
        waiting.greet()
        waiting.begin_data()
        waiting.send(TEXT + b".\r\n")
        assert mailbox.started.wait(10)
        closing = threading.Thread(target=door.close, args=(10,))
        closing.start()
        farewell = ["421 4.3.2 Shutting down, try again later"]
        assert idle.rest() == farewell
        assert sending.rest() == farewell
        with pytest.raises(OSError):
            RawClient(door)
        mailbox.finish.set()
        assert waiting.rest() == [str(ACCEPTED), *farewell]
        closing.join()
    assert [envelope.data for envelope in mailbox.kept] == [TEXT]


def test_grace_comes_to_an_end() -> None:
    mailbox = Mailbox(finish=threading.Event())
    assert mailbox.finish is not None
    with open_door(mailbox) as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert mailbox.started.wait(10)
        began = time.monotonic()
        door.close(0.3)
        assert 0.2 < time.monotonic() - began < 5
        assert client.reply() == ""
    assert mailbox.kept == []
    mailbox.finish.set()


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    # A client's clock is the real one, so the test's certificate must be good for years around.
    make_self_signed("gateway.example", certfile, keyfile, now=NOW - timedelta(days=3000))
    return certfile, keyfile


@pytest.fixture(scope="module")
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


def test_a_self_signed_certificate(certificate: tuple[Path, Path]) -> None:
    certfile, keyfile = certificate
    assert stat.S_IMODE(keyfile.stat().st_mode) == 0o600
    parsed = x509.load_pem_x509_certificate(certfile.read_bytes())
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gateway.example"]
    life = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    assert life == timedelta(days=3650, hours=1)
    with pytest.raises(UsageError, match="exists already"):
        make_self_signed("gateway.example", certfile, keyfile, now=NOW)


def test_unusable_tls_files_are_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pem"):
        tls_context(tmp_path / "none.pem", certificate[1])
    with pytest.raises(UsageError, match="no certificate and its key"):
        tls_context(certificate[1], certificate[1])


def test_old_tls_is_refused(certificate: tuple[Path, Path]) -> None:
    assert tls_context(*certificate).minimum_version == ssl.TLSVersion.TLSv1_2


def test_starttls(certificate: tuple[Path, Path], trusting: ssl.SSLContext) -> None:
    mailbox = Mailbox()
    with open_door(mailbox, tls=tls_context(*certificate)) as door, RawClient(door) as client:
        assert client.greet().endswith("\n250 STARTTLS")
        assert client.say("MAIL FROM:<plain@customs.example>").startswith("250 ")
        assert client.say("STARTTLS") == "220 2.0.0 Ready to start TLS"
        client.start_tls(trusting)
        assert client.say("MAIL FROM:<>").startswith("503 5.5.1 ")  # RFC 3207 4.2: all forgotten
        offered = client.say("EHLO client.example")
        assert "STARTTLS" not in offered
        assert "AUTH" not in offered
        assert client.say("STARTTLS").startswith("503 5.5.1 ")
        client.begin_data()
        client.send(TEXT * 20_000 + b".\r\n")
        assert client.reply() == str(ACCEPTED)
        assert client.say("QUIT").startswith("221 ")
        assert client.reply() == ""
    assert mailbox.kept[0].data == TEXT * 20_000


def test_commands_sent_before_tls_do_not_count_after_it(
    certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    mailbox = Mailbox()
    injected = (
        b"EHLO attacker.example\r\nMAIL FROM:<attacker@evil.example>\r\n"
        b"RCPT TO:<topic@lists.example>\r\nDATA\r\n"
    )
    with open_door(mailbox, tls=tls_context(*certificate)) as door, RawClient(door) as client:
        client.greet()
        client.send(b"STARTTLS\r\n" + injected)
        assert client.reply().startswith("220 ")
        client.start_tls(trusting)
        assert client.say("NOOP") == "250 2.0.0 OK"
        assert client.say("RCPT TO:<topic@lists.example>").startswith("503 5.5.1 ")
        assert "250-SIZE" in client.say("EHLO client.example")
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(ACCEPTED)
    assert [envelope.sender for envelope in mailbox.kept] == ["officer@customs.example"]


def test_a_failed_handshake_frees_the_connection(certificate: tuple[Path, Path]) -> None:
    limits = Limits(connections=1)
    with open_door(Mailbox(), limits, tls=tls_context(*certificate)) as door:
        with RawClient(door) as client:
            client.greet()
            assert client.say("STARTTLS").startswith("220 ")
            client.send(b"this is not TLS, it is a sentence\r\n" * 10)
            with pytest.raises((UnicodeDecodeError, AssertionError, ConnectionError)):
                assert client.rest() == ["alert"]
        with RawClient(door) as client:
            client.greet()


def test_implicit_tls(certificate: tuple[Path, Path], trusting: ssl.SSLContext) -> None:
    mailbox = Mailbox()
    context = tls_context(*certificate)
    door_with_tls = open_door(mailbox, tls=context, implicit_tls=True)
    with door_with_tls as door, RawClient(door, trusting) as client:
        assert "STARTTLS" not in client.greet()
        assert client.say("STARTTLS").startswith("503 5.5.1 ")
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(ACCEPTED)
        client.begin_data()
        client.send(b"bare\nline\r\n.\r\nNOOP\r\n")
        assert client.reply().startswith("550 5.6.0 ")
        assert client.reply() == ""
    assert [envelope.data for envelope in mailbox.kept] == [TEXT]


def test_closing_the_door_dismisses_tls_clients(
    certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    door_with_tls = open_door(Mailbox(), tls=tls_context(*certificate), implicit_tls=True)
    with door_with_tls as door, RawClient(door, trusting) as client:
        client.greet()
        closing = threading.Thread(target=door.close, args=(10,))
        closing.start()
        assert client.reply() == "421 4.3.2 Shutting down, try again later"
        assert client.reply() == ""
        client.socket.close()
        closing.join()


def test_ipv6() -> None:
    mailbox = Mailbox()
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    with open_door(mailbox, host="::1") as door, RawClient(door) as client:
        client.greet()
        client.begin_data()
        client.send(TEXT + b".\r\n")
        assert client.reply() == str(ACCEPTED)
    assert mailbox.kept[0].peer == "::1"
