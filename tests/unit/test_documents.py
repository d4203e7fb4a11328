"""What the documents say is held against the code: commands, settings, files, names, replies."""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from contrib import make_docs
from gateway import config
from gateway.administration.lists import SERVICES
from gateway.app import KEYRING
from gateway.cli import main
from gateway.crypto import domain_key
from gateway.delivery import machine
from gateway.founding import CERTIFICATE, KEY
from gateway.monitoring.doctor import CHECKS
from gateway.monitoring.health import NAMES
from gateway.posting.policy import POLICY
from gateway.store.hold import Decision
from gateway.store.mailing_list import TOPICS
from gateway.store.member import State
from gateway.store.outbox import Delivery

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("contrib/*/README.md"))
}
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("gateway", "tests", "contrib")
    for path in ROOT.glob(f"{folder}/**/*.py")
}
GATEWAY = "\n".join(text for name, text in SOURCES.items() if name.startswith("gateway/"))
FENCE = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
SETTINGS = {name for name, _, _ in config.describe()}


def test_there_are_documents() -> None:
    assert {"README.md", "docs/operating.md", "contrib/postfix/README.md"} <= DOCUMENTS.keys()


def blocks(text: str) -> list[str]:
    return FENCE.findall(text)


def inline(text: str) -> list[str]:
    """What stands in backquotes within sentences and tables."""
    return INLINE.findall(FENCE.sub("", text).replace("\\|", "|"))


def every(pattern: str, texts: dict[str, str] = DOCUMENTS) -> list[tuple[str, str]]:
    """(document, match) of a pattern, each once."""
    return sorted(
        {(name, hit) for name, text in texts.items() for hit in re.findall(pattern, text)}
    )


# Made from the code


@pytest.mark.parametrize("name", ["commands", "settings"])
def test_a_document_made_from_the_code_is_up_to_date(name: str) -> None:
    made = getattr(make_docs, name)()
    assert (ROOT / "docs" / f"{name}.md").read_text() == made, "run python -m contrib.make_docs"


# Command lines


def commands_in(text: str) -> Iterator[tuple[str, bool]]:
    """(command line without what leads to `environet`, whether it is meant to be run as it is)."""
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*(?:runuser -u environet -- )?(?:\S*/)?(environet .*)", line)
            if found:
                yield found[1], True
    for code in inline(text):
        if code.startswith("environet "):
            yield code, False


def lines_of_documents() -> list[tuple[str, str, bool]]:
    return sorted(
        {
            (name, line, whole)
            for name, text in DOCUMENTS.items()
            if name != "docs/commands.md"  # its usage lines have placeholders; its examples below
            for line, whole in commands_in(text)
        }
    )


def lines_of_help() -> list[tuple[str, str, bool]]:
    texts = re.findall(r"Example:\n\n```\n(.*?)```", make_docs.commands(), re.DOTALL)
    return [
        ("help", line, True)
        for text in texts
        for line in text.replace("\\\n", " ").splitlines()
        if line.startswith("environet ")
    ]


def lines_of_messages() -> list[tuple[str, str, bool]]:
    """Commands that the gateway's own messages tell an operator to run."""
    found = re.findall(r"'(environet [a-z][^'{]*)'", GATEWAY)
    return [("message", re.sub(r"\s+", " ", line), False) for line in sorted(set(found))]


@pytest.mark.parametrize(
    ("where", "line", "whole"), [*lines_of_documents(), *lines_of_help(), *lines_of_messages()]
)
def test_a_command_line_is_one(where: str, line: str, whole: bool) -> None:
    check(shlex.split(line)[1:], whole)


def check(words: list[str], whole: bool) -> None:
    """Raises or fails where a command, option or choice is not there, or a required one missing."""
    command: click.Command = main
    while True:
        context = click.Context(command, info_name=command.name)
        group = isinstance(command, click.Group)
        parser = command.make_parser(context)
        parser.allow_interspersed_args = not group
        given, words, _ = parser.parse_args(list(words))
        for parameter in command.params:
            value = given.get(parameter.name or "")
            if isinstance(parameter.type, click.Choice) and isinstance(value, str):
                assert value in parameter.type.choices
            if whole and parameter.required and not group:
                assert isinstance(value, str | list | tuple), f"{parameter.name} is missing"
        if not isinstance(command, click.Group) or not words:
            break
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    assert not whole or not isinstance(command, click.Group) or command.invoke_without_command


