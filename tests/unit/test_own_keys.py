"""The gateway's own keys: made good for longer, replaced while the old ones read, told of."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from gateway.administration import announcing, own_keys
from gateway.app import open_app
from gateway.crypto import certificate as openpgp
from gateway.delivery.handoff import Copy
from gateway.errors import UsageError
from gateway.notices.notice import queue
from gateway.store import ledger, mailing_list, member, own_key
from gateway.store.actor import OPERATOR
from gateway.store.mailing_list import GatewayKey, MailingList
from gateway.store.member import State
from gateway.upkeep import own_keys as upkeep
from gateway.upkeep import rounds
from tests import programs
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import signed_parts
from tests.unit.group import Got, Group

DAY = timedelta(days=1)
WILDLIFE, COMMANDS, ARCHIVE = "wildlife", "gateway", "archive"
PEOPLE = {"ada": ["administrator"], "ana": [], "bo": ["expert:B"], "eve": [], "cy": []}


class Keys(Group):
    """A group whose gateway changes its keys; each reader knows those that it ever had."""

    def rotate(self, name: str, *, again: bool = True) -> tuple[str, str]:
        """Fingerprints of the old and of the new key."""
        with self.app.database.transaction() as session:
            old = own_keys.find(session, self.app, name)
            new = own_keys.replace(session, self.app, OPERATOR, old, again=again)
        self._keys.clear()
        return old.fingerprint, new.fingerprint

    def renew(self, name: str, years: int = 3) -> GatewayKey:
        with self.app.database.transaction() as session:
            key = own_keys.find(session, self.app, name)
            own_keys.renew(session, self.app, OPERATOR, key, years)
        return key

    def announce(self, *names: str) -> None:
        with self.app.database.transaction() as session:
            keys = [own_keys.find(session, self.app, one) for one in names]
            announcing.begin(session, self.app, OPERATOR, keys)

    def tell_everybody(self, *names: str) -> list[Got]:
        self.announce(*names)
        upkeep.run(self.app)
        return self.deliver()

    def in_use(self, name: str) -> GatewayKey:
        with self.app.database.reading() as session:
            return own_keys.find(session, self.app, name)

    def old_keys(self, name: str) -> list[bytes]:
        """Certificates of all keys that an address ever had, the oldest first."""
        with self.app.database.reading() as session:
            query = select(GatewayKey.certificate).where(GatewayKey.address == f"{name}@{DOMAIN}")
            return list(session.scalars(query.order_by(GatewayKey.created_at)))

    def mail_to(self, who: str, name: str, certificate: bytes, text: str = "84 tusks.\n") -> bytes:
        return self.officers[who].write(
            to=[f"{name}@{DOMAIN}"], certificates=[certificate], subject="Ivory", text=text
        )

    def signers(self, got: Got) -> tuple[str, ...]:
        """Whose signatures a mail of the gateway has, all good by gpg's word."""
        name = "gateway" if got.kind == "notice" else got.kind.partition("-")[0]
        body, signature = signed_parts(got.reading.plain)
        return programs.verify_by_all(body, signature, self.old_keys(name))

    def signers_now(self, who: str) -> tuple[str, ...]:
        """Whose signatures a notice has that goes out to a member now."""
        with self.app.database.transaction() as session:
            to = member.get(session, self.officers[who].address)
            queue(session, self.app, to, "answer", "Subject", "Text.\n")
        (got,) = self.deliver()
        return self.signers(got)

    def _opened(self, copy: Copy) -> Got:
        (name,) = [one for one in self.officers if self.officers[one].address == copy.recipient]
        reading = self.officers[name].read(b"".join(copy.parts))
        sender = str(reading.outer["From"]).rpartition("<")[2].partition("@")[0]
        kind = "notice" if reading.outer["Auto-Submitted"] is not None else sender
        return Got(name, kind, str(reading.entity["Subject"]), reading.text, reading)


@pytest.fixture(scope="module")
def made() -> Iterator[Keys]:
    with Keys(PEOPLE) as made:
        yield made


@pytest.fixture
def group(made: Keys) -> Iterator[Keys]:
    """The same gateway for every test, now, with nothing to be delivered."""
    made.deliver()
    yield made
    made.later = timedelta()


