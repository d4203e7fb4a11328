"""Mails to the address for applications: which are taken, and what an attacker can't do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from gateway.administration import proving
from gateway.crypto import certificate as openpgp
from gateway.errors import UsageError
from gateway.store import application as applications
from gateway.store import member
from gateway.store.application import Step
from gateway.store.member import Member
from gateway.store.outbox import OutboxEntry
from tests.officers import Officer, encrypted_entity, header_lines
from tests.programs import gpg
from tests.unit.applicants import (
    ACCEPTED,
    APPLICATIONS,
    COMMANDS,
    WILDLIFE,
    Place,
    Told,
    code_in,
    kinds,
)

# What comes to the address for applications


def test_every_mail_gets_the_same_reply(place: Place) -> None:
    who, eve = place.officer("reply"), place.officer("eve", "Eve Moss")
    place.nominate(who)
    damaged = place.mail(who, APPLICATIONS, "", [who]).replace(b"\r\nw", b"\r\nx", 1)
    for mail in (
        place.mail(eve, APPLICATIONS, "Hello", [eve]),
        place.mail(who, APPLICATIONS, "Hello"),
        place.mail(who, APPLICATIONS, "", [who], sign=False),
        place.mail(who, APPLICATIONS, "", [eve]),
        damaged,
        who.write(to=[APPLICATIONS], certificates=[eve.certificate], subject="x", text=""),
        place.mail(who, APPLICATIONS, "", [who]),
        place.mail(place.ana, APPLICATIONS, "help"),
    ):
        assert place.submit(mail, APPLICATIONS) == ACCEPTED
    plain = place.mail(who, APPLICATIONS, "", [who], form="signed")
    assert place.submit(plain, APPLICATIONS) == ["523 5.7.10"]
    robot = place.mail(who, APPLICATIONS, "", [who], headers={"Auto-Submitted": "auto-replied"})
    place.told()
    assert place.submit(robot, APPLICATIONS) == ACCEPTED
    assert place.told() == []


def test_a_stranger_gets_nothing_and_administrators_are_told_once(place: Place) -> None:
    eve = place.officer("eve2", "Eve\u202e Moss\u0007")
    told = place.write(eve, APPLICATIONS, "Let me in.", [eve])
    assert kinds(told) == [("ada", "application-stranger")]
    assert eve.fingerprint in told[0].text
    assert "Eve Moss" in told[0].text
    assert "Let me in" not in told[0].text
    assert place.write(eve, APPLICATIONS, "Let me in, please.", [eve]) == []
    assert place.state(eve) is None


def test_a_strangers_mail_without_a_good_signature_is_seen_in_the_ledger_alone(
    place: Place,
) -> None:
    eve, other = place.officer("eve3"), place.officer("other3")
    assert place.write(eve, APPLICATIONS, "", [eve], sign=False) == []
    assert place.write(eve, APPLICATIONS, "", [other]) == []
    assert place.rules()[-2:] == ["not-opened", "no-good-signature"]


def test_strangers_without_end_do_not_fill_the_administrators_mailboxes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "MOST_STRANGERS", 2)
    eves = [place.officer(f"crowd{number}") for number in range(3)]
    told = [place.write(one, APPLICATIONS, "", [one]) for one in eves]
    assert [len(one) for one in told] == [1, 1, 0]
    place.pass_time(days=1)
    assert kinds(place.write(eves[2], APPLICATIONS, "Again", [eves[2]])) == [
        ("ada", "application-stranger")
    ]


def test_a_stranger_with_a_members_address_is_shown_as_such(place: Place) -> None:
    lost = place.officer(place.ana.address, "Ana Lind")
    told = place.write(lost, APPLICATIONS, "I lost my key.", [lost])
    assert kinds(told) == [("ada", "application-stranger")]
    assert "Ana Lind (Inspectorate, KE) is a member" in " ".join(told[0].text.split())
    assert place.fingerprint(place.ana) == place.ana.fingerprint


def test_a_member_who_writes_there_is_told_where_to_write(place: Place) -> None:
    mail = place.mail(place.bo, APPLICATIONS, "tick off B")
    for _ in range(2):  # the second time it is somebody who plays it again
        assert place.submit(mail, APPLICATIONS) == ACCEPTED
    assert kinds(place.told()) == [("bo", "application-unneeded")]
    with place.app.database.reading() as session:
        assert member.get(session, place.bo.address).ticked_off == []


def test_an_answer_without_the_code_brings_another_challenge(place: Place) -> None:
    """Its program attaches no certificate to an answer; the one of the challenge is known."""
    who = place.officer("wordy")
    label = place.nominate(who)
    first = place.write(who, APPLICATIONS, "", [who])
    second = place.write(who, APPLICATIONS, "Here I am.")
    assert kinds(second) == [("wordy", "challenge")]
    place.write(who, APPLICATIONS, f"code: {code_in(first)}")
    assert (place.step(label), code_in(second)) == (Step.PROVED, code_in(first))


def test_each_application_has_a_code_of_its_own(place: Place) -> None:
    who = place.officer("twofold")
    label = place.nominate(who)
    first = code_in(place.write(who, APPLICATIONS, "", [who]))
    place.command(place.ada, f"decline {label} mistaken")
    label = place.nominate(who)
    assert code_in(place.write(who, APPLICATIONS, "", [who])) != first
    place.write(who, APPLICATIONS, f"code: {first}")
    assert place.step(label) is Step.CHALLENGED


def test_whom_a_mail_is_encrypted_to_may_be_hidden(place: Place) -> None:
    who = place.officer("hidden", created=datetime.now(UTC) - timedelta(days=1))
    place.nominate(who)
    told = place.write(who, APPLICATIONS, "", [who], options=("--throw-keyids",))
    assert kinds(told) == [("hidden", "challenge")]


def test_a_certificate_in_an_autocrypt_field_is_enough(place: Place) -> None:
    who = place.officer("auto")
    label = place.nominate(who)
    raw = who.certificate.decode().partition("\n\n")[2].partition("\n=")[0].replace("\n", "")
    value = f"addr={who.address}; keydata={raw.partition('-----')[0]}"
    folded = " ".join(value[at : at + 70] for at in range(0, len(value), 70))
    told = place.write(who, APPLICATIONS, "", headers={"Autocrypt": folded})
    assert kinds(told) == [("auto", "challenge")]
    assert place.step(label) is Step.CHALLENGED


# Which certificate


def test_only_the_named_fingerprint_is_taken(place: Place) -> None:
    good = place.officer("named")
    bad = place.officer("named")
    lower = " ".join(re.findall("....", good.fingerprint.lower()))
    label = place.nominate(good, f"fingerprint: {lower}")
    told = place.write(bad, APPLICATIONS, "", [bad])
    assert kinds(told) == [
        ("ada", "application-amiss"), ("kip", "application-amiss"), ("named", "application-help"),
    ]  # fmt: skip
    help_ = next(one for one in told if one.template == "application-help")
    assert (help_.plain, bad.fingerprint in help_.text) == (True, False)
    amiss = next(one for one in told if one.address == place.kip.address)
    assert bad.fingerprint in amiss.text
    assert place.step(label) is Step.INVITED
    # Once a day, whoever sends what.
    assert place.write(bad, APPLICATIONS, "Again", [bad]) == []
    assert kinds(place.write(good, APPLICATIONS, "", [good])) == [("named", "challenge")]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"expires": -1}, "expired"),
        ({"address": "somebody.else@harbour.example"}, "no user ID with the address"),
    ],
)
def test_a_certificate_that_does_not_serve_is_not_challenged(
    place: Place, how: dict[str, object], why: str
) -> None:
    who = place.officer("faulty")
    label = place.nominate(who)
    if "expires" in how:
        now = datetime.now(UTC)
        other = place.officer("faulty", created=now - timedelta(days=9),
                              expires=now - timedelta(days=1))  # fmt: skip
        mail = place.mail(other, APPLICATIONS, "", [other], at=now - timedelta(days=1, hours=1))
    else:
        other = place.officer(str(how["address"]))
        mail = place.mail(other, APPLICATIONS, "", [other])
        mail = _sent_by(place, other, who.address)
    place.told()
    assert place.submit(mail, APPLICATIONS) == ACCEPTED
    told = place.told()
    assert ("kip", "application-amiss") in kinds(told)
    assert why in " ".join(told[0].text.split())
    assert place.step(label) is Step.INVITED


def _sent_by(place: Place, by: Officer, address: str) -> bytes:
    """A mail with another's address in its signed From."""
    other = Officer("Somebody", address, by.program, own_home=False)
    return place.mail(other, APPLICATIONS, "", [by])