@pytest.mark.parametrize(
    "line",
    [
        "environet serv", "environet member add a@b.example --nam x", "environet hold",
        "environet list set B --moderation some", "environet hold approve",
    ],
)  # fmt: skip
def test_a_wrong_command_line_would_be_found(line: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        check(shlex.split(line)[1:], True)


def test_make_has_what_the_readme_names() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    readme = DOCUMENTS["README.md"]
    code = "\n".join([*blocks(readme), *inline(readme)])
    named = set(re.findall(r"^make ([a-z]+)", code, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


# Settings and variables


def test_settings_that_are_named_are_there() -> None:
    heads = "|".join({name.partition(".")[0] for name in SETTINGS if "." in name})
    for name, text in DOCUMENTS.items():
        for code in inline(text):
            found = re.match(rf"(?:{heads})\.[a-z_]+\b(?!\()", code)
            assert not found or found[0] in SETTINGS, f"{name}: {code}"


def test_settings_in_blocks_are_there() -> None:
    for name, text in DOCUMENTS.items():
        for block in blocks(text):
            for head, key in re.findall(r"^\[([a-z]+)\]\n([a-z_]+) = ", block, re.MULTILINE):
                assert f"{head}.{key}" in SETTINGS, name


@pytest.mark.parametrize(("name", "variable"), every(r"\bENVIRONET_[A-Z_]+\b"))
def test_a_variable_of_the_environment_is_one(name: str, variable: str) -> None:
    known = {make_docs.variable(one) for one in SETTINGS}
    of_tests = {"ENVIRONET_CORPORA", "ENVIRONET_TEST_DATABASE"}
    assert variable in known | {"ENVIRONET_STATE"} | of_tests


# Addresses, files, names


@pytest.mark.parametrize(("name", "local_part"), every(r"\b([\w.-]+)@environet\.example"))
def test_an_address_is_one(name: str, local_part: str) -> None:
    topics = {one for letter, local, *_ in TOPICS for one in (letter.lower(), local)}
    # The gateway's own keys have addresses too, and lists have desks.
    others = {"gateway", "archive", "postmaster", *SERVICES}
    others |= {f"{topic}-{ending}" for topic in topics for ending in ("owner", "experts")}
    added = {hit for _, hit in every(r"list add ([a-z-]+)")}
    bounce = name == "contrib/postfix/README.md" and local_part == "NUMBER-TOKEN"
    assert bounce or local_part in topics | others | added


FOLDERS = ("gateway/", "templates/", "keys/", "db/", "tests/", "contrib/", "docs/")


def test_files_that_are_named_are_there() -> None:
    seen = 0
    for name, text in DOCUMENTS.items():
        for code in inline(text):
            if code.startswith(FOLDERS):
                seen += 1
                assert (ROOT / code).exists(), f"{name}: {code}"
    assert seen > 50


def test_links_lead_somewhere() -> None:
    for name, target in every(r"\]\(([^)#:]+)\)"):
        assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_every_folder_of_the_layout_is_there_and_none_is_left_out() -> None:
    layout = set(re.findall(r"^\| `([a-z/]+)/` \|", DOCUMENTS["README.md"], re.MULTILINE))
    rooms = {
        str(path.parent.relative_to(ROOT)) for path in ROOT.glob("gateway/*/__init__.py")
    }  # fmt: skip
    assert layout >= rooms
    assert layout - rooms == {"templates", "keys", "db", "tests", "contrib", "docs"}


def test_files_of_the_state_directory_are_those_that_init_makes() -> None:
    made = {
        config.FILE, CERTIFICATE, KEY, KEYRING, "environet.sqlite", domain_key.FOLDER, machine.FILE
    }  # fmt: skip
    named = {hit for _, hit in every(r"`STATE/([\w.-]+)`")}
    assert named == made


def defined(text: str) -> set[str]:
    """Names of functions, classes, methods and constants in a module."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_a_name_after_a_file_is_defined_in_it() -> None:
    pairs = [
        (name, *pair)
        for name, text in DOCUMENTS.items()
        for pair in re.findall(r"`([a-z]+/[\w/]+\.py)`\s+`(\w+)(?:\(\))?`", text)
    ]
    assert len(pairs) > 40
    for name, file, wanted in pairs:
        assert wanted in defined(SOURCES[file]), f"{name}: {file} {wanted}"


def test_every_function_that_is_named_is_defined() -> None:
    known = set().union(*map(defined, SOURCES.values()))
    for name in ("docs/mail-flow.md", "docs/threat-model.md"):
        for code in inline(DOCUMENTS[name]):
            if re.fullmatch(r"_?[a-z]\w*\(\)|[A-Z][a-z]+\w*|[A-Z]+_[A-Z_]+", code):
                assert code.removesuffix("()") in known, f"{name}: {code}"


def test_whatever_an_attacker_can_not_do_is_shown_by_a_test() -> None:
    _, _, after = DOCUMENTS["docs/threat-model.md"].partition(
        "\n| attacker | can not | shown by |\n"
    )
    table = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in after.partition("\n\n")[0].splitlines()[1:]]  # fmt: skip
    assert len(table) > 25
    for attacker, claim, shown in table:
        file, name = re.fullmatch(r"`(tests/[\w./-]+)`(?: `(\w+)\(\)`)?", shown).groups()  # type: ignore[union-attr]
        assert (ROOT / file).is_file(), f"{attacker}: {claim}"
        assert name is None or name in defined((ROOT / file).read_text()), f"{claim}: {name}"


# What the gateway says and writes down


@pytest.mark.parametrize(("name", "reply"), every(r"\b[245]\d\d [245]\.\d{1,2}\.\d{1,2}\b"))
def test_a_reply_is_one_that_the_gateway_gives(name: str, reply: str) -> None:
    code, status = reply.split()
    assert f'Reply({code}, "{status}"' in re.sub(r"\(\s+", "(", GATEWAY)


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without the rows that stand over them."""
    _, _, after = DOCUMENTS[document].partition(f"\n## {heading}\n")
    section = after.partition("\n## ")[0]
    lines = [line.strip() for line in section.splitlines() if line.strip().startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_policy_is_as_described() -> None:
    table = rows("docs/mail-flow.md", "From the door to the commit")
    told = [(rule.strip("`"), action) for rule, action in table]
    assert told == [(rule.name, str(rule.action)) for rule in POLICY]


def test_the_rules_that_hold_are_as_described() -> None:
    told = {one[0].strip("`") for one in rows("docs/operating.md", "Holds")}
    assert told == {rule.name for rule in POLICY if rule.action == "hold"}


def test_the_states_of_the_queue_are_as_described() -> None:
    told = {one[0] for one in rows("docs/operating.md", "The queue")}
    assert told == set(Delivery) - {Delivery.SENT, Delivery.DROPPED}


def test_the_events_of_the_ledger_are_as_described() -> None:
    _, _, after = DOCUMENTS["docs/operating.md"].partition("\n## The ledger\n")
    told = set(re.findall(r"`([a-z-]+)`", after.partition("Members stand")[0]))
    written = re.findall(r'ledger\.enter\(\s*(?:\w+\.)?session,[^"]*?,\s*"([a-z-]+)"', GATEWAY)
    # Those that a function is handed, or chooses.
    handed = re.findall(r'_(?:enter|close)\([^()"]*"([a-z-]+)"', GATEWAY)
    # Those that pages enter once they are made.
    shown = re.findall(r'\bvisit\.enter\(\s*"([a-z-]+)"', GATEWAY)
    chosen = re.findall(r'(?:event =|clock\(\),) "([a-z-]+)" if \w+ else "([a-z-]+)"', GATEWAY)
    computed = [f"member-{one}" for one in State] + [one for one in Decision if one != "open"]
    assert told == {*written, *handed, *shown, *computed, *(one for pair in chosen for one in pair)}


def test_log_lines_are_as_described() -> None:
    # A log call's text has %d and %s where the document has an ellipsis.
    texts = re.findall(r'log\.\w+\(\s*"([^"]+)"', GATEWAY)
    texts = [re.sub(r"%[ds]", "…", text).partition("\\n")[0] for text in texts]
    told = [one[0].strip("`") for one in rows("docs/operating.md", "Log lines")]
    told = ["mail of … bytes from …: …" if line.startswith("mail of") else line for line in told]
    quiet = {"… is gone"}  # at level debug
    uvicorns = {"Exceeded concurrency limit.", "Invalid HTTP request received."}
    assert set(told) == (set(texts) - quiet) | uvicorns


def names(heading: str) -> list[str]:
    """What stands in the first column of a table of docs/operating.md, word by word."""
    return [
        word.strip("`") for one in rows("docs/operating.md", heading) for word in one[0].split(", ")
    ]


def test_the_runbook_has_an_entry_for_each_check_and_alert() -> None:
    assert names("The doctor's checks") == ["configuration", "owner", *CHECKS]
    assert names("Health's checks") == [*NAMES]
    rules = (ROOT / "contrib" / "prometheus-rules.yml").read_text()
    assert names("Alerts") == re.findall(r"alert: (\w+)", rules)


def test_metrics_are_as_described() -> None:
    made = re.findall(r'"(environet_[a-z_]+)"', SOURCES["gateway/monitoring/metrics.py"])
    told = [one.removesuffix("_total") for one in names("Metrics")]
    assert sorted(told) == sorted(made)


def test_exit_statuses_are_as_described() -> None:
    told = [int(one[0]) for one in rows("docs/operating.md", "Exit statuses")]
    assert told == [0, 1, 2, 3, 75]


# How it is written


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_plain(name: str) -> None:
    text = DOCUMENTS[name]
    assert text.startswith("# ")
    assert text.endswith("\n")
    assert not re.search("[\U0001f000-\U0001faff\u2600-\u27bf]", text), "no pictures"
    assert not re.search(r"/(?:work|tmp|root|home/[a-z])\b", text), "no machine's paths"
    wide = [line for line in FENCE.sub("", text).splitlines()
            if len(line) > 110 and not line.lstrip().startswith("|")]  # fmt: skip
    assert not wide


def test_the_unit_runs_what_the_documents_install() -> None:
    unit = (ROOT / "contrib" / "environet.service").read_text()
    start = re.search(r"^ExecStart=(\S+) (.*)$", unit, re.MULTILINE)
    assert start is not None
    assert os.path.dirname(start[1]) in DOCUMENTS["docs/operating.md"]
    check(shlex.split(start[2]), True)