def told(got: Sequence[Got], kind: str = "notice") -> dict[str, str]:
    """Who got a mail of a kind, each at most one -> its text in one line."""
    found = [one for one in got if one.kind == kind]
    assert len({one.to for one in found}) == len(found), "somebody got two"
    return {one.to: one.words for one in found}


# Replaced


def test_a_list_goes_on_with_a_new_key_and_reads_the_old_one(group: Keys) -> None:
    before = group.in_use(WILDLIFE)
    under_way = group.mail_to("ana", WILDLIFE, before.certificate, "Under way.\n")
    to_the_experts = group.mail_to("ana", "wildlife-experts", before.certificate, "Experts.\n")
    posted = group.mail_to("ana", WILDLIFE, before.certificate, "Before.\n")
    assert group.submit(posted, WILDLIFE) == ["250 2.0.0"]
    assert {group.signers(one) for one in group.deliver()} == {(before.fingerprint,)}

    old, new = group.rotate(WILDLIFE)

    assert (old, group.in_use(WILDLIFE).fingerprint) == (before.fingerprint, new)
    assert new != old
    for mail, name, readers in (
        (under_way, WILDLIFE, set(PEOPLE)),
        (to_the_experts, "wildlife-experts", {"ana", "bo"}),
        (
            group.mail_to("ana", WILDLIFE, group.key(WILDLIFE), "To the new.\n"),
            WILDLIFE,
            set(PEOPLE),
        ),
    ):
        assert group.submit(mail, name) == ["250 2.0.0"]
        copies = [one for one in group.deliver() if one.kind == name]
        assert {one.to for one in copies} == readers
        assert {group.signers(one) for one in copies} == {(new,)}
    assert "Before." in group.gateway.environet("posting", "show", "B-1")
    assert group.ledger("key-replaced")[-1] == {
        "address": f"{WILDLIFE}@{DOMAIN}", "by": "operator", "key": old, "new": new,
    }  # fmt: skip


def test_the_new_key_stands_for_the_same_addresses(group: Keys) -> None:
    before = group.in_use("ozone")
    group.rotate("ozone")
    after = group.in_use("ozone")
    names = {f"{one}@{DOMAIN}" for one in ("ozone", "ozone-owner", "ozone-experts")}
    assert set(own_keys.addresses(before)) == set(own_keys.addresses(after)) == names
    assert openpgp.read(before.certificate).user_ids == openpgp.read(after.certificate).user_ids
    with group.app.database.reading() as session:
        family = session.scalars(select(MailingList).where(MailingList.local_part.like("ozone%")))
        assert {one.key_fingerprint for one in family} == {after.fingerprint}


def test_a_mail_to_a_replaced_key_is_that_lists_and_no_other(group: Keys) -> None:
    old = group.in_use("waste").certificate
    group.rotate("waste")
    mail = group.officers["ana"].write(
        to=[], certificates=[old], subject="Ivory", text="For waste.\n", protected=False
    )
    assert group.submit(mail, "general") == ["550 5.7.1"]
    assert group.submit(mail, "waste") == ["250 2.0.0"]


def test_a_key_is_not_replaced_twice_by_who_asks_twice(group: Keys) -> None:
    _, new = group.rotate("lmo")
    with pytest.raises(UsageError, match="has had a new key since"):
        group.rotate("lmo", again=False)
    assert group.in_use("lmo").fingerprint == new
    group.later = 2 * DAY
    assert group.rotate("lmo", again=False)[0] == new


def test_commands_to_the_old_key_are_run_and_answers_have_both_signatures(group: Keys) -> None:
    group.tell_everybody(COMMANDS)
    old, new = group.rotate(COMMANDS)
    mail = group.mail_to("ana", COMMANDS, group.old_keys(COMMANDS)[0], "topics\n")
    assert group.submit(mail, COMMANDS) == ["250 2.0.0"]
    (answer,) = group.deliver()
    assert "wildlife" in answer.text
    assert group.signers(answer) == (old, new), "the one that most programs show must be known"
    with group.app.database.reading() as session:
        desks = [mailing_list.get(session, one) for one in ("environet", "support")]
        assert {one.key_fingerprint for one in desks} == {new}


