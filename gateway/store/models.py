"""Every table, imported in one place so that the metadata is whole."""

from gateway.store import (
    application,
    archive_entry,
    bounce,
    certificate,
    command_mail,
    data_key,
    hold,
    ledger,
    library,
    mailing_list,
    member,
    outbox,
    posting,
    request,
    web_session,
)
from gateway.store.database import Base

__all__ = [
    "Base",
    "application",
    "archive_entry",
    "bounce",
    "certificate",
    "command_mail",
    "data_key",
    "hold",
    "ledger",
    "library",
    "mailing_list",
    "member",
    "outbox",
    "posting",
    "request",
    "web_session",
]
