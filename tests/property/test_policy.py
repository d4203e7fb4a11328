"""Whatever is known of a mail, the policy decides, and none but a member's gets through."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.posting.policy import Action, Facts, decide

GOOD = Facts(encrypted=True, author_known=True, signature_window=timedelta(days=7))
FLAGS = [one.name for one in fields(Facts) if one.type == "bool"]
AGES = st.integers(-100, 100).map(lambda days: timedelta(days=days))


@given(
    st.sampled_from([GOOD, Facts()]),
    st.sets(st.sampled_from(FLAGS), max_size=4) | st.sets(st.sampled_from(FLAGS)),
    AGES,
)
def test_the_policy_always_decides(facts: Facts, turned: set[str], age: timedelta) -> None:
    changes: dict[str, Any] = {name: not getattr(facts, name) for name in turned}
    facts = replace(facts, signature_age=age, **changes)
    rule = decide(facts)
    assert (rule.reply is not None) == (rule.action is Action.REFUSE)
    if rule.action in (Action.ACCEPT, Action.HOLD):
        assert facts.author_known
        assert facts.encrypted or facts.signed_only_allowed
        assert not any((facts.malformed, facts.robot, facts.red, facts.too_large))
    if rule.action is Action.ACCEPT:
        assert not facts.malformed_marking
        assert facts.signature_age <= facts.signature_window
