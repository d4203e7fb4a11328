"""The Library: browsing, a document and its versions, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import attestation
from gateway.archive.attestation import Verdict
from gateway.archive.blocks import visible
from gateway.archive.reading import PICTURES
from gateway.errors import Malformed, UsageError
from gateway.library import access, contents, deciding, documents, sealing
from gateway.library.documents import Chosen, Counts
from gateway.library.notices import path
from gateway.library.sealing import File, Sheet
from gateway.message.submission import Content
from gateway.notices import words
from gateway.notices.links import mailto
from gateway.posting import evidence
from gateway.posting.evidence import Kept
from gateway.posting.notice import command_link
from gateway.store import library as store
from gateway.store.library import Category, Status, Version
from gateway.store.mailing_list import MailingList
from gateway.store.member import Member
from gateway.store.posting import Standing
from gateway.web import pictures
from gateway.web.actions import Action
from gateway.web.costly import few_at_once
from gateway.web.files import download, inline_picture
from gateway.web.visit import NotThere, Visit, for_members

_T = TypeVar("_T")
MOST_LISTED = 30
MOST_VERSIONS = 100


@dataclass(frozen=True)
class Entry:
    """A document in a list. topics: of those that the reader may know of."""

    version: Version
    sheet: Sheet
    topics: tuple[MailingList, ...]


@dataclass(frozen=True)
class Filter:
    """A link that narrows what is browsed, or no longer does. count: of documents behind it."""

    name: str
    href: str
    count: int
    chosen: bool


@dataclass(frozen=True)
class HandedIn:
    """Whose document a version is, as the macro of a posting's verdict wants it."""

    author: Member
    key_fingerprint: str
    verdict: Verdict
    standing: Standing = Standing.ACTIVE


def browse(visit: Visit) -> Response:
    """What the Library has, the newest first."""
    chosen, before = _chosen(visit), visit.number("before")
    found = documents.listed(visit.session, visit.member, chosen, MOST_LISTED + 1, before)
    shown = found[:MOST_LISTED]
    counts = documents.counts(visit.session, visit.member, chosen)
    older = _href(chosen, before=shown[-1].id) if len(found) > MOST_LISTED else ""
    visit.enter("library-read", documents=len(shown))
    return visit.page(
        "library",
        shown=[_entry(visit, one) for one in shown],
        waiting=[] if before else [_entry(visit, one) for one in _waiting(visit)],
        total=counts.total,
        filters=_filters(visit, chosen, counts),
        chosen=chosen != Chosen(),
        newest=_href(chosen) if before else "",
        older=older,
        hand_in=_form(visit, "", ""),
    )


def document(visit: Visit) -> Response:
    """A document, or one version of it."""
    version = _found(visit)
    others = [
        one
        for one in access.versions(visit.session, visit.member, version.document)
        if one.id != version.id
    ][:MOST_VERSIONS]
    sheet = _sheet(visit, version)
    values: dict[str, Any] = {
        "version": version,
        "path": path(version),
        "topics": access.topics(visit.session, visit.member, version),
        "others": [(one, path(one)) for one in others],
        "newer": next((one for one in others if _replaces(one, version)), None),
        "older": next((one for one in others if one.number < version.number), None),
        "decides": _decides(visit, version),
        "handed": None,
        "sheet": sheet,
        "description": visible(sheet.description),
        "actions": [],
        "pictures": PICTURES,
    }
    if version.withdrawn_at is None:
        visit.enter("document-read", document=version.label)
        kept, opened = _opened(visit, version)
        verdict = attestation.check(visit.session, visit.app, version, kept, opened)
        values["handed"] = HandedIn(version.author, version.key_fingerprint, verdict)
        values["actions"] = _actions(visit, version)
    return visit.page("document", **values)


def file(visit: Visit) -> Response:
    """A file of a version, as a download."""
    version, wanted, opened = _file(visit)
    data = contents.data(opened, wanted.number)
    visit.enter("downloaded", document=version.label, part=wanted.number)
    return download(data, wanted.name, wanted.content_type)


def preview(visit: Visit) -> Response:
    """A small picture of a file that is one."""
    version, wanted, opened = _file(visit)
    if wanted.content_type not in PICTURES:
        raise NotThere
    made = pictures.preview(contents.data(opened, wanted.number))
    visit.enter("document-read", document=version.label, part=wanted.number)
    return inline_picture(made)


def alerts(visit: Visit) -> list[Entry]:
    """The alerts of the day, for the front page."""
    found = documents.alerts(visit.session, visit.member, visit.now)
    return [_entry(visit, one) for one in found[:MOST_LISTED]]


def _chosen(visit: Visit) -> Chosen:
    """What the address narrows to. Raises NotThere for what there is not."""
    query = visit.request.query_params
    category, letter = query.get("category", ""), query.get("topic", "")
    language = query.get("language", "")
    if category and category not in set(Category):
        raise NotThere
    if language and not (language.isascii() and language.isalpha()):
        raise NotThere
    return Chosen(
        Category(category) if category else None,
        visit.topic(letter) if letter else None,
        language or None,
    )


def _href(chosen: Chosen, **more: object) -> str:
    values = {
        "category": chosen.category,
        "topic": chosen.topic and chosen.topic.letter,
        "language": chosen.language,
        **more,
    }
    query = urlencode({name: str(value) for name, value in values.items() if value})
    return "/library" + (f"?{query}" if query else "")


