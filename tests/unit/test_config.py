"""Configuration: a folder for each bad one, with the lines that the operator must be told.

Of a line in expected.txt that ends with "…" the beginning counts: the rest is a library's wording.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from contrib.make_docs import variable
from gateway import config
from gateway.config import Config, ConfigError

BAD = Path(__file__).parent / "bad_configurations"
GOOD = 'domain = "environet.example"\n'

# Each setting with a value that is good, is not the default, and is as the environment has it.
OTHER = {
    "domain": "other.example",
    "name": "Other",
    "database.url": "sqlite:///other.sqlite",
    "smtp.listen": "127.0.0.2:2525",
    "smtp.tls_listen": "127.0.0.2:465",
    "smtp.lmtp_listen": "[::1]:24",
    "smtp.certificate": "chain.pem",
    "smtp.key": "key.pem",
    "smtp.message_bytes": "1000000",
    "smtp.held_bytes": "180000000",
    "smtp.line_bytes": "2000",
    "smtp.recipients": "101",
    "smtp.connections": "7",
    "smtp.connections_per_client": "3",
    "smtp.idle_seconds": "30",
    "smtp.data_seconds": "60",
    "smtp.commands": "50",
    "smtp.errors": "4",
    "smtp.refusal_ms": "100",
    "web.listen": "127.0.0.2:8081",
    "web.url": "https://read.environet.example",
    "web.database_url": "postgresql+psycopg://reader@db.example/environet",
    "web.proxies": "192.0.2.1",
    "web.processes": "3",
    "web.session_hours": "8",
    "web.login_minutes": "5",
    "web.logins_per_address": "2",
    "web.logins_per_client": "9",
    "handoff.to": "maildir:/srv/mail",
    "handoff.connections": "2",
    "policy.signature_days": "3",
    "policy.future_minutes": "0",
    "policy.postings_an_hour": "10",
    "policy.new_member_postings": "0",
    "policy.evidence_bytes": "0",
    "policy.command_hours": "12",
    "policy.commands_an_hour": "9",
    "policy.partly_signed": "signed-part",
    "policy.signed_commands": "True",
    "policy.answer_days": "1",
    "policy.open_at_once": "2",
    "delivery.workers": "3",
    "delivery.batch": "50",
    "delivery.lease_seconds": "60",
    "delivery.first_retry_seconds": "5",
    "delivery.longest_retry_seconds": "600",
    "delivery.give_up_days": "2",
    "upkeep.every_seconds": "5",
    "upkeep.digest_hour": "0",
    "upkeep.key_years": "1",
    "log.level": "debug",
    "bounce.hard": "3.0",
    "bounce.soft": "0.25",
    "bounce.limit": "6.0",
    "bounce.half_life_days": "8",
    "bounce.probe_days": "4",
    "dkim.sign": "rsa",
    "dkim.selector": "gate",
    "dkim.check": "False",
    "dkim.results_of": "mx.customs.example",
    "dkim.resolver": "127.0.0.1:5353",
    "imap.host": "imap.customs.example",
    "imap.port": "143",
    "imap.security": "starttls",
    "imap.user": "gate",
    "imap.password_file": "imap-password",
    "imap.folder": "Gate",
    "imap.taken_folder": "Gate/Done",
    "imap.refused_folder": "Gate/Not taken",
    "imap.ca_file": "imap-ca.pem",
    "imap.recipient_headers": "X-Envelope-To, To",
    "imap.recipient": "wildlife@other.example",
    "imap.tries": "3",
    "imap.poll_seconds": "5",
    "backup.certificate": "administrators.asc",
    "monitoring.listen": "127.0.0.1:9101",
    "log.format": "json",
    "log.file": "/var/log/environet/log",
}


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, _ in config.describe():
        monkeypatch.delenv(variable(name), raising=False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """With the two files that the TLS settings of these tests name."""
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).touch()
    return tmp_path


def write(state: Path, text: str) -> Path:
    (state / config.FILE).write_text(text)
    return state


def faults(state: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(state)
    return [fault.replace(str(state), "STATE") for fault in caught.value.faults]


def values(loaded: config.Config) -> dict[str, object]:
    """Setting name -> value."""
    found: dict[str, object] = {}
    for name, value in loaded.model_dump().items():
        if isinstance(value, dict):
            found.update({f"{name}.{key}": one for key, one in value.items()})
        else:
            found[name] = value
    return found


@pytest.mark.parametrize("folder", sorted(path.name for path in BAD.iterdir()))
def test_bad_configuration(folder: str, state: Path) -> None:
    (state / config.FILE).write_bytes((BAD / folder / "environet.toml").read_bytes())
    told = faults(state)
    expected = (BAD / folder / "expected.txt").read_text().splitlines()
    assert len(told) == len(expected), told
    for line, one in zip(told, expected, strict=True):
        assert line.startswith(one[:-1]) if one.endswith("…") else line == one


def test_no_file(tmp_path: Path) -> None:
    assert faults(tmp_path) == [
        "STATE/environet.toml is missing: run 'environet --state STATE init' first"
    ]


def test_the_least_configuration_has_the_defaults_described(state: Path) -> None:
    loaded = values(config.load(write(state, GOOD)))
    described = {name: default for name, default, _ in config.describe()}
    assert loaded.keys() == described.keys()
    assert loaded.pop("domain") == "environet.example"
    assert described.pop("domain") == ""
    assert {name: config.in_toml(value) for name, value in loaded.items()} == described


def test_every_setting_is_described_in_words() -> None:
    for name, _, description in config.describe():
        assert description, name


def test_rendered_settings_are_all_comments_but_the_chosen_ones(state: Path) -> None:
    chosen = {"domain": "environet.example", "smtp.listen": "127.0.0.2:25"}
    text = config.render(chosen)
    assert tomllib.loads(text) == {
        "domain": "environet.example",
        **{head: {} for head in Config.model_fields if head not in ("domain", "name", "smtp")},
        "smtp": {"listen": "127.0.0.2:25"},
    }
    assert config.load(write(state, text)).smtp.listen == "127.0.0.2:25"


def test_rendered_defaults_are_the_defaults(state: Path) -> None:
    text = config.render({"domain": "environet.example"})
    lines = [line.removeprefix("# ") if " = " in line else line for line in text.splitlines()]
    spelled_out = config.load(write(state, "\n".join(lines)))
    assert spelled_out == config.load(write(state, GOOD))


def test_all_settings_survive_being_rendered_and_read(state: Path) -> None:
    bare = {name for name, default, _ in config.describe() if default and default[0] != '"'}
    text = config.render(OTHER)
    for name in bare:
        key = name.rpartition(".")[2]
        text = text.replace(f'\n{key} = "{OTHER[name]}"', f"\n{key} = {OTHER[name].lower()}")
    assert {name: str(one) for name, one in values(config.load(write(state, text))).items()} == (
        OTHER
    )


@pytest.mark.parametrize("value", ['a"b', "back\\slash", "ünïcode"])
def test_text_is_escaped_in_the_file(value: str) -> None:
    assert tomllib.loads(f"x = {config.in_toml(value)}") == {"x": value}


def test_other_values_cover_every_setting() -> None:
    assert OTHER.keys() == {name for name, _, _ in config.describe()}
    for name, default, _ in config.describe():
        assert OTHER[name] != default.strip('"'), name


@pytest.mark.parametrize("name", OTHER)
def test_the_environment_goes_before_the_file(
    name: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = {"smtp.certificate": "smtp.key", "smtp.key": "smtp.certificate"}
    tls = ["smtp.certificate", "smtp.key"] if name == "smtp.tls_listen" else []
    imap = ["imap.user", "imap.password_file"] if name == "imap.host" else []
    for one in [name, *tls, *imap, *([pair[name]] if name in pair else [])]:
        monkeypatch.setenv(variable(one), OTHER[one])
    file = 'domain = "environet.example"\n[smtp]\nlisten = "127.0.0.9:25"\n[log]\nlevel = "error"\n'
    loaded = values(config.load(write(state, file)))
    assert str(loaded[name]) == OTHER[name]
    assert name == "smtp.listen" or loaded["smtp.listen"] == "127.0.0.9:25"


def test_faults_of_the_environment_are_named_with_those_of_the_file(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONET_LOG_LEVEL", "loud")
    monkeypatch.setenv("ENVIRONET_SMTP_LISTN", "127.0.0.1:25")
    told = faults(write(state, GOOD + "[policy]\nopen_at_once = 99\n"))
    assert [fault.partition(":")[0] for fault in told] == [
        "smtp.listn", "policy.open_at_once", "log.level",
    ]  # fmt: skip


def test_a_whole_section_in_one_variable_that_is_no_json(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONET_SMTP", "nonsense")
    assert "smtp" in " ".join(faults(write(state, GOOD)))


def test_the_state_directory_is_no_setting(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONET_STATE", str(state))
    assert config.load(write(state, GOOD)).domain == "environet.example"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("ENVIRONET.Example.", "environet.example"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_domain_is_kept_in_its_ascii_form(given: str, taken: str, state: Path) -> None:
    assert config.load(write(state, f'domain = "{given}"\n')).domain == taken


def test_the_archive_has_an_address_without_being_given_one(state: Path) -> None:
    assert config.load(write(state, GOOD)).archive_url == "https://archive.environet.example"
    given = config.load(write(state, GOOD + '[web]\nurl = "https://read.example/a/"\n'))
    assert given.archive_url == "https://read.example/a"
