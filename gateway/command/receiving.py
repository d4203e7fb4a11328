"""A mail to the address for commands: who may command, and that nothing is run twice."""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.command import answering, confirming
from gateway.command.context import Context
from gateway.command.running import run, steps_of
from gateway.command.table import for_member
from gateway.errors import Malformed, Reply
from gateway.message import entity, keydata
from gateway.posting import admission, pipeline
from gateway.posting.author import Author
from gateway.posting.directory import Service
from gateway.posting.opening import Opening
from gateway.posting.pipeline import ACCEPTED, Judged
from gateway.posting.policy import NO_SIGNATURE
from gateway.store import command_mail, ledger
from gateway.store.member import Member

log = logging.getLogger(__name__)

TOO_OLD = Reply(550, "5.7.1", "Signed too long ago; write the commands in a new mail")
TOO_MANY = Reply(450, "4.7.1", "Too many mails with commands within an hour; try again later")


def receive(session: Session, app: App, judged: Judged) -> Reply:
    """Run the commands of a mail and queue the answer, in the caller's transaction."""
    if judged.robot:
        return ACCEPTED
    refused, author, opening = refusal(session, app, judged), judged.author, judged.opening
    if refused is not None or author is None or opening is None or opening.content is None:
        rule, reply = refused or ("no-good-signature", NO_SIGNATURE)
        member_id = author.member_id if author else None
        log.info("commands: refused by rule %s, member %s", rule, member_id)
        ledger.enter(
            session, app.clock(), "refused", list=Service.COMMANDS, rule=rule, member=member_id
        )
        return reply
    hashes = pipeline.identities(app, author, opening.protected)
    if command_mail.is_known(session, hashes):
        # The sender's server did not hear our first answer; or somebody plays it again.
        log.info("commands: known already, member %s", author.member_id)
        return ACCEPTED
    now = app.clock()
    if command_mail.count_since(session, author.member_id, now - timedelta(hours=1)) >= (
        app.config.policy.commands_an_hour
    ):
        return TOO_MANY
    command_mail.remember(session, hashes, author.member_id, now)
    context = _context(session, app, judged, opening, author)
    steps = steps_of(
        context, opening.content.payload, _signed_subject(opening),
    )  # fmt: skip
    results, waiting = run(context, steps)
    if waiting:
        results.append(confirming.ask(context, waiting))
    ledger.enter(
        session, now, "commands", member=author.member_id, key=author.fingerprint,
        count=len(results),
    )  # fmt: skip
    answering.answer(context, results, opening.fields.message_id)
    return ACCEPTED


def refusal(session: Session, app: App, judged: Judged) -> tuple[str, Reply] | None:
    """(rule, reply) where a mail's commands are not run, whatever they are. Only reads."""
    plain = app.config.policy.signed_commands
    return admission.refusal(session, app, judged, Service.COMMANDS, TOO_OLD, plain=plain)


def _context(
    session: Session, app: App, judged: Judged, opening: Opening, author: Author
) -> Context:
    member = session.get_one(Member, author.member_id)
    addressed = opening.protected.recipients if opening.protected else ()
    return Context(
        session=session,
        app=app,
        member=member,
        author=author,
        judged=judged,
        now=app.clock(),
        certificates=_signed_certificates(opening),
        commands=for_member(member),
        # By address alone: the key that a program signs as intended serves other addresses too.
        bound=admission.names(app, addressed, Service.COMMANDS),
    )


def _signed_certificates(opening: Opening) -> tuple[bytes, ...]:
    """Those under the signature: what stands in the outer header may be of whoever carried it."""
    if opening.content is None:
        return ()
    payload = entity.read(opening.content.payload)
    try:
        return keydata.offered(payload, payload)
    except Malformed as error:
        log.info("certificates not looked for: %s", error)
        return ()


def _signed_subject(opening: Opening) -> str:
    """A subject that is not signed may be anybody's who carried the mail: it commands nothing."""
    return opening.fields.subject if opening.fields.subject_signed else ""
