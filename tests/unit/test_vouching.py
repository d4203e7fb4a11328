"""A member's next certificate: vouched for, or proposed under the signature of the old one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from gateway.administration import joining
from gateway.crypto import certificate as openpgp
from gateway.errors import BadCertificate, UsageError
from gateway.store import member
from gateway.store.actor import actor_of
from gateway.store.application import Purpose
from gateway.store.member import State
from gateway.upkeep import applications as upkeep
from tests.officers import Officer
from tests.unit.applicants import (
    APPLICATIONS,
    COMMANDS,
    Place,
    Told,
    code_in,
    kinds,
)


def test_a_lost_key_is_vouched_for_and_confirmed(place: Place) -> None:
    old = place.officer("lost", "Lost Key")
    place.gateway.add_member(old, country="KE")
    new = place.officer("lost", "Lost Key")
    typed = " ".join(re.findall("....", new.fingerprint.lower()))
    answer = place.command(place.kip, f"vouch {typed} for {old.address}")
    assert f"suspend {old.address}" in answer
    vouched = next(one for one in place.told() if one.template == "vouched")
    assert (vouched.plain, vouched.attachments) == (True, ("gateway.asc",))
    label = re.search(r"A-\d+", answer)
    assert label is not None
    told = place.write(new, APPLICATIONS, "tick off A\nlanguage fr", [new])
    assert [(one.template, one.sealed_to) for one in told] == [("challenge", new.fingerprint)]
    told = place.write(new, APPLICATIONS, f"code: {code_in(told)}")
    assert ("ada", "application-to-decide") in kinds(told)
    assert place.fingerprint(old) == old.fingerprint
    assert "has the new key now" in place.command(place.ada, f"accept {label[0]}")
    told = [one for one in place.told() if one.template != "answer"]
    assert kinds(told) == [("kip", "certificate-replaced-of"), ("lost", "certificate-replaced")]
    assert place.fingerprint(old) == new.fingerprint
    assert place.submit(place.mail(old, COMMANDS, "help"), COMMANDS) == ["550 5.7.1"]
    assert "help" in place.command(new, "help")
    with place.app.database.reading() as session:
        # A member has commands for that, which nobody but their key gives.
        found = member.get(session, old.address)
        assert (found.ticked_off, found.languages) == ([], "")


def test_a_contact_point_vouches_in_its_own_country_alone(place: Place) -> None:
    new = place.officer("bo@police.example")
    line = f"vouch {new.fingerprint} {new.address}"
    assert "no member of your country" in place.command(place.kip, line)
    nobody = place.command(place.kip, line.replace("bo@", "nobody@"))
    assert "no member of your country" in nobody
    assert "is asked to send" in place.command(place.ada, line)
    assert "write it as" in place.command(place.ada, f"vouch {new.fingerprint}")
    assert "has that key already" in place.command(
        place.ada, f"vouch {place.bo.fingerprint} for {place.bo.address}"
    )


def test_the_vouched_for_fingerprint_is_the_only_one(place: Place) -> None:
    thief = place.officer(place.ana.address)
    new = place.officer(place.ana.address)
    place.command(place.kip, f"vouch {new.fingerprint} for {place.ana.address}")
    told = place.write(thief, APPLICATIONS, "", [thief])
    assert ("kip", "application-amiss") in kinds(told)
    assert "challenge" not in [one.template for one in told]


def test_a_suspended_member_gets_a_vouched_for_key_and_stays_suspended(place: Place) -> None:
    old, new = place.officer("stolen"), place.officer("stolen")
    place.gateway.add_member(old, country="KE")
    place.gateway.environet("member", "suspend", old.address)
    place.command(place.kip, f"vouch {new.fingerprint} for {old.address}")
    told = place.write(new, APPLICATIONS, "", [new])
    assert told[0].regardless
    place.write(new, APPLICATIONS, f"code: {code_in(told)}")
    (label,) = place.open_labels()
    assert "suspended still" in place.command(place.ada, f"accept {label}")
    assert (place.state(old), place.fingerprint(old)) == (State.SUSPENDED, new.fingerprint)


def _propose(place: Place, old: Officer, new: Officer) -> list[Told]:
    place.told()
    with place.app.database.transaction() as session:
        found = member.get(session, old.address)
        certificate = openpgp.read(new.certificate)
        by = actor_of(found)
        joining.propose(session, place.app, found, certificate, Purpose.REPLACE, by)
    return place.told()


def test_a_proposed_certificate_replaces_the_old_one_once_it_is_proved(place: Place) -> None:
    old, new = place.officer("renewing"), place.officer("renewing")
    place.gateway.add_member(old, country="KE")
    told = _propose(place, old, new)
    assert [(one.template, one.sealed_to) for one in told] == [("challenge", new.fingerprint)]
    # Signed with the old one, as mail programs do: it says nothing of the new one.
    answer = f"code: {code_in(told)}"
    assert kinds(place.write(old, APPLICATIONS, answer)) == [("renewing", "application-help")]
    assert place.fingerprint(old) == old.fingerprint
    told = place.write(new, APPLICATIONS, answer)
    assert kinds(told) == [
        ("kip", "certificate-replaced-of"), ("renewing", "certificate-replaced"),
    ]  # fmt: skip
    assert place.fingerprint(old) == new.fingerprint
    assert place.open_labels() == []


def test_a_newer_proposal_takes_the_place_of_the_older(place: Place) -> None:
    old, first, second = (place.officer("changing") for _ in range(3))
    place.gateway.add_member(old, country="KE")
    code = code_in(_propose(place, old, first))
    newer = code_in(_propose(place, old, second))
    place.write(first, APPLICATIONS, f"code: {code}")
    assert place.fingerprint(old) == old.fingerprint
    place.write(second, APPLICATIONS, f"code: {newer}")
    assert place.fingerprint(old) == second.fingerprint


def test_a_stolen_key_can_not_undo_what_a_contact_point_vouches_for(place: Place) -> None:
    old, new, thief = (place.officer("robbed") for _ in range(3))
    place.gateway.add_member(old, country="KE")
    code = code_in(_propose(place, old, thief))
    place.command(place.kip, f"vouch {new.fingerprint} for {old.address}")
    place.write(thief, APPLICATIONS, f"code: {code}")
    with pytest.raises(UsageError, match="vouches for another"):
        _propose(place, old, thief)
    assert place.fingerprint(old) == old.fingerprint


def test_who_is_suspended_meanwhile_does_not_get_a_new_certificate(place: Place) -> None:
    old, thief = place.officer("halted"), place.officer("halted")
    place.gateway.add_member(old, country="KE")
    code = code_in(_propose(place, old, thief))
    place.gateway.environet("member", "suspend", old.address)
    place.write(thief, APPLICATIONS, f"code: {code}")
    assert place.fingerprint(old) == old.fingerprint
    # Nor once they are restored: the gateway has ended it.
    assert upkeep.run(place.app) == 1
    place.gateway.environet("member", "restore", old.address)
    place.write(thief, APPLICATIONS, f"code: {code}")
    assert place.fingerprint(old) == old.fingerprint


def test_nobody_confirms_their_own_new_key(place: Place) -> None:
    old, new = place.officer("boss"), place.officer("boss")
    place.gateway.add_member(old, country="CH", roles=["administrator"])
    place.command(place.ada, f"vouch {new.fingerprint} for {old.address}")
    told = place.write(new, APPLICATIONS, "", [new])
    place.write(new, APPLICATIONS, f"code: {code_in(told)}")
    (label,) = place.open_labels()
    assert "another administrator decides" in place.command(old, f"accept {label}")
    assert "has the new key now" in place.command(place.ada, f"accept {label}")
    place.gateway.environet("member", "remove", old.address)


def test_what_is_proposed_is_checked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = place.officer("checked"), place.officer("checked")
    place.gateway.add_member(old, country="KE")
    for wrong, why in ((old, "have here already"), (place.officer("else"), "no user ID")):
        with pytest.raises(UsageError, match=why):
            _propose(place, old, wrong)
    now = datetime.now(UTC)
    expired = place.officer("checked", created=now - timedelta(days=9),
                            expires=now - timedelta(days=1))  # fmt: skip
    with pytest.raises(BadCertificate, match="expired"):
        _propose(place, old, expired)
    monkeypatch.setattr(joining, "MOST_REPLACEMENTS", 1)
    _propose(place, old, new)
    with pytest.raises(UsageError, match="go on tomorrow"):
        _propose(place, old, new)


def test_a_member_is_told_once_of_a_key_that_they_have_not_proved(place: Place) -> None:
    old, new = place.officer("lazy"), place.officer("lazy")
    place.gateway.add_member(old, country="KE")
    _propose(place, old, new)
    told = place.pass_time(days=15)
    assert kinds(told) == [("lazy", "application-unanswered")]
    assert (told[0].sealed_to, told[0].plain, new.fingerprint in told[0].text) == ("", False, True)
    assert "decline" not in told[0].text
    assert place.pass_time(days=30) == []
