"""What a command is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from gateway.app import App
from gateway.errors import UsageError
from gateway.notices.language import Language, language
from gateway.notices.notice import Attachment
from gateway.posting.author import Author
from gateway.posting.pipeline import Judged
from gateway.store import mailing_list
from gateway.store.actor import Actor, actor_of
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member, Role

_FILLERS = frozenset({"and", "&", "please", "pls", "thanks"})
_AROUND_A_WORD = "\"'`<>()[].;!?"


@dataclass(frozen=True, slots=True)
class Context:
    """One mail's commands under way, inside the transaction that they are run in.

    member: its verified author. judged: the mail. certificates: those that it brought along, as
    offered. commands: those that the member may use. bound: whether something under the signature
    says that the mail was meant for this address. room: bytes that may still go along with the
    answer.
    """

    session: Session
    app: App
    member: Member
    author: Author
    judged: Judged
    now: datetime
    certificates: tuple[bytes, ...]
    commands: tuple[Command, ...]
    bound: bool
    room: int = 0

    @property
    def actor(self) -> Actor:
        return actor_of(self.member)

    @property
    def language(self) -> Language:
        """The member's, as an earlier command of the same mail may have chosen it."""
        return language(self.member.language)

    def say(self, message: str, **values: object) -> str:
        """A msgid in the member's language, its %(name)s filled in."""
        return self.language.say(message, **values)

    def topics(self) -> list[MailingList]:
        """The lists that the member takes part in or may: the others do not exist for them."""
        known = mailing_list.known_to(self.session, self.member.id)
        return [one for one in known if one.closed_at is None]

    def topic(self, name: str) -> MailingList:
        """One of them by letter, name, title or address. Raises UsageError, which names them."""
        topics = self.topics()
        wanted = name.casefold().removesuffix(f"@{self.app.config.domain}")
        for one in topics:
            if wanted in one.called:
                return one
        names = ", ".join(f"{one.letter} ({one.local_part})" for one in topics)
        raise UsageError("there is no list '%(name)s'; there are %(names)s", name=name, names=names)


@dataclass(frozen=True, slots=True)
class Call:
    """A command as it was typed. rest: what stands behind its words; form: the "key: value" lines
    after it, keys in lower case, for a command that has a form."""

    rest: str = ""
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """Those of `rest`, without commas, politeness, and what people put around a word."""
        plain = (one.strip(_AROUND_A_WORD) for one in self.rest.replace(",", " ").split())
        return [one for one in plain if one and one.casefold() not in _FILLERS]

    def only(self, usage: str) -> str:
        """The one word that there must be. Raises UsageError."""
        if len(self.words) != 1:
            raise UsageError("write it as: %(usage)s", usage=usage)
        return self.words[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command did. text: in the member's language. enclosed: ids of postings to go along."""

    text: str
    attachments: tuple[Attachment, ...] = ()
    enclosed: tuple[int, ...] = ()


def no_room() -> UsageError:
    return UsageError("it is too large for this answer; ask for it in a mail of its own")


Run = Callable[[Context, Call], Answer]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    words: what it begins with, "tick off". arguments: as the help shows them, "TOPIC ...". roles:
    who may use it, one of them is enough; none: every member. help: a msgid, one sentence.
    example: a line as it is typed. changes: whether it changes anything, and so must be signed as
    meant for the gateway. form: keys of the form that may follow it.
    """

    words: str
    arguments: str
    roles: frozenset[Role]
    help: str
    example: str
    run: Run
    changes: bool = True
    form: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        return f"{self.words} {self.arguments}".rstrip()

    def is_for(self, member: Member) -> bool:
        """Whether a member may use it: with the role for any list; for which one it is theirs to
        use, the command itself looks."""
        return not self.roles or any(entry.role in self.roles for entry in member.roles)
