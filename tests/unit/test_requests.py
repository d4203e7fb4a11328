"""Requests to a topic's experts: who reads them, and that none is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from gateway.store import member
from gateway.store import request as requests
from gateway.store.member import MemberRole, Role, State
from gateway.upkeep import requests as upkeep
from tests.unit.group import Group

ROLES = {
    "ana": (),
    "bo": (),
    "mei": ("expert:B",),
    "eva": ("expert:B",),
    "cy": ("expert:A",),
    "awa": ("moderator:B",),
    "ada": ("administrator",),
}
DAYS = timedelta(days=1)


@pytest.fixture(scope="module")
def founded() -> Iterator[Group]:
    with Group(ROLES) as made:
        yield made


@pytest.fixture
def group(founded: Group) -> Group:
    """As it was founded, with no request open and nothing on its way."""
    founded.later = timedelta()
    for name in ROLES:
        founded.set_member(name, state=State.ACTIVE)
    with founded.app.database.transaction() as session:
        for one in requests.open_requests(session):
            one.closed_at = founded.app.clock()
    founded.deliver()
    return founded


def asked(group: Group, *, forget: bool = True) -> str:
    """Ana's question to the experts; its label."""
    label = group.post("ana", "wildlife-experts", text="Raw or worked ivory?\n")
    if forget:
        group.deliver()
    return label


def who(group: Group, *kinds: str) -> dict[str, str]:
    """Who gets something of these kinds now -> its subject."""
    return {one.to: one.subject for one in group.deliver() if one.kind in kinds}


def upkept(group: Group, later: timedelta) -> dict[str, tuple[str, str]]:
    """Who is told what, so much later: name -> (subject, words)."""
    group.later += later
    upkeep.run(group.app)
    return {one.to: (one.subject, one.words) for one in group.deliver()}


def open_labels(group: Group) -> list[str]:
    with group.app.database.reading() as session:
        return [one.label for one in requests.open_requests(session)]


def test_a_question_reaches_the_experts_and_opens_a_request(group: Group) -> None:
    label = asked(group, forget=False)
    got = group.deliver()
    copies = {one.to for one in got if one.kind == "wildlife-experts"}
    assert copies == {"ana", "mei", "eva"}
    (notice,) = [one for one in got if one.kind == "notice"]
    assert (notice.to, f"your request {label}" in notice.words) == ("ana", True)
    assert f"    answered {label}\n" in notice.text
    assert "Ivory at Mombasa" in notice.text
    assert open_labels(group) == [label]
    assert group.ledger("request-opened")[-1]["posting"] == label


def test_answers_go_to_who_asked_and_to_the_experts_and_open_nothing(group: Group) -> None:
    asked(group, forget=False)
    question = next(one for one in group.deliver() if one.to == "mei")
    group.post("mei", "wildlife-experts", text="Worked.\n", in_reply_to=question.message_id)
    got = group.deliver()
    assert {(one.to, one.kind) for one in got} == {
        (name, "wildlife-experts") for name in ("ana", "mei", "eva")
    }
    assert all(one.reading.outer["In-Reply-To"] == question.message_id for one in got)
    assert len(open_labels(group)) == 1


def test_who_asked_a_topic_or_its_moderators_has_no_request(group: Group) -> None:
    group.post("ana", "wildlife")
    group.post("ana", "wildlife-owner")
    assert open_labels(group) == []


def test_a_question_that_is_held_is_a_request_once_it_is_approved(group: Group) -> None:
    label = group.post("ana", "wildlife-experts", subject="tlp: amber Ivory")
    assert open_labels(group) == []
    said = group.say("ada", "held")
    hold = next(word for word in said.split() if word.startswith("H-"))
    group.say("ana", f"mark {label} TLP:AMBER")
    assert "is approved" in group.say("awa", f"approve {hold}")
    assert open_labels(group) == [label]


def test_a_question_to_two_topics_is_a_request_to_each(group: Group) -> None:
    label = group.post("ana", "wildlife-experts", "waste-experts")
    assert open_labels(group) == [label, label]
    assert "closed as answered" in group.say("cy", f"answered {label}")
    assert open_labels(group) == [label]
    assert label in group.say("mei", "open requests")
    assert "No request is open" in group.say("cy", "open requests")


# Closing