def test_the_old_key_for_commands_signs_until_the_members_know_the_new_one(group: Keys) -> None:
    group.tell_everybody(COMMANDS)
    both = group.rotate(COMMANDS)
    assert group.signers_now("ana") == both
    group.later = 100 * DAY
    assert group.signers_now("ana") == both
    group.tell_everybody(COMMANDS)
    group.later += own_key.HANDOVER - DAY
    assert group.signers_now("ana") == both
    group.later += 2 * DAY
    assert group.signers_now("ana") == both[1:]


def test_an_expired_key_does_not_sign_for_the_new_one(group: Keys) -> None:
    group.tell_everybody(COMMANDS)
    old, new = group.rotate(COMMANDS)
    with group.app.database.transaction() as session:
        session.get_one(GatewayKey, old).expires_at = datetime.now(UTC) - DAY
    assert group.signers_now("ana") == (new,)


def test_who_joined_later_sees_the_new_key_alone(group: Keys) -> None:
    group.tell_everybody(COMMANDS)
    both = group.rotate(COMMANDS)
    group.set_member("cy", joined_at=datetime.now(UTC) + timedelta(seconds=1))
    assert group.signers_now("cy") == both[1:]
    assert group.signers_now("ana") == both


def test_a_new_key_that_members_never_heard_of_is_not_the_one_that_they_know(group: Keys) -> None:
    group.tell_everybody(COMMANDS)
    known, _ = group.rotate(COMMANDS)
    _, new = group.rotate(COMMANDS)
    assert group.signers_now("ana") == (known, new)


def test_the_archive_opens_with_its_new_key_alone(group: Keys) -> None:
    label = group.post("ana", text="Old and sealed.\n")
    old, new = group.rotate(ARCHIVE)
    with RunningGateway(short_place("archive")) as copy:
        # Not by this process: it would lose its locks on the database (SQLite, howtocorrupt 2.2).
        programs.run(["cp", "-a", str(group.gateway.state), str(copy.state)])
        home = copy.state / "gnupg"
        for socket in home.glob("S.*"):
            socket.unlink()
        programs.gpg(home, "--yes", "--delete-secret-keys", old)
        with closing(open_app(copy.state)) as app:
            assert app.vault.keyed_hash("a", "b") == group.app.vault.keyed_hash("a", "b")
        assert "Old and sealed." in copy.environet("posting", "show", label)
        programs.gpg(home, "--yes", "--delete-secret-keys", new)
        with pytest.raises(CommandFailed):
            copy.environet("posting", "show", label)


# Made good for longer


def test_a_key_is_made_good_for_longer(group: Keys) -> None:
    before = group.in_use("fishing")
    group.renew("fishing", years=5)
    after = group.in_use("fishing")
    certificate = openpgp.read(group.gateway.certificate(f"fishing@{DOMAIN}"))
    assert before.expires_at is not None
    assert after.expires_at is not None
    assert timedelta() <= after.expires_at - datetime.now(UTC) - 5 * 365 * DAY <= DAY
    assert {one.expires_at for one in certificate.keys} == {after.expires_at}
    assert openpgp.read(after.certificate) == certificate
    assert after.fingerprint == before.fingerprint
    assert group.ledger("key-renewed")[-1]["until"] == f"{after.expires_at:%Y-%m-%d}"
    for years in (5, 1):
        with pytest.raises(UsageError, match=f"good until {after.expires_at:%Y-%m-%d} already"):
            group.renew("fishing", years)


def test_what_never_expires_is_not_made_to_expire(group: Keys) -> None:
    with pytest.raises(UsageError, match="never expires"):
        group.renew(ARCHIVE)
    assert group.in_use(ARCHIVE).expires_at is None


def test_a_renewal_that_was_cut_off_is_made_up_for(group: Keys) -> None:
    before = group.in_use("logging")
    assert before.expires_at is not None
    group.app.keyring.set_expiry(before.fingerprint, before.expires_at + 900 * DAY)
    assert group.in_use("logging").expires_at == before.expires_at
    group.renew("logging", years=6)
    assert group.in_use("logging").expires_at == openpgp.read(
        group.gateway.certificate(f"logging@{DOMAIN}")
    ).expires_at  # fmt: skip


# Told of


