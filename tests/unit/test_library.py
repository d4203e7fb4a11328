"""The Library by mail: handing a document in, deciding about it, and who may have it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from gateway.library import access, documents, sealing
from gateway.library.documents import Chosen
from gateway.store import library, member
from gateway.store.command_mail import CommandMail
from gateway.store.library import Version
from gateway.store.member import Member, State
from tests.gateway import CommandFailed
from tests.unit.group import Got, Group

ROLES = {
    "ana": (),
    "bo": (),
    "cy": (),
    "lia": ("librarian",),
    "leo": ("librarian",),
    "mo": ("moderator:B",),
    "ada": ("administrator",),
}
GUIDE = ("rosewood.pdf", "application/pdf", b"%PDF-1.4 Zwyrtkglimpf")
FORM = """\
title: Rosewood in sawn timber
category: identification guide
topics: B, E
language: fr

How to tell Dalbergia from its neighbours.
"""


@pytest.fixture(scope="module")
def founded() -> Iterator[Group]:
    """Ana and Lia are on a list by invitation; Cy ticked Wildlife and Logging off."""
    with Group(ROLES) as made:
        made.add_coral("ana", "lia")
        made.tick_off("cy", "wildlife", "logging")
        yield made


@pytest.fixture
def group(founded: Group) -> Group:
    """As it was founded, with nothing on its way and within everybody's rate."""
    for name in ROLES:
        founded.set_member(name, state=State.ACTIVE, languages="")
    founded.deliver()
    earlier = founded.app.clock() - timedelta(hours=2)
    with founded.app.database.transaction() as session:
        for table in (library.DocumentMail, CommandMail):
            session.execute(update(table).values(at=earlier))
    return founded


def hand_in(group: Group, who: str = "ana", text: str = FORM, **how: Any) -> list[Got]:
    """Send a document; what everybody is told."""
    how.setdefault("attachments", [GUIDE])
    mail = group.write(who, "library", text=text, subject="A document", **how)
    assert group.submit(mail, "library") == ["250 2.0.0"]
    return group.deliver()


def label_of(told: list[Got], who: str = "ana") -> str:
    (answer,) = [one for one in told if one.to == who and one.reading.outer["In-Reply-To"]]
    found = re.search(r"document (L-\S+) waits", answer.subject)
    assert found, answer.text
    return found[1]


def approved(group: Group, text: str = FORM, **how: Any) -> str:
    """A document in the Library."""
    label = label_of(hand_in(group, text=text, **how))
    assert "is approved" in group.say("lia", f"approve {label}")
    return label


def titles(group: Group, who: str) -> str:
    return group.say(who, "library")


def test_a_document_waits_for_a_librarian_and_is_in_the_library_once_approved(group: Group) -> None:
    told = hand_in(group)
    label = label_of(told)
    assert {one.to for one in told} == {"ana", "lia", "leo"}
    (to_lia,) = [one for one in told if one.to == "lia"]
    for said in ("Rosewood in sawn timber", "identification guide", "French (fr)", "TLP:GREEN",
                 "Wildlife, Logging", "rosewood.pdf (application/pdf, 1 kB)", "How to tell",
                 f"approve {label}", f"/library/{label}", "Ana Berg"):  # fmt: skip
        assert said in to_lia.words, to_lia.text
    assert "Rosewood" not in titles(group, "bo")
    assert "Not done: there is no document" in group.say("bo", f"get {label}")
    assert f"{label} is approved" in group.say("lia", f"approve {label}")
    assert [(one.to, one.subject) for one in group.told] == [
        ("ana", f"[ENVIRONET] Your document {label} is in the Library"),
        ("leo", f"[ENVIRONET] {label} is decided"),
    ]
    assert "Rosewood in sawn timber" in titles(group, "bo")
    assert group.ledger("document-approved")[-1]["document"] == label


