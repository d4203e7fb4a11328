"""Members' certificates over time: what a mail may change in them, what follows, who is told.

Mails go to `dispatch.submit` of a real App, signed by real programs; copies and notices are opened
by their readers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select

from gateway.administration import certificates as updating
from gateway.administration import joining, people, proving
from gateway.administration.people import Particulars
from gateway.crypto import certificate as openpgp
from gateway.errors import UsageError
from gateway.message.armor import armor, dearmor
from gateway.message.packet import PUBLIC_SUBKEY, body, packets
from gateway.posting import updates
from gateway.store import certificate as certificates
from gateway.store import ledger, member
from gateway.store.actor import OPERATOR, actor_of
from gateway.store.application import Application, Purpose
from gateway.store.certificate import MemberCertificate
from gateway.store.member import State
from gateway.store.outbox import Delivery, OutboxEntry
from gateway.upkeep import expiry
from tests import programs
from tests.gateway import DOMAIN, CommandFailed
from tests.officers import Attachment, Officer
from tests.scenarios.cast import extend, revoked
from tests.unit.group import Got, Group
from tests.unit.owners import ENCRYPTS, Owner, gpg_home

DAY = timedelta(days=1)
TAKEN, REFUSED = ["250 2.0.0"], ["550 5.7.1"]
ROLES = {"ana": [], "bo": [], "kip": ["contact-point"], "ada": ["administrator"]}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def founded() -> Iterator[Group]:
    with Group(ROLES) as group:
        yield group


@pytest.fixture
def group(founded: Group) -> Iterator[Group]:
    founded.deliver()
    yield founded
    founded.later = timedelta()
    with founded.app.database.transaction() as session:
        assert ledger.verify(session).fault is None


@pytest.fixture
def dan(group: Group) -> Iterator[Officer]:
    """A member with a GnuPG key that expires in 40 days."""
    with joined(group, "dan", expires=now() + 40 * DAY) as officer:
        yield officer
        leave(group, "dan")


@pytest.fixture
def eve(group: Group) -> Iterator[Officer]:
    """A member whose key has expired ten days ago."""
    with joined(group, "eve", created=now() - 400 * DAY, expires=now() - 10 * DAY) as officer:
        yield officer
        leave(group, "eve")


def joined(group: Group, name: str, **key: datetime) -> Officer:
    """A member, whatever the key is like."""
    address = f"{name}@customs.example"
    officer = Officer.create("gpg", f"{name.title()} Dorn", address, **key)  # type: ignore[arg-type]
    group.officers[name] = officer
    with group.app.database.transaction() as session:
        who = Particulars(officer.address, officer.name, "Inspectorate", "KE")
        people.add(session, group.app, OPERATOR, who, openpgp.read(officer.certificate))
    return officer


def leave(group: Group, name: str) -> None:
    with group.app.database.transaction() as session:
        found = member.get(session, group.officers[name].address)
        found.state = State.ACTIVE
        people.change_state(session, group.app, OPERATOR, found, State.REMOVED)
        session.execute(delete(OutboxEntry).where(OutboxEntry.member_id == found.id))
        session.execute(delete(Application).where(Application.member_id == found.id))
    del group.officers[name]
    group.deliver()


def attached(*owners: Officer | bytes) -> Sequence[Attachment]:
    blocks = [one if isinstance(one, bytes) else one.certificate for one in owners]
    return [("key.asc", "application/pgp-keys", one) for one in blocks]


def autocrypt(sender: Officer, owner: Officer) -> dict[str, str]:
    data = base64.encodebytes(dearmor(owner.certificate, "PUBLIC KEY BLOCK")).decode().split()
    return {"Autocrypt": f"addr={sender.address}; keydata= {' '.join(data)}"}


def held(group: Group, name: str) -> MemberCertificate:
    with group.app.database.reading() as session:
        found = certificates.of(session, member.get(session, group.officers[name].address))
        assert found is not None
        return found


def days_left(group: Group, name: str) -> int:
    until = held(group, name).serves_until
    return 0 if until is None else round((until - now()) / DAY)


def told(got: Sequence[Got]) -> list[tuple[str, str, str]]:
    """(whose, of which kind, subject), without the gateway's name before it."""
    return sorted((one.to, one.kind, one.subject.removeprefix("[ENVIRONET] ")) for one in got)


def subjects(got: Sequence[Got], to: str) -> list[str]:
    return [subject for name, _, subject in told(got) if name == to]


def post(group: Group, who: str, *to: str, **how: object) -> list[str]:
    lists = to or ("wildlife",)
    return group.submit(group.write(who, *lists, text="84 raw tusks.\n", **how), *lists)


def states(group: Group, name: str) -> list[tuple[Delivery, str | None]]:
    with group.app.database.reading() as session:
        found = member.get(session, group.officers[name].address)
        query = select(OutboxEntry).where(
            OutboxEntry.member_id == found.id, OutboxEntry.posting_id.is_not(None)
        )
        return [(one.state, one.reason) for one in session.scalars(query.order_by(OutboxEntry.id))]


