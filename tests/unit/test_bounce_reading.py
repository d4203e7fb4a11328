"""What is said by mails that come back: to fail for good, for now, or nothing of the kind."""

from __future__ import annotations

import time

import pytest

from gateway.bounces import reading
from gateway.bounces.report import Failure
from tests.unit.returned import DELAYED, FAILED, FULL, QMAIL, RELAYED, VACATION, dsn


def failure(mail: bytes) -> Failure | None:
    return reading.read(mail)


def test_a_report_is_read_by_its_status() -> None:
    assert failure(dsn()) == Failure(True, "5.1.1", "dsn")
    assert failure(dsn(FULL)) == Failure(False, "5.2.2", "dsn")
    assert failure(dsn("Action: failed\r\nStatus: 4.4.7\r\n")) == Failure(False, "4.4.7", "dsn")


def test_a_status_that_says_nothing_gives_way_to_what_the_server_said() -> None:
    said = "Action: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; "
    assert failure(dsn(f"{said}550 5.1.1 <bo@customs.example>\r\n")) == Failure(
        True, "5.1.1", "dsn"
    )
    assert failure(dsn(f"{said}550 unknown user\r\n")) == Failure(True, "5.0.0", "dsn")
    assert failure(dsn(f"{said}550 spam\r\n")) == Failure(False, "5.0.0", "dsn")


@pytest.mark.parametrize("mail", [dsn(DELAYED), dsn(RELAYED), VACATION, b"x\r\n", b"", b"\r\n"])
def test_what_is_no_failure_counts_for_nothing(mail: bytes) -> None:
    assert failure(mail) is None


def test_a_dialect_is_read() -> None:
    assert failure(QMAIL) == Failure(True, "5.1.1", "vendor")


def test_of_several_recipients_one_that_may_work_makes_it_soft() -> None:
    both = f"{FAILED}\r\nFinal-Recipient: rfc822; team@customs.example\r\n{FULL}"
    assert failure(dsn(both)) == Failure(False, "5.2.2", "dsn")


HOSTILE = {
    "a line of 60 KB": b"From: MAILER-DAEMON@x.example\r\n\r\nYour message to:\r\n" + b"a" * 60_000,
    "a thousand parts in one another": b"Content-Type: multipart/mixed; boundary=a0\r\n\r\n"
    + b"".join(
        b"--a%d\r\nContent-Type: multipart/mixed; boundary=a%d\r\n\r\n" % (one, one + 1)
        for one in range(1000)
    ),
    "a thousand messages in one another": b"Content-Type: message/rfc822\r\n\r\n" * 1000,
    "ten thousand recipients": dsn("Action: x\r\n\r\n" * 10_000),
    "a header of nothing but parameters": b"Content-Type: multipart/report"
    + b';a="\\"\\"\\"\\""' * 4000 + b"\r\n\r\nx",
    "bytes": bytes(range(256)) * 200,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_mail_takes_long_to_read(name: str) -> None:
    before = time.process_time()
    failure(HOSTILE[name])
    assert time.process_time() - before < 1  # of this process; another may take its two seconds
