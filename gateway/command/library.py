"""The Library by mail: what it has, having a document sent, and deciding about one."""

from __future__ import annotations

import re

from gateway.app import App
from gateway.command.context import Answer, Call, Command, Context, no_room
from gateway.command.describing import withdrawn
from gateway.errors import UsageError
from gateway.library import access, contents, deciding, documents, sealing
from gateway.library.documents import Chosen
from gateway.library.sealing import Sheet
from gateway.message.submission import Content
from gateway.message.thread import plain
from gateway.notices import words
from gateway.notices.language import N_
from gateway.notices.notice import Attachment
from gateway.posting import evidence
from gateway.posting.evidence import Kept
from gateway.posting.opening import payload_limit
from gateway.store import ledger, library
from gateway.store.library import Status, Version
from gateway.store.mailing_list import MailingList

MOST_LISTED = 100
"""Documents in one answer."""
_TYPE = re.compile(r"(?:application|audio|font|image|text|video)/[a-z0-9][a-z0-9.+-]{0,60}")
_LABEL = re.compile(r"(L[\s‐-―-]{0,3}\d+(?:\s?/\s?\d+)?)[.,:;]?(?:\s+(.*))?", re.IGNORECASE)


def label_in(rest: str) -> str | None:
    """The label that a command's rest begins with, "L-12" or "L-12/2"; None where it is none of a
    document's."""
    typed = _LABEL.fullmatch(rest.strip())
    return typed[1] if typed else None


def get(context: Context, label: str) -> Answer:
    """Send a document that the member may read: its files, with the evidence."""
    found = access.get(context.session, context.member, label)
    if found.withdrawn_at is not None:
        return Answer(withdrawn(context, found))
    session, app = context.session, context.app
    if found.size > context.room:
        raise no_room()
    ledger.enter(
        session, context.now, "document-read", document=found.label, by=context.actor.ledger
    )
    sheet = sealing.sheet(app.vault, found)
    kept, opened = evidence.opened(app.vault, found)
    attached = [
        Attachment(one.name, _harmless(one.content_type), contents.data(opened, one.number))
        for one in sheet.files
    ]
    said = [_line(context, found, sheet), context.say("Handed in by %(author)s.",
                                                      author=found.author.described)]  # fmt: skip
    if sheet.description:
        said.append("\n".join(f"  {one}" for one in sheet.description.split("\n")))
    if _travels(app, found, kept, opened):
        name, original = evidence.signed_original(found, kept, opened)
        attached.append(Attachment(name, "application/octet-stream", original))
        attached.append(Attachment("author.pgp", "application/octet-stream", kept.certificate))
        said.append(
            context.say(
                "Its files are attached, with the mail that its author signed (%(name)s) and their "
                "certificate (author.pgp).",
                name=name,
            )
        )
    else:
        said.append(context.say("Its files are attached."))
    return Answer("\n\n".join(said), tuple(attached))


def approve(context: Context, rest: str) -> Answer:
    """Approve the version that waits."""
    found, _ = _waiting(context, rest, "approve L-12")
    deciding.decide(context.session, context.app, found, Status.APPROVED, context.actor)
    return Answer(
        context.say(
            "%(label)s is approved. It is in the Library now, and its author is told.",
            label=found.label,
        )
    )


def reject(context: Context, rest: str) -> Answer:
    """Reject the version that waits; its author is told the reason."""
    found, reason = _waiting(context, rest, "reject L-12 REASON")
    deciding.decide(context.session, context.app, found, Status.REJECTED, context.actor, reason)
    return Answer(context.say("%(label)s is rejected, and its author is told.", label=found.label))


def withdraw(context: Context, label: str) -> Answer:
    """Erase a version, or all of a document's that the member may read."""
    session, member = context.session, context.member
    named = access.get(session, member, label)
    typed = library.typed_label(label)
    chosen = [named]
    if typed is not None and typed[1] is None:
        chosen = [one for one in access.versions(session, member, named.document)
                  if one.withdrawn_at is None] or chosen  # fmt: skip
    for one in chosen:
        if not deciding.may_withdraw(session, member, one):
            raise UsageError(
                "only its author or a librarian may withdraw %(label)s", label=one.label
            )
    for one in chosen:
        deciding.withdraw(session, context.app, one, context.actor)
    labels = ", ".join(one.label for one in reversed(chosen))
    return Answer(
        context.say("Withdrawn, and its text and files erased: %(labels)s.", labels=labels)
    )


