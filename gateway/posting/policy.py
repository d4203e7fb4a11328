"""The policy: an ordered table of rules. The first that applies decides, and is recorded.

Facts are gathered before; deciding does no I/O, so what becomes of a mail follows from its facts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from gateway.errors import Reply


class Action(StrEnum):
    DISCARD = "discard"
    """Answered 250 and forgotten: a robot's mail must not be answered by another robot."""
    REFUSE = "refuse"
    """Refused in the SMTP dialogue; the sender's server tells the sender."""
    IGNORE = "ignore"
    """Answered 250 with nothing done: it was done before."""
    HOLD = "hold"
    """Kept sealed until a moderator decides."""
    ACCEPT = "accept"
    """Kept sealed and distributed."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a mail with respect to one of the lists it is for."""

    malformed: bool = False
    robot: bool = False
    from_a_list: bool = False
    written_by_a_list: bool = False
    too_large: bool = False
    encrypted: bool = False
    signed_only_allowed: bool = False
    author_known: bool = False
    names_other_list: bool = False
    names_strangers_only: bool = False
    seen_on_this_list: bool = False
    seen_elsewhere: bool = False
    named_for_this_list: bool = False
    red: bool = False
    malformed_marking: bool = False
    laxer_than_thread: bool = False
    signed_before_restore: bool = False
    signature_age: timedelta = timedelta()
    signature_window: timedelta = timedelta()
    over_rate: bool = False
    far_over_rate: bool = False
    announcement_only: bool = False
    urgent_and_trusted: bool = False
    list_moderated: bool = False
    author_moderated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """reply: what the door answers; only for REFUSE. shown: moderators are shown what it accepts,
    afterwards."""

    name: str
    applies: Callable[[Facts], bool]
    action: Action
    reply: Reply | None = None
    shown: bool = False


# One text for whatever was wrong: a stranger who sends captured or altered mail must not learn from
# the answer whether it could be decrypted, or whose signature failed and how.
NO_SIGNATURE = Reply(550, "5.7.1", "No good signature of an active member over the whole mail")
NOT_READ = Reply(550, "5.6.0", "The header of this mail can't be read")
ENCRYPTION_NEEDED = Reply(
    523, "5.7.10", "Encryption needed: encrypt the whole mail to the key of this address"
)

POLICY = (
    Rule("robot", lambda f: f.robot, Action.DISCARD),
    Rule(
        "malformed",
        lambda f: f.malformed,
        Action.REFUSE,
        NOT_READ,
    ),
    # A member's mail that came by way of a list of their agency's is the member's all the same. But
    # two lists that are subscribed to each other would have each other's mail for ever.
    Rule(
        "from-a-list",
        lambda f: f.written_by_a_list or (f.from_a_list and not f.author_known),
        Action.DISCARD,
    ),
    Rule(
        "not-encrypted",
        lambda f: not f.encrypted and not f.signed_only_allowed,
        Action.REFUSE,
        ENCRYPTION_NEEDED,
    ),
    Rule("no-good-signature", lambda f: not f.author_known, Action.REFUSE, NO_SIGNATURE),
    Rule(
        "for-another-list",
        lambda f: f.names_other_list,
        Action.REFUSE,
        Reply(550, "5.7.1", "Signed headers or encryption name another list and not this one"),
    ),
    Rule(
        "too-large",
        lambda f: f.too_large,
        Action.REFUSE,
        Reply(552, "5.3.4", "The content is too large to be sent on; split it or leave parts out"),
    ),
    Rule("retry", lambda f: f.seen_on_this_list, Action.IGNORE),
    Rule(
        "replay",
        lambda f: f.seen_elsewhere and not f.named_for_this_list,
        Action.REFUSE,
        Reply(550, "5.7.1", "This mail was sent to another list before; write it anew"),
    ),
    Rule(
        "red",
        lambda f: f.red,
        Action.REFUSE,
        Reply(550, "5.7.1", "TLP:RED is for its named readers alone and never goes to a list"),
    ),
    Rule(
        "announcement-only",
        lambda f: f.announcement_only,
        Action.REFUSE,
        Reply(550, "5.7.1", "Only its moderators write to this list"),
    ),
    # Nobody writes so much: a program does, which must hear of nothing that it could answer.
    Rule(
        "far-over-rate",
        lambda f: f.far_over_rate,
        Action.REFUSE,
        Reply(450, "4.7.1", "Too many postings within an hour; try again later"),
    ),
    Rule("malformed-marking", lambda f: f.malformed_marking, Action.HOLD),
    Rule("laxer-than-thread", lambda f: f.laxer_than_thread, Action.HOLD),
    Rule("signed-for-others", lambda f: f.names_strangers_only, Action.HOLD),
    # It may have been taken, and sent to all, since the backup that the gateway was restored from.
    Rule("signed-before-restore", lambda f: f.signed_before_restore, Action.HOLD),
    Rule("signature-age", lambda f: f.signature_age > f.signature_window, Action.HOLD),
    Rule("rate", lambda f: f.over_rate, Action.HOLD),
    # It can't wait for a moderator.
    Rule(
        "urgent",
        lambda f: f.urgent_and_trusted and (f.list_moderated or f.author_moderated),
        Action.ACCEPT,
        shown=True,
    ),
    Rule("moderated-list", lambda f: f.list_moderated, Action.HOLD),
    Rule("new-member", lambda f: f.author_moderated, Action.HOLD),
    Rule("accept", lambda f: True, Action.ACCEPT),
)


def decide(facts: Facts) -> Rule:
    return next(rule for rule in POLICY if rule.applies(facts))
