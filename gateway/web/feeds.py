"""A topic's newest postings as an Atom feed (RFC 4287), for whoever is logged in."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import listing
from gateway.archive.listing import Item
from gateway.store import mailing_list
from gateway.web.rendering import shown
from gateway.web.visit import Visit, for_members

_ATOM = "http://www.w3.org/2005/Atom"
_NEWEST = 30


def feed(visit: Visit) -> Response:
    """Subjects, authors and links; no text."""
    topic = visit.topic(visit.request.path_params["letter"])
    lists = [topic, *mailing_list.desks_of(visit.session, [topic])]
    items = listing.newest(visit.session, visit.app, visit.member, lists, _NEWEST)
    home = visit.app.config.archive_url
    made = Element("feed", {"xmlns": _ATOM, "xml:lang": visit.language.code})
    _put(made, "id", f"{home}/{topic.letter}")
    _put(made, "title", f"{visit.app.config.name} {topic.title}")
    # RFC 4287 4.1.1 wants a moment also where nothing is: one that stays.
    latest = items[0].posting.received_at if items else visit.member.joined_at
    _put(made, "updated", latest.isoformat(timespec="seconds"))
    SubElement(made, "link", rel="self", href=f"{home}/{topic.letter}/feed.atom")
    SubElement(made, "link", rel="alternate", href=f"{home}/{topic.letter}")
    for one in items:
        _entry(visit, made, one)
    return Response(
        tostring(made, encoding="utf-8", xml_declaration=True), media_type="application/atom+xml"
    )


def _entry(visit: Visit, made: Element, one: Item) -> None:
    address = f"{visit.app.config.archive_url}{one.path}"
    entry = SubElement(made, "entry")
    _put(entry, "id", address)
    _put(entry, "title", _subject(visit, one))
    _put(entry, "updated", one.posting.received_at.isoformat(timespec="seconds"))
    _put(SubElement(entry, "author"), "name", shown(one.posting.author.described))
    SubElement(entry, "category", term=one.posting.marking)
    SubElement(entry, "link", rel="alternate", href=address)


def _subject(visit: Visit, one: Item) -> str:
    """What a posting is called in a list."""
    if one.posting.withdrawn_at is not None:
        return visit.say("(withdrawn)")
    if one.subject is None:
        return visit.say("(damaged)")
    return shown(one.subject) or visit.say("(no subject)")


def _put(inside: Element, name: str, text: str) -> None:
    SubElement(inside, name).text = text


ROUTES = (Route("/{letter}/feed.atom", for_members(feed)),)
