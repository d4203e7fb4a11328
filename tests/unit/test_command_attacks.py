"""What somebody who carries, quotes or only knows of a mail can't have done with it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from gateway.message.armor import dearmor
from gateway.store import member
from gateway.store.member import Member, State
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.store.posting import Posting
from tests.gateway import DOMAIN
from tests.unit.group import Group

ROLES = {
    "ada": ("administrator",),
    "eli": ("administrator",),
    "kip": ("contact-point",),
    "bo": (),
    "eve": (),
    "mei": ("expert:B",),
}


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group(ROLES) as made:
        yield made


def roles_of(group: Group, name: str) -> list[str]:
    with group.app.database.reading() as session:
        return [str(one.role) for one in member.get(session, group.officers[name].address).roles]


def state_of(group: Group, name: str) -> State:
    with group.app.database.reading() as session:
        return member.get(session, group.officers[name].address).state


def test_the_rest_of_a_quoted_line_that_a_program_broke_is_not_run(group: Group) -> None:
    order = f"role add administrator {group.officers['eve'].address}"
    group.say("ada", "help", "", f"> {'x' * 70}", order, f"> {'y' * 20}")
    assert roles_of(group, "eve") == []


def test_a_certificate_outside_the_signature_is_nobodys(group: Group) -> None:
    """Whoever carries an administrator's mail adds an Autocrypt field, and gets no member in."""
    eve = group.officers["eve"]
    keydata = base64.b64encode(dearmor(eve.certificate.strip(), "PUBLIC KEY BLOCK")).decode()
    mail = group.write(
        "ada", "gateway", subject="commands",
        text="member add\nname: Zoe Ng\naddress: zoe@customs.example\n"
        "organisation: Agency\ncountry: KE\n",
        headers={"Autocrypt": f"addr={group.officers['ada'].address}; keydata={keydata}"},
    )  # fmt: skip
    assert group.submit(mail, "gateway") == ["250 2.0.0"]
    group.deliver()
    with group.app.database.reading() as session:
        found = session.scalar(select(Member).where(Member.address == "zoe@customs.example"))
    assert found is None


def test_a_desks_thread_is_not_entered_by_its_message_id(group: Group) -> None:
    label = group.post("bo", "environet", text="Who is it?\n")
    answer = group.post(
        "ada", "environet", text="We suspect Eve.\n",
        in_reply_to=f"<{token_of(group, label)}@{DOMAIN}>",
    )  # fmt: skip
    group.post(
        "eve", "environet", text="Hello?\n", in_reply_to=f"<{token_of(group, answer)}@{DOMAIN}>"
    )
    group.deliver()
    assert "there is no posting" in group.say("eve", f"get {answer}")
    assert "there is no posting" in group.say("eve", f"get {label}")
    assert "We suspect Eve." in group.ask("bo", f"get {answer}").text


def token_of(group: Group, label: str) -> str:
    with group.app.database.reading() as session:
        return session.get_one(Posting, int(label.rpartition("-")[2])).token


def test_who_is_no_expert_any_more_gets_nothing_that_waits(group: Group) -> None:
    label = group.post("bo", "wildlife-experts")
    group.gateway.environet("member", "role", group.officers["mei"].address, "--drop", "expert:B")
    try:
        with group.app.database.reading() as session:
            states = session.scalars(
                select(OutboxEntry.state)
                .join(Member)
                .where(
                    Member.address == group.officers["mei"].address,
                    OutboxEntry.posting_id == int(label.rpartition("-")[2]),
                )
            ).all()
        assert states == [Delivery.DROPPED]
    finally:
        group.gateway.environet(
            "member", "role", group.officers["mei"].address, "--add", "expert:B"
        )


def test_a_contact_point_suspends_no_administrator(group: Group) -> None:
    said = group.say("kip", f"suspend {group.officers['eli'].address}")
    assert "is no member of your country" in said
    assert state_of(group, "eli") is State.ACTIVE


def test_a_subject_that_answers_another_orders_nothing(group: Group) -> None:
    order = f"Re: suspend {group.officers['bo'].address}"
    mail = group.write("ada", "gateway", subject=order, text="Thank you\n")
    assert group.submit(mail, "gateway") == ["250 2.0.0"]
    group.deliver()
    assert state_of(group, "bo") is State.ACTIVE


def test_a_question_asked_twice_is_answered_once(group: Group) -> None:
    said = group.say("ada", "ledger verify", "ledger verify")
    assert said.count("The same as above.") == 1


def test_a_taken_mail_goes_to_no_other_list_by_the_key_alone(group: Group) -> None:
    """A list's desks share its key: what a program signs as intended fits them all."""
    mail = group.write("bo", "wildlife-experts", text="Is it ivory?\n", protected=False)
    assert group.submit(mail, "wildlife-experts") == ["250 2.0.0"]
    assert group.submit(mail, "wildlife") == ["550 5.7.1"]
