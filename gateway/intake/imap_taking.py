"""What lies in the mailbox is taken: each mail is judged as at a door, and then moved to where it
shows what became of it.

`250` there is the move here: a mail is moved after the commit that took it. Whoever dies in between
leaves it where it was, and the rule `retry` knows it when it comes again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from gateway import dispatch
from gateway.app import App
from gateway.errors import OUR_FAULT, GatewayError, Reply
from gateway.intake import imap_hand
from gateway.intake.door import combine, log_fault
from gateway.intake.imap_envelope import envelope_of, refusal_note
from gateway.intake.imap_hand import Hand
from gateway.intake.imap_mailbox import Mailbox, NotDone, Waiting
from gateway.intake.wire import MESSAGE_TOO_LARGE
from gateway.message.envelope import Envelope
from gateway.posting import directory
from gateway.posting.opening import inflation_limit
from gateway.tracing import about

log = logging.getLogger(__name__)

WINDOW = 200
"""Mails whose sizes are asked for at once, however many there are."""
_NOT_GIVEN = Reply(451, "4.3.0", "The server gives no such mail")
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 600.0
_MOST_IN_A_ROW = 5
"""Mails that fail one after the other before the others are left for later: it is not theirs."""


Counted = Callable[[int], None]


@dataclass(slots=True)
class Later:
    """Mails that could not be taken, by UID: when they are due again (monotonic), and how long they
    waited last, in seconds."""

    validity: int = 0
    waits: dict[int, tuple[float, float]] = field(default_factory=dict)

    def of(self, validity: int) -> None:
        """UIDs are of another folder from here on, unless it is the same validity."""
        if validity != self.validity:
            self.validity = validity
            self.waits.clear()

    def has(self, one: Waiting) -> bool:
        return one.uid in self.waits

    def is_due(self, one: Waiting) -> bool:
        return one.uid not in self.waits or self.waits[one.uid][0] <= time.monotonic()

    def put_off(self, one: Waiting) -> None:
        """Each time for twice as long."""
        wait = _FIRST_WAIT
        if one.uid in self.waits:
            wait = min(2 * self.waits[one.uid][1], _LONGEST_WAIT)
        self.waits[one.uid] = (time.monotonic() + wait, wait)

    def forget(self, one: Waiting) -> None:
        self.waits.pop(one.uid, None)

    def keep(self, seen: set[int]) -> None:
        """No others are in the folder any more."""
        self.waits = {uid: wait for uid, wait in self.waits.items() if uid in seen}

    def seconds(self) -> float:
        """Until the first is due."""
        due = min((moment for moment, _ in self.waits.values()), default=float("inf"))
        return max(due - time.monotonic(), 0.0)


@dataclass(frozen=True, slots=True)
class Taking:
    """unbroken: what comes to its end before this process ends. counted: is told the code of each
    mail's reply."""

    app: App
    mailbox: Mailbox
    later: Later
    unbroken: Callable[[], AbstractContextManager[None]]
    counted: Counted | None = None

    def all(self) -> None:
        """Take what is in the folder but for what is to wait. Raises Unavailable where the server
        fails."""
        stayed = failed = 0
        seen: set[int] = set()
        taken: set[int] = set()
        while failed < _MOST_IN_A_ROW:
            folder = self.mailbox.select()
            self.later.of(folder.validity)
            last = min(stayed + WINDOW, folder.count)
            if stayed >= last:
                self.later.keep(seen)
                return
            moved = 0
            found = self.mailbox.waiting(stayed + 1, last)
            seen.update(one.uid for one in found)
            # First what has not failed yet: a mail over which the server breaks off each time
            # would else keep all others waiting.
            for one in sorted(found, key=self.later.has):
                # A server may say that it has moved a mail, and not do it.
                if one.uid in taken or failed == _MOST_IN_A_ROW or not self.later.is_due(one):
                    continue
                self.later.put_off(one)
                if self._one(one):
                    self.later.forget(one)
                    taken.add(one.uid)
                    moved, failed = moved + 1, 0
                else:
                    failed += 1
            stayed = last - moved

    def _one(self, one: Waiting) -> bool:
        """Decide on a mail and move it. False where it stays, to be tried later."""
        hand = imap_hand.take_up(self.app.state, self.later.validity, one.uid)
        moved = False
        try:
            found = self._read(hand, one)
            token = found.token if isinstance(found, Envelope) else ""
            with about(token), self.unbroken():
                reply = found if isinstance(found, Reply) else self._decide(found)
                log.info("mailbox: mail %d of %d bytes: %s", one.uid, one.size, reply)
                if self.counted is not None:
                    self.counted(reply.code)
                if not reply.temporary:
                    data = found.data if isinstance(found, Envelope) else None
                    self._move(hand, one, reply, data)
                    moved = True
        except NotDone as error:
            log.error("mailbox: mail %d stays: %s", one.uid, error)  # noqa: TRY400  says it all
        except (GatewayError, OSError):
            raise
        except Exception as error:  # whatever it is, the other mails are taken
            log_fault(error)
        finally:
            imap_hand.put_down(self.app.state, moved=moved)
        return moved

    def _read(self, hand: Hand, one: Waiting) -> Envelope | Reply:
        """The mail with its envelope, or why it is refused or has to wait."""
        settings, smtp = self.app.config.imap, self.app.config.smtp
        if hand.deaths >= settings.tries:
            times = f"times: {hand.deaths}"
            return Reply(554, "5.3.0", f"Set aside: the gateway ended over it, {times}")
        if one.size > smtp.message_bytes:
            return MESSAGE_TOO_LARGE
        data = self.mailbox.fetch(one.uid, smtp.message_bytes + 1, smtp.data_seconds)
        if data is None:
            return _NOT_GIVEN
        if len(data) > smtp.message_bytes:  # the server told another size
            return MESSAGE_TOO_LARGE
        try:
            return envelope_of(
                data, settings, self.app.config.domain, self.app.clock(), self._is_ours
            )
        except Exception as error:  # such as a database that is away
            log_fault(error)
            return OUR_FAULT

    def _is_ours(self, address: str) -> bool:
        return directory.recipient(self.app, address) is None

    def _decide(self, envelope: Envelope) -> Reply:
        try:
            replies = dispatch.submit(self.app, envelope, inflation_limit(self.app.config))
        except Exception as error:  # whatever it is, the mail is to stay where it is
            log_fault(error)
            return OUR_FAULT
        return OUR_FAULT if replies is None else combine(replies)

    def _move(self, hand: Hand, one: Waiting, reply: Reply, data: bytes | None) -> None:
        settings = self.app.config.imap
        if reply.accepted:
            self.mailbox.move(one.uid, settings.taken_folder)
            return
        if not hand.noted:
            domain, now = self.app.config.domain, self.app.clock()
            note = refusal_note(str(reply), one.size, data, domain, now)
            self.mailbox.put(settings.refused_folder, note)
            imap_hand.note(self.app.state, hand)
        self.mailbox.move(one.uid, settings.refused_folder)
