"""Queries that show how to search: the help shows them, and a test finds something with each."""

from __future__ import annotations

from gateway.errors import N_

EXAMPLES = (
    ("ivory container", N_("Both words, in any form: also “containers”.")),
    ('"false bottom"', N_("The words next to each other, in this order.")),
    ("rosewood OR ivory", N_("One of the two, or both.")),
    ("ivory -rhino", N_("The first without the second.")),
    ("(rosewood OR ivory) pointe-noire", N_("Parentheses say what belongs together.")),
    ("subject:seizure from:ana", N_("In the subject; by an author: name, organisation, address or "
                                    "country code.")),
    ("ivory topic:B", N_("On one topic, by its letter or its name.")),
    ("has:attachment filename:manifest", N_("With an attachment; by a word of its file name.")),
    ("ivory after:2025-03 before:2100", N_("Since a year, a month or a day, and before another; "
                                           "from one to another: date:2026-03..2026-05.")),
    ("thread:B-1 marking:amber", N_("In the thread of a posting; by its marking.")),
)  # fmt: skip
"""(query, msgid of what it finds)."""