def test_another_members_key_is_not_taken(place: Place) -> None:
    """Its owner signs, with a user ID of the nominated address: still it is a member's already."""
    who = place.officer("ana.two@customs.example")
    place.gateway.add_member(who, country="KE")
    with place.app.database.transaction() as session:
        member.get(session, who.address).address = "ana.three@customs.example"
    label = place.nominate(who)
    certificate = openpgp.read(who.certificate)
    with place.app.database.reading() as session:
        nominee = applications.get(session, label).member
        with pytest.raises(UsageError, match="another member's already"):
            proving.check(session, place.app, nominee, certificate)


def test_a_certificate_of_two_nominees_is_for_whom_the_signed_sender_says(place: Place) -> None:
    one, two = place.officer("pair.one"), place.officer("pair.two")
    both = place.stack.enter_context(Officer.create("gpg", "Pair One", one.address))
    gpg(both.program.home, "--quick-add-uid", both.fingerprint, f"Pair Two <{two.address}>")
    exported = gpg(both.program.home, "--armor", "--export", both.fingerprint)
    key = ("key.asc", "application/pgp-keys", exported)
    labels = place.nominate(one), place.nominate(two)

    def send(sender: str) -> list[Told]:
        place.told()
        by = Officer("Pair", sender, both.program, own_home=False)
        mail = by.write(
            to=[APPLICATIONS], certificates=[place.keys[APPLICATIONS]], subject="x", text="",
            attachments=[key],
        )  # fmt: skip
        assert place.submit(mail, APPLICATIONS) == ACCEPTED
        return place.told()

    assert kinds(send("somebody@harbour.example")) == [("ada", "application-stranger")]
    assert [place.step(label) for label in labels] == [Step.INVITED, Step.INVITED]
    assert kinds(send(two.address)) == [("pair.two", "challenge")]
    assert [place.step(label) for label in labels] == [Step.INVITED, Step.CHALLENGED]


