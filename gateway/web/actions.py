"""What a reader may do about a posting: mails that their program prepares, as the site itself can't
change anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.archive.reading import Shown
from gateway.notices.links import mailto
from gateway.posting import moderators, visibility
from gateway.posting.notice import command_link
from gateway.store import mailing_list
from gateway.store.mailing_list import Audience, MailingList, Moderation
from gateway.store.member import Role
from gateway.store.posting import Posting
from gateway.web.visit import Visit

_MOST_SUBJECT = 200
"""Characters of a subject in a link: programs refuse long ones."""


@dataclass(frozen=True, slots=True)
class Action:
    """A link that says what it is for. href: mailto."""

    name: str
    href: str


def known_topics(visit: Visit) -> Collection[int]:
    """Ids of the lists that the reader may know of; found once for the postings of a page."""
    return {one.id for one in visit.topics()}


def lists_of(known: Collection[int], posting: Posting) -> list[MailingList]:
    """The lists and desks that a posting is on, of those that the reader may know of."""
    return [one.mailing_list for one in visibility.placements(posting, known)]


def reply(visit: Visit, lists: Sequence[MailingList], shown: Shown) -> Action | None:
    """An answer to the first of a posting's lists that the reader may write to."""
    for one in lists:
        open_to_them = one.moderation is not Moderation.ANNOUNCEMENT or moderators.moderates(
            visit.session, visit.member, one
        )
        if one.closed_at is None and open_to_them:
            domain = visit.app.config.domain
            href = mailto(one.address(domain), _answer(shown), answers=f"{shown.token}@{domain}")
            return Action(visit.say("Reply to %(list)s", list=one.title), href)
    return None


def about(
    visit: Visit, lists: Sequence[MailingList], posting: Posting, shown: Shown
) -> list[Action]:
    """All that can be done about a posting."""
    say, domain = visit.say, visit.app.config.domain
    url = f"{visit.app.config.archive_url}{shown.path}\n\n"
    found = [reply(visit, lists, shown)]
    if shown.author.address and posting.author_id != visit.member.id:
        found.append(
            Action(
                say("Write to the author alone"),
                mailto(shown.author.address, _answer(shown), answers=f"{shown.token}@{domain}"),
            )
        )
    topic = next((one for one in lists if not one.is_desk), None)
    if topic is not None:
        experts = mailing_list.desk_of(visit.session, topic, Audience.EXPERTS)
        owners = mailing_list.desk_of(visit.session, topic, Audience.MODERATORS)
        found += [
            Action(say("Ask an expert"), mailto(experts.address(domain), _answer(shown), url)),
            Action(say("Report to the moderators"),
                   mailto(owners.address(domain), shown.label, url)),
        ]  # fmt: skip
    found.append(Action(say("Have it sent to me"), command_link(visit.app, f"get {shown.label}")))
    if posting.author_id == visit.member.id or visit.member.has_role(Role.ADMINISTRATOR):
        withdraw = command_link(visit.app, f"withdraw {shown.label}")
        found.append(Action(say("Withdraw it"), withdraw))
    return [one for one in found if one is not None]


def _answer(shown: Shown) -> str:
    subject = "" if shown.body is None else shown.body.subject[:_MOST_SUBJECT]
    return subject if subject.lower().startswith("re:") else f"Re: {subject}".strip()
