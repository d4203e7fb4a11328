"""Who ordered a change: a member by signed mail, the operator, or the gateway as time passes."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.store.member import Member


@dataclass(frozen=True, slots=True)
class Actor:
    """member_id: None for who is no member. shown: to other people; ledger: as the ledger has it,
    which names members by number."""

    member_id: int | None
    shown: str

    @property
    def ledger(self) -> str | int:
        return self.shown if self.member_id is None else self.member_id


OPERATOR = Actor(None, "operator")
GATEWAY = Actor(None, "gateway")


def actor_of(member: Member) -> Actor:
    return Actor(member.id, f"{member.name} <{member.address}>")
