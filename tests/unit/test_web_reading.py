"""A posting, its thread and its downloads in the archive: what is shown, to whom, and what the
ledger has of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from io import BytesIO
from time import process_time
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from gateway.app import utc_now
from gateway.store import certificate, mailing_list, member
from gateway.store import posting as postings
from gateway.store.mailing_list import Moderation
from gateway.store.posting import Standing
from tests import programs
from tests.gateway import DOMAIN
from tests.officers import Officer, signed_parts
from tests.unit.entities import multipart, part, post_entity
from tests.unit.group import Group
from tests.unit.visitor import Browsers, browser, browsers

ROLES = {
    "ana": (),
    "bo": (),
    "cy": (),
    "awa": ("moderator:B",),
    "ada": ("administrator",),
    "eva": (),
}
LONG = """We saw the same at the port.

> Fourteen crates,
> declared as timber,
> and each of them
> with a false bottom
> of two fingers.

Ours had three: https://cites.example/report?id=7 (page 4).
-- \n\
Ana Berg
Customs
"""


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Cy ticked Wildlife off; Ana alone is on Coral, which is by invitation. Eva's key expires."""
    with Group(ROLES) as made, ExitStack() as ends:
        made.add_coral("ana")
        made.tick_off("cy", "wildlife")
        made.officers["zoe"] = ends.enter_context(
            Officer.create(
                "sequoia", "Zoe Berg", "zoe@customs.example", expires=utc_now() + timedelta(days=9)
            )
        )
        made.gateway.add_member(made.officers["zoe"])
        yield made


@pytest.fixture(scope="module")
def at(group: Group) -> Iterator[Browsers]:
    with browsers(group) as found:
        yield found


def answer(group: Group, who: str, label: str, *to: str, **how: object) -> str:
    """A posting that answers another one, by the gateway's Message-ID of it."""
    with group.app.database.reading() as session:
        answered = postings.get(session, label).message_id(DOMAIN)
    how.setdefault("subject", "Re: [Wildlife] Crates (Ana Berg, KE)")
    return group.post(who, *to, in_reply_to=answered, references=[answered], **how)  # type: ignore[arg-type]


def path(label: str, rest: str = "") -> str:
    return f"/{label.replace('-', '/')}{rest}"


def words(html: str) -> str:
    """What a page says, in one line."""
    main = html[html.index("<main") : html.index("</main>")]
    return " ".join(re.sub(r"<[^>]*>", " ", main).split())


def mails(html: str) -> dict[str, tuple[str, dict[str, list[str]]]]:
    """The prepared mails of a page: name -> (address, fields)."""
    main = html[html.index("<main") : html.index("</main>")]
    found = re.findall(r'<a href="(mailto:[^"]*)">([^<]*)</a>', main)
    return {
        name: (urlsplit(href).path, parse_qs(urlsplit(href.replace("&amp;", "&")).query))
        for href, name in found
    }


def change(group: Group, label: str, **values: object) -> None:
    with group.app.database.transaction() as session:
        found = postings.get(session, label)
        for name, value in values.items():
            setattr(found, name, value)


def test_a_posting_says_whose_words_it_has(group: Group, at: Browsers) -> None:
    label = group.post("ana", subject="Crates TLP:GREEN", text=LONG)
    html = at("bo").text(path(label))
    key = group.officers["ana"].fingerprint
    said = words(html)
    assert f"Signed by Ana Berg, key {key[:4]} … {key[-4:]} , good when received; " in said
    assert "checked again today" in said
    assert '<span class="marking green">TLP:GREEN</span>' in html
    assert "Ana Berg</a>, Inspectorate, Kenya (KE)" in html
    assert "ana@customs.example&gt; <small>(signed)</small>" in html
    with group.app.database.reading() as session:
        of_list = mailing_list.get(session, "wildlife").key_fingerprint
    assert of_list in html.replace(" ", "")
    assert group.ledger("read")[-1]["posting"] == label


