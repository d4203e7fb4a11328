"""Confirming: commands in a mail that does not say under its signature whom it was meant for.

Somebody who got such a mail in another way (a posting, a private letter) could encrypt it anew to
the gateway. So what would change something is kept, and run once its author sends the code.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import delete

from gateway.command.answering import told
from gateway.command.context import Answer, Call, Command, Context
from gateway.command.reading import Step, read
from gateway.command.running import Result, run
from gateway.errors import UsageError
from gateway.message.typed import Typed
from gateway.notices.language import N_
from gateway.posting.notice import command_link
from gateway.store.command_mail import Unconfirmed

_CODE_BYTES = 10


def ask(context: Context, steps: Sequence[Step]) -> Result:
    """Keep steps, and tell their author how to have them run."""
    code = secrets.token_hex(_CODE_BYTES)
    code_hash = _hash(context, code)
    context.session.execute(delete(Unconfirmed).where(Unconfirmed.at < _oldest(context)))
    kept = {
        "lines": [line for step in steps for line in step.typed.split("\n")],
        "certificates": [base64.b64encode(one).decode() for one in context.certificates],
    }
    context.session.add(
        Unconfirmed(
            code_hash=code_hash,
            member_id=context.member.id,
            lines=context.app.vault.seal(f"unconfirmed/{code_hash}", json.dumps(kept).encode()),
            at=context.now,
        )
    )
    text = context.say(
        "Not done yet: your mail program did not sign whom this mail is for, so somebody else "
        "may have passed it on. If you want it done, write this line to the gateway within "
        "%(hours)s hours, or use the link:",
        hours=context.app.config.policy.command_hours,
    )
    line = f"confirm {code}"
    link = command_link(context.app, line)
    shown = "\n".join(step.shown for step in steps)
    return Result(shown, Answer(f"{text}\n\n    {line}\n    {link}"), done=False)


def _confirm(context: Context, call: Call) -> Answer:
    code_hash = _hash(context, call.only("confirm CODE").lower())
    kept = context.session.get(Unconfirmed, code_hash)
    if kept is None or kept.member_id != context.member.id or kept.at < _oldest(context):
        raise UsageError("there is nothing to confirm with this code")
    opened = json.loads(context.app.vault.open(f"unconfirmed/{code_hash}", kept.lines))
    context.session.delete(kept)
    lines = [Typed(text=one, shown=one) for one in opened["lines"]]
    bound = replace(
        context,
        bound=True,
        certificates=tuple(base64.b64decode(one) for one in opened["certificates"]),
    )
    results, _ = run(bound, list(read(lines, context.commands)))
    return Answer(
        "\n\n".join(map(told, results)),
        tuple(each for one in results for each in one.answer.attachments),
        tuple(each for one in results for each in one.answer.enclosed),
    )


def _oldest(context: Context) -> datetime:
    """When that was said which may still be confirmed."""
    return context.now - timedelta(hours=context.app.config.policy.command_hours)


def _hash(context: Context, code: str) -> str:
    return context.app.vault.keyed_hash("confirmation", code)


COMMANDS = (
    Command(
        "confirm",
        "CODE",
        frozenset(),
        N_("Has the commands run that the gateway asked you to confirm."),
        "confirm 3f9a2c5e81d04b7a6c1e",
        _confirm,
        # The code says what the signature did not.
        changes=False,
    ),
)
