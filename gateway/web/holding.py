"""For moderators: what waits for them, and one of them to read. They decide by mail."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import reading
from gateway.command.moderation import MODERATORS
from gateway.posting import moderators, notice, subjects
from gateway.store import hold as holds
from gateway.store import posting as postings
from gateway.store.hold import Decision, Hold
from gateway.store.posting import Posting
from gateway.web.numbers import number_in
from gateway.web.visit import NotThere, Visit, for_members


@dataclass(frozen=True)
class Waiting:
    """A hold as its moderators see it. subject: None where what is sealed is damaged; because: the
    end of the sentence "held, because ..."; approvers: who approved it already."""

    hold: Hold
    posting: Posting
    subject: str | None
    because: str
    approvers: tuple[str, ...]

    @property
    def needed(self) -> int:
        """Approvals that it waits for."""
        return max(0, self.hold.mailing_list.moderators_needed - len(self.approvers))


def held(visit: Visit) -> Response:
    """What the reader may decide about, the oldest first."""
    _check_moderator(visit)
    theirs = [
        one
        for one in holds.held(visit.session)
        if moderators.moderates(visit.session, visit.member, one.mailing_list)
    ]
    listed = theirs[: notice.MOST_LISTED]
    about = postings.without_content(visit.session, [one.posting_id for one in listed])
    titles = subjects.titles(visit.session)
    shown = [_waiting(visit, one, about[one.posting_id], titles) for one in listed]
    visit.enter("held-read", count=len(shown))
    return visit.page("held", shown=shown, more=len(theirs) - len(listed))


def hold(visit: Visit) -> Response:
    """A held posting, and links that prepare the mails with which it is decided."""
    _check_moderator(visit)
    typed = visit.request.path_params["number"]
    number = number_in(typed)
    found = None if number is None else visit.session.get(Hold, number)
    if (
        found is None
        or found.label != f"H-{typed}"
        or not moderators.moderates(visit.session, visit.member, found.mailing_list)
    ):
        raise NotThere
    posting = found.posting
    shown = reading.open_posting(visit.session, visit.app, posting)
    if shown.body is not None:
        visit.enter("read", posting=posting.label, hold=found.label)
    return visit.page(
        "hold",
        one=_waiting(visit, found, posting, subjects.titles(visit.session)),
        shown=shown,
        is_open=found.decision is Decision.OPEN,
        may_approve=_may_approve(visit, found),
        approve=notice.command_link(visit.app, f"approve {found.label}"),
        reject=notice.command_link(visit.app, f"reject {found.label} "),
        discard=notice.command_link(visit.app, f"discard {found.label}"),
        show=notice.command_link(visit.app, f"show {found.label}"),
    )


def _check_moderator(visit: Visit) -> None:
    if not any(one.role in MODERATORS for one in visit.member.roles):
        raise NotThere


def _waiting(visit: Visit, found: Hold, posting: Posting, titles: tuple[str, ...]) -> Waiting:
    subject = subjects.listed(visit.app.vault, posting, titles)
    approvers = moderators.approvers(visit.session, found)
    return Waiting(
        found, posting, subject, visit.say(notice.REASONS[found.rule]),
        tuple(one.described for one in approvers),
    )  # fmt: skip


def _may_approve(visit: Visit, found: Hold) -> bool:
    """An author approves nothing of their own, but where nobody else is asked."""
    member_id = visit.member.id
    return member_id != found.posting.author_id or member_id in [
        one.id for one in moderators.asked(visit.session, found)
    ]


ROUTES = (
    Route("/held", for_members(held)),
    Route("/held/H-{number}", for_members(hold)),
)