def test_a_quotation_is_folded_after_three_lines(group: Group, at: Browsers) -> None:
    html = at("bo").text(path(group.post("ana", text=LONG)))
    opened, folded = re.search(
        r'<div class="quote"><div dir="auto">(.*?)</div><details>.*?</summary>(.*?)</details>',
        html, re.DOTALL,
    ).groups()  # type: ignore[union-attr]  # fmt: skip
    assert opened.count("\n") == 2
    assert "with a false bottom" in folded
    assert '<div class="signature" dir="auto">-- \nAna Berg\nCustoms</div>' in html
    assert 'rel="noreferrer noopener nofollow">https://cites.example/report?id=7</a> (page' in html


def test_a_subject_outside_the_signature_is_called_so(group: Group, at: Browsers) -> None:
    label = group.post("ana", subject="Not mine", protected=False)
    said = words(at("bo").text(path(label)))
    assert "The subject is not signed." in said
    assert "Not mine (not signed)" in said


def test_what_is_amiss_with_the_form_of_a_mail_is_said(group: Group, at: Browsers) -> None:
    text = "Author: Bo Berg, Police\nSignature: good\n"
    imitating, plain = (group.post("ana", text=one) for one in (text, LONG))
    note = "The text has lines like those that the gateway puts over a posting."
    assert note in words(at("bo").text(path(imitating)))
    assert note not in words(at("bo").text(path(plain)))
    change(group, imitating, details=with_noted(group, imitating))
    said = words(at("bo").text(path(imitating)))
    assert "Parts of the mail were not signed, and are left out." in said
    assert "A mail server had taken the frame of the mail apart." in said
    assert "Outside of the signature other values stood for: Subject, Date." in said


def with_noted(group: Group, label: str) -> bytes:
    """A posting's sealed details, as if everything had been amiss."""
    with group.app.database.reading() as session:
        found = postings.get(session, label)
        name = f"posting/{found.token}/details"
        details = json.loads(group.app.vault.open(name, found.details))
    details["noted"].update(partial=True, repaired=True, differs=["Subject", "Date"])
    return group.app.vault.seal(name, json.dumps(details).encode())


def test_what_was_changed_is_not_called_good(group: Group, at: Browsers) -> None:
    label = group.post("ana")
    change(group, label, key_fingerprint=group.officers["bo"].fingerprint)
    said = words(at("bo").text(path(label)))
    assert "The signature of Ana Berg is not good any more" in said
    assert "good when received" not in said


def test_what_was_damaged_is_told_and_stops_no_thread(group: Group, at: Browsers) -> None:
    first = group.post("ana", subject="Crates", text="Before the damage.\n")
    second = answer(group, "bo", first)
    with group.app.database.transaction() as session:
        found = postings.get(session, second)
        found.submission = found.submission[:-1] + bytes([found.submission[-1] ^ 1])
    said = words(at("bo").text(path(first, "/thread")))
    assert "Before the damage." in said
    assert "was damaged, and can't be shown" in said
    assert "was damaged, and can't be shown" in words(at("bo").text(path(second)))
    assert at("bo").get(path(second, "/raw")).status_code == 404


def test_a_key_that_is_revoked_since_is_told(group: Group, at: Browsers) -> None:
    label = group.post("eva")
    with group.app.database.transaction() as session:
        row = certificate.of(session, member.get(session, group.officers["eva"].address))
        assert row is not None
        row.revoked_at = group.app.clock()
    said = words(at("bo").text(path(label)))
    assert "good when received; checked again today" in said
    assert "The key was revoked since:" in said


def test_a_key_that_expired_since_is_told(group: Group) -> None:
    label = group.post("zoe")
    group.later = timedelta(days=10)
    try:
        with browser(group) as bo:
            said = words(bo.log_in("bo").text(path(label)))
    finally:
        group.later = timedelta()
    assert "good when received; checked again today" in said
    assert "The key expired since:" in said


def test_what_was_imported_is_called_unverified(group: Group, at: Browsers) -> None:
    label = group.post("ana", text="From an old archive.\n")
    change(group, label, standing=Standing.UNVERIFIED)
    for where in (path(label), path(label, "/thread")):
        said = words(at("bo").text(where))
        assert "UNVERIFIED" in said
        assert "Signed by" not in said
        assert "as the mail says" in said