def test_a_faulty_form_is_answered_with_every_fault_and_nothing_is_kept(group: Group) -> None:
    text = "category: novel\ntopics: B, Q\nuntil: 2020-01-01\nreplaces: L-999\n"
    before = count(group)
    (answer,) = hand_in(group, text=text, attachments=[])
    for said in ("title: is missing", "category: write one of: training, identification guide",
                 "there is no list 'q'", "language: write", "no document 'L-999'",
                 "no file is attached"):  # fmt: skip
        assert said in answer.words, answer.text
    assert count(group) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("category: alert\n", "until: write the last day"),
        ("category: alert\nuntil: 2020-01-01\n", "until: write a day within a year"),
        ("category: manual\nuntil: 2027-01-01\n", "until: is for alerts alone"),
        (
            "category: manual\nTLP:AMBER+STRICT\n",
            "it is marked TLP:AMBER+STRICT: the Library takes",
        ),
        ("category: manual\nTLP:RED\n", "it is marked TLP:RED"),
        ("TLP: amber\ncategory: manual\n", "handling marking is misspelt"),
        ("category: manual\ntopics: Coral\n", "there is no list 'coral'"),
    ],
)
def test_a_fault_is_named(group: Group, text: str, said: str) -> None:
    """Of a list that Bo is not invited to as of one that there is not."""
    (answer,) = hand_in(group, "bo", f"title: T\nlanguage: en\n{text}")
    assert said in answer.words, answer.text


@pytest.mark.parametrize(
    ("text", "title", "category", "language", "topics", "description"),
    [
        (
            "Title : Les bois de rose\nCATEGORY: Legal-Text\nlanguage: French\n",
            "Les bois de rose", "legal text", "fr", "", "",
        ),
        (
            "Dear colleagues,\n\n* title: *Tusks*\n* category: manual\n* language: EN\n"
            "* topic: wildlife\n\nFirst.\n\nSecond: with a colon.\n-- \nAna\n",
            "Tusks", "manual", "en", "B", "Dear colleagues,\n\n\nFirst.\n\nSecond: with a colon.",
        ),
        (
            "> title: Quoted\n\ntitle: Own\ncategory: training\nlanguage: sw\ntopics: b g\n",
            "Own", "training", "sw", "B G", "",
        ),
        (
            "title: A long title that some program has broken where its line was full\n"
            "so it goes on\ncategory: background\nlanguage: en\n",
            "A long title that some program has broken where its line was full so it goes on",
            "background", "en", "", "",
        ),
    ],
)  # fmt: skip
def test_forms_are_read_as_people_write_them(
    group: Group, text: str, title: str, category: str, language: str, topics: str, description: str
) -> None:
    label = label_of(hand_in(group, text=text))
    with group.app.database.reading() as session:
        version = access.get(session, member_of(group, session, "ana"), label)
        sheet = sealing.sheet(group.app.vault, version)
        assert (sheet.title, version.category, version.language) == (title, category, language)
        assert " ".join(one.letter for one in version.topics) == topics
        assert sheet.description == description


def test_only_librarians_decide_and_once(group: Group) -> None:
    label = label_of(hand_in(group))
    for who in ("bo", "mo", "ada"):
        assert "is approved" not in group.say(who, f"approve {label}")
    assert f"{label} is rejected" in group.say("leo", f"reject {label} the plates are missing")
    (to_ana,) = [one for one in group.told if one.to == "ana"]
    assert "did not approve" in to_ana.words
    assert "the plates are missing" in to_ana.words
    said = group.say("lia", f"approve {label}")
    assert f"there is no document '{label}'" in said
    assert "Rosewood" in group.say("ana", f"get {label}")


def test_the_first_decision_stands_and_the_second_librarian_is_told(group: Group) -> None:
    label = approved(group)
    assert f"{label} was approved already, by Lia Berg" in group.say("leo", f"reject {label} no")


def test_a_librarians_own_document_is_decided_by_another(group: Group) -> None:
    told = hand_in(group, "lia")
    label = label_of(told, "lia")
    assert {one.to for one in told} == {"lia", "leo"}
    assert f"you wrote {label} yourself" in group.say("lia", f"approve {label}")
    assert "is approved" in group.say("leo", f"approve {label}")


