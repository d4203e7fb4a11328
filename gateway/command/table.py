"""Every command, in the order in which the help shows them.

The help, docs/mail-commands.md and the tests are made from this table.
"""

from __future__ import annotations

from gateway.command import (
    administering,
    archive,
    asking,
    auditing,
    confirming,
    experts,
    joining,
    keys,
    library,
    listkeeping,
    logins,
    moderation,
    own_keys,
    profile,
    resuming,
    searching,
)
from gateway.command.context import Command
from gateway.store.member import Member

COMMANDS: tuple[Command, ...] = (
    *asking.COMMANDS,
    *confirming.COMMANDS,
    *profile.COMMANDS,
    *resuming.COMMANDS,
    *logins.COMMANDS,
    *keys.COMMANDS,
    *archive.COMMANDS,
    *searching.COMMANDS,
    *library.COMMANDS,
    *experts.COMMANDS,
    *moderation.COMMANDS,
    *joining.COMMANDS,
    *administering.COMMANDS,
    *listkeeping.COMMANDS,
    *own_keys.COMMANDS,
    *auditing.COMMANDS,
)


def for_member(member: Member) -> tuple[Command, ...]:
    return tuple(one for one in COMMANDS if one.is_for(member))