def gpg(officer: Officer, *words: str, data: bytes = b"") -> bytes:
    return programs.gpg(officer.program.home, "--passphrase", "", *words, data=data)


def changed(officer: Officer, *words: str, data: bytes = b"") -> None:
    """Have an officer do something with their own key."""
    gpg(officer, *words, data=data)
    exported = gpg(officer, "--armor", "--export", officer.fingerprint)
    officer.program.certificate = exported


# What a mail may change


@pytest.mark.parametrize("way", ["gateway", "wildlife", "environet", "autocrypt"])
def test_a_new_expiry_is_taken_from_the_owners_signed_mail(
    group: Group, dan: Officer, way: str
) -> None:
    extend(dan, 100 * DAY)
    to = "wildlife" if way == "autocrypt" else way
    how = {"headers": autocrypt(dan, dan)} if way == "autocrypt" else {"attachments": attached(dan)}
    assert post(group, "dan", to, **how) == TAKEN
    assert days_left(group, "dan") == 100
    notice = next(one for one in group.deliver() if one.subject.endswith("was updated"))
    assert (notice.to, notice.kind) == ("dan", "notice")
    primary = dan.fingerprint[-16:]
    assert f"The key {primary} expires on " in notice.words
    assert "has waited for you" not in notice.words
    entry = group.ledger("key-updated")[-1]
    assert (entry["key"], entry["what"]) == (dan.fingerprint, "expiry")
    with group.app.database.reading() as session:
        assert entry["by"] == entry["member"] == member.get(session, dan.address).id


def test_the_same_certificate_again_changes_nothing_and_tells_nobody(
    group: Group, dan: Officer
) -> None:
    before = held(group, "dan").data
    assert post(group, "dan", attachments=attached(dan)) == TAKEN
    assert held(group, "dan").data == before
    assert [one.kind for one in group.deliver()] == ["wildlife"] * 5


def test_a_mail_that_is_refused_is_its_authors_all_the_same(group: Group, dan: Officer) -> None:
    extend(dan, 100 * DAY)
    mail = group.write(
        "dan", "wildlife", text="x\n", subject="TLP:RED x", attachments=attached(dan)
    )
    assert group.submit(mail, "wildlife") == REFUSED
    assert days_left(group, "dan") == 100
    assert subjects(group.deliver(), "dan") == ["Your certificate was updated"]


def test_a_suspended_members_certificate_is_updated_too(group: Group, dan: Officer) -> None:
    extend(dan, 100 * DAY)
    group.set_member("dan", state=State.SUSPENDED)
    assert post(group, "dan", attachments=attached(dan)) == REFUSED
    assert days_left(group, "dan") == 100
    assert subjects(group.deliver(), "dan") == ["Your certificate was updated"]


@pytest.mark.parametrize("way", ["attached", "autocrypt"])
@pytest.mark.parametrize("who", ["bo", "stranger", "unsigned", "altered"])
def test_what_somebody_elses_mail_brings_changes_nothing(
    group: Group, dan: Officer, who: str, way: str
) -> None:
    extend(dan, 100 * DAY)
    before = held(group, "dan").data
    with Officer.create("sequoia", "Mallory Malone", "mallory@stranger.example") as mallory:
        sender = {"bo": group.officers["bo"], "stranger": mallory}.get(who, dan)
        how = {
            "attached": {"attachments": attached(dan)},
            "autocrypt": {"headers": autocrypt(sender, dan)},
        }[way]
        mail = sender.write(
            to=[f"gateway@{DOMAIN}"], certificates=[group.key("gateway")], subject="help",
            text="help\n", sign=who != "unsigned", form="6.1" if who == "unsigned" else "6.2",
            **how,  # type: ignore[arg-type]
        )  # fmt: skip
        if who == "altered":
            mail = sender.write(
                to=[f"gateway@{DOMAIN}"],
                subject="help",
                text="help\n",
                form="signed",
                **how,  # type: ignore[arg-type]
            ).replace(b"help\r\n", b"HELP\r\n")
        replies = group.submit(mail, "gateway")
    assert replies == {"bo": TAKEN, "altered": ["523 5.7.10"]}.get(who, REFUSED)
    assert held(group, "dan").data == before
    assert group.ledger("key-updated")[-1:] != [{"key": dan.fingerprint}]
    assert subjects(group.deliver(), "dan") == []


def test_a_removed_members_certificate_is_nobodys(group: Group, dan: Officer) -> None:
    extend(dan, 100 * DAY)
    with group.app.database.transaction() as session:
        found = member.get(session, dan.address)
        found.state = State.REMOVED
    assert post(group, "dan", attachments=attached(dan)) == REFUSED
    assert days_left(group, "dan") == 40