def _filters(visit: Visit, chosen: Chosen, counts: Counts) -> list[tuple[str, list[Filter]]]:
    """(heading, links)."""
    to = visit.language
    groups = [
        (
            visit.say("Category"),
            _links(
                ((one, words.word(to, one), count) for one, count in counts.categories),
                chosen.category,
                lambda one: replace(chosen, category=one),
            ),
        ),
        (
            visit.say("Topic"),
            _links(
                ((one, one.title, count) for one, count in counts.topics),
                chosen.topic,
                lambda one: replace(chosen, topic=one),
            ),
        ),
        (
            visit.say("Language"),
            _links(
                ((one, words.language_name(to, one), count) for one, count in counts.languages),
                chosen.language,
                lambda one: replace(chosen, language=one),
            ),
        ),
    ]
    return [(heading, links) for heading, links in groups if links]


def _links(
    rows: Iterable[tuple[_T, str, int]], now: _T | None, then: Callable[[_T | None], Chosen]
) -> list[Filter]:
    """rows: (value, name, count). Of the value that is chosen, the link back to all."""
    return [
        Filter(name, _href(then(None if value == now else value)), count, value == now)
        for value, name, count in rows
    ]


def _entry(visit: Visit, version: Version) -> Entry:
    topics = access.topics(visit.session, visit.member, version)
    return Entry(version, sealing.listed(visit.app.vault, version), tuple(topics))


def _waiting(visit: Visit) -> list[Version]:
    """What the reader is to decide about, and what of theirs waits."""
    asked = access.waiting(visit.session, visit.member)
    own = documents.waiting_of(visit.session, visit.member)
    return [*asked, *(one for one in own if one not in asked)]


def _found(visit: Visit) -> Version:
    """The version that an address names. Raises NotThere; also where it is not written as links
    have it, so that each page has one address."""
    given = visit.request.path_params
    label = given["label"] + (f"/{given['version']}" if "version" in given else "")
    typed = store.typed_label(label)
    found = access.find(visit.session, visit.member, label)
    if typed is None or found is None:
        raise NotThere
    written = f"L-{typed[0]}" + ("" if typed[1] is None else f"/{typed[1]}")
    if label != written:
        raise NotThere
    return found


def _sheet(visit: Visit, version: Version) -> Sheet:
    """Raises UsageError where it was damaged."""
    try:
        return sealing.sheet(visit.app.vault, version)
    except Malformed:
        raise _damaged(version) from None


def _opened(visit: Visit, version: Version) -> tuple[Kept, Content]:
    """Raises UsageError where it was damaged."""
    try:
        return evidence.opened(visit.app.vault, version)
    except Malformed:
        raise _damaged(version) from None


def _damaged(version: Version) -> UsageError:
    return UsageError(
        "what is kept of %(label)s was damaged; tell the technical staff", label=version.label
    )


def _file(visit: Visit) -> tuple[Version, File, Content]:
    version, typed = _found(visit), visit.request.path_params["file"]
    sheet = _sheet(visit, version)
    wanted = next((one for one in sheet.files if str(one.number) == typed), None)
    if wanted is None:
        raise NotThere
    _, opened = _opened(visit, version)
    return version, wanted, opened


def _replaces(one: Version, version: Version) -> bool:
    """Whether it came after a version and is in the Library."""
    return (
        one.number > version.number and one.status is Status.APPROVED and one.withdrawn_at is None
    )


def _decides(visit: Visit, version: Version) -> bool:
    return (
        version.status is Status.WAITING
        and version.withdrawn_at is None
        and (visit.member.id in [one.id for one in access.asked(visit.session, version)])
    )


def _actions(visit: Visit, version: Version) -> list[Action]:
    say, app, label = visit.say, visit.app, version.label
    found = []
    if _decides(visit, version):
        found += [
            Action(say("Approve it"), command_link(app, f"approve {label}")),
            Action(say("Reject it"), command_link(app, f"reject {label} ")),
        ]
    found.append(Action(say("Have it sent to me"), command_link(app, f"get {version.exact}")))
    title = sealing.sheet(app.vault, version).title
    found.append(Action(say("Hand in a new version"), _form(visit, title, version.document.label)))
    if deciding.may_withdraw(visit.session, visit.member, version):
        found.append(Action(say("Withdraw it"), command_link(app, f"withdraw {version.exact}")))
    return found


def _form(visit: Visit, title: str, replaces: str) -> str:
    """A mail to the Library with the lines that it wants."""
    lines = [f"title: {title}", "category: ", "topics: ", "language: "]
    if replaces:
        lines = [f"replaces: {replaces}", f"title: {title}"]
    subject = visit.say("For the Library")
    return mailto(f"library@{visit.app.config.domain}", subject, "\n".join(lines) + "\n\n")


ROUTES = (
    Route("/library", for_members(browse)),
    Route("/library/{label}", for_members(document)),
    Route("/library/{label}/{version}", for_members(document)),
    Route("/library/{label}/{version}/file/{file}", for_members(file)),
    Route("/library/{label}/{version}/file/{file}/preview", few_at_once(for_members(preview))),
)
