"""Writes docs/commands.md and docs/settings.md from the code: python -m contrib.make_docs"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from textwrap import fill

import click

from gateway import config
from gateway.cli import main as environet
from gateway.command.context import Command
from gateway.command.table import COMMANDS as BY_MAIL
from gateway.store.member import Role

DOCS = Path(__file__).parent.parent / "docs"
COMMANDS = """\
# Commands

Made from the code by `python -m contrib.make_docs`; change it there. First what officers write to
the gateway, then what an operator types.

## By mail

A signed mail, encrypted to the key of `gateway@`, with one command on each line of its text. All
are answered in one encrypted mail, in the language of whoever wrote. What is quoted (`>`), and what
stands behind `end` or a signature line (`-- `), is not read. Where the text has no command the
subject counts, if it is signed. Capitals do not matter. `help` lists the commands that the one who
asks may use.

BY_MAIL
## On the command line

`--state DIR`, or `ENVIRONET_STATE` in the environment, names the gateway's state directory for
every command; it stands before the command. `environet COMMAND --help` prints what is written here.

Exit status: 0 done; 1 not done, and why is said; 2 wrong usage; 3 a check found faults; 75 a fault
of the machine's, try again.
"""
SETTINGS = """\
# Settings

Made from the code by `python -m contrib.make_docs`; change it there.

They are in `STATE/environet.toml`, where STATE is the gateway's state directory. `environet init`
writes it with every setting and its default as a comment. A variable of the environment goes before
the file. `environet config check` checks all and names the faults; `environet config show` prints
what is in force. A running gateway has read them once, at its start.

The files of `smtp.certificate` and `smtp.key` and the SQLite file of `database.url` are relative to
the state directory; what `init --handoff` is given is taken from where it is typed.
"""


def commands() -> str:
    """docs/commands.md: every command with its help, arguments and options."""
    head = COMMANDS.replace("BY_MAIL", "\n".join(map(_by_mail, BY_MAIL)))
    lines = [head]
    for path, command in _walk(environet, "environet"):
        lines += _section(path, command)
    return "\n".join(lines).rstrip() + "\n"


def settings() -> str:
    """docs/settings.md: every setting with its default, meaning and environment variable."""
    lines = [SETTINGS]
    section = None
    for name, default, description in config.describe():
        head = name.rpartition(".")[0]
        if head != section:
            section = head
            lines += [f"## [{head}]" if head else "## At the top", ""]
            lines += ["| setting | default | meaning | variable |", "|---|---|---|---|"]
        shown = f"`{default}`" if default else "must be set"
        lines.append(f"| `{name}` | {shown} | {description} | `{variable(name)}` |")
    # A heading follows a table: a blank line between.
    return re.sub(r"\|\n##", "|\n\n##", "\n".join(lines)) + "\n"


def variable(setting: str) -> str:
    """The environment variable that overrides a setting."""
    return "ENVIRONET_" + setting.replace(".", "_").upper()


def _by_mail(command: Command) -> str:
    who = " or ".join(one.replace("-", " ") for one in Role if one in command.roles)
    form = f"After it, a line each: {', '.join(f'`{key}:`' for key in command.form)}."
    told = [f"For {who or 'every member'}.", command.help, *([form] if command.form else [])]
    text = fill(" ".join(told), 100, break_long_words=False, break_on_hyphens=False)
    return f"### {command.usage}\n\n{text}\n\n```\n{command.example}\n```\n"


def _walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            if not command.commands[name].hidden:
                yield from _walk(command.commands[name], f"{path} {name}")


def _section(path: str, command: click.Command) -> list[str]:
    """Written by hand and not by click, whose form of a help text depends on its version."""
    level = "###" if path.count(" ") > 1 else "##"
    lines = [f"{level} {path}", ""]
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option)]
    words = [path, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)]
    if isinstance(command, click.Group):
        words.append("[COMMAND]" if command.invoke_without_command else "COMMAND")
    lines += ["```", " ".join(words), "```", ""]
    for paragraph in cleandoc(command.help or "").split("\n\n"):
        lines += _paragraph(paragraph)
    rows = [_option(one) for one in options if not one.hidden and one.help]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return lines


def _paragraph(text: str) -> list[str]:
    if not text.startswith("\b"):
        return [text, ""]
    title, *rest = text.removeprefix("\b").strip("\n").split("\n")
    return [title, "", "```", *(line.removeprefix("  ").rstrip() for line in rest), "```", ""]


def _argument(argument: click.Argument) -> str:
    name = (argument.name or "").upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: click.Option) -> str:
    names = "/".join([*option.opts, *option.secondary_opts])
    if isinstance(option.type, click.Choice):
        value = " " + "\\|".join(map(str, option.type.choices))
    elif option.is_flag:
        value = ""
    else:
        value = " " + (option.metavar or option.type.name.upper())
    notes = ["required"] if option.required else []
    notes += [f"default: {option.default}"] if option.show_default else []
    told = f" ({'; '.join(notes)})" if notes else ""
    return f"| `{names}{value}` | {option.help}{told} |"


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    (DOCS / "commands.md").write_text(commands())
    (DOCS / "settings.md").write_text(settings())


if __name__ == "__main__":
    main()