def test_a_reader_is_offered_the_right_mails(group: Group, at: Browsers) -> None:
    label = group.post("ana", subject="Re: Crates")
    with group.app.database.reading() as session:
        answered = postings.get(session, label).message_id(DOMAIN)
    url = f"https://archive.{DOMAIN}{path(label)}\n\n"
    found = mails(at("bo").text(path(label)))
    assert found == {
        "Reply to Wildlife":
            (f"wildlife@{DOMAIN}", {"subject": ["Re: Crates"], "In-Reply-To": [answered]}),
        "Write to the author alone":
            ("ana@customs.example", {"subject": ["Re: Crates"], "In-Reply-To": [answered]}),
        "Ask an expert":
            (f"wildlife-experts@{DOMAIN}", {"subject": ["Re: Crates"], "body": [url]}),
        "Report to the moderators":
            (f"wildlife-owner@{DOMAIN}", {"subject": [label], "body": [url]}),
        "Have it sent to me":
            (f"gateway@{DOMAIN}", {"subject": [f"get {label}"], "body": [f"get {label}"]}),
    }  # fmt: skip
    line = f"withdraw {label}"
    for who in ("ana", "ada"):
        found = mails(at(who).text(path(label)))
        assert found["Withdraw it"] == (f"gateway@{DOMAIN}", {"subject": [line], "body": [line]})
    assert "Write to the author alone" not in mails(at("ana").text(path(label)))


def test_nobody_is_offered_a_reply_where_moderators_alone_write(group: Group, at: Browsers) -> None:
    label = group.post("awa")
    group.set_list("wildlife", moderation=Moderation.ANNOUNCEMENT)
    try:
        assert "Reply to Wildlife" not in mails(at("bo").text(path(label)))
        assert "Reply to Wildlife" in mails(at("awa").text(path(label)))
    finally:
        group.set_list("wildlife", moderation=Moderation.OPEN)


def test_an_author_sees_what_waits_and_a_moderator_is_led_to_it(group: Group, at: Browsers) -> None:
    group.set_list("logging", moderation=Moderation.ALL)
    try:
        label = group.post("ana", "wildlife", "logging")
    finally:
        group.set_list("logging", moderation=Moderation.OPEN)
    assert "On Logging it waits for a moderator." in words(at("ana").text(path(label)))
    assert "waits" not in words(at("bo").text(path(label)))
    assert re.search(r'href="/held/H-\d+">It waits for you', at("ada").text(path(label)))


def test_a_list_by_invitation_is_no_one_elses_to_know(group: Group, at: Browsers) -> None:
    label = group.post("ana", "wildlife", "op-coral")
    assert "Coral" not in at("bo").text(path(label))
    assert "Coral" not in at("bo").text(path(label, "/thread"))
    assert "Coral" in at("ana").text(path(label))


def test_what_a_mail_says_outside_of_its_recipients_is_on_no_page(
    group: Group, at: Browsers
) -> None:
    # As in the copies, which have nothing of it: it may name a list by invitation.
    label = group.post("ana", protected=False, outer_subject=None, cc=["op-coral@else.example"])
    page = words(at("bo").text(path(label)))
    assert "Subject Ivory at Mombasa (not signed)" in page
    assert "op-coral" not in page
    assert "wildlife@environet.example (signed)" in words(at("bo").text(path(group.post("ana"))))


def test_what_a_reader_may_not_read_leaves_no_gap_in_a_thread(group: Group, at: Browsers) -> None:
    first = group.post("ana", subject="Crates TLP:GREEN", text="First words.\n")
    second = answer(group, "bo", first, subject="Re: Crates TLP:AMBER", text="Second words.\n")
    third = answer(
        group, "ana", second, subject="Re: Crates TLP:AMBER+STRICT", text="Third words.\n"
    )
    fourth = answer(group, "bo", third, subject="Re: Crates TLP:AMBER+STRICT", text="Fourth.\n")
    # Cy, who ticked Wildlife off, reads what is for all; Ada came when all had been sent.
    assert "1 posting ·" in words(at("cy").text(path(first, "/thread")))
    html = at("cy").text(path(first, "/thread"))
    for label, text in ((second, "Second"), (third, "Third"), (fourth, "Fourth")):
        assert label not in html
        assert text not in html
        for rest in ("", "/thread", "/raw", "/html", "/attachment/1", "/attachment/1/preview"):
            assert at("cy").get(path(label, rest)).status_code == 404
    change(group, fourth, marking="TLP:GREEN")
    nested = at("cy").text(path(first, "/thread?view=nested"))
    assert third not in nested
    outline = nested[nested.index('<nav class="outline"') :]
    assert re.search(
        rf'<li><a href="#{first}">Ana Berg</a> <small>.{{1,200}}</small>'
        rf'<ol><li><a href="#{fourth}">Bo Berg',
        outline,
    )