def test_no_more_than_three_certificates_are_merged_of_one_mail(group: Group) -> None:
    own = openpgp.read(group.officers["ana"].certificate).data
    copies = [own]  # not of the key that she has by then, and so not counted
    with gpg_home() as home:
        fingerprint = home.key("Ana Berg <ana@customs.example>")
        first = home.certificate(fingerprint)
        for at in range(4):
            home.edit(
                fingerprint, "expire", f"{500 + at}", at=datetime(2025, 1, 1 + at, tzinfo=UTC)
            )
            copies.append(home.certificate(fingerprint))
    with group.app.database.transaction() as session:
        ana = member.get(session, "ana@customs.example")
        certificates.replace(session, ana, openpgp.read(first), now())
        found = updates.brought(session, copies)
        assert [one.after.expires_at for one in found] == [openpgp.read(copies[-2]).expires_at]
        certificates.replace(session, ana, openpgp.read(group.officers["ana"].certificate), now())


def test_another_members_subkey_is_never_taken_along(group: Group) -> None:
    """Or whoever adds Ana's key for encryption to their own certificate would get no copies to
    themselves, but stop hers: nobody could say any more whose the session key is."""
    ana = openpgp.read(group.officers["ana"].certificate)
    stolen = next(one for one in packets(ana.data) if one.tag == PUBLIC_SUBKEY)
    subkey = ana.data[stolen.start : stolen.end]
    thief = Owner()
    theirs = thief.certificate(b"Bo Berg <bo@customs.example>")
    bound = thief.on_subkey(0x18, body(ana.data, stolen), ENCRYPTS)
    with_hers = theirs + subkey + bound
    assert len(openpgp.read(with_hers).keys) == 2
    with group.app.database.transaction() as session:
        bo = member.get(session, "bo@customs.example")
        certificates.replace(session, bo, openpgp.read(theirs), now())
        assert updates.brought(session, [with_hers]) == ()
        updating.update(session, group.app, bo, openpgp.read(with_hers), actor_of(bo))
        kept = certificates.of(session, bo)
        assert kept is not None
        assert (kept.data, len(kept.keys)) == (openpgp.read(theirs).data, 1)
        certificates.replace(session, bo, openpgp.read(group.officers["bo"].certificate), now())
    assert group.ledger("key-update-refused")


# An expired key, a new subkey


def test_an_expired_member_renews_with_the_mail_that_brings_the_new_expiry(
    group: Group, eve: Officer
) -> None:
    group.post("ana")
    group.deliver()
    assert states(group, "eve") == [(Delivery.PARKED, "the certificate has expired")]
    extend(eve, 100 * DAY)
    assert post(group, "eve") == REFUSED
    assert post(group, "eve", attachments=attached(eve)) == TAKEN
    got = group.deliver()
    assert [one for one in told(got) if one[0] == "eve"] == [
        ("eve", "notice", "Your certificate was updated"),
        ("eve", "wildlife", "[Wildlife] Ivory at Mombasa (Ana Berg, KE)"),
        ("eve", "wildlife", "[Wildlife] Ivory at Mombasa (Eve Dorn, KE)"),
    ]
    notice = next(one for one in got if one.kind == "notice")
    assert "on its way now, 1 in all" in notice.words
    assert post(group, "eve") == TAKEN


def test_a_copy_that_failed_for_another_reason_waits_for_an_administrator_still(
    group: Group, eve: Officer
) -> None:
    group.post("ana")
    group.deliver()
    with group.app.database.transaction() as session:
        found = member.get(session, eve.address)
        query = select(OutboxEntry).where(OutboxEntry.member_id == found.id)
        entry = session.scalars(query).one()
        entry.reason = "451 mailbox full"
    extend(eve, 100 * DAY)
    assert post(group, "eve", "environet", attachments=attached(eve)) == TAKEN
    assert states(group, "eve")[0] == (Delivery.PARKED, "451 mailbox full")


def test_a_key_that_expired_is_heard_at_the_desks_alone_as_ever(group: Group, eve: Officer) -> None:
    mail = group.write(
        "eve", "environet", text="help!\n", at=now() - 20 * DAY,
        options=("--ignore-time-conflict", "--ignore-valid-from"),
    )  # fmt: skip
    # Nothing in it is new: the certificate goes along as it is held.
    assert group.submit(mail, "environet") == TAKEN
    with_it = group.write(
        "eve", "wildlife", text="x\n", at=now() - 20 * DAY, attachments=attached(eve),
        options=("--ignore-time-conflict", "--ignore-valid-from"),
    )  # fmt: skip
    assert group.submit(with_it, "wildlife") == REFUSED


