"""Every table, imported in one place so that the metadata is whole."""

from gateway.store import (
    certificate,
    data_key,
    hold,
    ledger,
    mailing_list,
    member,
    outbox,
    posting,
)
from gateway.store.database import Base

__all__ = [
    "Base",
    "certificate",
    "data_key",
    "hold",
    "ledger",
    "mailing_list",
    "member",
    "outbox",
    "posting",
]