def _library(context: Context, call: Call) -> Answer:
    session, member = context.session, context.member
    topic, wanted = _topic(context, call.words)
    chosen = Chosen(topic=topic)
    found = documents.listed(session, member, chosen, documents.MOST_LOOKED_THROUGH)
    shown = list(documents.with_words(context.app, context.language, found, wanted))
    ledger.enter(
        session, context.now, "library-read",
        documents=len(shown[:MOST_LISTED]), by=context.actor.ledger,
    )  # fmt: skip
    lines = [_line(context, *one) for one in shown[:MOST_LISTED]]
    if len(shown) > MOST_LISTED:
        lines.append(context.say("and %(more)s more.", more=len(shown) - MOST_LISTED))
    if not shown:
        lines.append(context.say("The Library has no such document."))
    else:
        first = shown[0][0].label
        lines.append(
            context.say(
                "To have one of them sent to you, write for example: get %(label)s", label=first
            )
        )
    if waiting := access.waiting(session, member):
        lines.append(context.say("Waiting for a librarian:"))
        lines += [_line(context, one, sealing.listed(context.app.vault, one)) for one in waiting]
    return Answer("\n\n".join(lines))


def _topic(context: Context, typed: list[str]) -> tuple[MailingList | None, list[str]]:
    """(topic, words behind it); None where the first word is no topic's letter or name."""
    for one in context.topics() if typed else ():
        if typed[0].casefold() in one.called:
            return one, typed[1:]
    return None, typed


def _waiting(context: Context, rest: str, usage: str) -> tuple[Version, str]:
    """(the version that a line names, what follows it); "L-12" is the first. Raises UsageError."""
    typed = _LABEL.fullmatch(rest.strip())
    if typed is None or (typed[2] and not usage.endswith("REASON")):
        raise UsageError("write it as: %(usage)s", usage=usage)
    session, member, label = context.session, context.member, typed[1]
    named = library.typed_label(label) or (0, None)
    # As notices name them, so that nobody decides about another version than they read of.
    found = access.find(session, member, f"L-{named[0]}/{named[1] or 1}")
    if found is None:
        raise library.no_such_document(label)
    if named[1] is None and found.status is not Status.WAITING:
        others = access.versions(session, member, found.document)
        if other := next((one for one in others if one.status is Status.WAITING), None):
            raise UsageError(
                "%(label)s is decided; what waits is %(other)s",
                label=found.label,
                other=other.label,
            )
    return found, plain(typed[2] or "")


def _line(context: Context, version: Version, sheet: Sheet) -> str:
    """A document in a few lines."""
    topics = access.topics(context.session, context.member, version)
    facts = [
        words.word(context.language, version.category),
        words.language_name(context.language, version.language),
        ", ".join(one.title for one in topics),
        version.marking,
        f"{-(-version.size // 1000)} kB",
    ]
    return (
        f"  {version.label}  {context.language.date(version.received_at)}\n"
        f"      {sheet.title}\n"
        f"      {'; '.join(one for one in facts if one)}"
    )


def _travels(app: App, version: Version, kept: Kept, opened: Content) -> bool:
    """Whether the evidence goes along: what is large would be sent twice."""
    size = min(len(kept.source.data), len(opened.body))
    return size <= app.config.policy.evidence_bytes and (
        2 * size + version.size <= payload_limit(app.config)
    )


def _harmless(content_type: str) -> str:
    """A type that a part may have; a mail program would open the parts of others."""
    return content_type if _TYPE.fullmatch(content_type) else "application/octet-stream"


COMMANDS = (
    Command(
        "library",
        "[TOPIC] [WORDS]",
        frozenset(),
        N_("Lists the documents of the Library, of one topic or with some words in their titles."),
        "library B ivory",
        _library,
        changes=False,
    ),
)
