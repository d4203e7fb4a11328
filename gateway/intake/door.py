"""A door's state: who came in, what is being decided, and who decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Envelope as Transaction
from aiosmtpd.smtp import Session as Greeted

from gateway.errors import OUR_FAULT, GatewayError, Reply, trace
from gateway.intake.limits import Lately, Limits, client_of
from gateway.intake.path import NULL_PATH
from gateway.message.envelope import Envelope
from gateway.tracing import about

log = logging.getLogger(__name__)

TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections, try again later")
OTHERS_WAIT = Reply(421, "4.4.2", "Too slow while others wait, try again later")
SHUTTING_DOWN = Reply(421, "4.3.2", "Shutting down, try again later")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
NOT_A_RECIPIENT = Reply(553, "5.1.3", "The null path is no recipient")
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "Address needs the SMTPUTF8 parameter")


class Reception(Protocol):
    """What stands behind a door and decides. Neither method may block the event loop."""

    async def recipient(self, address: str) -> Reply | None:
        """None for a forward path that is taken, else the refusal."""

    async def submit(self, envelope: Envelope) -> tuple[Reply, ...]:
        """Decide on a mail: one reply a recipient, in their order.

        It is left to finish even when the client is gone, and cancelled only when the door
        closes and the time of grace is over.
        """


def combine(replies: tuple[Reply, ...]) -> Reply:
    """One reply for all recipients, as SMTP needs it: accepted, else temporary, else the first.

    Accepted by one is accepted: a second try would bring it to that one twice.
    """
    accepted = (reply for reply in replies if reply.accepted)
    temporary = (reply for reply in replies if reply.temporary)
    return next(accepted, None) or next(temporary, None) or replies[0]


class Client(Protocol):
    """One client's session, as the door sees it.

    peer: the client's address.
    """

    peer: str

    @property
    def held(self) -> int:
        """Bytes in memory of the message that is arriving."""

    def behind(self) -> float:
        """How far it is behind a slow client, in seconds: see `limits.Pace`."""

    def give_way(self) -> None:
        """Hold no more of the message that is arriving, which will be refused."""

    def oust(self, reply: Reply) -> None:
        """Say so and drop the connection, at once."""

    def dismiss(self, reply: Reply) -> None:
        """End the session at its next read: now, if it waits for the client."""

    def abort(self) -> None:
        """Drop the connection, nothing said."""


class Door:
    """A port and the clients who came through it. Made by `gateway.intake.smtp.listen`.

    address: (host, port) as bound.
    """

    def __init__(
        self,
        reception: Reception,
        limits: Limits,
        hostname: str,
        tls: ssl.SSLContext | None,
        clock: Callable[[], datetime],
        *,
        implicit_tls: bool,
    ) -> None:
        self.limits = limits
        self.hostname = hostname
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.address = ("", 0)
        self._reception = reception
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._closing = False
        self._networks: dict[Client, str] = {}
        self._ousted = Lately(limits.ousted_seconds)
        self._submissions: dict[asyncio.Task[tuple[Reply, ...]], int] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def open(self, server: asyncio.Server) -> None:
        """Take charge of the listening server."""
        self._server = server
        self.address = server.sockets[0].getsockname()[:2]

    async def close(self, grace: float) -> None:
        """Stop listening and dismiss the clients (421); mail already whole gets grace seconds."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        for client in self._networks:
            client.dismiss(SHUTTING_DOWN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._empty.wait()
                while self._submissions:
                    await asyncio.wait(self._submissions)
        for submission in self._submissions:
            submission.cancel()
        for client in self._networks:
            client.abort()
        await asyncio.gather(*self._submissions, return_exceptions=True)
        await self._empty.wait()

    def turns_away(self, peer: str) -> Reply | None:
        """Why a client from an address is not served; None to let it in.

        The last tenth of the connections is for clients that have none. Where all are in use, who
        is furthest behind makes room, but for nobody who had to make room a short time ago: slow
        clients don't take turns.
        """
        if self._closing:
            return SHUTTING_DOWN
        network, most = client_of(peer), self.limits.connections
        same = list(self._networks.values()).count(network)
        free = most - len(self._networks)
        if same >= self.limits.connections_per_client or (same and 0 < free <= most // 10):
            return TOO_MANY_CONNECTIONS
        if free > 0:
            return None
        slowest = None if network in self._ousted else self._slowest(self._networks)
        if slowest is None:
            return TOO_MANY_CONNECTIONS
        self._ousted.add(self._networks[slowest])
        slowest.oust(OTHERS_WAIT)
        self.leave(slowest)
        return None

    def enter(self, client: Client) -> None:
        """Count a client that was let in."""
        self._networks[client] = client_of(client.peer)
        self._empty.clear()

    def leave(self, client: Client) -> None:
        """Count a client no more."""
        self._networks.pop(client, None)
        if not self._networks:
            self._empty.set()

    def has_room(self, client: Client) -> bool:
        """Whether a client's message may go on growing: it may be as large as what is left free,
        so that a few large ones leave room for many small ones. Slow clients give way."""
        while client.held > self._free():
            slowest = self._slowest(one for one in self._networks if one.held)
            if slowest is None or slowest is client:
                return False
            slowest.give_way()
        return True

    def _slowest(self, among: Iterable[Client]) -> Client | None:
        """Who is furthest behind, where that is too far."""
        behind = {one: one.behind() for one in among}
        slowest = max(behind, key=behind.__getitem__, default=None)
        if slowest is None or behind[slowest] <= self.limits.behind_seconds:
            return None
        return slowest

    def _free(self) -> int:
        """Bytes of held_bytes that no message has."""
        arriving = sum(client.held for client in self._networks)
        return self.limits.held_bytes - arriving - sum(self._submissions.values())

    async def handle_MAIL(
        self, _: SMTP, __: Greeted, transaction: Transaction, path: str, ___: list[str]
    ) -> str:
        """aiosmtpd's hook for a MAIL of right grammar."""
        if not path.isascii() and not transaction.smtp_utf8:
            return str(NEEDS_SMTPUTF8)
        transaction.mail_from = path
        return str(SENDER_OK)

    async def handle_RCPT(
        self, _: SMTP, __: Greeted, transaction: Transaction, path: str, ___: list[str]
    ) -> str:
        """aiosmtpd's hook for a RCPT of right grammar."""
        if path == NULL_PATH:
            return str(NOT_A_RECIPIENT)
        if not path.isascii() and not transaction.smtp_utf8:
            return str(NEEDS_SMTPUTF8)
        if len(transaction.rcpt_tos) >= self.limits.recipients:
            return str(TOO_MANY_RECIPIENTS)
        try:
            refusal = await self._reception.recipient(path)
        except Exception as error:  # whatever it is, the sender's server is to keep the mail
            log_fault(error)
            refusal = OUR_FAULT
        if refusal is not None:
            return str(refusal)
        transaction.rcpt_tos.append(path)
        return str(RECIPIENT_OK)

    async def submit(self, transaction: Transaction, data: bytes, peer: str) -> tuple[Reply, ...]:
        """Have a mail decided on. The decision goes on when the client, who waits here, leaves."""
        sender = transaction.mail_from or NULL_PATH
        envelope = Envelope(
            sender="" if sender == NULL_PATH else sender,
            recipients=tuple(transaction.rcpt_tos),
            data=data,
            peer=peer,
            received_at=self._clock(),
        )
        with about(envelope.token):
            submission = asyncio.create_task(self._decide(envelope))
        self._submissions[submission] = len(data)
        submission.add_done_callback(self._submissions.pop)
        return await asyncio.shield(submission)

    async def _decide(self, envelope: Envelope) -> tuple[Reply, ...]:
        try:
            decided = await self._reception.submit(envelope)
            replies = tuple(r for _, r in zip(envelope.recipients, decided, strict=True))
        except Exception as error:  # as above
            log_fault(error)
            return (OUR_FAULT,) * len(envelope.recipients)
        log.info(
            "mail of %d bytes from %s: %s", len(envelope.data), envelope.peer, combine(replies)
        )
        return replies


def log_fault(error: BaseException) -> None:
    """Log what nobody foresaw and what led to it; only a GatewayError is quoted."""
    told: list[str] = []
    link: BaseException | None = error
    while link is not None:
        told.append(trace(link) + (f": {link}" if isinstance(link, GatewayError) else ""))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    log.error("fault on our side\n%s", "\n\ncaused by\n".join(told))