# The challenge


def test_the_code_must_come_back_under_the_signature_of_the_same_key(place: Place) -> None:
    who, thief = place.officer("prover"), place.officer("prover")
    label = place.nominate(who)
    code = code_in(place.write(who, APPLICATIONS, "", [who]))
    place.write(thief, APPLICATIONS, f"code: {code}")
    place.write(thief, APPLICATIONS, f"code: {code}", sign=False)
    assert place.step(label) is Step.CHALLENGED
    # Its own code for each certificate: the thief's certificate gets another one.
    other = code_in(place.write(thief, APPLICATIONS, f"code: {code}", [thief]))
    assert other != code
    place.write(who, APPLICATIONS, f"code: {other}")
    place.write(who, APPLICATIONS, f"code: {code}")
    assert place.step(label) is Step.CHALLENGED


def test_an_answer_must_be_fresh_and_for_this_address(place: Place) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=30)
    who = place.officer("fresh", created=long_ago)
    label = place.nominate(who)
    text = f"code: {code_in(place.write(who, APPLICATIONS, '', [who]))}"
    old = place.mail(who, APPLICATIONS, text, at=datetime.now(UTC) - timedelta(hours=49))
    elsewhere = who.write(
        to=[WILDLIFE], certificates=[place.keys[APPLICATIONS]], subject="x", text=text
    )
    # Encrypted anew by whoever reads it.
    signed = who.write(to=[WILDLIFE], subject="x", text=text, form="signed")
    body = signed[signed.index(b"MIME-Version") :]
    message = place.bo.program.encrypt(body, [place.keys[APPLICATIONS]])
    carried = header_lines({"From": who.address, "To": APPLICATIONS}) + encrypted_entity(message)
    for mail in (old, elsewhere, carried):
        assert place.submit(mail, APPLICATIONS) == ACCEPTED
    assert place.step(label) is Step.CHALLENGED
    assert place.rules()[-3:] == ["signature-age", "for-another-list", "for-another-list"]
    place.write(who, APPLICATIONS, text)
    assert place.step(label) is Step.PROVED