def test_members_are_sent_the_certificates_of_what_is_announced(group: Keys) -> None:
    group.tell_everybody(WILDLIFE)
    old, new = group.rotate(WILDLIFE)
    group.set_member("eve", state=State.SUSPENDED)
    got = group.tell_everybody(WILDLIFE, "general")
    group.set_member("eve", state=State.ACTIVE)
    assert set(told(got)) == set(PEOPLE) - {"eve"}
    notice = next(one for one in got if one.to == "ana")
    for said in (f"fingerprint: {new}", f"in place of: {old}", f"general@{DOMAIN}",
                 f"wildlife-experts@{DOMAIN}"):  # fmt: skip
        assert said in notice.words
    found = notice.reading.attachments
    assert {name: openpgp.read(data).fingerprint for name, data in found.items()} == {
        "wildlife.asc": new,
        "general.asc": group.in_use("general").fingerprint,
    }
    assert [one["address"] for one in group.ledger("key-announced")[-2:]] == [
        f"wildlife@{DOMAIN}", f"general@{DOMAIN}",
    ]  # fmt: skip


def test_the_announcement_of_the_key_that_signs_it_says_so(group: Keys) -> None:
    group.tell_everybody(COMMANDS)
    old, new = group.rotate(COMMANDS)
    got = group.tell_everybody(COMMANDS)
    notice = next(one for one in got if one.to == "ana")
    assert group.signers(notice) == (old, new)
    assert "signed twice" in notice.words
    assert f"The old key is {old}, the new one {new}." in notice.words


def test_a_list_by_invitation_is_announced_to_the_invited_alone(group: Keys) -> None:
    environet = group.gateway.environet
    environet("list", "add", "op-coral", "--letter", "OPC", "--title", "Coral",
              "--invite", group.officers["bo"].address)  # fmt: skip
    environet("key", "rotate", "op-coral", "--again")
    group.deliver()
    said = told(group.tell_everybody("op-coral", "general"))
    assert set(said) == set(PEOPLE)
    assert [name for name in said if "op-coral" in said[name]] == ["bo"]


def test_an_announcement_that_was_cut_off_goes_on_and_tells_nobody_twice(
    group: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "BATCH", 2)
    group.announce("general")
    assert announcing.tell_some(group.app) == 2
    first = told(group.deliver())
    assert len(first) == 2
    group.announce("general")  # asked for again
    done = rounds.run_due(group.app)
    assert done["own-keys"] == len(PEOPLE) - 2
    rest = told(group.deliver())
    assert set(first) | set(rest) == set(PEOPLE)
    assert not set(first) & set(rest)
    assert announcing.tell_some(group.app) is None


def test_nobody_is_told_of_the_archives_key(group: Keys) -> None:
    with pytest.raises(UsageError, match="nobody writes to archive@"):
        group.announce("general", ARCHIVE)
    assert announcing.tell_some(group.app) is None


# About to expire


def test_administrators_are_warned_four_times_and_then_weekly(group: Keys) -> None:
    for name in ("fishing", "waste"):
        group.rotate(name)
    key = group.in_use("fishing")
    others = {f"{one}@{DOMAIN}" for one in ("fishing", "waste")}
    assert key.expires_at is not None
    end = key.expires_at - datetime.now(UTC)
    warned = []
    for days in range(-62, 18):
        group.later = end + days * DAY + timedelta(minutes=10)
        upkeep.run(group.app)
        got = [one for one in group.deliver() if all(each in one.text for each in others)]
        if got:
            assert {one.to for one in got} == {"ada"}
            warned.append(days)
            assert "renew key" in got[0].text
    assert warned == [-60, -30, -14, -3, 0, 7, 14]


def test_what_was_renewed_or_replaced_is_not_warned_of_until_it_expires_again(group: Keys) -> None:
    group.rotate("ozone")
    end = group.in_use("ozone").expires_at
    assert end is not None
    group.later = end - datetime.now(UTC) - 10 * DAY
    upkeep.run(group.app)
    group.deliver()
    group.renew("ozone")
    group.rotate("lmo")
    group.later += 8 * DAY
    upkeep.run(group.app)
    assert not [one for one in group.deliver() if "ozone@" in one.text or "lmo@" in one.text]
    end = group.in_use("ozone").expires_at
    assert end is not None
    group.later = end - datetime.now(UTC) - 30 * DAY
    upkeep.run(group.app)
    assert [one.to for one in group.deliver() if "ozone@" in one.text] == ["ada"]