def test_without_librarians_administrators_decide(group: Group) -> None:
    group.set_member("lia", state=State.SUSPENDED)
    group.set_member("leo", state=State.SUSPENDED)
    told = hand_in(group)
    assert {one.to for one in told} == {"ana", "ada"}
    assert "is approved" in group.say("ada", f"approve {label_of(told)}")


def test_get_sends_the_files_with_evidence_that_gpg_finds_good(group: Group) -> None:
    label = approved(group)
    answer = group.ask("bo", f"get {label}")
    assert answer.reading.attachments["rosewood.pdf"] == GUIDE[2]
    assert answer.reading.author(answer.reading.attachments["author.pgp"]) is not None
    assert group.ledger("document-read")[-1]["document"] == label


def test_what_has_no_room_in_an_answer_is_not_even_opened(group: Group) -> None:
    """Commands are run while the database takes nothing else, and one mail may ask fifty times."""
    label = approved(group)
    with group.app.database.transaction() as session:
        version = access.get(session, member_of(group, session, "ana"), label)
        version.size, version.submission = 1 << 30, b"damaged"
    assert "it is too large for this answer" in group.say("bo", f"get {label}")


def test_a_version_replaces_another_which_stays(group: Group) -> None:
    first = approved(group)
    second = approved(group, f"replaces: {first}\ntitle: Rosewood, second edition\n")
    assert second == f"{first}/2"
    assert "Rosewood, second edition" in group.say("bo", f"get {first}")
    assert "Rosewood in sawn timber" in group.say("bo", f"get {first}/1")
    listed = titles(group, "bo")
    assert second in listed
    assert f"{first} " not in listed
    with group.app.database.reading() as session:
        version = access.get(session, member_of(group, session, "bo"), second)
        assert (version.language, version.category) == ("fr", "identification guide")
        assert [one.letter for one in version.topics] == ["B", "E"]


def test_a_version_is_no_laxer_than_what_it_replaces_unless_it_says_so(group: Group) -> None:
    first = approved(group, f"TLP:AMBER\n{FORM}")
    for text, marked in (("", "TLP:AMBER"), ("\nTLP:GREEN\n", "TLP:GREEN")):
        label = label_of(hand_in(group, "bo", f"replaces: {first}\n{text}"), "bo")
        with group.app.database.reading() as session:
            version = access.get(session, member_of(group, session, "bo"), label)
            assert version.marking == marked


def test_a_posting_is_no_document_and_a_document_no_posting_unless_it_was_signed_for_both(
    group: Group,
) -> None:
    """Whoever reads a mail can encrypt what is signed in it to another address. Programs that sign
    no header say nothing of whom it was for."""
    before = count(group)
    both = ("wildlife", "library")
    carried = group.write("ana", *both, text=FORM, attachments=[GUIDE], protected=False)
    assert group.submit(carried, "wildlife") == ["250 2.0.0"]
    assert group.submit(carried, "library") == ["550 5.7.1"]
    assert group.ledger("refused")[-1]["rule"] == "for-another-list"
    assert count(group) == before
    carried = group.write("ana", *both, text=FORM, attachments=[GUIDE], protected=False)
    assert group.submit(carried, "library") == ["250 2.0.0"]
    assert group.submit(carried, "wildlife") == ["550 5.7.1"]
    assert group.ledger("refused")[-1]["rule"] == "replay"
    for_both = group.write("ana", *both, text=FORM, attachments=[GUIDE])
    assert group.submit(for_both, *both) == ["250 2.0.0"] * 2
    assert group.submit(for_both, *both) == ["250 2.0.0"] * 2
    assert count(group) == before + 2