def test_a_new_subkey_signs_once_the_certificate_has_come_along(group: Group, dan: Officer) -> None:
    changed(dan, "--quick-add-key", dan.fingerprint, "ed25519", "sign", "never")
    # GnuPG signs with the newest subkey that it has.
    assert post(group, "dan") == REFUSED
    assert post(group, "dan", attachments=attached(dan)) == TAKEN
    notice = next(one for one in group.deliver() if one.kind == "notice")
    assert " is new." in notice.words
    assert len(keys_of(group, "dan")) == 3
    assert post(group, "dan") == TAKEN
    group.deliver()
    certificate = openpgp.read(held(group, "dan").data)
    assert len(certificate.keys) == 3


def keys_of(group: Group, name: str) -> list[str]:
    with group.app.database.reading() as session:
        found = certificates.of(session, member.get(session, group.officers[name].address))
        return [one.fingerprint for one in found.keys] if found else []


# Revocation


@pytest.mark.parametrize("to", ["wildlife", "environet", "gateway"])
def test_a_signed_mail_that_revokes_its_own_key_is_not_heard_but_counts(
    group: Group, dan: Officer, to: str
) -> None:
    """It must not be distributed; nor is it heard at a desk: by then anybody may have the key."""
    last_word = revoked(dan)
    group.post("ana")  # waits for a worker when the revocation comes
    assert post(group, "dan", to, attachments=attached(last_word)) == REFUSED
    assert held(group, "dan").revoked_at is not None
    got = group.deliver()
    assert states(group, "dan")[-1] == (Delivery.PARKED, "the certificate is revoked")
    assert [one for one in told(got) if one[1] != "wildlife"] == [
        ("ada", "notice", "Dan Dorn (Inspectorate, KE) has revoked their key"),
        ("dan", "plain", "Your key is revoked"),
        ("kip", "notice", "Dan Dorn (Inspectorate, KE) has revoked their key"),
    ]
    to_kip = next(one for one in got if (one.to, one.kind) == ("kip", "notice"))
    assert "vouch FINGERPRINT for dan@customs.example" in to_kip.words
    assert post(group, "dan") == REFUSED
    assert group.ledger("key-updated")[-1]["what"] == "revoked"


