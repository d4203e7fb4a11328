"""Joining, and a member's next certificate: what who may do, and what an attacker can't.

Mails go to `dispatch.submit` of a real App; what people are told is read out of the sealed notices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from gateway import dispatch
from gateway.administration import joining, proving
from gateway.app import App, open_app
from gateway.crypto import certificate as openpgp
from gateway.errors import BadCertificate, UsageError
from gateway.message import entity, submission
from gateway.message.envelope import Envelope
from gateway.posting.opening import inflation_limit
from gateway.store import application as applications
from gateway.store import certificate as certificates
from gateway.store import ledger, member
from gateway.store.actor import OPERATOR, actor_of
from gateway.store.application import Purpose, Step
from gateway.store.ledger import LedgerEntry
from gateway.store.member import Member, State
from gateway.store.outbox import Notice, OutboxEntry
from gateway.upkeep import applications as upkeep
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Attachment, Officer, encrypted_entity, header_lines
from tests.programs import gpg

COMMANDS, APPLICATIONS, WILDLIFE = (
    f"{one}@{DOMAIN}" for one in ("gateway", "register", "wildlife")
)
ACCEPTED = ["250 2.0.0"]


@dataclass(frozen=True, slots=True)
class Told:
    """A notice as it is kept. sealed_to: fingerprint of a certificate that is not the reader's."""

    address: str
    template: str
    plain: bool
    regardless: bool
    sealed_to: str
    text: str
    attachments: tuple[str, ...]


@dataclass
class Place:
    """A gateway with an administrator (Ada), Kenya's contact point (Kip), two members (Ana in
    Kenya, Bo in Sweden)."""

    gateway: RunningGateway
    app: App
    ada: Officer
    kip: Officer
    ana: Officer
    bo: Officer
    keys: dict[str, bytes]
    seen: int = 0
    _all: ExitStack = field(default_factory=ExitStack)

    def officer(self, local: str, name: str = "", **how: object) -> Officer:
        """Somebody with a key, at the harbour."""
        address = local if "@" in local else f"{local}@harbour.example"
        # Sequoia's is quicker, but can't be made at another time than now.
        program = "gpg" if how else "sequoia"
        made = Officer.create(program, name or local.title(), address, **how)  # type: ignore[arg-type]
        return self._all.enter_context(made)

    def submit(self, mail: bytes, *to: str) -> list[str]:
        envelope = Envelope("carrier@elsewhere.example", to, mail, "192.0.2.1", self.app.clock())
        replies = dispatch.submit(self.app, envelope, inflation_limit(self.app.config)) or ()
        return [f"{one.code} {one.status}" for one in replies]

    def mail(
        self, by: Officer, to: str, text: str = "", attached: Sequence[Officer] = (), **how: object
    ) -> bytes:
        if "at" in how:
            # gpg, its clock set back, is to encrypt to keys that were made since.
            how["options"] = ("--ignore-time-conflict", "--ignore-valid-from")
        return by.write(
            to=[to], certificates=[self.keys[to]], subject="Application", text=text,
            attachments=[_attachment(one) for one in attached], **how,  # type: ignore[arg-type]
        )  # fmt: skip

    def write(
        self, by: Officer, to: str, text: str = "", attached: Sequence[Officer] = (), **how: object
    ) -> list[Told]:
        """Send a mail that is taken; all that is told because of it."""
        self.told()
        assert self.submit(self.mail(by, to, text, attached, **how), to) == ACCEPTED
        return self.told()

    def command(self, by: Officer, text: str, attached: Sequence[Officer] = ()) -> str:
        """The answer to a mail with commands; what else is told is to be asked for with `told`."""
        self.told()
        before = self.seen
        assert self.submit(self.mail(by, COMMANDS, text, attached), COMMANDS) == ACCEPTED
        answers = [one for one in self.told() if one.template == "answer"]
        self.seen = before
        return " ".join(answers[0].text.split())

    def nominate(self, who: Officer, *lines: str, by: Officer | None = None) -> str:
        """The label of a nomination."""
        form = [f"name: {who.name}", f"address: {who.address}", "organisation: Port Authority"]
        answer = self.command(by or self.kip, "\n".join(["nominate", *form, *lines]))
        found = re.search(r"A-\d+", answer)
        assert found is not None, answer
        self.told()
        return found[0]

    def proved(self, who: Officer, *lines: str) -> str:
        """The label of a nomination whose officer has proved their key."""
        label = self.nominate(who, *lines)
        told = self.write(who, APPLICATIONS, "", [who])
        self.write(who, APPLICATIONS, f"code: {code_in(told)}")
        assert self.step(label) is Step.PROVED
        return label

    def told(self) -> list[Told]:
        """All notices since the last time."""
        query = (
            select(Notice, OutboxEntry, Member)
            .join(OutboxEntry, OutboxEntry.notice_id == Notice.id)
            .join(Member, Member.id == OutboxEntry.member_id)
            .where(Notice.id > self.seen)
            .order_by(Notice.id)
        )
        found = []
        with self.app.database.reading() as session:
            for notice, _, reader in session.execute(query):
                self.seen = notice.id
                body = entity.read(self.app.vault.open(f"notice/{notice.token}/body", notice.body))
                other = openpgp.read(notice.certificate).fingerprint if notice.certificate else ""
                texts = [body.field("subject"), *submission.text_parts(body)]
                text = "\n".join(texts).replace("\r\n", "\n")
                found.append(
                    Told(
                        reader.address,
                        notice.template,
                        notice.plain,
                        notice.regardless,
                        other,
                        text,
                        tuple(submission.attachment_names(body)),
                    )
                )
        return found

    def step(self, label: str) -> Step:
        with self.app.database.reading() as session:
            return applications.get(session, label).step

    def state(self, who: Officer) -> State | None:
        with self.app.database.reading() as session:
            found = member.find(session, who.address)
            return found.state if found else None

    def fingerprint(self, who: Officer) -> str:
        """Of the certificate that a member has."""
        with self.app.database.reading() as session:
            held = certificates.of(session, member.get(session, who.address))
            return held.fingerprint if held else ""

    def pass_time(self, **by: int) -> list[Told]:
        """What is told once time has gone by."""
        self.told()
        self.gateway.pass_time(timedelta(**by))
        upkeep.run(self.app)
        return self.told()

    def rules(self) -> list[str]:
        """By which mails to the address for applications came to nothing."""
        with self.app.database.reading() as session:
            query = select(LedgerEntry.detail).where(LedgerEntry.event == "refused")
            details = session.scalars(query.order_by(LedgerEntry.sequence))
            return [one.split('"rule":"')[1].partition('"')[0] for one in details]

    def clear(self) -> None:
        """Nothing is open any more, and nobody was told of anything today."""
        with self.app.database.transaction() as session:
            for one in applications.open_ones(session):
                joining.decline(session, self.app, OPERATOR, one.label)
        self.gateway.pass_time(timedelta(days=2))
        self.told()