def test_a_thread_shows_who_answered_whom(group: Group, at: Browsers) -> None:
    first = group.post("ana", subject="Crates", text="The question.\n")
    second = answer(group, "bo", first, text="An answer.\n")
    third = answer(group, "ana", second, text="Thanks.\n")
    fourth = answer(group, "awa", first, subject="Another matter", text="A word more.\n")
    html = at("bo").text(path(third, "/thread"))
    assert [*re.findall(r'<article class="posting" id="([^"]*)"', html)] == [
        first, second, third, fourth,
    ]  # fmt: skip
    assert "4 postings · 3 people" in words(html)
    assert html.count("<h2") == 3  # one posting with another subject; two in the other column
    assert "Another matter</h2>" in html
    nested = at("bo").text(path(third, "/thread?view=nested"))
    tree = nested[nested.index('<ol class="nested">') : nested.index("<aside>")]
    shape = re.sub(r"<(?!/?ol|article)[^>]*>|[^<>]*(?=<)", "", tree)
    shape = re.sub(r'<article class="posting" id="([^"]*)"[^>]*>', r"\1", shape)
    ol = '<ol class="nested">'
    assert shape.startswith(f"{ol}{first}{ol}{second}{ol}{third}</ol>{fourth}</ol></ol>")
    entry = group.ledger("thread-read")[-1]
    numbers = " ".join(one.partition("-")[2] for one in (first, second, third, fourth))
    assert (entry["posting"], entry["postings"], entry["numbers"]) == (third, 4, numbers)


def test_a_withdrawn_posting_is_a_tombstone(group: Group, at: Browsers) -> None:
    first = group.post("ana", subject="Crates", text="Zwyrtkglimpf.\n")
    second = answer(group, "bo", first, text="Thanks.\n")
    group.say("ana", f"withdraw {first}")
    entries = len(group.ledger("read"))
    for where in (path(first), path(second, "/thread")):
        said = words(at("bo").text(where))
        assert "Ana Berg's posting was withdrawn on " in said
        assert "Zwyrtkglimpf" not in said
    assert "Thanks." in words(at("bo").text(path(first, "/thread")))
    for rest in ("/raw", "/html", "/attachment/1", "/attachment/1/preview"):
        assert at("bo").get(path(first, rest)).status_code == 404
    assert mails(at("ana").text(path(first))) == {}
    assert len(group.ledger("read")) == entries


def test_a_posting_has_one_address(group: Group, at: Browsers) -> None:
    number = group.post("ana").partition("-")[2]
    for wrong in (f"/A/{number}", f"/b/{number}", f"/B/0{number}", f"/B/{number}x", "/B/9999",
                  f"/B/{10**30}", "/B/-1", f"/B/{number}/attachment/01",
                  f"/B/{number}/attachment/{'9' * 5000}"):  # fmt: skip
        assert at("bo").get(wrong).status_code == 404, wrong
    assert at("bo").get(f"/B/{number}/thread?after=x").status_code == 400
    assert at("bo").get(f"/B/{number}/thread?after=9999").status_code == 200


def test_the_original_is_what_gpg_finds_signed(group: Group, at: Browsers) -> None:
    label = group.post("ana", text="As I signed it.\n")
    response = at("bo").get(path(label, "/raw"))
    disposition = response.headers["content-disposition"]
    assert disposition.startswith(f'attachment; filename="{label}-original-signed.eml"')
    body, signature = signed_parts(response.content)
    assert b"As I signed it." in body
    ana = group.officers["ana"]
    assert programs.verify_detached(body, signature, ana.certificate) == ana.fingerprint
    entry = group.ledger("downloaded")[-1]
    assert (entry["posting"], entry["part"]) == (label, "original")


