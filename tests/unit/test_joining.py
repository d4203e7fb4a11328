"""Joining: from the nomination to the welcome, and who may do what."""

from __future__ import annotations

import pytest

from gateway.administration import joining
from gateway.store import application as applications
from gateway.store import member
from gateway.store.application import Step
from gateway.store.member import State
from gateway.upkeep import applications as upkeep
from tests.gateway import CommandFailed
from tests.unit.applicants import (
    APPLICATIONS,
    Place,
    code_in,
    kinds,
)

# From the nomination to the welcome


def test_a_nominated_officer_becomes_a_member(place: Place) -> None:
    zoe = place.officer("zoe", "Zoe Mwangi")
    label = place.nominate(zoe, "kind: customs", "language: en")
    assert place.state(zoe) is State.APPLICANT
    told = place.write(zoe, APPLICATIONS, "tick off B, logging\nlanguage: fr\n", [zoe])
    assert kinds(told) == [("zoe", "challenge")]
    assert (told[0].plain, told[0].sealed_to) == (False, zoe.fingerprint)
    assert "B  Wildlife (" in told[0].text
    assert place.step(label) is Step.CHALLENGED
    told = place.write(zoe, APPLICATIONS, f"Here you are.\n\n> code: {code_in(told)}\n")
    assert kinds(told) == [
        ("ada", "application-to-decide"),
        ("kip", "application-to-decide"),
        ("zoe", "application-proved"),
    ]
    to_ada = next(one.text for one in told if one.address == place.ada.address)
    assert zoe.fingerprint in to_ada
    assert f"accept {label}" in to_ada
    to_kip = next(one.text for one in told if one.address == place.kip.address)
    assert f"accept {label}" not in to_kip
    assert "is a member now" in place.command(place.ada, f"accept {label}")
    told = [one for one in place.told() if one.template != "answer"]
    assert kinds(told) == [("kip", "application-decided"), ("zoe", "welcome")]
    welcome = next(one for one in told if one.template == "welcome")
    assert welcome.sealed_to == ""
    assert welcome.attachments == (
        "waste.asc", "wildlife.asc", "lmo.asc", "ozone.asc", "logging.asc", "fishing.asc",
        "general.asc", "gateway.asc",
    )  # fmt: skip
    assert (place.state(zoe), place.fingerprint(zoe)) == (State.ACTIVE, zoe.fingerprint)
    with place.app.database.reading() as session:
        found = member.get(session, zoe.address)
        assert (found.country, str(found.kind), found.language) == ("KE", "customs", "fr")
        assert len(found.ticked_off) == 2
    # It opens with their own key, as any later mail will.
    assert "already" in place.command(place.ada, f"accept {label}")


def test_an_invitation_without_a_certificate_is_plain_and_brings_ours(place: Place) -> None:
    who = place.officer("plain")
    place.told()
    place.command(
        place.kip,
        f"nominate {who.address}\nname: Plain Officer\norganisation: Port Authority\n",
        [place.kip],  # as programs do that attach their user's own certificate
    )
    invitation = next(one for one in place.told() if one.template == "invitation")
    assert (invitation.plain, invitation.regardless) == (True, True)
    assert invitation.attachments == ("gateway.asc",)
    assert "Kip" not in invitation.text
    assert "code:" not in invitation.text


def test_an_invitation_to_a_known_certificate_is_encrypted_and_answered_at_once(
    place: Place,
) -> None:
    who = place.officer("known", "Known Officer")
    form = f"name: Known Officer\naddress: {who.address}\norganisation: Port Authority"
    # The nominator's program attaches the nominator's certificate as well.
    answer = place.command(place.kip, f"nominate\n{form}", [place.kip, who])
    assert who.fingerprint in answer
    told = place.told()
    invitation = next(one for one in told if one.template == "invitation-encrypted")
    assert (invitation.plain, invitation.sealed_to) == (False, who.fingerprint)
    told = place.write(who, APPLICATIONS, f"> code: {code_in([invitation])}\n\ntick off C")
    assert ("ada", "application-to-decide") in kinds(told)