@pytest.fixture(scope="module")
def founded() -> Iterator[Place]:
    with ExitStack() as stack, RunningGateway(short_place("join")) as gateway:
        people = [
            stack.enter_context(Officer.create("sequoia", name, address))
            for name, address in (
                ("Ada Keller", "ada@secretariat.example"),
                ("Kip Otieno", "kip@environment.example"),
                ("Ana Lind", "ana@customs.example"),
                ("Bo Berg", "bo@police.example"),
            )
        ]
        ada, kip, ana, bo = people
        gateway.found()
        gateway.add_member(ada, country="CH", roles=["administrator"])
        gateway.add_member(kip, country="KE", roles=["contact-point"])
        gateway.add_member(ana, country="KE")
        gateway.add_member(bo, country="SE")
        app = open_app(gateway.state)
        own = gateway.certificate(COMMANDS)
        keys = {COMMANDS: own, APPLICATIONS: own, WILDLIFE: gateway.certificate(WILDLIFE)}
        made = Place(gateway, app, ada, kip, ana, bo, keys)
        stack.enter_context(made._all)
        yield made
        app.close()


@pytest.fixture
def place(founded: Place) -> Iterator[Place]:
    yield founded
    founded.clear()
    with founded.app.database.reading() as session:
        assert ledger.verify(session).fault is None


def code_in(told: Sequence[Told]) -> str:
    codes = [found[1] for one in told if (found := re.search(r"code: ([0-9a-f]{20})\n", one.text))]
    assert len(codes) == 1, told
    return codes[0]


def kinds(told: Sequence[Told]) -> list[tuple[str, str]]:
    """(whose, which) notices."""
    return sorted((one.address.partition("@")[0], one.template) for one in told)


def _attachment(of: Officer) -> Attachment:
    return "key.asc", "application/pgp-keys", of.certificate


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
    both = place._all.enter_context(Officer.create("gpg", "Pair One", one.address))
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


def test_nothing_is_accepted_before_it_is_proved(place: Place) -> None:
    who = place.officer("hasty")
    label = place.nominate(who)
    assert "has not proved" in place.command(place.ada, f"accept {label}")
    place.write(who, APPLICATIONS, "", [who])
    assert "has not proved" in place.command(place.ada, f"accept {label}")
    with pytest.raises(CommandFailed, match="has not proved"):
        place.gateway.environet("application", "accept", label)
    assert place.state(who) is State.APPLICANT


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


# A member's next certificate


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
    (label,) = _open_labels(place)
    assert "suspended still" in place.command(place.ada, f"accept {label}")
    assert (place.state(old), place.fingerprint(old)) == (State.SUSPENDED, new.fingerprint)


def _open_labels(place: Place) -> list[str]:
    with place.app.database.reading() as session:
        return [one.label for one in applications.open_ones(session)]


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
    assert _open_labels(place) == []


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
    (label,) = _open_labels(place)
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


def test_a_member_is_told_once_of_a_key_that_they_have_not_proved(place: Place) -> None:
    old, new = place.officer("lazy"), place.officer("lazy")
    place.gateway.add_member(old, country="KE")
    _propose(place, old, new)
    told = place.pass_time(days=15)
    assert kinds(told) == [("lazy", "application-unanswered")]
    assert (told[0].sealed_to, told[0].plain, new.fingerprint in told[0].text) == ("", False, True)
    assert "decline" not in told[0].text
    assert place.pass_time(days=30) == []


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