def test_attachments_come_as_they_were_attached(group: Group, at: Browsers) -> None:
    table = b"crate;tusks\r\n1;14\r\n" * 500
    files = [("Liste été.csv", "text/csv", table), ("a.pdf", "application/pdf", b"%PDF")]
    label = group.post("ana", attachments=files)
    html = at("bo").text(path(label))
    assert "Liste été.csv</a> <small>text/csv, 9.5 kB</small>" in html
    response = at("bo").get(path(label, "/attachment/1"))
    assert response.content == table
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == (
        "attachment; filename=\"Liste _t_.csv\"; filename*=UTF-8''Liste%20%C3%A9t%C3%A9.csv"
    )
    entry = group.ledger("downloaded")[-1]
    assert (entry["posting"], entry["part"]) == (label, 1)
    assert at("bo").get(path(label, "/attachment/2")).content == b"%PDF"
    assert at("bo").get(path(label, "/attachment/3")).status_code == 404
    assert at("bo").get(path(label, "/attachment/1/preview")).status_code == 404


def test_a_picture_is_made_anew_without_what_its_camera_wrote(group: Group, at: Browsers) -> None:
    picture = Image.effect_noise((1200, 800), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x010F] = "Secret camera"
    exif[0x0112] = 6  # turned by a quarter
    file = BytesIO()
    picture.save(file, "JPEG", exif=exif)
    label = group.post("ana", attachments=[("dock.jpg", "image/jpeg", file.getvalue())])
    assert f'src="{path(label)}/attachment/1/preview"' in at("bo").text(path(label))
    assert "<img" not in at("bo").text(path(label, "/thread"))
    response = at("bo").get(path(label, "/attachment/1/preview"))
    assert response.headers["content-type"] == "image/webp"
    assert b"Secret" not in response.content
    with Image.open(BytesIO(response.content)) as small:
        assert small.size == (213, 320)
        assert not small.getexif()


def test_hypertext_is_shown_as_text_unless_it_is_asked_for(group: Group, at: Browsers) -> None:
    text = b"Fourteen crates."
    link = b"<a href='https://cites.example/r'>the report</a>"
    markup = b"<h1>Seized</h1><p>Fourteen <b>crates</b>, " + link + b".</p>"
    parts = [part("text/plain", text), part("text/html", markup)]
    label = post_entity(group, "ana", multipart("alternative", parts, "Subject: Crates"))
    html = at("bo").text(path(label))
    assert '<div class="body" dir="auto">Fourteen crates.</div>' in html
    assert "the report" not in html
    assert "attachment/" not in html
    shown = at("bo").text(path(label, "/html"))
    assert "<h2>Seized</h2><p>Fourteen <b>crates</b>, the report [<a href=" in shown
    assert ">https://cites.example/r</a>]" in shown
    assert group.ledger("read")[-1]["part"] == "html"
    alone = post_entity(
        group, "ana", multipart("mixed", [part("text/html", markup)], "Subject: Alone")
    )
    assert "Seized Fourteen crates, the report." in words(at("bo").text(path(alone)))


def test_a_long_text_is_cut_and_says_so(group: Group, at: Browsers) -> None:
    label = group.post("ana", text="All work. " * 25_000 + "\nThe end.\n")
    for where in (path(label), path(label, "/thread")):
        html = at("bo").text(where)
        assert "The text goes on" in html
        assert "The end." not in html
    assert len(at("bo").text(path(label, "/thread"))) < 15_000


def test_a_long_thread_comes_in_pages_of_fifty_small_and_fast(group: Group, at: Browsers) -> None:
    first = group.post("ana", subject="Crates of ivory at the dock of Mombasa", text=LONG)
    last = first
    for number in range(52):
        last = answer(group, "bo" if number % 2 else "ana", last, text=LONG)
    thread = path(first, "/thread")
    at("bo").text(thread)
    start = process_time()
    html = at("bo").text(thread)
    taken = process_time() - start
    assert html.count("<article") == 50
    assert len(html.encode()) < 100_000
    assert taken < 1  # of a processor; the bench measures what readers wait
    onward = re.search(r'<a href="([^"]*after=[^"]*)" rel="prev">', html)
    assert onward
    rest = at("bo").text(onward[1].replace("&amp;", "&"))
    assert rest.count("<article") == 3
    assert f'id="{last}"' in rest
    assert "53 postings" in words(rest)
    nested = at("bo").text(f"{thread}?view=nested")
    assert nested.count("<article") == 50