def test_an_administrator_adds_a_member_outright(place: Place) -> None:
    who = place.officer("outright", "Out Right")
    form = f"name: Out Right\naddress: {who.address}\norganisation: Harbour\ncountry: ng\n"
    refusal = place.command(place.ada, f"member add\n{form}")
    assert "attach the certificate" in refusal
    assert "is a member now" in place.command(
        place.ada, f"member add\n{form}tick off: A B\nrole: expert:C\n", [who]
    )
    assert kinds(place.told()) == [("ada", "answer"), ("outright", "welcome")]
    assert place.state(who) is State.ACTIVE
    with place.app.database.reading() as session:
        found = member.get(session, who.address)
        assert (found.country, len(found.ticked_off), len(found.roles)) == ("NG", 2, 1)


def test_a_declined_officer_is_told_with_the_reason_once_it_can_be_encrypted(place: Place) -> None:
    known, unknown = place.officer("known2"), place.officer("unknown2")
    for who, label in ((known, place.proved(known)), (unknown, place.nominate(unknown))):
        answer = place.command(place.ada, f"decline {label} the agency asked us to wait")
        assert "is declined" in answer
        told = [one for one in place.told() if one.template != "answer"]
        assert kinds(told) == sorted(
            [("kip", "application-decided"), (who.address.partition("@")[0], "declined")]
        )
        declined = next(one for one in told if one.template == "declined")
        assert declined.plain == (who is unknown)
        assert ("asked us to wait" in declined.text) == (who is known)
        assert place.state(who) is State.REMOVED
        assert "declined already" in place.command(place.ada, f"accept {label}")
    assert place.nominate(known) != place.nominate(unknown)


def test_labels_are_read_as_people_type_them(place: Place) -> None:
    label = place.proved(place.officer("typed"))
    number = label.removeprefix("A-")
    for one in (f"a{number}", f"A {number}", number, f"a-{number}"):
        assert place.step(one) is Step.PROVED
    assert "no application A-9999" in place.command(place.ada, "accept A-9999")
    assert "write it as: accept A-5" in place.command(place.ada, "accept")
    assert "is a member now" in place.command(place.ada, f"Accept A – {number}.")


# Who may


def test_a_contact_point_nominates_in_its_own_country_alone(place: Place) -> None:
    who = place.officer("abroad")
    form = f"name: Abroad\naddress: {who.address}\norganisation: Port\ncountry: se"
    assert "contact point of KE" in place.command(place.kip, f"nominate\n{form}")
    assert place.state(who) is None
    assert "is nominated" in place.command(place.ada, f"nominate\n{form}")
    assert "abroad" not in place.command(place.kip, "applications")
    assert who.address in place.command(place.ada, "applications")


def test_other_members_see_no_such_commands(place: Place) -> None:
    who = place.officer("unseen")
    label = place.proved(who)
    for line in (f"accept {label}", f"decline {label} no", "applications", "nominate", "vouch 5F"):
        assert "This is no command" in place.command(place.ana, line)
    assert "This is no command" in place.command(place.kip, f"accept {label}")
    assert place.step(label) is Step.PROVED


def test_a_contact_point_ends_its_own_nominations_alone(place: Place) -> None:
    theirs = place.nominate(place.officer("theirs"))
    other = place.nominate(place.officer("other"), "country: KE", by=place.ada)
    assert f"no application {other}" in place.command(place.kip, f"decline {other} mistaken")
    assert "is declined" in place.command(place.kip, f"decline {theirs} mistaken")
    assert (place.step(theirs), place.step(other)) == (Step.DECLINED, Step.INVITED)


def test_nobody_is_nominated_twice_or_as_a_member(place: Place) -> None:
    who = place.officer("twice")
    label = place.nominate(who)
    form = "name: Some One\norganisation: Port\naddress: "
    assert f"nominated already ({label})" in place.command(
        place.kip, f"nominate\n{form}{who.address.upper()}"
    )
    assert "is a member already" in place.command(place.kip, f"nominate\n{form}{place.ana.address}")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("address: zоe@harbour.example", "ASCII"),  # a Cyrillic o
        ("address: zoe(at)harbour.example", "no mail address"),
        ("address: register@environet.example", "gateway's own"),
        ("address:", "a line each for: address"),
        ("fingerprint: 5F2A 91C3", "a whole one has 40"),
        ("kind: navy", "none of customs"),
        ("language: klingon", "no ISO 639-1 code"),
    ],
)
def test_a_nomination_with_a_fault_is_refused_with_words(place: Place, line: str, why: str) -> None:
    form = ["nominate", line, "name: Zoe", "organisation: Port", "address: z@harbour.example"]
    assert why in place.command(place.kip, "\n".join(form))
    with place.app.database.reading() as session:
        assert applications.open_ones(session) == []