@pytest.mark.parametrize(
    ("to", "reply", "counts"),
    [
        ("gateway", ["523 5.7.10"], True),
        ("register", ["523 5.7.10"], True),
        ("wildlife", ["523 5.7.10"], False),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_a_revocation_proves_itself_where_the_gateway_is_written_to(
    group: Group, dan: Officer, to: str, reply: list[str], counts: bool, alone: bool
) -> None:
    """Who has lost a key to somebody else need not be able to sign."""
    block = revocation(dan) if alone else revoked(dan)
    mail = dan.write(to=[f"{to}@{DOMAIN}"], subject="x", text="x\n", form="plain",
                     attachments=attached(block))  # fmt: skip
    assert group.submit(mail, to) == reply
    assert (held(group, "dan").revoked_at is not None) == counts
    got = group.deliver()
    assert subjects(got, "dan") == (["Your key is revoked"] if counts else [])
    if counts:
        assert group.ledger("key-updated")[-1]["by"] == "gateway"
    assert group.submit(mail, to) == reply
    assert group.deliver() == []


def test_a_revocation_under_somebody_elses_signature_counts_too(group: Group, dan: Officer) -> None:
    mail = group.write("bo", "gateway", text="help\n", attachments=attached(revoked(dan)))
    assert group.submit(mail, "gateway") == TAKEN
    assert held(group, "dan").revoked_at is not None


def test_a_forged_revocation_is_worth_nothing(group: Group, dan: Officer) -> None:
    good = dearmor(revocation(dan), "PUBLIC KEY BLOCK")
    bad = armor(good[:-1] + bytes([good[-1] ^ 1]), "PUBLIC KEY BLOCK")
    mail = dan.write(to=[f"gateway@{DOMAIN}"], subject="x", text="x\n", form="plain",
                     attachments=attached(bad))  # fmt: skip
    group.submit(mail, "gateway")
    assert held(group, "dan").revoked_at is None


def test_a_new_expiry_does_not_undo_a_revocation(group: Group, dan: Officer) -> None:
    last_word = revoked(dan)
    extend(dan, 100 * DAY)
    mail = group.write("bo", "gateway", text="help\n", attachments=attached(last_word))
    assert group.submit(mail, "gateway") == TAKEN
    assert post(group, "dan", attachments=attached(dan)) == REFUSED
    assert held(group, "dan").revoked_at is not None


def test_a_certificate_without_a_key_for_encryption_is_as_good_as_revoked(
    group: Group, dan: Officer
) -> None:
    group.post("ana")
    changed(
        dan, "--command-fd", "0", "--edit-key", dan.fingerprint,
        data=b"key 1\nrevkey\ny\n0\n\ny\nsave\n",
    )  # fmt: skip
    assert post(group, "dan", "environet", attachments=attached(dan)) == TAKEN
    got = group.deliver()
    assert ("dan", "plain", "Your key can't be used any more") in told(got)
    assert subjects(got, "kip")[0] == "Dan Dorn (Inspectorate, KE) has revoked their key"
    ((state, reason), *_) = states(group, "dan")
    assert (state, str(reason).partition(":")[0]) == (Delivery.PARKED, "the certificate fails")
    changed(dan, "--quick-add-key", dan.fingerprint, "cv25519", "encr", "never")
    assert post(group, "dan", "environet", attachments=attached(dan)) == TAKEN
    got = group.deliver()
    assert ("dan", "wildlife", "[Wildlife] Ivory at Mombasa (Ana Berg, KE)") in told(got)


def revocation(officer: Officer) -> bytes:
    """The one that gpg makes along with a key, standing alone."""
    stored = officer.program.home / "openpgp-revocs.d" / f"{officer.fingerprint}.rev"
    text = stored.read_bytes()
    return text[text.index(b":-----BEGIN") + 1 :]


# Commands


def test_key_shows_all_that_matters(group: Group, dan: Officer) -> None:
    said = group.say("dan", "key")
    fours = " ".join(dan.fingerprint[at : at + 4] for at in range(0, 40, 4))
    date = f"{(now() + 40 * DAY):%B} {(now() + 40 * DAY).day}, {(now() + 40 * DAY).year}"
    for part in (
        f"Fingerprint: {fours}", "Algorithm: Ed25519/Cv25519",
        f"User ID: {dan.name} <{dan.address}>",
        f"Signs: until {date}", f"Is encrypted to: until {date}", "Health: good",
    ):  # fmt: skip
        assert part in said, said
    assert "does not expire" in group.say("ana", "key")


def test_key_tells_what_is_not_good(group: Group, dan: Officer) -> None:
    extend(dan, 20 * DAY)
    mail = group.write("dan", "gateway", text="key\n", attachments=attached(dan))
    assert group.submit(mail, "gateway") == TAKEN
    answer = next(one for one in group.deliver() if one.subject.endswith("Re: key"))
    assert "Your certificate was updated by this mail: The key" in answer.words
    assert "Health: good, but it expires soon: please extend it" in answer.words
    with Officer.create("gpg", "Rae Dorn", "rae@customs.example", algorithm="rsa2048") as short:
        group.officers["rae"] = short
        group.gateway.add_member(short)
        assert "good, but short by today's measure" in group.say("rae", "key")
        leave(group, "rae")


def test_key_with_a_certificate_that_says_nothing_new(group: Group, dan: Officer) -> None:
    mail = group.write("dan", "gateway", text="key\n", attachments=attached(dan))
    assert group.submit(mail, "gateway") == TAKEN
    (answer,) = group.deliver()
    assert "There is nothing new in the certificate" in answer.words
    assert "nothing new" not in group.say("dan", "key")


def test_a_word_behind_key_that_is_none_is_not_taken_for_key_alone(group: Group) -> None:
    assert "Not done: write it as: key, key replace" in group.say("ana", "key remplace")


@pytest.fixture
def new(group: Group, dan: Officer) -> Iterator[Officer]:
    """Dan's next key."""
    with Officer.create("gpg", dan.name, dan.address) as officer:
        yield officer


def test_two_signatures_replace_a_key_at_once(group: Group, dan: Officer, new: Officer) -> None:
    group.post("ana")  # not sent yet: it is encrypted to the new one
    mail = group.write("dan", "gateway", text="key replace\n", attachments=attached(new),
                       form="6.1", also_by=new.program)  # fmt: skip
    assert group.submit(mail, "gateway") == TAKEN
    assert held(group, "dan").fingerprint == new.fingerprint
    group.officers["dan"] = new
    got = group.deliver()
    assert [one for one in told(got) if one[0] in ("dan", "kip") and one[1] == "notice"] == [
        ("dan", "notice", "Re: key replace"),
        ("dan", "notice", "Your new key is in force"),
        ("kip", "notice", "Dan Dorn (Inspectorate, KE) has a new key"),
    ]
    assert ("dan", "wildlife", "[Wildlife] Ivory at Mombasa (Ana Berg, KE)") in told(got)
    entry = group.ledger("key-replaced")[-1]
    assert (entry["key"], entry["old"]) == (new.fingerprint, dan.fingerprint)
    assert entry["by"] == entry["member"]
    assert post(group, "dan") == TAKEN
    group.officers["dan"] = dan
    extend(dan, 100 * DAY)
    assert post(group, "dan", attachments=attached(dan)) == REFUSED
    assert held(group, "dan").fingerprint == new.fingerprint
    group.officers["dan"] = new


def test_a_second_signature_of_some_other_key_replaces_nothing(
    group: Group, dan: Officer, new: Officer
) -> None:
    with Officer.create("gpg", "Mallory", "mallory@stranger.example") as other:
        mail = group.write("dan", "gateway", text="key replace\n", attachments=attached(new),
                           form="6.1", also_by=other.program)  # fmt: skip
        assert group.submit(mail, "gateway") == TAKEN
    assert held(group, "dan").fingerprint == dan.fingerprint
    assert group.ledger("challenged")[-1]["key"] == new.fingerprint


def test_the_new_keys_signature_alone_is_nobodys(group: Group, dan: Officer, new: Officer) -> None:
    mail = new.write(to=[f"gateway@{DOMAIN}"], certificates=[group.key("gateway")],
                     subject="x", text="key replace\n", attachments=attached(new))  # fmt: skip
    assert group.submit(mail, "gateway") == REFUSED
    assert held(group, "dan").fingerprint == dan.fingerprint


@pytest.mark.parametrize(
    ("address", "expired", "why"),
    [
        ("dan@elsewhere.example", False, "user ID with the address dan@customs.example"),
        ("dan@customs.example", True, "The certificate expired on"),
    ],
)
def test_a_new_certificate_that_can_t_be_used_is_refused_in_words(
    group: Group, dan: Officer, address: str, expired: bool, why: str
) -> None:
    key = {"created": now() - 20 * DAY, "expires": now() - DAY} if expired else {}
    with Officer.create("gpg", dan.name, address, **key) as wrong:  # type: ignore[arg-type]
        mail = group.write("dan", "gateway", text="key replace\n", attachments=attached(wrong))
        assert group.submit(mail, "gateway") == TAKEN
        (answer,) = group.deliver()
    assert "Not done" in answer.words
    assert why in answer.words
    assert held(group, "dan").fingerprint == dan.fingerprint


def test_a_key_that_is_vouched_for_can_t_be_replaced_by_the_lost_one(
    group: Group, dan: Officer, new: Officer
) -> None:
    with group.app.database.transaction() as session:
        found = member.get(session, dan.address)
        kip = member.get(session, "kip@customs.example")
        joining.vouch(session, group.app, actor_of(kip), found, "A" * 40)
    group.deliver()
    mail = group.write("dan", "gateway", text="key replace\n", attachments=attached(new),
                       form="6.1", also_by=new.program)  # fmt: skip
    assert group.submit(mail, "gateway") == TAKEN
    (answer,) = group.deliver()
    assert "vouches for another one" in answer.words
    assert held(group, "dan").fingerprint == dan.fingerprint


def test_a_challenge_is_void_once_the_key_that_asked_for_it_is_revoked(
    group: Group, dan: Officer, new: Officer
) -> None:
    """Or whoever has stolen a key could go on with one of their own after its owner's last word."""
    mail = group.write("dan", "gateway", text="key replace\n", attachments=attached(new))
    assert group.submit(mail, "gateway") == TAKEN
    group.officers["dan"] = new
    with group.app.database.reading() as session:
        (found,) = session.scalars(select(Application))
    group.officers["dan"] = dan
    with group.app.database.transaction() as session:
        found = session.get_one(Application, found.id)
        updating.update(
            session, group.app, found.member, openpgp.read(revoked(dan)), actor_of(found.member)
        )
        proving.prove(session, group.app, found, proving.Wishes(), "")
    assert held(group, "dan").fingerprint == dan.fingerprint


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("wildlife", "wildlife.asc"),
        ("B", "wildlife.asc"),
        (f"wildlife@{DOMAIN}", "wildlife.asc"),
        (f"<wildlife-experts@{DOMAIN}>", "wildlife-experts.asc"),
        ("gateway", "gateway.asc"),
        (f"environet@{DOMAIN}", "environet.asc"),
        ("Bo@customs.example", "bo.asc"),
    ],
)
def test_a_certificate_is_sent_to_who_asks_for_it(group: Group, name: str, file: str) -> None:
    answer = group.ask("ana", f"get key {name}")
    ((found, data),) = answer.reading.attachments.items()
    assert found == file
    wanted = (
        group.officers["bo"].fingerprint
        if "customs" in name
        else programs.fingerprint(group.key(file.removesuffix(".asc")))
    )
    assert programs.fingerprint(data) == wanted
    assert wanted[:4] in answer.words
    assert b"BEGIN PGP PUBLIC KEY BLOCK" in data


