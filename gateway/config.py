"""Settings: environet.toml, overridden by ENVIRONET_SECTION_NAME, checked whole at the start.

This file is the one place where a setting is named, described and given its default; the commented
environet.toml that `init` writes and docs/settings.md are made from it.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gateway.errors import UsageError

FILE = "environet.toml"
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)


class ConfigError(UsageError):
    """A configuration that can't be used; `faults` has one line for every fault in it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


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


def _domain(value: str) -> str:
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


Listen = Annotated[str, AfterValidator(_listen)]
Seconds = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


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
        4, description="connections to the mail server at once"
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
    workers: Annotated[int, Field(ge=1, le=64)] = Field(1, description="delivery processes")
    batch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="subscribers encrypted to in one go"
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


class LogSection(Section):
    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = Field(
        "info", description="debug, info, warning or error; content is never logged"
    )


class Config(BaseSettings):
    """Every setting of a gateway. Frozen; built by `load`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="ENVIRONET_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
    )

    domain: Annotated[str, AfterValidator(_domain)] = Field(
        description="mail domain of the lists, such as environet.example"
    )
    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\"<>\\]{1,60}$")] = Field(
        "ENVIRONET", description="name that stands before each list's title"
    )
    database: DatabaseSection = DatabaseSection()
    smtp: SmtpSection = SmtpSection()
    web: WebSection = WebSection()
    handoff: HandoffSection = HandoffSection()
    policy: PolicySection = PolicySection()
    delivery: DeliverySection = DeliverySection()
    upkeep: UpkeepSection = UpkeepSection()
    log: LogSection = LogSection()

    @property
    def archive_url(self) -> str:
        return self.web.url or f"https://archive.{self.domain}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over what `load` read from the file; nothing else."""
        return env_settings, init_settings


def load(state: Path) -> Config:
    """Read and check STATE/environet.toml. Raises ConfigError with every fault."""
    path = state / FILE
    if not path.is_file():
        raise ConfigError([f"{path} is missing: run 'environet --state {state} init' first"])
    try:
        data = TomlConfigSettingsSource(Config, toml_file=path)()
    except (ValueError, OSError) as error:
        raise ConfigError([f"{path}: {error}"]) from None
    return check(data, state)


def check(data: dict[str, Any], state: Path) -> Config:
    """Settings as nested dicts -> Config. Raises ConfigError with every fault."""
    faults: list[str] = []
    config: Config | None = None
    try:
        config = Config(**data)
    except ValidationError as error:
        faults = [_describe(item) for item in error.errors()]
        config = _without_faults(data, error)
    except SettingsError as error:  # such as a section's variable that is no JSON
        faults = [f"environment: {error}"]
    if config is not None:
        faults += _faults_between_settings(config, state)
    if faults or config is None:
        raise ConfigError(faults)
    return config


def _without_faults(data: dict[str, Any], error: ValidationError) -> Config | None:
    """The settings with defaults for the faulty ones, so that those between settings show as well.

    None where that is not to be had: a fault that the environment brings in stays.
    """
    sound = {"domain": "unknown.example", **copy.deepcopy(data)}
    for item in error.errors():
        section, *rest = item["loc"]
        if rest and isinstance(sound.get(str(section)), dict):
            sound[str(section)].pop(str(rest[0]), None)
        else:
            sound.pop(str(section), None)
    sound.setdefault("domain", "unknown.example")
    try:
        return Config(**sound)
    except ValidationError:
        return None


def _describe(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    match item["type"]:
        case "extra_forbidden":
            return f"{name}: there is no such setting"
        case "missing":
            return f"{name}: is not set"
        case "value_error":
            return f"{name}: {item['ctx']['error']}"
        case _:
            return f"{name}: {item['msg']}, not {item['input']!r}"


def _faults_between_settings(config: Config, state: Path) -> list[str]:
    faults = []
    smtp = config.smtp
    if bool(smtp.certificate) != bool(smtp.key):
        faults.append("smtp.certificate and smtp.key: set both or neither")
    if smtp.tls_listen and not smtp.certificate:
        faults.append("smtp.tls_listen: implicit TLS needs smtp.certificate and smtp.key")
    for name in ("certificate", "key"):
        value = getattr(smtp, name)
        if value and not (state / value).is_file():
            faults.append(f"smtp.{name}: there is no file {state / value}")
    if smtp.held_bytes < smtp.message_bytes:
        faults.append("smtp.held_bytes: is smaller than smtp.message_bytes, one mail")
    doors = [value for value in (smtp.listen, smtp.tls_listen, smtp.lmtp_listen) if value]
    fixed = [value for value in doors if not value.endswith(":0")]
    if not doors:
        faults.append("smtp.listen: no door is open; set listen, tls_listen or lmtp_listen")
    if len(set(fixed)) != len(fixed):
        faults.append("smtp: two doors listen on the same HOST:PORT")
    delivery = config.delivery
    if delivery.first_retry_seconds > delivery.longest_retry_seconds:
        faults.append("delivery.first_retry_seconds: is longer than longest_retry_seconds")
    return faults


def describe() -> list[tuple[str, str, str]]:
    """Every setting as (name, default in TOML, description), in the order of the file."""
    rows = []
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            rows += [
                (f"{name}.{key}", in_toml(inner.default), inner.description or "")
                for key, inner in field.annotation.model_fields.items()
            ]
        else:
            default = "" if field.is_required() else in_toml(field.default)
            rows.append((name, default, field.description or ""))
    return rows


def render(chosen: dict[str, str]) -> str:
    """A commented environet.toml: `chosen` ("smtp.listen" -> text) set, all else as comments."""
    lines = ["# Settings of this gateway. 'environet config check' checks them all.", ""]
    section = ""
    for name, default, description in describe():
        head, dot, key = name.rpartition(".")
        if head != section:
            lines += ["", f"[{head}]"]
            section = head
        lines.append(f"# {description}")
        value = in_toml(chosen[name]) if name in chosen else default
        lines.append(f"{'' if name in chosen else '# '}{key if dot else name} = {value}")
    return "\n".join(lines) + "\n"


def in_toml(value: object) -> str:
    """A setting's value as it is written in the file."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