def test_a_contact_point_can_not_send_invitations_without_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.nominate(place.officer("first"))
    monkeypatch.setattr(joining, "MOST_NOMINATIONS", 1)
    form = "name: Zoe\norganisation: Port\naddress: second@harbour.example"
    assert "go on tomorrow" in place.command(place.kip, f"nominate\n{form}")
    place.pass_time(days=1)
    assert "is nominated" in place.command(place.kip, f"nominate\n{form}")


def test_nothing_is_accepted_before_it_is_proved(place: Place) -> None:
    who = place.officer("hasty")
    label = place.nominate(who)
    assert "has not proved" in place.command(place.ada, f"accept {label}")
    place.write(who, APPLICATIONS, "", [who])
    assert "has not proved" in place.command(place.ada, f"accept {label}")
    with pytest.raises(CommandFailed, match="has not proved"):
        place.gateway.environet("application", "accept", label)
    assert place.state(who) is State.APPLICANT


# Time


def test_administrators_are_reminded_once_of_what_is_proved(place: Place) -> None:
    label = place.proved(place.officer("waiting"))
    assert place.pass_time(hours=23) == []
    told = place.pass_time(hours=2)
    assert kinds(told) == [("ada", "applications-waiting")]
    assert f"accept {label}" in told[0].text
    assert place.pass_time(days=30) == []
    assert place.step(label) is Step.PROVED


def test_the_nominator_is_told_once_of_who_does_not_answer(place: Place) -> None:
    label = place.nominate(place.officer("silent"))
    own = place.nominate(place.officer("silent2"), "country: SE", by=place.ada)
    assert place.pass_time(days=13) == []
    told = place.pass_time(days=2)
    assert kinds(told) == [("ada", "application-unanswered"), ("kip", "application-unanswered")]
    assert next(one for one in told if one.address == place.kip.address).text.startswith(label)
    assert place.pass_time(days=30) == []
    assert (place.step(label), place.step(own)) == (Step.INVITED, Step.INVITED)


def test_a_nomination_whose_officer_was_added_otherwise_is_closed(place: Place) -> None:
    who = place.officer("added")
    label = place.nominate(who)
    place.gateway.add_member(who, country="KE")
    assert "came to nothing" in place.command(place.ada, f"decline {label} not needed")
    assert upkeep.run(place.app) == 1
    assert (place.step(label), place.state(who)) == (Step.DECLINED, State.ACTIVE)


# The operator


def test_the_operator_does_the_same_on_the_command_line(place: Place) -> None:
    who = place.officer("operated", "Operated Officer")
    run = place.gateway.environet
    place.told()
    printed = run(
        "application", "nominate", who.address, "--name", who.name, "--organisation", "Port",
        "--country", "KE", "--fingerprint", who.fingerprint,
    )  # fmt: skip
    label = printed.rpartition(" ")[2].strip(".\n")
    assert "nominated you" not in place.told()[0].text
    code = code_in(place.write(who, APPLICATIONS, "", [who]))
    place.write(who, APPLICATIONS, f"code: {code}")
    assert label in run("application", "list")
    assert who.fingerprint in run("application", "show", label)
    assert run("application", "show", label, "--json").startswith("{")
    assert "accepted" in run("application", "accept", label)
    assert place.state(who) is State.ACTIVE
    new = place.officer("operated", "Operated Officer")
    printed = run("application", "vouch", new.fingerprint, who.address)
    label = printed.rpartition(" ")[2].strip(".\n")
    assert "declined" in run("application", "decline", label, "--reason", "found again")


def test_the_operator_adds_a_member_with_a_welcome(place: Place) -> None:
    who = place.officer("welcomed")
    file = place.gateway.place / "welcomed.asc"
    file.write_bytes(who.certificate)
    words = ["--name", "Wel Comed", "--organisation", "Port", "--country", "KE"]
    place.told()
    place.gateway.environet(
        "member", "add", who.address, *words, "--certificate", str(file), "--welcome"
    )
    assert kinds(place.told()) == [("welcomed", "welcome")]