def test_who_asked_closes_it_and_whoever_answered_is_told(group: Group) -> None:
    label = asked(group, forget=False)
    question = next(one for one in group.deliver() if one.to == "mei")
    group.post("mei", "wildlife-experts", in_reply_to=question.message_id)
    group.deliver()
    said = group.say("ana", f"answered {label.lower().replace('-', '')}")
    assert f"The request {label} is closed as answered." in said
    assert [(one.to, one.subject) for one in group.told] == [
        ("mei", f"[ENVIRONET] The request {label} is answered")
    ]
    assert open_labels(group) == []
    assert "was closed already, on 20" in group.say("ana", f"answered {label}")


def test_an_expert_closes_it_by_the_label_of_an_answer_and_who_asked_is_told(group: Group) -> None:
    label = asked(group, forget=False)
    question = next(one for one in group.deliver() if one.to == "eva")
    answer = group.post("eva", "wildlife-experts", in_reply_to=question.message_id)
    assert f"The request {label} is closed" in group.say("eva", f"answered {answer}")
    assert [one.to for one in group.told] == ["ana"]
    assert "Eva Berg" in group.told[0].words


@pytest.mark.parametrize("stranger", ["bo", "cy", "awa"])
def test_others_do_not_learn_that_there_is_a_request(group: Group, stranger: str) -> None:
    label = asked(group)
    said = group.say(stranger, f"answered {label}", "answered B-999999", "open requests")
    assert f"there is no posting '{label}'" in said
    assert "there is no posting 'B-999999'" in said
    assert "No request is open" in said
    assert open_labels(group) == [label]


def test_a_posting_that_is_no_request_can_not_be_closed(group: Group) -> None:
    label = group.post("ana", "wildlife")
    assert f"{label} is no request that you may close" in group.say("ana", f"answered {label}")


def test_open_requests_lists_those_to_me_and_mine_and_all_to_administrators(group: Group) -> None:
    label = asked(group)
    for name in ("ana", "mei"):
        said = group.say(name, "open requests")
        assert f"{label} Wildlife, asked on" in said
        assert "Ivory at Mombasa" in said
    # Administrators see that it is there, and not what it is about.
    said = group.say("ada", "open requests")
    assert label in said
    assert "Ivory" not in said


# What time does


def test_experts_are_reminded_once_at_half_its_time(group: Group) -> None:
    label = asked(group)
    assert upkept(group, 1.4 * DAYS) == {}
    told = upkept(group, 0.2 * DAYS)
    assert set(told) == {"mei", "eva"}
    subject, words = told["mei"]
    assert subject == f"[ENVIRONET] Nobody has answered the request {label} yet"
    assert "Ivory at Mombasa" in words
    assert f"get {label}" in words
    assert upkept(group, 0.2 * DAYS) == {}


def test_it_is_escalated_once_at_the_end_without_what_it_is_about(group: Group) -> None:
    label = asked(group)
    upkept(group, 2 * DAYS)
    told = upkept(group, 1.1 * DAYS)
    assert set(told) == {"ana", "awa", "ada"}
    for name in ("awa", "ada"):
        subject, words = told[name]
        assert subject == f"[ENVIRONET] The request {label} is not answered"
        assert "Ana Berg (Inspectorate, KE)" in words
        assert "Ivory" not in words
        assert "Raw" not in words
    assert "is with the moderators now" in told["ana"][0]
    assert upkept(group, 30 * DAYS) == {}
    assert open_labels(group) == [label]
    assert group.ledger("request-escalated")[-1] == {
        "answers": 0, "by": "gateway", "list": "wildlife-experts", "posting": label,
    }  # fmt: skip


def test_a_gateway_that_was_down_all_the_time_reminds_and_escalates(group: Group) -> None:
    asked(group)
    assert set(upkept(group, 10 * DAYS)) == {"ana", "mei", "eva", "awa", "ada"}


def test_who_asked_is_reminded_where_somebody_has_answered(group: Group) -> None:
    label = asked(group, forget=False)
    question = next(one for one in group.deliver() if one.to == "mei")
    group.post("mei", "wildlife-experts", in_reply_to=question.message_id)
    group.deliver()
    told = upkept(group, 2 * DAYS)
    assert set(told) == {"ana"}
    assert told["ana"][0] == f"[ENVIRONET] Is your request {label} answered?"
    assert "so far: 1" in told["ana"][1]


def test_a_closed_request_is_left_alone(group: Group) -> None:
    label = asked(group)
    group.say("ana", f"answered {label}")
    assert upkept(group, 10 * DAYS) == {}


