"""Commands that only ask: help."""

from __future__ import annotations

from gateway.command.context import Answer, Call, Command, Context
from gateway.command.reading import closest
from gateway.errors import UsageError
from gateway.notices.language import N_


def _help(context: Context, call: Call) -> Answer:
    wanted = " ".join(call.words).casefold()
    if not wanted:
        lines = [f"  {one.usage}\n      {context.say(one.help)}" for one in context.commands]
        intro = context.say("Write one command a line, in the text of a signed, encrypted mail.")
        return Answer(intro + "\n\n" + "\n".join(lines))
    found = [one for one in context.commands if one.words == wanted] or [
        one for one in context.commands if one.words.startswith(wanted)
    ]
    if not found and (meant := closest(wanted, context.commands)):
        found = [meant]
    if not found:
        raise UsageError("there is no command %(name)s", name=wanted)
    return Answer("\n\n".join(_described(context, one) for one in found))


def _described(context: Context, command: Command) -> str:
    lines = [f"  {command.usage}", f"      {context.say(command.help)}"]
    if command.form:
        lines.append(
            "      " + context.say("After it, a line each:") + " " + ", ".join(command.form)
        )
    example = context.say("Example:")
    return "\n".join(
        [*lines, "", f"{example}", "", *(f"    {one}" for one in command.example.split("\n"))]
    )


COMMANDS = (
    Command(
        "help",
        "[COMMAND]",
        frozenset(),
        N_("Lists the commands that you may use, or explains one."),
        "help deliver",
        _help,
        changes=False,
    ),
)
