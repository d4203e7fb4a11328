"""Search, and how to search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from gateway.archive import examples, query, searching
from gateway.archive.explaining import explained
from gateway.archive.query import QueryFault
from gateway.archive.searching import Order, Results
from gateway.library import searching as library
from gateway.library.searching import FoundDocuments
from gateway.notices.language import N_
from gateway.web.visit import Visit, for_members

MOST_DOCUMENTS = 5
_MOST_PAGES = searching.MOST_COUNTED // searching.ON_A_PAGE
_ORDERS = {
    Order.RELEVANCE: N_("Best first"),
    Order.NEWEST: N_("Newest first"),
    Order.OLDEST: N_("Oldest first"),
}


@dataclass(frozen=True, slots=True)
class _Fault:
    """before, at, after: the query, cut around the character that is to blame."""

    said: str
    before: str
    at: str
    after: str
    suggestion: str


def search(visit: Visit) -> Response:
    """What is found; without a query, the field alone."""
    params = visit.request.query_params
    text = " ".join(params.get("q", "").split())[: query.MOST_CHARACTERS + 1]
    order, page = _order(params.get("order", "")), _page(params.get("page", ""))
    try:
        found = searching.search(
            visit.session, visit.app, visit.member, text, order=order, page=page
        )
    except QueryFault as fault:
        cut = _Fault(
            fault.told(visit.say), text[: fault.at], text[fault.at : fault.at + 1],
            text[fault.at + 1 :], fault.suggestion,
        )  # fmt: skip
        return visit.page("search", 400, **_values(text, order, fault=cut))
    if not text:
        return visit.page("search", **_values(text, order))
    visit.enter("searched", found=found.count, numbers=found.numbers)
    return visit.page("search", **_values(text, order, found=found, page=page),
                      explained=explained(visit.language, found.query),
                      documents=_documents(visit, found))  # fmt: skip


def _documents(visit: Visit, found: Results) -> FoundDocuments:
    """What the Library has, above the first page of postings."""
    most = MOST_DOCUMENTS if found.page == 1 else 0
    return library.found(visit.session, visit.app, visit.member, found.query, most)


def how(visit: Visit) -> Response:
    """How to search: examples, each a link."""
    return visit.page("help-search", examples=examples.EXAMPLES, link=link)


def link(text: str, order: Order = Order.RELEVANCE, page: int = 1) -> str:
    """The address of a search."""
    values: dict[str, object] = {"q": text}
    if order is not Order.RELEVANCE:
        values["order"] = order.value
    if page > 1:
        values["page"] = page
    return f"/search?{urlencode(values)}"


def _values(
    text: str,
    order: Order,
    *,
    found: Results | None = None,
    page: int = 1,
    fault: _Fault | None = None,
) -> dict[str, Any]:
    pages = 0 if found is None else found.pages
    return {
        "text": text,
        "order": order,
        "orders": _ORDERS,
        "found": found,
        "fault": fault,
        "link": link,
        "taken_out": urlencode({"q": text}),
        "earlier": link(text, order, min(page - 1, max(pages, 1))) if page > 1 else "",
        "later": link(text, order, page + 1) if page < pages else "",
    }


def _order(typed: str) -> Order:
    return Order(typed) if typed in list(Order) else Order.RELEVANCE


def _page(typed: str) -> int:
    is_number = typed.isascii() and typed.isdigit() and len(typed) < 5
    return min(max(int(typed), 1), _MOST_PAGES) if is_number else 1


ROUTES = (
    Route("/search", for_members(search)),
    Route("/help/search", for_members(how)),
)
