"""Who may open what in the web archive: person by list, marking and page, against rules that are
written down here anew; and that no page tells anything of what its reader may not open."""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email import message_from_bytes
from urllib.parse import quote

import pytest
from PIL import Image

from gateway.archive import indexing
from gateway.delivery.worker import Worker
from gateway.library import indexing as library_indexing
from gateway.store.member import State
from tests.gateway import DOMAIN
from tests.officers import Officer, encrypted_entity, header_lines
from tests.unit.entities import multipart, part
from tests.unit.group import Group, Hand
from tests.unit.visitor import Visitor, browser

ROLES = {
    "ana": (),  # who wrote everything
    "pia": (),
    "tick": (),  # ticked Wildlife off
    "out": (),  # was not invited to Coral
    "mo": ("moderator:B",),
    "mei": ("expert:B",),
    "lia": ("librarian",),
    "aud": ("auditor",),
    "ada": ("administrator",),
    "sue": (),  # suspended after she logged in
}
LATE = "late"
"""Became a member, an expert and one of Coral's invited after everything was sent."""
INVITED = {"ana", "pia", "mo", "lia", "sue"}
MARKINGS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")
ADDRESSES = {"topic": "wildlife", "invited": "op-coral", "experts": "wildlife-experts"}
IN_ALL = "zwyrtkglimpf"
"""A word that stands in everything."""
PATHS = ("", "/thread", "/raw", "/html", "/attachment/1", "/attachment/1/preview")
TAKEN_OUT = ("/thread.mbox", "/thread.zip")
STAYING = ("AMBER+STRICT", "YELLOW")
"""In no download; what is misspelt counts as the strictest."""
DESKS = {"/held": ("mo", "ada"), "/held/H-1": ("mo", "ada"), "/ledger": ("aud", "ada")}
SHOWN = (
    "/", "/A", "/B", "/OPC", "/B/feed.atom", "/OPC/feed.atom", "/search", "/library",
    "/library?topic=B", "/library?category=manual", "/experts", "/requests", "/profile", "/help",
    "/help/search",
)  # fmt: skip
EVERYBODY = (*ROLES, LATE)
MEMBERS = [one for one in EVERYBODY if one != "sue"]

Visitors = dict[str, Visitor]


@dataclass(frozen=True)
class Piece:
    """What somebody may read, or not. kind: of list; path: its page; secret: a word of it alone."""

    kind: str
    marking: str
    label: str
    path: str
    secret: str

    def __str__(self) -> str:
        return f"{self.kind} {self.marking}"


def may_read(who: str, kind: str, marking: str) -> bool:
    """The rules in their shortest form, for those who are in ROLES, and for LATE."""
    if who == "ana":
        return True
    if who == "sue" or kind == "held":
        return False
    if kind == "experts":
        return who == "mei"  # who was an expert when it was asked
    if marking == "AMBER+STRICT" and who == LATE:
        return False  # who did not get it
    if kind == "invited":
        return who in INVITED or who == LATE
    return who != "tick" or marking in ("CLEAR", "GREEN")


def may_have(who: str, kind: str) -> bool:
    """The same of documents."""
    if who == "sue":
        return False
    return {
        "for all": True,
        "of a topic": who != "tick",
        "of the invited": who in INVITED or who == LATE,
        "waiting": who in ("ana", "lia"),
    }[kind]


