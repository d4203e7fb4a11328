"""Pages of the web archive about people and what waits: experts, requests, holds, the ledger."""

import re
from collections.abc import Iterator

import pytest

from gateway.command.auditing import READERS
from gateway.message.marking import Marking
from gateway.resources import style_sheet
from gateway.store import ledger
from gateway.store.ledger import LedgerEntry
from gateway.store.posting import Posting
from gateway.web.helping import MEANINGS
from gateway.web.ledger import MOST_SHOWN
from tests.unit.group import Group
from tests.unit.visitor import Browsers, Visitor, browsers

NAMES = {
    "ana": (),
    "bo": (),
    "cy": ("expert:B",),
    "mo": ("moderator:B",),
    "di": ("moderator:B",),
    "au": ("auditor",),
    "adm": ("administrator",),
}


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group(NAMES) as made:
        made.say("cy", "expertise B ivory, <b>rhino</b> horn")
        made.say("bo", "expertise E rosewood")
        made.set_member("bo", country="SE")
        yield made


@pytest.fixture(scope="module")
def at(group: Group) -> Iterator[Browsers]:
    with browsers(group) as found:
        yield found


def _status(visitor: Visitor, path: str) -> int:
    return visitor.get(path).status_code


def test_experts_stand_under_their_topics_with_what_they_know(at: Browsers) -> None:
    page = at("ana").text("/experts")
    wildlife, _, logging = page.partition('id="topic-E"')
    assert "Cy Berg" in wildlife
    assert "ivory, &lt;b&gt;rhino&lt;/b&gt; horn" in wildlife
    assert "Bo Berg" in logging.partition("Be an expert")[0]
    assert 'href="mailto:wildlife-experts@environet.example"' in wildlife
    assert 'id="topic-A"' not in page


def test_experts_are_narrowed_by_topic_and_country(at: Browsers) -> None:
    ana = at("ana")
    assert "rosewood" not in ana.text("/experts?topic=B").partition("Be an expert")[0]
    swedish = ana.text("/experts?country=SE")
    assert "Bo Berg" in swedish
    assert "Cy Berg" not in swedish
    assert "no experts yet" in ana.text("/experts?topic=A")
    assert _status(ana, "/experts?topic=Q") == 404


def test_experts_of_a_list_by_invitation_are_there_for_the_invited(
    group: Group, at: Browsers
) -> None:
    group.say("adm", "list add secret", "letter: S", "title: Secret", "invited: cy@customs.example")
    group.say("cy", "expertise S informants")
    ana = at("ana")
    cy = at("cy")
    assert "informants" in cy.text("/experts?topic=S")
    assert _status(ana, "/experts?topic=S") == 404
    assert "informants" not in ana.text("/experts")
    assert "Secret" not in ana.text("/experts") + ana.text("/help")


def test_a_request_is_seen_by_who_asked_and_the_experts(group: Group, at: Browsers) -> None:
    label = group.post("ana", "wildlife-experts", subject="Savanna or forest?")
    group.deliver()
    address = "/" + label.replace("-", "/")
    for who in ("ana", "cy"):
        page = at(who).text("/requests")
        assert f'href="{address}/thread">Savanna or forest?' in page
        assert "no answer yet" in page
        assert "In-Reply-To=" in page
    assert label not in (nobodys := at("bo").text("/requests"))
    assert "No request is open" in nobodys
    assert group.ledger("requests-read")[-1]["count"] == 0


def test_a_damaged_request_does_not_take_the_others_away(group: Group, at: Browsers) -> None:
    label = group.post("ana", "wildlife-experts", subject="Which deer?")
    group.post("ana", "wildlife-experts", subject="Which antelope?")
    with group.app.database.transaction() as session:
        found = session.get_one(Posting, int(label.partition("-")[2]))
        found.details = found.details[:-1] + bytes([found.details[-1] ^ 1])
    page = at("ana").text("/requests")
    assert label in page
    assert "Which antelope?" in page
    assert "Which deer?" not in page


def test_an_administrator_knows_of_a_request_and_not_what_is_asked(
    group: Group, at: Browsers
) -> None:
    label = group.post("bo", "wildlife-experts", subject="Whose stamp is this?")
    group.deliver()
    page = at("adm").text("/requests")
    assert label in page
    assert "Whose stamp" not in page
    group.say("cy", f"answered {label}")
    assert label not in at("adm").text("/requests")


