"""What servers say of a copy that does not arrive: by a mail, or at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.delivery.handoff import Copies, Live, Outcome, Record, always
from tests.unit.group import Hand

FAILED = "Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
FULL = "Action: failed\r\nStatus: 5.2.2\r\nDiagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n"
DELAYED = "Action: delayed\r\nStatus: 4.4.1\r\n"
RELAYED = "Action: relayed\r\nStatus: 2.1.5\r\n"
VACATION = (
    b"From: Bo Berg <bo@customs.example>\r\nSubject: Out of office\r\n"
    b"Auto-Submitted: auto-replied\r\n\r\nI am away until May.\r\n"
)
QMAIL = (
    b"From: MAILER-DAEMON@mx.customs.example\r\nSubject: failure notice\r\n\r\n"
    b"Hi. This is the qmail-send program at mx.customs.example.\r\n"
    b"I'm afraid I wasn't able to deliver your message to the following addresses.\r\n\r\n"
    b"<bo@customs.example>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n"
    b"--- Below this line is a copy of the message.\r\n\r\nReturn-Path: <x@y.example>\r\n"
)


def dsn(fields: str = FAILED, auto: str = "auto-replied") -> bytes:
    """A report as Postfix makes them (RFC 3464)."""
    return (
        "From: MAILER-DAEMON@mx.customs.example\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        f"Auto-Submitted: {auto}\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nIt failed.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.customs.example\r\n\r\n"
        f"Final-Recipient: rfc822; bo@customs.example\r\n{fields}"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: ...\r\n--b--\r\n"
    ).encode()


class Refusing(Hand):
    """A mail server that does not know some readers."""

    def __init__(self, unknown: Sequence[str], text: str = "5.1.1 no such user") -> None:
        super().__init__()
        self._unknown, self._text = unknown, text

    async def deliver(self, copies: Copies, record: Record, live: Live = always) -> None:
        assert isinstance(copies, Iterator)
        for copy in copies:
            if copy.recipient in self._unknown:
                record([Outcome(copy.id, "refused", 550, self._text)])
            else:
                self.taken.append(copy)
                record([Outcome(copy.id, "sent", 250, "taken")])