def test_several_certificates_come_in_one_answer(group: Group) -> None:
    answer = group.ask("ana", "get key for A, B and bo@customs.example please")
    assert sorted(answer.reading.attachments) == ["bo.asc", "waste.asc", "wildlife.asc"]


@pytest.mark.parametrize(
    "name", ["nobody@customs.example", "nothing", f"archive@{DOMAIN}", f"bounce@{DOMAIN}", "secret"]
)
def test_nobody_gets_a_key_that_is_none_of_theirs(group: Group, name: str) -> None:
    answer = group.ask("ana", f"get key {name}")
    assert "Not done: there is no key of" in answer.words
    assert answer.reading.attachments == {}


def test_a_list_by_invitation_has_no_key_for_others(group: Group) -> None:
    group.set_list("fishing", by_invitation=True)
    try:
        unknown = group.say("ana", "get key nothing").replace("nothing", "NAME")
        assert group.say("ana", "get key fishing").replace("fishing", "NAME") == unknown
        desk = group.say("ana", "get key fishing-experts").replace("fishing-experts", "NAME")
        assert desk == unknown
    finally:
        group.set_list("fishing", by_invitation=False)


@pytest.mark.parametrize("state", [State.SUSPENDED, State.REMOVED, State.APPLICANT])
def test_only_active_members_keys_are_given_away(group: Group, dan: Officer, state: State) -> None:
    assert "attached" in group.say("ana", f"get key {dan.address}")
    group.set_member("dan", state=state)
    assert "there is no key of" in group.say("ana", f"get key {dan.address}")
    group.set_member("dan", state=State.ACTIVE)


