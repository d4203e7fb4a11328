"""Administration by mail: members, roles, lists, what is parked, and the ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from gateway.administration import people
from gateway.store import ledger, mailing_list
from gateway.store import member as members
from gateway.store.actor import OPERATOR
from gateway.store.ledger import LedgerEntry
from gateway.store.member import Role, State
from gateway.store.outbox import Delivery, Notice, OutboxEntry
from tests.gateway import DOMAIN
from tests.officers import Officer
from tests.unit.commanding import Place, as_joined, joined, started


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with started() as made:
        yield made


@pytest.fixture
def ana(place: Place) -> Iterator[Place]:
    """The place, in which Ana is as she was when she joined."""
    yield place
    as_joined(place, "ana")


def test_a_contact_point_suspends_in_their_own_country_alone(ana: Place) -> None:
    before = ana.newest()
    (answer,) = ana.asked("kip", "suspend ana@customs.example\nsuspend bo@customs.example\n"
                          "suspend nobody@x.example\nrestore bo@customs.example\n")  # fmt: skip
    assert "Ana Lind (Inspectorate, KE) is suspended" in answer
    for address in ("bo@customs.example", "nobody@x.example"):
        assert f"Not done: {address} is no member of your country." in answer
    assert ana.member("ana").state is State.SUSPENDED
    assert ana.member("bo").state is State.ACTIVE
    told = {(one.reader, one.template) for one in ana.told(before)}
    assert told == {("ana", "suspended"), ("ada", "state-changed"), ("kip", "answer")}
    with ana.app.database.reading() as session:
        notice = session.scalars(select(Notice).where(Notice.template == "suspended")).one()
        assert notice.regardless, "a suspended member gets it all the same"
    assert "is active again" in ana.ask("kip", "restore ana@customs.example\n")
    assert ana.member("ana").state is State.ACTIVE


def test_whom_an_administrator_suspended_no_contact_point_restores(ana: Place) -> None:
    before = ana.newest()
    ana.ask("ada", "member suspend ana@customs.example\n")
    told = {(one.reader, one.template) for one in ana.told(before)}
    assert told == {("ana", "suspended"), ("kip", "state-changed"), ("ada", "answer")}
    answer = ana.ask("kip", "restore ana@customs.example\n")
    assert "was suspended by an administrator, who alone can restore them" in answer
    assert ana.member("ana").state is State.SUSPENDED
    ana.ask("ada", "restore ana@customs.example\n")
    ana.ask("kip", "suspend ana@customs.example\n")
    assert "is suspended" in ana.ask("ada", "suspend ana@customs.example\n")
    assert "who alone can restore" in ana.ask("kip", "restore ana@customs.example\n")
    ana.ask("ada", "restore ana@customs.example\n")
    assert ana.member("ana").state is State.ACTIVE


def test_the_last_administrator_stays(ana: Place) -> None:
    for line in ("suspend ada@customs.example", "member remove ada@customs.example",
                 "role drop administrator ada@customs.example"):  # fmt: skip
        assert "is the last administrator" in ana.ask("ada", f"{line}\n")
    ana.ask("ada", "role add administrator bo@customs.example\n")
    assert "The roles of" in ana.ask("bo", "role drop administrator ada@customs.example\n")
    assert "is the last administrator" in ana.ask("bo", "suspend bo@customs.example\n")
    ana.ask("bo", "role add administrator ada@customs.example\n")
    ana.ask("ada", "role drop administrator bo@customs.example\n")
    with ana.app.database.transaction() as session:
        # Who has the machine appoints somebody anew.
        ada = members.get(session, "ada@customs.example")
        people.change_state(session, ana.app, OPERATOR, ada, State.SUSPENDED)
        people.change_state(session, ana.app, OPERATOR, ada, State.ACTIVE)


@pytest.mark.parametrize(
    "typed",
    [
        "role add moderator:B bo@customs.example", "role add bo@customs.example moderator B",
        "Role add: Moderator:wildlife <bo@customs.example>",
    ],
)  # fmt: skip
def test_a_role_is_given_and_taken_back(ana: Place, typed: str) -> None:
    before = ana.newest()
    answer = ana.ask("ada", f"{typed}\n")
    assert "are now: moderator (B)" in answer
    assert ("bo", "role-given") in {(one.reader, one.template) for one in ana.told(before)}
    with ana.app.database.reading() as session:
        wildlife = mailing_list.get(session, "B").id
        assert members.get(session, "bo@customs.example").has_role(Role.MODERATOR, wildlife)
    undo = answer.partition("To undo it, write: ")[2].partition(" ENVIRONET")[0]
    assert undo == "role drop moderator:B bo@customs.example"
    assert "are now: -" in ana.ask("ada", f"{undo}\n")


@pytest.mark.parametrize("role", ["king", "administrator:B", "auditor:B", "moderator:Z"])
def test_a_role_that_there_is_not(ana: Place, role: str) -> None:
    assert "Not done" in ana.ask("ada", f"role add {role} bo@customs.example\n")


def test_particulars_are_changed_and_told(ana: Place) -> None:
    before = ana.newest()
    answer = ana.ask("ada", "member set bo@customs.example\norganisation: Toll Office\n"
                     "country: fi\nkind: customs\nname:\n")  # fmt: skip
    assert "Organisation: Toll Office (customs) Country: Finland (FI)" in answer
    (told,) = [one for one in ana.told(before) if one.reader == "bo"]
    assert "Organisation: Toll Office (customs)" in joined(told.text)
    answer = ana.ask("ada", "member set bo@customs.example\ncountry: XX\nkind: king\nname: <b>\n")
    for fault in ("country: 'XX' is no ISO", "kind: 'king' is none of", "name: has control"):
        assert fault in answer, "every fault is told at once"
    ana.ask("ada", "member set bo@customs.example\norganisation: Inspectorate\ncountry: SE\n"
            "kind: agency\n")  # fmt: skip


def test_members_are_found_by_words(ana: Place) -> None:
    answer = ana.ask("ada", "members se\n")
    assert "Members found: 1. bo@customs.example Bo Lind (Inspectorate, SE)" in answer
    assert "Members found: 0." in ana.ask("ada", "members KE SE\n")


def test_a_removed_member_is_gone(ana: Place) -> None:
    with Officer.create("sequoia", "Gus Go", "gus@customs.example") as gus:
        ana.gateway.add_member(gus)
        before = ana.newest()
        ana.ask("ada", "member remove gus@customs.example\n")
        (told,) = [one for one in ana.told(before) if one.reader == "gus"]
        assert told.template == "removed"
        with ana.app.database.reading() as session:
            notice = session.scalars(select(Notice).where(Notice.template == "removed")).one()
            assert (notice.plain, notice.regardless) == (True, True)
        ana.people["gus"] = gus
        assert ana.submit(ana.mail("gus", "help\n")).startswith("550 5.7.1 No good signature")
        del ana.people["gus"]


def test_lists_are_added_set_and_closed(ana: Place) -> None:
    before = ana.newest()
    ana.ask("ada", "list add\nLocal part: OP-CORAL\nletter: opc\ntitle: Coral\n"
            "description: Operation Coral\nmoderation: all\n"
            "invited: ana@customs.example, <bo@customs.example>\n")  # fmt: skip
    told = ana.told(before)
    assert {(one.reader, one.template) for one in told} == {
        ("ana", "list-invited"), ("bo", "list-invited"), ("ada", "answer"),
    }  # fmt: skip
    assert told[-1].attachments == ("op-coral.asc",)
    address = f"op-coral@{DOMAIN}"
    ana.keys[address] = ana.gateway.certificate(address)
    assert ana.submit(ana.mail("ana", "Hi\n", address), address).startswith("250")
    assert ana.submit(ana.mail("mei", "Hi\n", address), address).startswith("550")
    before = ana.newest()
    answer = ana.ask("ada", "list set OPC moderation open\nlist set opc\nsigned-only: yes\n"
                     "moderators needed: 2\nsignature days: 3\n"
                     "list uninvite OPC bo@customs.example ana@customs.example\n"
                     "list invite OPC ana@customs.example\n")  # fmt: skip
    assert "Moderation: open" in answer
    assert "Moderators needed: 2 Signed only: yes Signature days: 3" in answer
    assert [(one.reader, one.template) for one in ana.told(before)][:-1] == [
        ("bo", "list-uninvited"), ("ana", "list-uninvited"), ("ana", "list-invited"),
    ]  # fmt: skip
    answer = ana.ask("ada", "list set B moderation king\nlist set B\nmoderators needed: 3\n"
                     "list set B\nlist invite B bo@customs.example\nlist add\ntitle: X\n"
                     "list add x\nletter: A\ntitle: X\nlist set B colour red\n")  # fmt: skip
    for fault in ("moderation: 'king' is none of", "'3' is no number from 1 to 2",
                  "write below it what to change", "is for every member",
                  "write below it, a line each", "'x' can't be a list's name",
                  "there is no setting colour red"):  # fmt: skip
        assert fault in answer
    assert "is closed, with its desks" in ana.ask("ada", "list close OPC\n")
    assert ana.submit(ana.mail("ana", "Hi\n", address), address).startswith("550 5.1.1")


def test_an_auditor_reads_the_ledger_and_counts(ana: Place) -> None:
    answer = ana.ask("olu", "ledger verify\nledger 3\nstatistics\n")
    assert "and is unbroken" in answer
    with ana.app.database.reading() as session:
        newest = session.scalars(select(LedgerEntry).order_by(LedgerEntry.sequence.desc())).first()
        assert newest is not None
        head = ledger.verify(session).head
    assert "Members by state" in answer
    assert "Sweden (SE): 1" in answer
    assert head != newest.previous
    assert "no command" in ana.ask("olu", "queue\n")


def test_the_queue_shows_what_is_parked(ana: Place) -> None:
    ana.submit(ana.mail("ana", "Hi\n", f"general@{DOMAIN}"), f"general@{DOMAIN}")
    with ana.app.database.transaction() as session:
        entry = session.scalars(
            select(OutboxEntry).where(OutboxEntry.posting_id.is_not(None))
        ).first()
        assert entry is not None
        entry.state, entry.reason = Delivery.PARKED, "the certificate has expired"
    answer = ana.ask("ada", "queue\n")
    assert "parked: 1" in answer
    assert "the certificate has expired" in answer


def test_a_command_that_fails_half_way_changes_nothing(ana: Place) -> None:
    ana.ask("ada", "list add op-half\nletter: HALF\ntitle: Half\ninvited: kip@customs.example\n"
            "suspend bo@customs.example\n")  # fmt: skip
    before = ana.newest()
    answer = ana.ask("ada", "list invite HALF ana@customs.example bo@customs.example\n")
    assert "Not done: bo@customs.example is no active member" in answer
    assert [one.reader for one in ana.told(before)] == ["ada"], "Ana was invited first"
    assert "Half" not in ana.ask("ana", "topics\n")
    ana.ask("ada", "list close HALF\nrestore bo@customs.example\n")