class Place:
    """A gateway with everything in it."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.pieces: list[Piece] = []
        self.documents: list[Piece] = []
        group.add_coral(*sorted(INVITED))
        group.say("tick", "tick off B")
        for kind in ADDRESSES:
            for marking in MARKINGS:
                self._post(kind, marking)
        self._post("held", "YELLOW")
        self._send_all()
        self._hand_in("for all", "")
        self._hand_in("of a topic", "topics: B\n")
        self._hand_in("of the invited", "topics: OPC\n")
        self._hand_in("waiting", "")
        self._send_all()
        for one in self.documents[:-1]:
            assert "approved" in group.say("lia", f"approve {one.label}")
        self._add_late()
        while indexing.run(group.app) or library_indexing.run(group.app):
            pass

    def _send_all(self) -> None:
        """All copies go out, and nobody opens them here."""
        asyncio.run(Worker(self.group.app, "worker", Hand()).drain())

    def forbidden(self, who: str) -> list[Piece]:
        """What a member is to learn nothing of."""
        return [one for one in self.pieces if not may_read(who, one.kind, one.marking)] + [
            one for one in self.documents if not may_have(who, one.kind)
        ]

    def _post(self, kind: str, marking: str) -> None:
        group, address = self.group, ADDRESSES.get(kind, "wildlife")
        number = len(self.pieces) + 1
        secret = f"qx{chr(96 + number)}vsecret"
        mail = written(group, address, f"TLP:{marking} {secret}", f"{IN_ALL} {secret}\n")
        assert group.submit(mail, address) == ["250 2.0.0"]
        letter = "OPC" if kind == "invited" else "B"
        label, path = f"{letter}-{number}", f"/{letter}/{number}"
        self.pieces.append(Piece(kind, marking, label, path, secret))

    def _hand_in(self, kind: str, topics: str) -> None:
        number = len(self.documents) + 1
        secret = f"qd{chr(96 + number)}vsecret"
        mail = self.group.write(
            "ana", "library", subject="A document",
            text=f"title: TLP:AMBER {secret}\ncategory: manual\n{topics}language: en\n\n{IN_ALL}\n",
            attachments=[(f"{secret}.txt", "text/plain", f"{secret}\n".encode())],
        )  # fmt: skip
        assert self.group.submit(mail, "library") == ["250 2.0.0"]
        label = f"L-{number}"
        self.documents.append(Piece(kind, "AMBER", label, f"/library/{label}", secret))

    def _add_late(self) -> None:
        one = Officer.create("sequoia", "Late Berg", f"{LATE}@customs.example")
        self.group.officers[LATE] = one
        self.group.gateway.add_member(one, roles=["expert:B"])
        self.group.gateway.environet("list", "invite", "op-coral", one.address)


def written(group: Group, address: str, subject: str, text: str) -> bytes:
    """A mail of Ana's with an HTML part and a picture attached."""
    ana, to = group.officers["ana"], f"{address}@{DOMAIN}"
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(picture, "PNG")
    name = 'Content-Disposition: attachment; filename="picture.png"'
    both = [part("text/plain", text.encode()), part("text/html", f"<p>{text}</p>".encode())]
    entity = multipart(
        "mixed",
        [
            multipart("alternative", both, boundary=b"alternatives"),
            part("image/png", picture.getvalue(), name),
        ],
        f"Subject: {subject}",
    )
    message = ana.program.encrypt(entity, [group.key(address)], sign=True)
    outside = {"From": ana.address, "To": to, "Subject": "..."}
    return header_lines(outside) + encrypted_entity(message)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Group(ROLES) as group:
        made = Place(group)
        yield made
        group.officers[LATE].close()


@pytest.fixture(scope="module")
def visitors(place: Place) -> Iterator[dict[str, Visitor]]:
    """Everybody logged in, each in a browser of their own; Sue was suspended after that."""
    with ExitStack() as ends:
        found = {}
        for who in EVERYBODY:
            found[who] = ends.enter_context(browser(place.group)).log_in(who)
        place.group.set_member("sue", state=State.SUSPENDED)
        yield found


def all_paths(place: Place) -> list[str]:
    """Every page of every piece, and of the archive itself."""
    of_pieces = [one.path + path for one in place.pieces for path in (*PATHS, *TAKEN_OUT)]
    of_documents = [
        one.path + path
        for one in place.documents
        for path in ("", "/1", "/1/file/1", "/1/file/1/preview")
    ]
    found = ("/search.mbox?q=topic:B", "/search.zip?q=topic:B", "/search?q=topic:B")
    return [*SHOWN, *found, *DESKS, *of_pieces, *of_documents]


# What can be opened


def test_a_stranger_is_asked_to_log_in_whatever_they_ask_for(place: Place) -> None:
    with browser(place.group) as stranger:
        answers = {path: stranger.get(path) for path in (*all_paths(place), "/B/999", "/ZZ")}
    assert {one.status_code for one in answers.values()} == {303}
    assert {one.headers["location"].partition("?")[0] for one in answers.values()} == {"/login"}


def test_a_suspended_member_is_a_stranger_at_once(place: Place, visitors: Visitors) -> None:
    assert {visitors["sue"].get(path).status_code for path in all_paths(place)} == {303}


@pytest.mark.parametrize("who", MEMBERS)
def test_postings_open_for_those_whom_the_rules_name(
    place: Place, visitors: Visitors, who: str
) -> None:
    expected, found = {}, {}
    visitor = visitors[who]
    for one in place.pieces:
        may = may_read(who, one.kind, one.marking)
        for path in PATHS:
            expected[f"{one}{path}"] = 200 if may else 404
            found[f"{one}{path}"] = visitor.get(one.path + path).status_code
        for path in TAKEN_OUT:
            expected[f"{one}{path}"] = (403 if one.marking in STAYING else 200) if may else 404
            # To make them all would take long.
            found[f"{one}{path}"] = visitor.client.head(one.path + path).status_code
    assert found == expected


@pytest.mark.parametrize("who", MEMBERS)
def test_documents_and_desks_open_for_those_whom_the_rules_name(
    place: Place, visitors: Visitors, who: str
) -> None:
    expected, found = {}, {}
    visitor = visitors[who]
    for one in place.documents:
        for path in ("", "/1", "/1/file/1"):
            expected[f"{one}{path}"] = 200 if may_have(who, one.kind) else 404
            found[f"{one}{path}"] = visitor.get(one.path + path).status_code
    for path, theirs in DESKS.items():
        expected[path] = 200 if who in theirs else 404
        found[path] = visitor.get(path).status_code
    for path in SHOWN:
        hidden = path.startswith("/OPC") and who not in (*INVITED, LATE)
        expected[path] = 404 if hidden else 200
        found[path] = visitor.get(path).status_code
    assert found == expected


