"""A machine that is cut off while it holds leases: the drill `hosts` has all that befalls one."""

from __future__ import annotations

import pytest

from tests import postgresql
from tests.hosts.group import Group
from tests.hosts.network import has_networks
from tests.hosts.trial import HARMS, trial


@pytest.mark.skipif(not has_networks(), reason="needs root, ip netns and nft for several hosts")
@pytest.mark.skipif(not postgresql.programs(), reason="needs PostgreSQL")
def test_others_take_over_from_a_machine_that_is_cut_off_and_it_comes_back() -> None:
    cut = next(one for one in HARMS if one.name == "cut from everything")
    with Group(readers=24, seconds_a_copy=0.2) as group:
        row = trial(group, cut)
    assert row.is_sound, row