# Time


def round_of(group: Group) -> list[tuple[str, str, str]]:
    """What upkeep tells people now."""
    expiry.run(group.app)
    return told(group.deliver())


def test_warnings_go_out_once_at_each_time_and_then_it_is_over(group: Group, dan: Officer) -> None:
    def at(days_before: float) -> list[tuple[str, str]]:
        group.later = (40 - days_before) * DAY
        first, second = round_of(group), round_of(group)
        assert second == []
        return [(name, kind) for name, kind, _ in first]

    assert at(31) == []
    assert at(29.9) == [("dan", "notice")]
    assert at(15) == []
    assert at(13.9) == [("dan", "notice")]
    assert at(4) == []
    assert at(2.9) == [("dan", "notice")]
    assert at(0.1) == []
    assert at(-0.1) == [("dan", "plain"), ("kip", "notice")]
    assert at(-7) == []
    assert at(-7.2) == [("dan", "plain")]
    assert at(-14.3) == [("dan", "plain")]
    assert [one["days"] for one in group.ledger("expiry-warned")[-3:]] == [30, 14, 3]


def test_who_comes_late_is_warned_once(group: Group, dan: Officer) -> None:
    group.later = 38 * DAY
    assert [name for name, _, _ in round_of(group)] == ["dan"]
    group.later = 39 * DAY
    assert round_of(group) == []


def test_a_new_expiry_begins_anew(group: Group, dan: Officer) -> None:
    group.later = 38 * DAY
    round_of(group)
    group.later = timedelta()
    extend(dan, 20 * DAY)
    assert post(group, "dan", attachments=attached(dan)) == TAKEN
    group.deliver()
    assert [name for name, _, _ in round_of(group)] == ["dan"]
    assert round_of(group) == []
    group.later = 17.1 * DAY
    assert [name for name, _, _ in round_of(group)] == ["dan"]


def test_the_end_of_signing_alone_is_warned_of_too(group: Group, dan: Officer) -> None:
    """Copies go on then, so nothing else would tell its owner."""
    changed(dan, "--quick-add-key", dan.fingerprint, "ed25519", "sign", "20d")
    changed(dan, "--command-fd", "0", "--edit-key", dan.fingerprint,
            data=b"change-usage\ns\nq\nsave\n")  # fmt: skip
    assert post(group, "dan", attachments=attached(dan)) == TAKEN
    group.deliver()
    assert days_left(group, "dan") == 20
    assert round(((held(group, "dan").encrypts_until or now()) - now()) / DAY) == 40
    assert [name for name, _, _ in round_of(group)] == ["dan"]


@pytest.mark.parametrize("state", [State.SUSPENDED, State.REMOVED])
def test_who_is_not_active_is_not_written_to(group: Group, eve: Officer, state: State) -> None:
    group.set_member("eve", state=state)
    assert round_of(group) == []
    group.set_member("eve", state=State.ACTIVE)
    assert [name for name, _, _ in round_of(group)] == ["eve", "kip"]


def test_who_has_revoked_the_key_is_not_told_that_it_expired(group: Group, dan: Officer) -> None:
    mail = group.write("bo", "gateway", text="help\n", attachments=attached(revoked(dan)))
    assert group.submit(mail, "gateway") == TAKEN
    group.deliver()
    for days in (38, 50):
        group.later = days * DAY
        assert round_of(group) == []


def test_the_only_contact_points_own_key_is_the_administrators_business(
    group: Group, eve: Officer
) -> None:
    with group.app.database.transaction() as session:
        found = member.get(session, eve.address)
        found.country = "SE"
    assert round_of(group)[0][:2] == ("ada", "notice")


def test_plain_notices_say_what_to_do_and_nothing_of_anybody(group: Group, eve: Officer) -> None:
    expiry.run(group.app)
    (plain,) = [one for one in group.deliver() if one.kind == "plain"]
    assert plain.reading.pkesk_key_ids == ()
    assert list(plain.reading.attachments) == ["gateway.asc"]
    for part in ("has expired on", eve.fingerprint, f"gateway@{DOMAIN}", "once a week"):
        assert part in plain.words
    for officer in group.officers.values():
        assert officer is eve or officer.address not in plain.words