def test_a_mail_played_again_does_nothing(place: Place) -> None:
    who = place.officer("again")
    label = place.nominate(who)
    first = place.mail(who, APPLICATIONS, "tick off A", [who])
    place.told()
    place.submit(first, APPLICATIONS)
    told = place.told()
    # By another carrier, who encrypts it anew.
    for _ in range(3):
        assert place.submit(first, APPLICATIONS) == ACCEPTED
    assert place.told() == []
    place.write(who, APPLICATIONS, f"code: {code_in(told)}")
    place.submit(first, APPLICATIONS)
    assert (place.told(), place.step(label)) == ([], Step.PROVED)


def test_challenges_do_not_flood_a_mailbox(place: Place) -> None:
    who = place.officer("flooded")
    label = place.nominate(who)
    told = [place.write(who, APPLICATIONS, f"{number}", [who]) for number in range(7)]
    sent = [one.template for some in told for one in some if one.address == who.address]
    assert sent == ["challenge"] * proving.MOST_CHALLENGES
    amiss = [kinds(some) for some in told[proving.MOST_CHALLENGES :]]
    assert amiss == [[("ada", "application-amiss"), ("kip", "application-amiss")], []]
    place.write(who, APPLICATIONS, f"code: {code_in(told[4])}")
    assert place.step(label) is Step.PROVED


def test_what_seems_to_come_from_a_nominee_is_answered_once_a_day(place: Place) -> None:
    who = place.officer("forgetful")
    place.nominate(who)
    for text, how in (("no key", {}), ("not signed", {"sign": False}), ("no key", {})):
        told = place.write(who, APPLICATIONS, text, **how)  # type: ignore[arg-type]
        assert kinds(told) == ([("forgetful", "application-help")] if text == "no key" and not how
                               and told else [])  # fmt: skip
    place.pass_time(days=1)
    told = place.write(who, APPLICATIONS, "still no key")
    assert (kinds(told), told[0].plain) == ([("forgetful", "application-help")], True)


def test_an_unproved_certificate_does_not_take_a_proved_ones_place(place: Place) -> None:
    who, thief = place.officer("displaced"), place.officer("displaced")
    label = place.proved(who)
    told = place.write(thief, APPLICATIONS, "It is me.", [thief])
    assert kinds(told) == [("ada", "application-amiss"), ("kip", "application-amiss")]
    assert thief.fingerprint in told[0].text
    assert place.step(label) is Step.PROVED
    assert "is a member now" in place.command(place.ada, f"accept {label}")
    assert place.fingerprint(who) == who.fingerprint


def test_an_applicant_has_no_part_in_anything_else(place: Place) -> None:
    who = place.officer("nosy")
    place.proved(who)
    assert place.submit(place.mail(who, COMMANDS, "help"), COMMANDS) == ["550 5.7.1"]
    assert place.submit(place.mail(who, WILDLIFE, "Ivory"), WILDLIFE) == ["550 5.7.1"]
    place.told()
    assert place.submit(place.mail(place.bo, WILDLIFE, "Ivory"), WILDLIFE) == ACCEPTED
    with place.app.database.reading() as session:
        query = select(OutboxEntry).join(Member, Member.id == OutboxEntry.member_id)
        theirs = session.scalars(query.where(Member.address == who.address))
        assert all(one.posting_id is None for one in theirs)


def test_quoted_examples_are_not_taken_for_wishes(place: Place) -> None:
    """Whatever a program does with our mail below the answer: nothing in it is a line of theirs."""
    who = place.officer("quoting")
    place.nominate(who)
    told = place.write(who, APPLICATIONS, "", [who])
    place.write(who, APPLICATIONS, f"Yes.\n\n{told[0].text}")
    with place.app.database.reading() as session:
        (found,) = applications.open_ones(session)
        assert (found.step, found.tick_off, found.member.languages) == (Step.PROVED, "", "")