def test_what_is_held_is_for_its_moderators_alone(group: Group, at: Browsers) -> None:
    group.set_list("wildlife", moderation="all", moderators_needed=2)
    label = group.post(
        "ana", subject="The vessel leaves", attachments=[("a.csv", "text/csv", b"1")]
    )
    group.set_list("wildlife", moderation="open")
    mo = at("mo")
    ana = at("ana")
    held = mo.text("/held")
    assert "The vessel leaves" in held
    assert "because all postings" in held
    (path,) = re.findall(r'href="(/held/H-\d+)"', held)
    page = mo.text(path)
    assert "84 raw tusks." in page
    assert "a.csv" in page
    assert "two moderators" in page
    hold = path.removeprefix("/held/")
    for line in (f"approve%20{hold}", f"reject%20{hold}%20", f"discard%20{hold}"):
        assert f"mailto:gateway@environet.example?subject={line}&amp;body={line}" in page
    read = group.ledger("read")[-1]
    assert (read["posting"], read["hold"]) == (label, hold)
    assert _status(ana, "/held") == _status(ana, path) == 404
    assert "/held" not in ana.text("/help")
    assert 'href="/held"' in mo.text("/help")
    group.say("mo", f"approve {hold}")
    assert "Approved by Mo Berg" in mo.text(path)
    group.say("di", f"approve {hold}")
    assert hold not in mo.text("/held")
    assert "mailto:gateway@environet.example?subject=approve" not in mo.text(path)


def test_a_moderator_sees_no_other_lists_holds(group: Group, at: Browsers) -> None:
    group.set_list("waste", moderation="all")
    group.post("ana", "waste", subject="Batteries as second hand")
    group.set_list("waste", moderation="open")
    mo = at("mo")
    adm = at("adm")
    (path,) = re.findall(r'href="(/held/H-\d+)"', adm.text("/held"))
    assert "Batteries" in adm.text(path)
    assert "Batteries" not in mo.text("/held")
    assert _status(mo, path) == 404
    for odd in ("/held/H-999", "/held/H-0" + path[8:], "/held/H-x", "/held/H-" + "9" * 40):
        assert _status(adm, odd) == 404, odd


def test_the_author_of_a_held_posting_is_not_offered_to_approve_it(
    group: Group, at: Browsers
) -> None:
    group.set_list("wildlife", moderation="all")
    group.post("mo", subject="By a moderator")
    group.set_list("wildlife", moderation="open")
    mo = at("mo")
    path = re.findall(r'href="(/held/H-\d+)"', mo.text("/held"))[-1]
    assert "?subject=approve" not in mo.text(path)
    assert "You wrote it yourself" in mo.text(path)


@pytest.mark.parametrize("who", sorted(NAMES))
def test_the_ledger_is_for_those_who_may_read_it_by_mail(at: Browsers, who: str) -> None:
    roles = {one.partition(":")[0] for one in NAMES[who]}
    theirs = bool(roles & set(READERS))
    visitor = at(who)
    assert _status(visitor, "/ledger") == (200 if theirs else 404)
    assert ('href="/ledger"' in visitor.text("/help")) is theirs


def test_the_ledger_goes_back_page_by_page(group: Group, at: Browsers) -> None:
    with group.app.database.transaction() as session:
        for at_least in range(2 * MOST_SHOWN):
            ledger.enter(session, group.app.clock(), "commands", count=at_least)
    au = at("au")
    page = au.text("/ledger")
    assert "as they were written" in page
    pages = 1
    while older := re.search(r'href="(/ledger\?before=\d+)"', page):
        before = int(older[1].partition("=")[2])
        page, pages = au.text(older[1]), pages + 1
        assert f'id="e{before}"' not in page
        assert f'id="e{before - 1}"' in page
        assert page.count("<tr id=") <= MOST_SHOWN
    assert 'id="e1"' in page
    assert pages > 2
    assert _status(au, "/ledger?before=x") == 400
    assert _status(au, "/ledger?before=²") == 400


def test_a_changed_entry_shows_on_its_page(group: Group, at: Browsers) -> None:
    au = at("au")
    with group.app.database.transaction() as session:
        entry = session.get_one(LedgerEntry, 2)
        kept, entry.detail = entry.detail, '{"by":7}'
    assert "The ledger is broken" in au.text("/ledger?before=4")
    with group.app.database.transaction() as session:
        session.get_one(LedgerEntry, 2).detail = kept
    assert "as they were written" in au.text("/ledger?before=4")


def test_help_explains_every_marking(at: Browsers) -> None:
    page = at("ana").text("/help")
    assert set(MEANINGS) == set(Marking)
    assert all(f">{one.label}</span>" in page for one in Marking)
    assert "wildlife@environet.example" in page


def test_the_style_sheet_is_small_and_asks_for_nothing_else() -> None:
    sheet = style_sheet()
    assert len(sheet) < 12_000
    assert not re.search(rb"url\(|@import|https?:", sheet)
