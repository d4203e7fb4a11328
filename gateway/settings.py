"""The sections of environet.toml: the one place where a setting is named, described and given its
default. The commented file that `init` writes and docs/settings.md are made from it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)


def split_host_port(value: str) -> tuple[str, int]:
    """ "HOST:PORT" or "[V6]:PORT" -> (host, port). Raises ValueError with what is wrong."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT, such as 127.0.0.1:8025")
    if host.startswith("["):
        host = str(ipaddress.IPv6Address(host.strip("[]")))
    elif not _HOSTNAME.fullmatch(host.lower()):
        raise ValueError(f"{host!r} is no host name or address")
    return host, int(port)


def _listen(value: str) -> str:
    if value:
        split_host_port(value)
    return value


def is_loopback(host: str) -> bool:
    """Whether it is an address that only this machine has; a name is none."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _loopback(value: str) -> str:
    if value:
        host, _ = split_host_port(value)
        if not is_loopback(host):
            raise ValueError(f"{host!r} is no loopback address, such as 127.0.0.1")
    return value


def _server(value: str) -> str:
    if value:
        ipaddress.ip_address(split_host_port(value)[0])  # its name could not be looked up
    return value


def domain_name(value: str) -> str:
    value = value.strip().lower().rstrip(".")
    try:
        ascii_form = value.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{value!r} is no domain name") from None
    if not _HOSTNAME.fullmatch(ascii_form):
        raise ValueError(f"{value!r} is no domain name, such as environet.example")
    return ascii_form


def _handoff(value: str) -> str:
    scheme, colon, rest = value.partition(":")
    if colon and scheme == "maildir" and rest:
        return value
    if colon and scheme in ("smtp", "smtp+starttls") and rest.startswith("//"):
        split_host_port(rest[2:].rstrip("/"))
        return value
    raise ValueError(
        f"{value!r} is none of smtp://HOST:PORT, smtp+starttls://HOST:PORT, maildir:DIR"
    )


def _database(value: str) -> str:
    try:
        url = make_url(value)
        # Each command is a process of its own, so a database in memory would be empty for each.
        known = url.get_backend_name() == "postgresql" or (
            url.get_backend_name() == "sqlite" and (url.database or ":memory:") != ":memory:"
        )
    except ArgumentError:
        known = False
    if not known:
        raise ValueError("is no URL of an SQLite or PostgreSQL database")  # it may have a password
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s<>/]+(/[^\s<>]*)?", value):
        raise ValueError(f"{value!r} is no http(s) URL")
    return value.rstrip("/")


def _header_names(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,76}(, *[A-Za-z0-9-]{1,76}){0,19}", value):
        raise ValueError(f"{value!r} is no list of header fields, such as X-Original-To, To, Cc")
    return value


Listen = Annotated[str, AfterValidator(_listen)]
FolderName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Seconds = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Score = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSection(Section):
    url: Annotated[str, AfterValidator(_database)] = Field(
        "sqlite:///environet.sqlite",
        description="SQLAlchemy URL; a relative SQLite path is inside the state directory",
    )


class SmtpSection(Section):
    listen: Listen = Field("127.0.0.1:8025", description="HOST:PORT of the SMTP door (STARTTLS)")
    tls_listen: Listen = Field("", description="HOST:PORT of the SMTP door with implicit TLS")
    lmtp_listen: Listen = Field("", description="HOST:PORT of the LMTP door, for a mail server")
    certificate: str = Field("", description="PEM file of the TLS certificate chain; empty: no TLS")
    key: str = Field("", description="PEM file of the certificate's secret key")
    message_bytes: Count = Field(50 * 2**20, description="largest mail taken, in bytes (SIZE)")
    held_bytes: Count = Field(
        150 * 2**20, description="mails being received or judged at once at a door, in bytes; 452"
    )
    line_bytes: Annotated[int, Field(ge=1000)] = Field(
        1000, description="longest line of a mail, in bytes with CRLF (RFC 5321 4.5.3.1.6)"
    )
    recipients: Annotated[int, Field(ge=1)] = Field(100, description="recipients of one mail")
    connections: Count = Field(500, description="connections at once")
    connections_per_client: Count = Field(20, description="connections at once from one address")
    idle_seconds: Seconds = Field(300, description="seconds without a command before 421")
    data_seconds: Seconds = Field(600, description="seconds that one mail's content may take")
    commands: Count = Field(10_000, description="commands in one session")
    errors: Count = Field(20, description="faulty commands in one session before 421")
    refusal_ms: Annotated[int, Field(ge=0, le=5000)] = Field(
        250,
        description=(
            "who is no member by their signature hears it after whole multiples of so many "
            "milliseconds, which hides what took how long"
        ),
    )


class WebSection(Section):
    listen: Listen = Field(
        "127.0.0.1:8080", description="HOST:PORT of the web archive; empty: 'serve' has none"
    )
    url: Annotated[str, AfterValidator(lambda v: _url(v) if v else v)] = Field(
        "", description="public URL of the web archive; empty: https://archive.DOMAIN"
    )
    database_url: Annotated[str, AfterValidator(lambda v: _database(v) if v else v)] = Field(
        "",
        description=(
            "SQLAlchemy URL with a role that may write little, for the web archive alone "
            "(PostgreSQL); empty: that of [database]"
        ),
    )
    proxies: str = Field(
        "127.0.0.1", description="addresses of proxies whose X-Forwarded-For is believed"
    )
    processes: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="processes that 'serve' has for the web archive"
    )
    session_hours: Count = Field(12, description="hours after which a login ends")
    login_minutes: Count = Field(10, description="minutes for which a login link is good")
    logins_per_address: Count = Field(
        5, description="login mails that can be asked for with one address in an hour"
    )
    logins_per_client: Count = Field(
        20, description="login mails that can be asked for from one client's address in an hour"
    )


class HandoffSection(Section):
    to: Annotated[str, AfterValidator(_handoff)] = Field(
        "smtp://127.0.0.1:25",
        description=(
            "where copies go: smtp://HOST:PORT, smtp+starttls://HOST:PORT or maildir:DIR "
            "(a relative DIR is inside the state directory)"
        ),
    )
    connections: Annotated[int, Field(ge=1, le=50)] = Field(
        8, description="connections to the mail server at once, of each delivery process"
    )


class PolicySection(Section):
    signature_days: Count = Field(
        7, description="a signature older than this many days is held (a list may say otherwise)"
    )
    future_minutes: Annotated[int, Field(ge=0)] = Field(
        5, description="minutes by which a signature may lie in the future"
    )
    postings_an_hour: Count = Field(
        300, description="postings of one member an hour; what is over is held"
    )
    new_member_postings: Annotated[int, Field(ge=0)] = Field(
        3, description="postings that are held from a new member on a list moderated 'new'"
    )
    evidence_bytes: Annotated[int, Field(ge=0)] = Field(
        256 * 1024, description="largest signed original that travels with each copy, in bytes"
    )
    command_hours: Count = Field(
        48, description="commands signed longer ago than this many hours are refused"
    )
    commands_an_hour: Count = Field(
        60, description="command mails of one member an hour; what is over is refused for now"
    )
    partly_signed: Annotated[str, Field(pattern="^(refuse|signed-part)$")] = Field(
        "refuse",
        description=(
            "a posting that is signed in part only: refuse it, or distribute the signed-part alone "
            "with a note"
        ),
    )
    signed_commands: bool = Field(
        False, description="take commands that are signed but not encrypted"
    )
    answer_days: Count = Field(
        3, description="days after which a request to experts that nobody answered is escalated"
    )
    open_at_once: Annotated[int, Field(ge=1, le=32)] = Field(
        4, description="mails opened (gpg) at once"
    )


class DeliverySection(Section):
    workers: Annotated[int, Field(ge=0, le=64)] = Field(
        2,
        description=(
            "delivery processes, best one for each processor; 0 where other machines have them "
            "(PostgreSQL)"
        ),
    )
    batch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        500, description="subscribers encrypted to in one go"
    )
    lease_seconds: Annotated[int, Field(ge=10)] = Field(
        120, description="seconds after which another process takes over unfinished copies"
    )
    first_retry_seconds: Seconds = Field(10, description="wait after the first temporary failure")
    longest_retry_seconds: Seconds = Field(3600, description="longest wait between two tries")
    give_up_days: Count = Field(5, description="days of failing after which a copy is parked")


class UpkeepSection(Section):
    every_seconds: Seconds = Field(
        60, description="seconds between two rounds of what falls due: digests, reminders, warnings"
    )
    digest_hour: Annotated[int, Field(ge=0, le=23)] = Field(
        6, description="hour of the day, UTC, from which digests are made; weekly ones on Mondays"
    )
    key_years: Count = Field(3, description="years for which a new key of the gateway is good")


class DkimSection(Section):
    sign: Annotated[str, Field(pattern="^(no|rsa|ed25519|both)$")] = Field(
        "both",
        description="sign outgoing mail by rsa, ed25519 or both; no, where the mail server does",
    )
    selector: Annotated[str, Field(pattern="^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")] = Field(
        "environet", description="beginning of the selectors of the gateway's DKIM keys"
    )
    check: bool = Field(
        True, description="note what DKIM, DMARC and ARC say of a mail; it asks the DNS"
    )
    results_of: Annotated[str, AfterValidator(lambda v: domain_name(v) if v else v)] = Field(
        "",
        description=(
            "the front mail server whose Authentication-Results are noted in place of that "
            "(its authserv-id), where all mail comes through it; empty: none"
        ),
    )
    resolver: Annotated[str, AfterValidator(_server)] = Field(
        "", description="ADDRESS:PORT of the DNS server; empty: those of /etc/resolv.conf"
    )


class ImapSection(Section):
    host: str = Field("", description="IMAP server whose mailbox mail is taken from; empty: none")
    port: Annotated[int, Field(gt=0, le=65535)] = Field(993, description="port of the IMAP server")
    security: Annotated[str, Field(pattern="^(tls|starttls|none)$")] = Field(
        "tls", description="tls, starttls, or none (which only a server on this machine may have)"
    )
    user: str = Field("", description="user name at the IMAP server")
    password_file: str = Field("", description="file with the password, readable by its owner only")
    ca_file: str = Field(
        "",
        description="PEM file of who signed the server's certificate; empty: those of the system",
    )
    folder: FolderName = Field("INBOX", description="folder from which mail is taken")
    taken_folder: FolderName = Field(
        "Taken", description="folder to which mail goes that was taken"
    )
    refused_folder: FolderName = Field(
        "Refused",
        description="folder to which mail goes that was refused, with the reason beside it",
    )
    recipient_headers: Annotated[str, AfterValidator(_header_names)] = Field(
        "Delivered-To, X-Original-To, Envelope-To, To, Cc",
        description="header fields that say whom a mail is for: the first with an address here",
    )
    recipient: str = Field(
        "", description="address here that a mail is for which names none; empty: it is refused"
    )
    tries: Count = Field(
        5, description="times that a mail may end the process that takes it before it is set aside"
    )
    poll_seconds: Seconds = Field(
        60, description="seconds after which a server is asked that doesn't tell of new mail (IDLE)"
    )


class BounceSection(Section):
    hard: Score = Field(2.0, description="score of a bounce that speaks against the address (hard)")
    soft: Score = Field(0.5, description="score of any other bounce (soft); one a day counts")
    limit: Score = Field(
        5.0, description="score at which an address is probed, and its delivery stopped after that"
    )
    half_life_days: Count = Field(7, description="days in which a score falls to its half")
    probe_days: Count = Field(3, description="days for which a probe may come back as a bounce")


class BackupSection(Section):
    certificate: str = Field(
        "",
        description=(
            "file with the administrators' OpenPGP certificate, which backups are encrypted to "
            "(a relative one is inside the state directory); empty: none are made"
        ),
    )


class MonitoringSection(Section):
    listen: Annotated[str, AfterValidator(_loopback)] = Field(
        "", description="HOST:PORT of health and metrics, loopback only; empty: none"
    )


class LogSection(Section):
    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = Field(
        "info", description="debug, info, warning or error; content is never logged"
    )
    format: Annotated[str, Field(pattern="^(text|json)$")] = Field(
        "text", description="text (the line, then key=value) or json (an object a line)"
    )
    file: str = Field(
        "",
        description=(
            "file for the log, opened anew after logrotate moved it (a relative one is inside the "
            "state directory); empty: standard error"
        ),
    )
