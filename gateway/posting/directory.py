"""Which address is what: lists by name and letter, services, bounces, our own Message-IDs."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import Reply
from gateway.message.address import normalise
from gateway.message.protected import Fields
from gateway.store import mailing_list
from gateway.store.mailing_list import MailingList

UNKNOWN = Reply(550, "5.1.1", "There is no such address here")
SERVICE = 0
"""Stands among the ids of lists for the addresses that the gateway itself answers at."""
_NUMBER = re.compile("[0-9]{1,18}")


class Service(StrEnum):
    """Local parts at which no list but the gateway itself takes mail."""

    COMMANDS = "gateway"
    APPLICATIONS = "register"
    LIBRARY = "library"


def recipient(app: App, address: str) -> Reply | None:
    """None where mail for the address is taken; else what a door answers to RCPT."""
    if bounced_entry(app, address) is not None:
        return None
    if service(app, address) is not None:
        return None
    with app.database.reading() as session:
        return UNKNOWN if open_list(session, app, address) is None else None


def service(app: App, address: str) -> Service | None:
    """The service that an address names."""
    local, _, domain = (normalise(address) or "").rpartition("@")
    return Service(local) if domain == app.config.domain and local in set(Service) else None


def open_list(session: Session, app: App, address: str) -> MailingList | None:
    """The list, not closed, that an address names by local part or letter."""
    found = _list_of(session, app, address)
    return None if found is None or found.closed_at else found


@dataclass(frozen=True, slots=True)
class Named:
    """Ids of the lists (and SERVICE) that a mail is for by what its carrier can't change. signed:
    by headers and intended recipients under the signature; encrypted: by the keys that it is
    encrypted to; addressed: those of `signed` that an address names, as a key may serve several."""

    signed: frozenset[int]
    encrypted: frozenset[int]
    addressed: frozenset[int]

    def another_than(self, list_id: int) -> bool:
        """Whether the mail was meant for other lists and not for this one: by what the author
        signed, and where that names none, by the keys."""
        lists = self.signed or self.encrypted
        return bool(lists) and list_id not in lists


def named_lists(
    session: Session,
    app: App,
    protected: Fields | None,
    intended: Iterable[str],
    encrypted_to: Iterable[str],
) -> Named:
    keys = mailing_list.by_key(session)
    addressed = protected.recipients if protected else ()
    found = [_list_of(session, app, one) for one in addressed]
    signed = {one.id for one in found if one is not None}
    if any(service(app, one) for one in addressed):
        signed.add(SERVICE)
    by_address = frozenset(signed)
    signed.update(one for name in intended for one in keys.get(name, ()))
    encrypted = {one for name in encrypted_to for one in keys.get(name, ())}
    return Named(frozenset(signed), frozenset(encrypted), by_address)


def tokens(app: App, message_ids: Sequence[str]) -> list[str]:
    """The local parts of those Message-IDs that this gateway made."""
    pairs = (one.rpartition("@") for one in message_ids)
    return [local for local, _, domain in pairs if domain.lower() == app.config.domain]


def bounce_address(app: App, entry_id: int) -> str:
    """The envelope sender of one copy, which nobody but us can make up."""
    token = app.vault.keyed_hash("bounce", str(entry_id))[:20]
    return f"bounce+{entry_id}-{token}@{app.config.domain}"


def bounced_entry(app: App, address: str) -> int | None:
    """The outbox entry whose bounce address this is; None where it is none of ours."""
    local = address.lower().partition("@")[0]
    number = local.removeprefix("bounce+").partition("-")[0]
    if not local.startswith("bounce+") or not _NUMBER.fullmatch(number):
        return None
    expected = bounce_address(app, int(number))
    return int(number) if hmac.compare_digest(expected.encode(), address.lower().encode()) else None


def _list_of(session: Session, app: App, address: str) -> MailingList | None:
    local, _, domain = (normalise(address) or "").rpartition("@")
    return mailing_list.find(session, local) if domain == app.config.domain else None
