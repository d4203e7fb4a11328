"""Settings: environet.toml, overridden by ENVIRONET_SECTION_NAME, checked whole at the start.

gateway/settings.py names each setting.
"""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from gateway.errors import UsageError
from gateway.settings import (
    BackupSection,
    BounceSection,
    DatabaseSection,
    DeliverySection,
    DkimSection,
    HandoffSection,
    ImapSection,
    LogSection,
    MonitoringSection,
    PolicySection,
    Section,
    SmtpSection,
    UpkeepSection,
    WebSection,
    domain_name,
    is_loopback,
)

FILE = "environet.toml"


class ConfigError(UsageError):
    """A configuration that can't be used; `faults` has one line for every fault in it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Config(BaseSettings):
    """Every setting of a gateway. Frozen; built by `load`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="ENVIRONET_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
    )

    domain: Annotated[str, AfterValidator(domain_name)] = Field(
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
    bounce: BounceSection = BounceSection()
    dkim: DkimSection = DkimSection()
    imap: ImapSection = ImapSection()
    upkeep: UpkeepSection = UpkeepSection()
    backup: BackupSection = BackupSection()
    monitoring: MonitoringSection = MonitoringSection()
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
    if smtp.held_bytes < 2 * smtp.message_bytes:
        faults.append("smtp.held_bytes: is smaller than two mails of smtp.message_bytes")
    doors = [value for value in (smtp.listen, smtp.tls_listen, smtp.lmtp_listen) if value]
    fixed = [value for value in doors if not value.endswith(":0")]
    faults += _faults_of_one_machine(config, has_a_door=bool(doors))
    if len(set(fixed)) != len(fixed):
        faults.append("smtp: two doors listen on the same HOST:PORT")
    faults += _faults_of_imap(config)
    delivery = config.delivery
    if delivery.first_retry_seconds > delivery.longest_retry_seconds:
        faults.append("delivery.first_retry_seconds: is longer than longest_retry_seconds")
    return faults


def _faults_of_imap(config: Config) -> list[str]:
    imap = config.imap
    if not imap.host:
        return []
    faults = [
        f"imap.{name}: is not set, and imap.host is"
        for name in ("user", "password_file")
        if not getattr(imap, name)
    ]
    if imap.security == "none" and not is_loopback(imap.host):
        faults.append("imap.security: none is for a server on this machine, such as 127.0.0.1")
    if len({imap.folder, imap.taken_folder, imap.refused_folder}) < 3:
        faults.append("imap.folder, taken_folder and refused_folder: are not three folders")
    if imap.recipient and not imap.recipient.lower().endswith(f"@{config.domain}"):
        faults.append(f"imap.recipient: {imap.recipient!r} is no address at {config.domain}")
    return faults


def _faults_of_one_machine(config: Config, *, has_a_door: bool) -> list[str]:
    """What is left to other machines, where there can't be any: SQLite's file is on this one."""
    if not config.database.url.startswith("sqlite"):
        return []
    faults = []
    if not has_a_door and not config.imap.host:
        faults.append("smtp.listen: no door is open; set listen, tls_listen or lmtp_listen")
    if config.delivery.workers == 0:
        faults.append("delivery.workers: 0 is for a gateway on PostgreSQL, where others have them")
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


def database_url(text: str) -> str:
    """What database.url is with settings as in an environet.toml, whatever else is in them. Raises
    ConfigError."""
    try:
        section = tomllib.loads(text).get("database", {})
        return Config(domain="unknown.example", database=section).database.url
    except ValidationError as error:
        raise ConfigError([_describe(item) for item in error.errors()]) from None
    except (ValueError, SettingsError) as error:
        raise ConfigError([f"{FILE}: {error}"]) from None


def with_database(text: str, url: str) -> str:
    """An environet.toml with another database.url, and nothing else of it changed. Raises
    UsageError where it is written in a way that this can't do."""
    line = f"url = {in_toml(url)}"
    found = re.search(r"^\[database\]\n(?:(?!\[).*\n)*?((?:# *)?url *=.*)$", text, re.MULTILINE)
    if found is None:
        changed = f"{text.rstrip()}\n\n[database]\n{line}\n"
    else:
        changed = text[: found.start(1)] + line + text[found.end(1) :]
    try:
        wanted = tomllib.loads(text)
        wanted["database"] = {**wanted.get("database", {}), "url": url}
        done = tomllib.loads(changed) == wanted
    except ValueError:
        done = False
    if not done:
        raise UsageError(f"database.url can't be set in the backup's {FILE}")
    return changed


def in_toml(value: object) -> str:
    """A setting's value as it is written in the file."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