def test_a_version_that_waits_or_was_rejected_replaces_nothing(group: Group) -> None:
    first = approved(group)
    told = hand_in(group, "bo", f"replaces: {first}\ntitle: Bo's own\n")
    second = label_of(told, "bo")
    (to_lia,) = [one for one in told if one.to == "lia"]
    assert f"Replaces: {first} (Ana Berg" in to_lia.words
    assert "Rosewood in sawn timber" in group.say("mo", f"get {first}")
    assert f"what waits is {second}" in group.say("lia", f"approve {first}")
    assert "is rejected" in group.say("lia", f"reject {second} not yours")
    assert second == f"{first}/2"
    assert "Bo's own" not in titles(group, "mo")
    assert "there is no document" in group.say("mo", f"get {second}")


@pytest.mark.parametrize(
    ("topics", "marked", "readers"),
    [
        ("", "", "ana bo cy lia leo mo ada"),
        ("B", "", "ana bo cy lia leo mo ada"),
        ("", "TLP:AMBER", "ana bo cy lia leo mo ada"),
        ("B, E", "TLP:AMBER", "ana bo lia leo mo ada"),
        ("B, G", "TLP:AMBER", "ana bo cy lia leo mo ada"),
        ("OPC", "", "ana lia"),
        ("OPC", "TLP:AMBER", "ana lia"),
        ("OPC, G", "", "ana bo cy lia leo mo ada"),
    ],
)
def test_who_may_read_a_document(group: Group, topics: str, marked: str, readers: str) -> None:
    """Cy ticked B and E off; Ana and Lia are invited to OPC."""
    text = f"{marked}\ntitle: T\ncategory: manual\nlanguage: en\ntopics: {topics}\n"
    label = approved(group, text)
    with group.app.database.reading() as session:
        reading = [
            name
            for name in ROLES
            if access.find(session, member_of(group, session, name), label) is not None
        ]
        assert " ".join(reading) == readers
        listing = [
            name
            for name in ROLES
            if label
            in [
                one.label
                for one in documents.listed(session, member_of(group, session, name), Chosen(), 500)
            ]
        ]
        assert listing == reading


def test_a_list_by_invitation_is_named_and_counted_to_its_invited_alone(group: Group) -> None:
    approved(group, "title: T\ncategory: manual\nlanguage: en\ntopics: OPC, G\n")
    with group.app.database.reading() as session:
        for name, known in (("ana", True), ("bo", False)):
            found = documents.counts(session, member_of(group, session, name), Chosen())
            assert ("Coral" in [one.title for one, _ in found.topics]) is known
    assert "Coral" in titles(group, "ana")
    assert "Coral" not in titles(group, "bo")


def test_the_invited_librarian_alone_decides_about_a_closed_lists_document(group: Group) -> None:
    text = "title: T\ncategory: manual\nlanguage: en\ntopics: OPC\n"
    told = hand_in(group, text=text)
    assert {one.to for one in told} == {"ana", "lia"}
    assert "there is no document" in group.say("leo", f"approve {label_of(told)}")


def test_what_is_withdrawn_is_erased(group: Group) -> None:
    label = approved(group)
    assert "only its author or a librarian" in group.say("bo", f"withdraw {label}")
    assert f"erased: {label}." in group.say("leo", f"withdraw {label}")
    assert [(one.to, one.subject) for one in group.told] == [
        ("ana", f"[ENVIRONET] Your document {label} was withdrawn")
    ]
    said = group.say("bo", f"get {label}")
    assert "nothing of it is left" in said
    assert "Rosewood" not in said
    assert label not in titles(group, "bo")
    assert "was withdrawn already" in group.say("ana", f"withdraw {label}")
    with group.app.database.reading() as session:
        version = access.get(session, member_of(group, session, "bo"), label)
        assert (version.form, version.submission, version.details) == (b"", b"", b"")


def test_an_author_withdraws_every_version_that_is_theirs(group: Group) -> None:
    first = approved(group)
    approved(group, f"replaces: {first}\n")
    assert f"{first}, {first}/2" in group.say("ana", f"withdraw {first}")