# What pages tell of what can't be opened


@pytest.mark.parametrize("who", MEMBERS)
def test_no_page_names_what_its_reader_may_not_open(
    place: Place, visitors: Visitors, who: str
) -> None:
    forbidden = place.forbidden(who)
    open_to_them = [one.path for one in (*place.pieces, *place.documents) if one not in forbidden]
    pages = [*SHOWN, f"/search?q={IN_ALL}", "/search?q=from:ana", "/search?q=topic:B", *DESKS]
    pages += [path + more for path in open_to_them for more in ("", "/thread")]
    told: dict[str, str] = {}
    visitor = visitors[who]
    for path in pages:
        text = visitor.get(path).text
        told |= {f"{path}: {one}": one.label for one in named(text, forbidden, path, who)}
        if who not in (*INVITED, LATE):
            assert "Coral" not in text, path
    assert told == {}


def named(text: str, forbidden: Iterable[Piece], path: str, who: str) -> list[Piece]:
    """What a page tells of, by its label, its address or its words."""
    found = []
    for one in forbidden:
        # A moderator decides about what is held, administrators and who is an expert now know which
        # requests are open, and the ledger has all labels: without a word of what they stand for.
        if one.kind == "held" and who in DESKS["/held"] and path.startswith("/held"):
            continue
        labels_too = path != "/ledger" and not (path == "/requests" and who in ("ada", LATE))
        address = rf"{re.escape(one.path)}(?![0-9])|\b{one.label}\b"
        if one.secret in text or (labels_too and re.search(address, text)):
            found.append(one)
    return found


@pytest.mark.parametrize("who", MEMBERS)
def test_a_search_counts_only_what_its_reader_may_open(
    place: Place, visitors: Visitors, who: str
) -> None:
    visitor = visitors[who]
    for one in place.pieces:
        # What is held waits for its moderators, and is found by nobody else.
        if one.kind != "held":
            expected = int(may_read(who, one.kind, one.marking))
            assert count(visitor, one.secret) == expected, one
        elif who != "ana":
            assert count(visitor, one.secret) == 0, one
    everything = count(visitor, IN_ALL)
    if who != "ana":
        theirs = [one for one in place.pieces if may_read(who, one.kind, one.marking)]
        assert everything == len(theirs)
    choices = facets(visitor.text(f"/search?q={IN_ALL}"))
    assert choices
    for query, number in choices:
        found = re.search(r"([0-9]+) postings? found", visitor.text(query))
        assert found, query
        assert int(found[1]) == number, query


@pytest.mark.parametrize("who", MEMBERS)
def test_what_is_taken_out_has_nothing_that_its_reader_may_not_open(
    place: Place, visitors: Visitors, who: str
) -> None:
    may = {one.secret for one in place.pieces
           if may_read(who, one.kind, one.marking) and one.marking not in STAYING}  # fmt: skip
    forbidden = [one for one in place.pieces if one.secret not in may]
    visitor = visitors[who]
    as_mbox = visitor.get(f"/search.mbox?q={IN_ALL}")
    as_zip = visitor.get(f"/search.zip?q={IN_ALL}")
    mails = re.split(rb"^From .*\n", as_mbox.content, flags=re.MULTILINE)[1:]
    texts = (
        b"".join(
            one.get_payload(decode=True) or b""  # type: ignore[misc]
            for mail in mails
            for one in message_from_bytes(mail).walk()
            if not one.is_multipart()
        )
        + as_mbox.content
    )
    assert {one.secret for one in place.pieces if one.secret.encode() in texts} == may
    with zipfile.ZipFile(io.BytesIO(as_zip.content)) as bundle:
        names = " ".join(bundle.namelist())
        inside = b"\n".join(bundle.read(one) for one in bundle.namelist()).decode(
            "utf-8", "replace"
        )
    for one in forbidden:
        assert not re.search(rf"\b{one.label}\b", names)
        assert not re.search(rf"\b{one.label}\b", inside)
        assert one.secret not in inside


def count(visitor: Visitor, query: str) -> int:
    """How many postings a search says that it found."""
    found = re.search(r"([0-9]+) postings? found", visitor.text(f"/search?q={quote(query)}"))
    assert found
    return int(found[1])


def facets(text: str) -> list[tuple[str, int]]:
    """The filters beside what was found: address, and the number that stands with it."""
    pattern = r'<li><a href="(/search\?[^"]+)">[^<]*</a> <span class="counts">([0-9]+)</span>'
    return [(one.replace("&amp;", "&"), int(number)) for one, number in re.findall(pattern, text)]