def test_of_two_rounds_at_once_one_reminds(group: Group) -> None:
    """The second one finds the row as the first one left it."""
    asked(group)
    group.later = 2 * DAYS
    with group.app.database.reading() as session:
        (due,) = requests.unescalated(session)
    upkeep.run(group.app)
    assert len(group.deliver()) == 2
    upkeep._follow_up(group.app, due.posting_id, due.list_id)
    assert group.deliver() == []


def test_a_suspended_asker_is_told_nothing_but_the_request_is_followed(group: Group) -> None:
    asked(group)
    group.set_member("ana", state=State.SUSPENDED)
    assert set(upkept(group, 10 * DAYS)) == {"mei", "eva", "awa", "ada"}


# Expertise


def test_a_member_declares_expertise_and_reads_what_is_asked_from_then_on(group: Group) -> None:
    said = group.say("bo", "expertise B  ivory, rosewood")
    assert "You are an expert of Wildlife: ivory, rosewood." in said
    asked(group, forget=False)
    assert set(who(group, "wildlife-experts")) == {"ana", "mei", "eva", "bo"}
    said = group.say("ana", "experts wildlife")
    assert "Bo Berg, Inspectorate, Kenya (KE) ivory, rosewood" in said
    assert "Mei Berg" in said
    assert "Cy Berg" not in said
    assert "@customs.example" not in said
    group.say("bo", "expertise B rosewood alone")
    assert "rosewood alone" in group.say("ana", "experts")
    assert "no expert of Wildlife any more" in group.say("bo", "expertise b None")
    asked(group, forget=False)
    assert set(who(group, "wildlife-experts")) == {"ana", "mei", "eva"}
    assert "you are no expert of Wildlife" in group.say("bo", "expertise B none")
    assert len(group.ledger("expertise-declared")) == 2
    assert all("rosewood" not in str(one) for one in group.ledger("expertise-declared"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("expertise", "write it as: expertise B ivory, rosewood"),
        ("expertise B", "say what you know about, in at most 300 characters"),
        ("expertise B " + "x" * 301, "say what you know about, in at most 300 characters"),
        ("expertise Z ivory", "there is no list 'Z'"),
    ],
)
def test_expertise_that_says_nothing_is_refused(group: Group, line: str, says: str) -> None:
    assert says in group.say("bo", line)
    assert "Bo Berg" not in group.say("ana", "experts")


def test_experts_of_a_list_by_invitation_are_the_invited_ones_business(group: Group) -> None:
    group.gateway.environet(
        "list", "add", "op-coral", "--letter", "OPC", "--title", "Coral",
        "--invite", group.officers["mei"].address,
    )  # fmt: skip
    assert "You are an expert of Coral" in group.say("mei", "expertise OPC corals")
    with group.app.database.transaction() as session:
        # For all topics, but not invited.
        cy = member.get(session, group.officers["cy"].address)
        cy.roles.append(MemberRole(role=Role.EXPERT, words="everything"))
    said = group.say("mei", "experts OPC", "experts B")
    assert "corals" in said
    assert said.count("everything") == 1
    said = group.say("ana", "experts", "experts OPC", "expertise OPC corals")
    assert "corals" not in said.replace("expertise OPC corals", "")
    assert said.count("there is no list 'OPC'") == 2


def test_who_was_taken_off_a_list_hears_nothing_more_of_its_experts(group: Group) -> None:
    group.gateway.environet(
        "list", "add", "op-reef", "--letter", "OPR", "--title", "Reef",
        "--invite", group.officers["mei"].address, "--invite", group.officers["ana"].address,
    )  # fmt: skip
    group.say("mei", "expertise OPR reefs")
    group.deliver()
    group.post("ana", "op-reef-experts", subject="Who knows the vessel")
    asked_of = {one.to: one for one in group.deliver()}
    group.gateway.environet("list", "invite", "--out", "OPR", group.officers["ana"].address)
    group.deliver()
    answered = asked_of["mei"].message_id
    group.post("mei", "op-reef-experts", subject="Re: Who knows the vessel", in_reply_to=answered)
    assert "ana" not in {one.to for one in group.deliver() if one.kind == "op-reef-experts"}


# The operator


def test_the_operator_lists_and_closes_requests(group: Group) -> None:
    label = asked(group)
    (row,) = json.loads(group.gateway.environet("request", "list", "--json"))
    assert (row["posting"], row["list"], row["answers"]) == (label, "wildlife-experts", 0)
    assert "ana@customs.example" in group.gateway.environet("request", "list")
    assert f"{label} is closed." in group.gateway.environet("request", "close", label)
    assert group.gateway.environet("request", "list") == "No request is open.\n"
    assert [one.to for one in group.deliver()] == ["ana"]