# Suspension in between, and what an older version left


def test_what_waited_for_the_key_of_a_suspended_member_comes_when_they_are_restored(
    group: Group, eve: Officer
) -> None:
    group.post("ana")
    group.deliver()
    group.set_member("eve", state=State.SUSPENDED)
    extend(eve, 100 * DAY)
    assert post(group, "eve", "environet", attachments=attached(eve)) == TAKEN
    group.deliver()
    assert states(group, "eve")[0] == (Delivery.PARKED, "the certificate has expired")
    with group.app.database.transaction() as session:
        found = member.get(session, eve.address)
        people.change_state(session, group.app, OPERATOR, found, State.ACTIVE)
    assert ("eve", "wildlife", "[Wildlife] Ivory at Mombasa (Ana Berg, KE)") in told(
        group.deliver()
    )


def test_an_older_versions_certificates_are_read_anew(group: Group, dan: Officer) -> None:
    with group.app.database.transaction() as session:
        found = certificates.of(session, member.get(session, dan.address))
        bad = certificates.of(session, member.get(session, "bo@customs.example"))
        assert found is not None
        assert bad is not None
        good, bad.data = bad.data, b"damaged"
        found.serves_until = None
        session.flush()
        certificates.reread(session, now())
        assert found.serves_until is not None
        assert len(found.keys) == 2
        assert bad.data == b"damaged"
        bad.data = good


def test_a_certificate_replaced_meanwhile_is_not_updated(group: Group, dan: Officer) -> None:
    extend(dan, 100 * DAY)
    with group.app.database.transaction() as session:
        found = member.get(session, dan.address)
        with Officer.create("sequoia", dan.name, dan.address) as other:
            kept = openpgp.read(other.certificate)
        certificates.replace(session, found, kept, now())
        updating.update(session, group.app, found, openpgp.read(dan.certificate), actor_of(found))
        assert certificates.of(session, found).data == kept.data  # type: ignore[union-attr]


# The operator's board


def board(group: Group, *words: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(group.gateway.environet("keys", "--json", *words))
    return rows


def test_the_board_has_the_most_urgent_first(group: Group, dan: Officer, eve: Officer) -> None:
    group.post("ana")
    group.deliver()
    with Officer.create("gpg", "Rae Dorn", "rae@customs.example", algorithm="rsa2048") as short:
        group.officers["rae"] = short
        group.gateway.add_member(short)
        rows = board(group, "--days", "60")
        leave(group, "rae")
    shown = [(one["address"], one["health"], one["waiting"]) for one in rows]
    assert shown[:3] == [
        ("eve@customs.example", "expired", 1),
        ("dan@customs.example", "expires soon", 0),
        ("rae@customs.example", "weak", 0),
    ]
    assert {one["health"] for one in rows[3:]} == {"good"}
    own = [one["address"] for one in rows if one["state"] == "gateway"]
    assert {f"gateway@{DOMAIN}", f"archive@{DOMAIN}", f"wildlife@{DOMAIN}"} <= set(own)
    assert (rows[0]["days_left"], rows[1]["days_left"]) in ((-10, 39), (-11, 39))
    assert "shorter than" in str(rows[2]["why"])
    assert rows[0]["fingerprint"] == eve.fingerprint


def test_the_board_ends_with_a_status_for_who_asks(group: Group, dan: Officer) -> None:
    assert "expires soon" not in group.gateway.environet("keys", "--check")
    with pytest.raises(CommandFailed) as failed:
        group.gateway.environet("keys", "--check", "--days", "60")
    assert failed.value.status == 3
    assert group.gateway.environet("keys", "--days", "60")


def test_revoked_and_missing_keys_are_on_the_board(group: Group, dan: Officer) -> None:
    with group.app.database.transaction() as session:
        found = member.get(session, dan.address)
        updating.update(session, group.app, found, openpgp.read(revoked(dan)), actor_of(found))
    assert (board(group)[0]["address"], board(group)[0]["health"]) == (dan.address, "revoked")
    with group.app.database.transaction() as session:
        kept = certificates.of(session, member.get(session, dan.address))
        session.delete(kept)
    first = board(group)[0]
    assert (first["health"], first["why"]) == ("fails", "There is no certificate.")
    assert "There is no certificate." in group.gateway.environet("keys")


def test_nothing_is_proposed_that_is_there_already(group: Group, dan: Officer) -> None:
    with group.app.database.transaction() as session:
        found = member.get(session, dan.address)
        same = openpgp.read(dan.certificate)
        with pytest.raises(UsageError, match="already"):
            joining.propose(
                session, group.app, found, same, Purpose.REPLACE, actor_of(found), proved=True
            )