# Ordered by mail


def test_an_administrator_does_it_all_by_mail(group: Keys) -> None:
    before = group.in_use("general")
    answer = group.say("ada", "own keys", f"renew key general@{DOMAIN}", "rotate key waste again",
                       "announce key general", "announce key waste")  # fmt: skip
    after, waste = group.in_use("general"), group.in_use("waste")
    assert before.expires_at is not None
    assert after.expires_at is not None
    assert after.expires_at > before.expires_at
    assert f"waste@{DOMAIN}" in answer
    assert waste.fingerprint in answer
    assert "To have every member told, and sent the certificate, write: announce key" in answer
    upkeep.run(group.app)
    said = told(group.deliver())
    assert set(said) == set(PEOPLE)
    assert f"fingerprint: {waste.fingerprint}" in said["eve"]
    assert f"fingerprint: {after.fingerprint}" in said["eve"]
    with group.app.database.reading() as session:
        ada = member.get(session, group.officers["ada"].address)
        assert group.ledger("key-renewed")[-1]["by"] == ada.id


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("renew key archive", "never expires"),
        ("renew key nowhere", "nowhere is no address of the gateway that has a key in use"),
        ("rotate key", "write it as: rotate key ADDRESS"),
        ("announce key archive", "nobody writes to"),
    ],
)
def test_what_can_not_be_done_is_said(group: Keys, line: str, why: str) -> None:
    assert why in group.say("ada", line)


def test_nobody_else_has_these_commands(group: Keys) -> None:
    key = group.in_use("general").fingerprint
    for line in ("own keys", "renew key all", "rotate key general again", "announce key all"):
        assert "This is no command" in group.say("ana", line)
    assert group.in_use("general").fingerprint == key


# On the command line


def test_the_list_says_which_keys_are_in_use(group: Keys) -> None:
    old, new = group.rotate(WILDLIFE)
    rows = json.loads(group.gateway.environet("key", "list", "--json"))
    use = {one["fingerprint"]: one["use"] for one in rows}
    assert (use[old], use[new]) == ("reads", "in use")
    assert len([one for one in rows if one["use"] == "in use"]) >= 9
    assert new in group.gateway.environet("key", "list")


def test_the_command_line_renews_replaces_and_announces(group: Keys) -> None:
    environet = group.gateway.environet
    assert "renewed" in environet("key", "renew", "--all", "--years", "7")
    assert environet("key", "renew", "--all", "--years", "7").endswith("0 renewed.\n")
    with pytest.raises(CommandFailed, match="name one address, or --all"):
        environet("key", "renew")
    printed = environet("key", "rotate", f"general@{DOMAIN}", "--again")
    assert f"'environet key announce general@{DOMAIN}'" in printed
    assert f"{len(PEOPLE)} members are told" in environet("key", "announce", "--all")
    assert set(told(group.deliver())) == set(PEOPLE)
    with pytest.raises(CommandFailed, match="nobody writes to"):
        environet("key", "announce", "archive")


def test_a_key_is_replaced_whole_or_not_at_all(group: Keys) -> None:
    """Killed at one moment after another, and then run to its end."""
    command = [sys.executable, "-m", "gateway", "--state", str(group.gateway.state),
               "key", "rotate", "general", "--again"]  # fmt: skip
    old = group.in_use("general")
    took, killed = 0.0, 0
    for moment in range(7):
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if moment == 0:
            assert process.wait(60) == 0
            took = time.monotonic() - started
            continue
        time.sleep(took * moment / 7)
        process.send_signal(signal.SIGKILL)
        killed += process.wait(60) == -signal.SIGKILL
        key = group.in_use("general")
        with group.app.database.reading() as session:
            assert ledger.verify(session).fault is None
            family = session.scalars(
                select(MailingList).where(MailingList.local_part.like("general%"))
            )
            assert {one.key_fingerprint for one in family} == {key.fingerprint}
        for certificate in (old.certificate, key.certificate):
            text = f"After {moment}.\n"
            assert group.submit(group.mail_to("ana", "general", certificate, text), "general") == [
                "250 2.0.0"
            ]
        assert {group.signers(one) for one in group.deliver()} == {(key.fingerprint,)}
    assert killed > 3
    assert group.gateway.environet("key", "rotate", "general", "--again")
