"""The policy table: each rule, what comes before what, and that it always decides."""

from dataclasses import fields, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.posting.notice import REASONS
from gateway.posting.policy import POLICY, Action, Facts, decide

GOOD = Facts(encrypted=True, author_known=True, signature_window=timedelta(days=7))


@pytest.mark.parametrize(
    ("change", "rule", "action"),
    [
        ({}, "accept", Action.ACCEPT),
        ({"robot": True}, "robot", Action.DISCARD),
        ({"encrypted": False}, "not-encrypted", Action.REFUSE),
        ({"encrypted": False, "signed_only_allowed": True}, "accept", Action.ACCEPT),
        ({"author_known": False}, "no-good-signature", Action.REFUSE),
        ({"names_other_list": True}, "for-another-list", Action.REFUSE),
        ({"seen_elsewhere": True, "seen_on_this_list": True}, "retry", Action.IGNORE),
        ({"seen_elsewhere": True}, "replay", Action.REFUSE),
        ({"seen_elsewhere": True, "named_for_this_list": True}, "accept", Action.ACCEPT),
        ({"red": True}, "red", Action.REFUSE),
        ({"announcement_only": True}, "announcement-only", Action.REFUSE),
        ({"malformed_marking": True}, "malformed-marking", Action.HOLD),
        ({"laxer_than_thread": True}, "laxer-than-thread", Action.HOLD),
        ({"names_strangers_only": True}, "signed-for-others", Action.HOLD),
        ({"signed_before_restore": True}, "signed-before-restore", Action.HOLD),
        ({"signature_age": timedelta(days=8)}, "signature-age", Action.HOLD),
        ({"over_rate": True}, "rate", Action.HOLD),
        ({"over_rate": True, "far_over_rate": True}, "far-over-rate", Action.REFUSE),
        ({"from_a_list": True}, "accept", Action.ACCEPT),
        ({"from_a_list": True, "author_known": False}, "from-a-list", Action.DISCARD),
        ({"from_a_list": True, "written_by_a_list": True}, "from-a-list", Action.DISCARD),
        ({"list_moderated": True}, "moderated-list", Action.HOLD),
        ({"author_moderated": True}, "new-member", Action.HOLD),
        ({"urgent_and_trusted": True, "list_moderated": True}, "urgent", Action.ACCEPT),
        # Nothing would have held it, so nobody is shown it.
        ({"urgent_and_trusted": True}, "accept", Action.ACCEPT),
    ],
)
def test_each_rule(change: dict[str, object], rule: str, action: Action) -> None:
    decided = decide(replace(GOOD, **change))  # type: ignore[arg-type]
    assert (decided.name, decided.action) == (rule, action)


def test_a_cross_posting_to_a_moderated_list_is_held() -> None:
    facts = replace(GOOD, seen_elsewhere=True, named_for_this_list=True, list_moderated=True)
    assert decide(facts).action is Action.HOLD


@pytest.mark.parametrize(
    "fault",
    [
        {"malformed_marking": True},
        {"laxer_than_thread": True},
        {"names_strangers_only": True},
        {"signed_before_restore": True},
        {"signature_age": timedelta(days=8)},
        {"over_rate": True},
    ],
)
def test_urgency_excuses_from_moderation_alone(fault: dict[str, object]) -> None:
    facts = replace(GOOD, urgent_and_trusted=True, list_moderated=True, **fault)  # type: ignore[arg-type]
    assert decide(facts).action is Action.HOLD


def test_moderators_are_shown_what_went_out_without_them() -> None:
    assert {rule.name for rule in POLICY if rule.shown} == {"urgent"}


booleans = {one.name: st.booleans() for one in fields(Facts) if one.type == "bool"}


@given(
    st.builds(Facts, **booleans, signature_age=st.timedeltas(), signature_window=st.timedeltas())
)
def test_it_always_decides_and_takes_nobody_unknown(facts: Facts) -> None:
    rule = decide(facts)
    assert rule in POLICY
    assert rule.action in (Action.REFUSE, Action.DISCARD) or facts.author_known
    assert rule.action is not Action.ACCEPT or facts.encrypted or facts.signed_only_allowed


def test_every_refusal_has_a_permanent_reply_and_strangers_get_one_text() -> None:
    for rule in POLICY:
        assert (rule.reply is not None) == (rule.action is Action.REFUSE)
        # But for what would be taken an hour later.
        is_permanent = rule.reply is None or 500 <= rule.reply.code < 600
        assert is_permanent == (rule.name != "far-over-rate")
    assert len({rule.name for rule in POLICY}) == len(POLICY)


def test_every_rule_that_an_author_may_hear_of_has_its_words() -> None:
    told = {rule.name for rule in POLICY if rule.action in (Action.HOLD, Action.REFUSE)}
    assert set(REASONS) == told
