"""The one answer to a mail with commands: each line, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.command.context import Context
from gateway.command.running import Result
from gateway.message.thread import MOST_SUBJECT
from gateway.notices.language import language
from gateway.notices.notice import Manner, queue, quoted, rendered


def answer(context: Context, results: Sequence[Result], answered: str) -> None:
    """Queue the answer. answered: Message-ID of the mail, "" where it has none."""
    member = context.member
    # In the language that a command of this mail may just have chosen.
    subject, text = rendered(
        context.app,
        language(member.language),
        "answer",
        name=member.name,
        results=[told(one) for one in results],
        first=results[0].shown.split("\n")[0][:MOST_SUBJECT] if results else "",
        understood=any(one.known for one in results),
        commands="\n".join(f"  {one.usage}" for one in context.commands),
    )
    enclosed = [each for one in results for each in one.answer.enclosed]
    manner = Manner(
        answers=answered,
        enclosed=tuple(dict.fromkeys(enclosed)),
        attachments=tuple(each for one in results for each in one.answer.attachments),
    )
    queue(context.session, context.app, member, "answer", subject, text, manner)


def told(result: Result) -> str:
    """What was typed, as a quotation, and under it what came of it."""
    return quoted(result.shown.split("\n")) + "\n" + result.answer.text