def test_a_mail_counts_once_and_only_for_the_library(group: Group) -> None:
    mail = group.write("ana", "library", text=FORM, subject="D", attachments=[GUIDE])
    before = count(group)
    assert group.submit(mail, "library") == ["250 2.0.0"]
    assert group.submit(mail, "library") == ["250 2.0.0"]
    assert count(group) == before + 1
    to_commands = group.write("ana", "gateway", text=FORM, subject="D", attachments=[GUIDE])
    assert group.submit(to_commands, "library") == ["550 5.7.1"]
    clear = group.write("ana", "library", text=FORM, subject="D", encrypt=False, form="signed")
    assert group.submit(clear, "library") == ["523 5.7.10"]
    unsigned = group.write("ana", "library", text=FORM, subject="D", sign=False)
    assert group.submit(unsigned, "library") == ["550 5.7.1"]
    group.set_member("ana", state=State.SUSPENDED)
    late = group.write("ana", "library", text=FORM, subject="D", attachments=[GUIDE])
    assert group.submit(late, "library") == ["550 5.7.1"]
    assert count(group) == before + 1


def test_an_alert_is_one_until_its_day_is_over(group: Group) -> None:
    last = group.app.clock() + timedelta(days=3)
    label = approved(
        group, f"title: Forged permits\ncategory: alert\nlanguage: en\nuntil: {last:%Y-%m-%d}\n"
    )
    with group.app.database.reading() as session:
        bo = member_of(group, session, "bo")

        def shown(days: int) -> bool:
            at = group.app.clock() + timedelta(days=days)
            return label in [one.label for one in documents.alerts(session, bo, at)]

        assert shown(0)
        assert shown(3)
        assert not shown(4)


def test_the_words_of_a_listing_are_looked_for_in_titles_and_names(group: Group) -> None:
    text = "title: Pangolin scales\ncategory: manual\nlanguage: en\ntopics: B\n"
    label = approved(group, text, attachments=[("écailles.pdf", "application/pdf", b"x")])
    assert label in group.say("bo", "library B pangolin SCALES")
    assert label in group.say("bo", "library ÉCAILLES")
    assert "has no such document" in group.say("bo", "library pangolin rosewood")
    assert "has no such document" in group.say("bo", "library E pangolin")


def test_nothing_of_a_document_lies_in_the_clear(group: Group) -> None:
    approved(group)
    group.gateway.environet("ledger", "verify")
    dump = group.gateway.dump()
    assert b"document_version" in dump
    for secret in (b"Zwyrtkglimpf", b"Rosewood in sawn", b"Dalbergia", b"rosewood.pdf"):
        assert secret not in dump
        assert secret.hex().upper().encode() not in dump.upper()


def test_operators_decide_too(group: Group) -> None:
    label = label_of(hand_in(group))
    assert label in group.gateway.environet("library", "list", "--waiting")
    shown = json.loads(group.gateway.environet("library", "show", label, "--json"))
    assert (shown["title"], shown["status"]) == ("Rosewood in sawn timber", "waiting")
    said = group.gateway.environet("library", "reject", label, "--reason", "no plates")
    assert f"{label} is rejected" in said
    assert "no plates" in " ".join(one.words for one in group.deliver() if one.to == "ana")
    with pytest.raises(CommandFailed, match="was rejected already, by operator"):
        group.gateway.environet("library", "approve", label)
    with pytest.raises(CommandFailed, match="there is no document 'L-9999'"):
        group.gateway.environet("library", "approve", "L-9999")
    assert "is withdrawn" in group.gateway.environet("library", "withdraw", label)


def test_no_list_takes_the_librarys_letter(group: Group) -> None:
    with pytest.raises(CommandFailed, match="letter of the Library"):
        group.gateway.environet("list", "add", "leather", "--letter", "L", "--title", "Leather")


def member_of(group: Group, session: Session, name: str) -> Member:
    return member.get(session, group.officers[name].address)


def count(group: Group) -> int:
    with group.app.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Version)) or 0
