"""Taking a thread, or what a search finds, out of the archive: as mbox and as evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.archive import bundle, exporting, searching
from gateway.archive.exporting import Selection
from gateway.errors import UsageError
from gateway.web import actions
from gateway.web.reading import found_at
from gateway.web.visit import Visit, for_members

_MOST_NAMED = 20
_TYPES = {"mbox": "application/mbox", "zip": "application/zip"}


def thread(form: str) -> Callable[[Visit], Response]:
    """The handler of a thread's download, "mbox" or "zip"."""

    def handler(visit: Visit) -> Response:
        found = found_at(visit)
        chosen = exporting.of_thread(visit.session, visit.member, found.thread_id)
        if chosen.staying:
            refused = visit.say(
                "This thread can't be downloaded: its marking keeps %(labels)s in the archive.",
                labels=", ".join(chosen.staying[:_MOST_NAMED]),
            )
            return visit.page("amiss", 403, said=refused)
        return _download(visit, chosen, form, found.label, posting=found.label)

    return handler


def search(form: str) -> Callable[[Visit], Response]:
    """The same of what a search finds; what may not go is left out, and the file says so."""

    def handler(visit: Visit) -> Response:
        text = visit.request.query_params.get("q", "")
        most = exporting.MOST + 1
        ids = searching.found_ids(visit.session, visit.app, visit.member, text, most)
        chosen = exporting.of_found(visit.session, visit.member, ids)
        if not chosen.ids:
            raise UsageError("there is nothing to download: the search finds nothing that may go")
        return _download(visit, chosen, form, "search", of="search", left=len(chosen.staying))

    return handler


def _download(
    visit: Visit, chosen: Selection, form: str, name: str, **detail: str | int
) -> Response:
    """A file that is made while it is sent; what went is in the ledger before."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{form}"',
        "Content-Type": _TYPES[form],
    }
    if visit.request.method == "HEAD":
        return Response(headers=headers)
    visit.enter("exported", form=form, postings=len(chosen.ids), which=chosen.numbers, **detail)
    return StreamingResponse(_pieces(visit, chosen, form), headers=headers)


def _pieces(visit: Visit, chosen: Selection, form: str) -> Iterable[bytes]:
    # What the request's session is needed for is found now: the pieces are made when it has ended.
    topics = actions.known_topics(visit)
    if form == "zip":
        return bundle.as_zip(visit.app, chosen, visit.member, topics, visit.now)
    about = [exporting.note(visit.app, *_about(visit, chosen), visit.now)]
    said = about if chosen.cut or chosen.staying else []
    return chain(said, exporting.as_mbox(visit.app, chosen.ids, visit.member, topics))


def _about(visit: Visit, chosen: Selection) -> tuple[str, str]:
    """(subject, text) of what the reader of a file must know of it."""
    lines = [visit.say("Postings in this file: %(count)s", count=len(chosen.ids))]
    if chosen.cut:
        lines.append(
            visit.say("There are more: no download has more than %(most)s.", most=exporting.MOST)
        )
    if chosen.staying:
        lines.append(
            visit.say(
                "Left out, as their marking keeps them in the archive: %(count)s",
                count=len(chosen.staying),
            )
        )
    return visit.say("About this file"), "\n".join(lines) + "\n"


ROUTES = (
    *(Route(f"/search.{form}", for_members(search(form))) for form in _TYPES),
    *(Route(f"/{{letter}}/{{number}}/thread.{form}", for_members(thread(form))) for form in _TYPES),
)
