"""Moderation by mail: who is asked, who decides, and what everybody is told.

Mails go to `dispatch.submit` of a real App, with real signatures; what was told is read back from
the outbox.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from gateway import dispatch
from gateway.app import App, open_app, utc_now
from gateway.delivery.writing import posting_letter
from gateway.message import form, marking
from gateway.message.envelope import Envelope
from gateway.message.marking import Marking
from gateway.posting.opening import inflation_limit
from gateway.store import hold as holds
from gateway.store import mailing_list, member
from gateway.store.hold import Decision
from gateway.store.ledger import LedgerEntry
from gateway.store.mailing_list import MailingList, Moderation
from gateway.store.member import DeliveryMode, MemberRole, Role, State
from gateway.store.outbox import Delivery, Notice, OutboxEntry
from gateway.store.posting import Posting
from gateway.upkeep import holds as upkeep
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

URGENT = "-----BEGIN ENV-NOTICE 1-----\nkind: alert\nurgency: Immediate\n-----END-----\n"


@dataclass(frozen=True)
class Told:
    """A notice: to whom, of which template, and what it says. enclosed: ids of postings."""

    to: str
    template: str
    subject: str
    text: str
    enclosed: str


@dataclass
class Place:
    """Ana writes; Awa and Bo moderate Wildlife (B), Cy moderates Waste (A); Ada administrates."""

    gateway: RunningGateway
    officers: dict[str, Officer]
    keys: dict[str, bytes]
    app: App = field(init=False)
    later: timedelta = timedelta()
    _seen: int = 0
    _left: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = open_app(self.gateway.state, lambda: utc_now() + self.later)

    def submit(self, mail: bytes, to: str) -> str:
        envelope = Envelope("x@elsewhere.example", (to,), mail, "127.0.0.1", self.app.clock())
        (reply,) = dispatch.submit(self.app, envelope, inflation_limit(self.app.config)) or ()
        return f"{reply.code} {reply.status}"

    def write(self, who: str, to: str, text: str, **how: str) -> bytes:
        address = f"{to}@{DOMAIN}"
        key = self.keys["gateway" if to in ("gateway", "environet") else to.partition("-")[0]]
        subject = how.pop("subject", "Ivory at Mombasa")
        return self.officers[who].write(
            to=[address], certificates=[key], subject=subject, text=text, **how  # type: ignore[arg-type]
        )  # fmt: skip

    def post(self, who: str, text: str = "84 tusks.\n", to: str = "wildlife", **how: str) -> str:
        """The label of the newest posting, after one was sent."""
        assert self.submit(self.write(who, to, text, **how), f"{to}@{DOMAIN}") == "250 2.0.0"
        with self.app.database.reading() as session:
            return session.scalars(select(Posting).order_by(Posting.id.desc())).first().label  # type: ignore[union-attr]

    def hold(self, who: str = "ana", text: str = "84 tusks.\n", to: str = "wildlife") -> str:
        """The label of a new hold; what was told of it is forgotten."""
        self.post(who, text, to)
        self.told()
        with self.app.database.reading() as session:
            return holds.held(session)[-1].label

    def say(self, who: str, *lines: str) -> str:
        """The answer to a mail of commands."""
        address = f"gateway@{DOMAIN}"
        mail = self.write(who, "gateway", "\n".join(lines) + "\n", subject="commands")
        assert self.submit(mail, address) == "250 2.0.0"
        told = self._new()
        (answer,) = [one for one in told if (one.to, one.template) == (who, "answer")]
        self._left = [one for one in told if one is not answer]
        return answer.text

    def told(self) -> list[Told]:
        """What was told since it was last asked, answers to commands left out."""
        left, self._left = self._left, []
        return [*left, *self._new()]

    def said(self, *templates: str) -> dict[str, str]:
        """Who was told something in one of these templates -> the text."""
        return {one.to: one.text for one in self.told() if one.template in templates}

    def decision(self, label: str) -> Decision:
        with self.app.database.reading() as session:
            return holds.get(session, label).decision

    def copies(self, label: str) -> dict[str, Delivery]:
        """Who has a copy of the posting of a hold, and where it is."""
        with self.app.database.reading() as session:
            posting_id = holds.get(session, label).posting_id
        return self.states(posting_id)

    def states(self, posting_id: int) -> dict[str, Delivery]:
        """The same of a posting by its number."""
        names = {one.address: name for name, one in self.officers.items()}
        with self.app.database.reading() as session:
            query = select(member.Member.address, OutboxEntry.state).join(
                OutboxEntry, OutboxEntry.member_id == member.Member.id
            )
            rows = session.execute(query.where(OutboxEntry.posting_id == posting_id))
            return {names[address]: state for address, state in rows}

    def ledger(self, event: str) -> list[dict[str, object]]:
        with self.app.database.reading() as session:
            query = select(LedgerEntry.detail).where(LedgerEntry.event == event)
            return [json.loads(one) for one in session.scalars(query)]

    def set_list(self, local_part: str, **settings: object) -> None:
        with self.app.database.transaction() as session:
            found = mailing_list.get(session, local_part)
            for name, value in settings.items():
                setattr(found, name, value)

    def set_member(self, name: str, **settings: object) -> None:
        with self.app.database.transaction() as session:
            found = member.get(session, self.officers[name].address)
            for key, value in settings.items():
                setattr(found, key, value)

    def set_roles(self, name: str, *roles: str) -> None:
        with self.app.database.transaction() as session:
            found = member.get(session, self.officers[name].address)
            found.roles = []
            session.flush()
            for text in roles:
                role, _, on = text.partition(":")
                list_id = mailing_list.get(session, on).id if on else None
                found.roles.append(MemberRole(role=Role(role), list_id=list_id))

    def _new(self) -> list[Told]:
        names = {one.address: name for name, one in self.officers.items()}
        with self.app.database.reading() as session:
            query = (
                select(Notice, member.Member.address)
                .join(OutboxEntry, OutboxEntry.notice_id == Notice.id)
                .join(member.Member, member.Member.id == OutboxEntry.member_id)
            )
            rows = session.execute(query.where(Notice.id > self._seen).order_by(Notice.id)).all()
            found = []
            for row, address in rows:
                self._seen = row.id
                body = self.app.vault.open(f"notice/{row.token}/body", row.body)
                mail = message_from_bytes(body, policy=policy.default)
                text = mail.get_content()
                assert all(
                    len(line) <= 72 or " " not in line.strip() or line.startswith(">")
                    for line in text.splitlines()
                ), text
                found.append(
                    Told(names[address], row.template, mail["subject"], text, row.enclosed)
                )
        return found


@pytest.fixture(scope="module")
def founded() -> Iterator[Place]:
    names = {
        "ana": ("Ana Lind", ()),
        "awa": ("Awa Diop", ("moderator:B",)),
        "bo": ("Bo Berg", ("moderator:B",)),
        "cy": ("Cy Moor", ("moderator:A",)),
        "ada": ("Ada Keller", ("administrator",)),
    }
    officers = {
        key: Officer.create("gpg", name, f"{key}@customs.example", None, "cv25519")
        for key, (name, _) in names.items()
    }
    with RunningGateway(short_place("moderate")) as gateway:
        gateway.found()
        for key, (_, roles) in names.items():
            gateway.add_member(officers[key], roles=roles)
        keys = {
            one: gateway.certificate(f"{one}@{DOMAIN}") for one in ("wildlife", "waste", "gateway")
        }
        place = Place(gateway, officers, keys)
        yield place
        place.app.close()
    for one in officers.values():
        one.close()


@pytest.fixture
def place(founded: Place) -> Place:
    """As it was founded, with all postings to Wildlife held, and nothing held."""
    founded.later = timedelta()
    with founded.app.database.transaction() as session:
        for one in holds.held(session):
            holds.decide(session, one, Decision.DISCARDED, "test", founded.app.clock())
        session.execute(mailing_list.Trust.__table__.delete())  # type: ignore[attr-defined]
    for name in founded.officers:
        founded.set_member(
            name, state=State.ACTIVE, languages="", delivery=DeliveryMode.EACH, own_copies=True
        )
    founded.set_roles("ana")
    founded.set_roles("awa", "moderator:B")
    founded.set_roles("bo", "moderator:B")
    founded.set_roles("cy", "moderator:A")
    founded.set_roles("ada", "administrator")
    founded.set_list(
        "wildlife", moderation=Moderation.ALL, moderators_needed=1, closed_at=None,
        by_invitation=False,
    )  # fmt: skip
    founded.set_list("waste", moderation=Moderation.OPEN)
    founded.told()
    return founded


# Who is asked


def test_each_moderator_is_shown_what_is_held_and_how_to_decide(place: Place) -> None:
    label = place.post("ana", subject="TLP:GREEN Ivory at Mombasa")
    told = place.told()
    assert sorted((one.to, one.template) for one in told) == [
        ("ana", "held"), ("awa", "held-for-moderator"), ("bo", "held-for-moderator"),
    ]  # fmt: skip
    shown = next(one for one in told if one.to == "awa")
    assert shown.enclosed == label.removeprefix("B-")
    with place.app.database.reading() as session:
        number = holds.held(session)[-1].id
    words = " ".join(shown.text.split())
    for said in (
        f"held as H-{number}, because all postings to this list are read by a moderator first",
        "Ana Lind <ana@customs.example>, Inspectorate, KE",
        "Subject: TLP:GREEN Ivory at Mombasa",
        "Marking: TLP:GREEN",
        f"approve H-{number} mailto:gateway@{DOMAIN}?"
        f"subject=approve%20H-{number}&body=approve%20H-{number}",
        f"subject=reject%20H-{number}%20&body=reject%20H-{number}%20",
        f"discard H-{number}",
        "first answer of a moderator decides",
    ):
        assert said in words, words


def test_a_subject_that_is_not_signed_is_shown_all_the_same(place: Place) -> None:
    address = f"wildlife@{DOMAIN}"
    mail = place.officers["ana"].write(
        to=[address], certificates=[place.keys["wildlife"]], subject="Ebony", outer_subject="Ebony",
        text="Logs.\n", protected=False,
    )  # fmt: skip
    assert place.submit(mail, address) == "250 2.0.0"
    assert "Subject: Ebony" in place.said("held-for-moderator")["awa"]


def test_a_list_without_a_moderator_has_its_administrators(place: Place) -> None:
    place.set_roles("awa")
    place.set_member("bo", state=State.SUSPENDED)
    place.post("ana")
    assert set(place.said("held-for-moderator")) == {"ada"}


def test_a_moderator_of_all_lists_is_one_of_this_list(place: Place) -> None:
    place.set_roles("cy", "moderator")
    place.post("ana")
    assert set(place.said("held-for-moderator")) == {"awa", "bo", "cy"}


def test_an_author_is_not_asked_but_where_there_is_nobody_else(place: Place) -> None:
    place.post("awa")
    assert set(place.said("held-for-moderator")) == {"bo"}
    place.set_roles("bo")
    place.post("awa")
    assert set(place.said("held-for-moderator")) == {"ada"}
    place.set_roles("ada")
    place.post("awa")
    assert set(place.said("held-for-moderator")) == {"awa"}


def test_a_list_by_invitation_has_its_invited_moderators(place: Place) -> None:
    with place.app.database.transaction() as session:
        wildlife = mailing_list.get(session, "wildlife")
        wildlife.by_invitation = True
        for name in ("ana", "awa"):
            who = member.get(session, place.officers[name].address)
            mailing_list.invite(session, wildlife, who.id, invited=True)
    place.post("ana")
    assert set(place.said("held-for-moderator")) == {"awa"}
    assert "Nothing is held on your lists." in place.say("bo", "held")


def test_what_experts_are_asked_is_held_for_the_lists_moderators(place: Place) -> None:
    place.post("ana", to="wildlife-experts", subject="tlp: green Ivory")
    assert set(place.said("held-for-moderator")) == {"awa", "bo"}


def test_what_is_held_at_the_gateways_own_desk_is_for_administrators(place: Place) -> None:
    place.set_roles("awa", "moderator")
    place.set_member("ana", state=State.SUSPENDED)
    place.post("ana", to="environet", subject="tlp: green My key")
    told = place.told()
    assert {one.to for one in told if one.template == "held-for-moderator"} == {"ada"}
    with place.app.database.reading() as session:
        label = holds.held(session)[-1].label
    assert f"there is no hold {label}" in place.say("awa", f"approve {label}")
    assert "is approved" in place.say("ada", f"approve {label}")
    with place.app.database.reading() as session:
        to_ana = session.scalars(
            select(Notice).where(Notice.template == "approved").order_by(Notice.id.desc())
        ).first()
        assert to_ana is not None
        assert to_ana.regardless


# Deciding


def test_what_is_approved_goes_out_and_everybody_learns(place: Place) -> None:
    label = place.hold()
    answer = place.say("awa", f"approve {label}")
    assert f"{label} is approved" in answer
    assert set(place.copies(label)) == {"ana", "awa", "bo", "cy", "ada"}
    told = {one.to: one for one in place.told()}
    assert {name: one.template for name, one in told.items()} == {
        "ana": "approved", "bo": "decided-by-other",
    }  # fmt: skip
    assert f"{label} was approved by Awa Diop <awa@customs.example>" in told["bo"].text
    decided = place.ledger("approved")[-1]
    assert (decided["hold"], decided["copies"]) == (label, 5)
    again = " ".join(place.say("bo", f"approve {label}").split())
    assert f"{label} was approved already, by Awa Diop <awa@customs.example>" in again
    assert place.told() == []
    assert len(place.copies(label)) == 5


def test_a_rejection_tells_its_author_why(place: Place) -> None:
    label = place.hold()
    assert "is rejected" in place.say("awa", f"Reject {label.lower()}: known already, see B-1")
    told = {one.to: one for one in place.told()}
    assert set(told) == {"ana", "bo"}
    assert told["ana"].template == "rejected"
    assert "    known already, see B-1" in told["ana"].text
    assert "rejected by Awa Diop" in told["bo"].text
    assert "Reason: known already, see B-1" in told["bo"].text
    assert place.copies(label) == {}
    assert f"{label} was rejected already" in place.say("bo", f"approve {label}")


def test_an_author_does_not_learn_of_a_discarded_posting(place: Place) -> None:
    label = place.hold()
    assert "is discarded" in place.say("awa", f"discard {label}")
    assert set(place.said("decided-by-other", "discarded")) == {"bo"}


def test_moderators_learn_that_a_held_posting_was_withdrawn(place: Place) -> None:
    label = place.hold()
    with place.app.database.reading() as session:
        posting = holds.get(session, label).posting.label
    place.say("ana", f"withdraw {posting}")
    told = place.said("decided-by-other")
    assert set(told) == {"awa", "bo"}
    assert f"{label} is closed" in told["awa"]
    assert "Ivory" not in told["awa"]
    assert f"{label} was discarded already" in place.say("bo", f"approve {label}")


def test_several_commands_of_one_mail_see_each_others_work(place: Place) -> None:
    label = place.hold()
    answer = place.say("awa", "held", f"show {label}", f"approve {label}", f"approve {label}")
    assert answer.count("is approved") == 1
    assert "was approved already" in " ".join(answer.split())


@pytest.mark.parametrize("typed", ["H-{0}", "h-{0}", "H{0}", "{0}", "H {0}", "H–{0}", "H-{0}."])
def test_a_hold_is_named_as_people_type(typed: str, place: Place) -> None:
    label = place.hold()
    assert "is approved" in place.say("awa", "approve " + typed.format(label.removeprefix("H-")))


@pytest.mark.parametrize("line", ["approve", "approve H-", "show x", "reject", "approve H-1 H-2"])
def test_a_line_that_names_no_hold_is_told_how_to_write_it(line: str, place: Place) -> None:
    assert "write it as: " in place.say("awa", line)


@pytest.mark.parametrize("command", ["show", "approve", "reject", "discard"])
def test_another_lists_moderator_is_told_of_no_hold(command: str, place: Place) -> None:
    label = place.hold()
    told = place.say("cy", f"{command} {label}")
    assert f"there is no hold {label}." in told
    assert told == place.say("cy", f"{command} H-4711").replace("H-4711", label)
    assert "Nothing is held on your lists." in place.say("cy", "held")
    assert place.decision(label) is Decision.OPEN


def test_who_moderates_nothing_has_no_such_command(place: Place) -> None:
    label = place.hold()
    for line in (f"approve {label}", "held", "trust bo@customs.example on B"):
        assert "This is no command" in place.say("ana", line)
    assert place.decision(label) is Decision.OPEN


def test_an_administrator_decides_on_every_list(place: Place) -> None:
    label = place.hold()
    assert label in place.say("ada", "held")
    assert "is approved" in place.say("ada", f"approve {label}")
    assert set(place.said("decided-by-other")) == {"awa", "bo"}


def test_of_two_moderators_at_once_one_decides(place: Place) -> None:
    for _ in range(3):
        label = place.hold()
        before = len(place.ledger("approved"))
        mails = [
            place.write(name, "gateway", f"approve {label}\n", subject="x")
            for name in ("awa", "bo")
        ]
        barrier = Barrier(2)
        replies: list[str] = []

        def send(mail: bytes, barrier: Barrier = barrier, replies: list[str] = replies) -> None:
            barrier.wait()
            replies.append(place.submit(mail, f"gateway@{DOMAIN}"))

        threads = [Thread(target=send, args=(mail,)) for mail in mails]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert replies == ["250 2.0.0"] * 2
        assert len(place.ledger("approved")) == before + 1
        answers = [one.text for one in place.told() if one.template == "answer"]
        assert sorted("was approved already" in " ".join(one.split()) for one in answers) == [
            False, True,
        ]  # fmt: skip
        with place.app.database.reading() as session:
            posting_id = holds.get(session, label).posting_id
            query = select(func.count()).where(OutboxEntry.posting_id == posting_id)
            assert session.scalar(query) == 5


def test_a_strict_or_urgent_posting_that_was_held_waits_for_no_digest(place: Place) -> None:
    for text, state in (
        ("84 tusks.\n", Delivery.COLLECTED),
        ("TLP:AMBER+STRICT\n\n84 tusks.\n", Delivery.WAITING),
        (URGENT, Delivery.WAITING),
    ):
        place.set_member("cy", delivery=DeliveryMode.DAILY)
        label = place.hold(text=text)
        place.say("awa", f"approve {label}")
        assert place.copies(label)["cy"] is state


def test_nothing_goes_to_a_closed_list_or_from_a_suspended_author(place: Place) -> None:
    label = place.hold()
    place.set_member("ana", state=State.SUSPENDED)
    told = " ".join(place.say("awa", f"approve {label}").split())
    assert "ana@customs.example is suspended; restore the member, or reject it" in told
    place.set_member("ana", state=State.ACTIVE)
    place.set_list("wildlife", closed_at=place.app.clock())
    assert "wildlife is closed" in place.say("awa", f"approve {label}")
    assert place.decision(label) is Decision.OPEN


def test_what_reads_as_red_is_not_approved(place: Place) -> None:
    label = place.hold(text="tlp: red\n\nInformant.\n")
    told = " ".join(place.say("awa", f"approve {label}").split())
    assert "it is marked TLP:RED, which never goes to a list" in told
    with place.app.database.reading() as session:
        posting = holds.get(session, label).posting.label
    place.say("ana", f"mark {posting} TLP:AMBER")
    assert "is approved" in place.say("awa", f"approve {label}")


def test_reading_a_hold_encloses_it_and_is_in_the_ledger(place: Place) -> None:
    label = place.hold()
    text = place.say("awa", f"show {label}")
    assert "Ivory at Mombasa" in text
    with place.app.database.reading() as session:
        answers = select(Notice.enclosed).where(Notice.template == "answer")
        enclosed = session.scalars(answers.order_by(Notice.id.desc())).first()
        posting = holds.get(session, label).posting
        awa = member.get(session, "awa@customs.example")
        assert enclosed == str(posting.id)
        assert place.ledger("read")[-1] == {"posting": posting.label, "hold": label, "by": awa.id}


# Two moderators


def test_a_list_may_want_two_moderators(place: Place) -> None:
    place.set_list("wildlife", moderators_needed=2)
    label = place.hold()
    assert "once another moderator approves it" in " ".join(
        place.say("awa", f"approve {label}").split()
    )
    assert set(place.said("approval-needed")) == {"bo"}
    assert place.copies(label) == {}
    assert "you approved" in place.say("awa", f"approve {label}")
    assert place.decision(label) is Decision.OPEN
    assert "Approved by Awa Diop" in place.say("bo", "held")
    assert "is approved" in place.say("bo", f"approve {label}")
    told = {one.to: " ".join(one.text.split()) for one in place.told()}
    assert set(told) == {"ana", "awa"}
    both = "Awa Diop <awa@customs.example>, Bo Berg <bo@customs.example>"
    assert f"{label} was approved by {both}" in told["awa"]
    assert len(place.copies(label)) == 5


def test_a_posting_made_laxer_is_to_be_approved_anew(place: Place) -> None:
    place.set_list("wildlife", moderators_needed=2)
    label = place.hold(text="TLP:AMBER+STRICT\n\nTwo tons.\n")
    place.say("awa", f"approve {label}")
    with place.app.database.reading() as session:
        posting = holds.get(session, label).posting.label
    place.say("ana", f"mark {posting} TLP:AMBER")
    assert "once another moderator approves it" in " ".join(
        place.say("bo", f"approve {label}").split()
    )
    assert place.decision(label) is Decision.OPEN
    assert "is approved" in place.say("awa", f"approve {label}")


def test_one_rejection_decides_where_two_must_approve(place: Place) -> None:
    place.set_list("wildlife", moderators_needed=2)
    label = place.hold()
    place.say("awa", f"approve {label}")
    place.told()
    assert "is rejected" in place.say("bo", f"reject {label} no")
    assert set(place.said("rejected", "decided-by-other")) == {"ana", "awa"}


def test_nothing_is_noted_of_an_approval_that_comes_too_late(place: Place) -> None:
    place.set_list("wildlife", moderators_needed=2)
    label = place.hold()
    place.say("awa", f"reject {label} no")
    place.told()
    assert f"{label} was rejected already" in place.say("bo", f"approve {label}")
    assert place.told() == []


def test_the_approval_of_a_moderator_who_was_suspended_counts_no_more(place: Place) -> None:
    place.set_list("wildlife", moderators_needed=2)
    label = place.hold()
    place.say("awa", f"approve {label}")
    place.set_member("awa", state=State.SUSPENDED)
    assert "once another moderator" in " ".join(place.say("bo", f"approve {label}").split())
    assert "is approved" in place.say("ada", f"approve {label}")


def test_administrators_are_asked_where_there_are_fewer_moderators_than_needed(
    place: Place,
) -> None:
    place.set_list("wildlife", moderators_needed=2)
    place.set_roles("bo")
    place.post("ana")
    assert set(place.said("held-for-moderator")) == {"awa", "ada"}


def test_the_operators_approval_is_enough(place: Place) -> None:
    place.set_list("wildlife", moderators_needed=2)
    label = place.hold()
    place.say("awa", f"approve {label}")
    place.told()
    assert json.loads(place.gateway.environet("hold", "list", "--json"))[-1]["approvals"] == [
        "awa@customs.example"
    ]
    place.gateway.environet("hold", "approve", label)
    assert len(place.copies(label)) == 5
    told = place.said("decided-by-other")
    assert set(told) == {"awa", "bo"}
    assert "was approved by operator" in told["bo"]


def test_an_author_approves_nothing_of_their_own_where_another_moderator_is(place: Place) -> None:
    label = place.hold("awa")
    told = " ".join(place.say("awa", f"approve {label}").split())
    assert "you wrote" in told
    assert "another moderator decides about it" in told
    assert place.decision(label) is Decision.OPEN
    place.set_roles("bo")
    assert "you wrote" in place.say("awa", f"approve {label}")
    place.set_roles("ada")
    assert "is approved" in place.say("awa", f"approve {label}")


# What need not wait


def test_only_moderators_write_to_an_announcement_list(place: Place) -> None:
    place.set_list("wildlife", moderation=Moderation.ANNOUNCEMENT)
    assert place.submit(place.write("ana", "wildlife", "Hello\n"), f"wildlife@{DOMAIN}") == (
        "550 5.7.1"
    )
    for name in ("awa", "ada"):
        place.post(name)
    assert place.told() == []


def test_an_urgent_posting_of_a_trusted_member_goes_out_and_is_shown(place: Place) -> None:
    assert "is trusted on Wildlife" in " ".join(
        place.say("awa", "trust <Ana@customs.example> on b").split()
    )
    assert "is trusted on wildlife already" in place.say("bo", "trust ana@customs.example B")
    label = place.post("ana", URGENT)
    told = place.told()
    assert {(one.to, one.template, one.enclosed) for one in told} == {
        ("awa", "shown-after", label.removeprefix("B-")),
        ("bo", "shown-after", label.removeprefix("B-")),
    }
    assert f"mark {label} TLP:AMBER+STRICT" in told[0].text
    place.post("ana", "There is time.\n")
    assert set(place.said("held-for-moderator")) == {"awa", "bo"}
    assert "no longer trusted" in place.say("awa", "distrust ana@customs.example on B")
    place.post("ana", URGENT)
    told = place.told()
    assert {one.template for one in told} == {"held", "held-for-moderator"}
    assert any(one.subject.startswith("Urgent: ") for one in told)


def test_trust_ends_a_new_members_moderation_on_that_list_alone(place: Place) -> None:
    place.set_list("wildlife", moderation=Moderation.NEW)
    place.set_list("waste", moderation=Moderation.NEW)
    place.say("ada", "trust cy@customs.example on wildlife")
    place.post("cy")
    assert place.told() == []
    place.post("cy", to="waste")
    assert "held" in {one.template for one in place.told()}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("trust ana@customs.example on A", "you moderate no list A"),
        ("trust ana@customs.example on Z", "you moderate no list Z"),
        ("trust ana@customs.example on wildlife-owner", "you moderate no list wildlife-owner"),
        ("trust nobody@customs.example on B", "nobody@customs.example is no member's address"),
        ("trust ana@customs.example", "write it as: trust ana.lind@customs.example on B"),
        ("distrust ana@customs.example on B", "ana@customs.example is not trusted on wildlife"),
    ],
)
def test_trust_that_can_not_be_given(line: str, told: str, place: Place) -> None:
    assert told in " ".join(place.say("awa", line).split())


# Markings


def test_a_moderator_makes_a_marking_stricter_and_the_author_is_told(place: Place) -> None:
    place.set_list("wildlife", moderation=Moderation.OPEN)
    place.set_member("cy", delivery=DeliveryMode.DAILY)
    label = place.post("ana")
    number = int(label.removeprefix("B-"))
    assert place.states(number)["cy"] is Delivery.COLLECTED
    answer = " ".join(place.say("awa", f"mark {label} amber strict").split())
    assert f"{label} was TLP:AMBER and is TLP:AMBER+STRICT" in answer
    assert set(place.said("marked")) == {"ana"}
    assert place.states(number)["cy"] is Delivery.WAITING
    changed = place.ledger("marked")[-1]
    assert (changed["before"], changed["after"]) == ("TLP:AMBER", "TLP:AMBER+STRICT")
    with place.app.database.reading() as session:
        wildlife = mailing_list.get(session, "wildlife")
        posting = session.get_one(Posting, number)
        letter = posting_letter(session, place.app, posting, wildlife, place.app.clock())
    assert f"{label}   TLP:AMBER+STRICT".encode() in letter.entity
    told = " ".join(place.say("awa", f"mark {label} TLP:AMBER").split())
    assert f"only its author may make the marking of {label} laxer" in told
    assert "is TLP:GREEN" in place.say("ana", f"mark {label} TLP:GREEN")
    assert place.told() == []


def test_a_marking_that_can_not_be_given(place: Place) -> None:
    place.set_list("wildlife", moderation=Moderation.OPEN)
    label = place.post("ana")
    for who, line, told in (
        ("ana", f"mark {label} TLP:RED", "TLP:RED never goes to a list"),
        ("ana", f"mark {label} TLP:AMBER", f"{label} is TLP:AMBER already"),
        ("ana", f"mark {label} secret", "write it as: mark B-1234 TLP:AMBER+STRICT"),
        ("cy", f"mark {label} TLP:AMBER+STRICT", f"there is no posting {label} of yours"),
        ("cy", "mark B-4711 TLP:AMBER+STRICT", "there is no posting B-4711 of yours"),
    ):
        assert told in " ".join(place.say(who, line).split())


def test_a_reply_laxer_than_its_thread_is_held(place: Place) -> None:
    place.set_list("wildlife", moderation=Moderation.OPEN)
    strict = place.post("ana", "TLP:AMBER+STRICT\n\nInformant.\n")
    with place.app.database.reading() as session:
        first = session.get_one(Posting, int(strict.removeprefix("B-"))).message_id(DOMAIN)
    place.post("bo", "TLP:GREEN\n\nI know them.\n", in_reply_to=first)
    told = place.said("held-for-moderator")
    assert set(told) == {"awa"}
    assert "laxer than that of the thread" in " ".join(told["awa"].split())
    unmarked = place.post("bo", "I know them.\n", in_reply_to=first)
    assert place.told() == []
    with place.app.database.reading() as session:
        reply = session.get_one(Posting, int(unmarked.removeprefix("B-")))
        assert reply.marking == "TLP:AMBER+STRICT"
    assert "the thread of" in place.say("bo", f"mark {unmarked} TLP:GREEN")
    place.post("bo", "Another matter.\n")
    assert place.told() == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("TLP:AMBER+STRICT", Marking.AMBER_STRICT),
        ("tlp: amber strict", Marking.AMBER_STRICT),
        ("Amber-Strict", Marking.AMBER_STRICT),
        ("amber", Marking.AMBER),
        ("TLP:WHITE", Marking.CLEAR),
        ("TLP:GREEN please", None),
        ("AMBER GREEN", None),
        ("", None),
    ],
)
def test_a_marking_is_asked_for_as_people_type(typed: str, meant: Marking | None) -> None:
    assert marking.typed(typed) is meant


def test_a_notice_block_has_its_fields() -> None:
    block = URGENT.replace("\n", "\r\n").replace(
        "kind: alert", "kind :  alert  \r\nno field\r\n: x"
    )
    assert form.of_mail(f"Text.\r\n{block}More.\r\n") == {"kind": "alert", "urgency": "Immediate"}
    for text in (
        URGENT.replace("-----END-----", ""),
        f"Write {URGENT}",
        "".join(f"> {line}\n" for line in URGENT.splitlines()),
        f"-----BEGIN ENV-NOTICE 1-----\nurgency: {'x' * 1001}\n-----END-----\n",
    ):
        assert "urgency" not in form.of_mail(text)


@pytest.mark.timeout(5)
def test_a_hostile_notice_block_costs_little() -> None:
    for line in ("a:" + " " * 30_000 + "x" * 30_000, "a" * 60_000, "a: " * 20_000, ":\n" * 30_000):
        form.of_mail(f"-----BEGIN ENV-NOTICE 1-----\n{line}\n-----END-----\n")


# Forgotten


def test_moderators_are_reminded_after_a_day_and_administrators_after_three(place: Place) -> None:
    first, second = place.hold(), place.hold()
    assert upkeep.run(place.app) == 0
    place.later = timedelta(days=1, minutes=1)
    assert upkeep.run(place.app) == 2
    told = place.told()
    assert [(one.to, one.template) for one in told] == [
        ("awa", "holds-waiting"), ("bo", "holds-waiting"),
    ]  # fmt: skip
    for label in (first, second):
        assert label in told[0].text
    assert upkeep.run(place.app) == 0
    place.later = timedelta(days=3, minutes=1)
    assert upkeep.run(place.app) == 2
    told = place.told()
    assert [(one.to, one.template) for one in told] == [("ada", "holds-escalated")]
    assert first in told[0].text
    assert upkeep.run(place.app) == 0
    assert {one["hold"] for one in place.ledger("escalated")} >= {first, second}
    place.later = timedelta()
    place.say("awa", f"approve {first}")
    assert set(place.said("decided-by-other")) == {"bo", "ada"}


def test_a_moderator_appointed_since_finds_what_is_held(place: Place) -> None:
    label = place.hold()
    place.set_roles("cy", "moderator:B")
    assert label in place.say("cy", "held")


def test_of_many_holds_a_hundred_are_listed(place: Place) -> None:
    place.hold()
    with place.app.database.transaction() as session:
        one = holds.held(session)[0]
        for _ in range(101):
            holds.place(session, one.posting, one.list_id, one.rule, one.held_at)
        assert isinstance(one.mailing_list, MailingList)
    assert "and 2 more." in place.say("awa", "held")
    place.later = timedelta(days=2)
    assert upkeep.run(place.app) == 102
    assert "and 2 more, which" in " ".join(place.said("holds-waiting")["awa"].split())
