"""Plays a story on a real gateway, and holds it to what the story says."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.crypto import certificate as openpgp
from gateway.store import certificate as certificates
from gateway.store import hold, ledger, mailing_list, member, outbox
from gateway.store.mailing_list import GatewayKey, Purpose
from tests import programs
from tests.gateway import CommandFailed, RunningGateway, short_place
from tests.officers import Attachment, Officer, parse
from tests.scenarios.checks import (
    Expected,
    Identity,
    Submission,
    check_copy,
    check_notice,
    needles_of,
    signed_octets,
)
from tests.scenarios.mutations import MUTATIONS, Scene
from tests.scenarios.story import Act, Command, Enrol, Expire, Mail, Person, Revoke, Step, Story

MOST_MEMORY = 400 * 2**20
# Every mail carries them, and no copy may show them.
CLIENT = {"User-Agent": "Nightjar/7.1", "X-Originating-IP": "[192.0.2.7]"}
# gpg, its clock set back, is to encrypt to keys that were made since.
_OLD_KEY = ("--ignore-time-conflict", "--ignore-valid-from")


class Cast:
    """Officers with their keys, made once, and founded gateways, for as long as the tests run."""

    def __init__(self) -> None:
        self._officers: dict[Person, Officer] = {}
        self._founded: dict[object, RunningGateway] = {}

    def officer(self, person: Person) -> Officer:
        """Raises ProgramMissing where their program is not installed."""
        found = self._officers.get(person)
        if found is None or person.expires_in:
            now = datetime.now(UTC)
            found = self._officers[person] = Officer.create(
                person.program, person.name, person.address, None, person.algorithm,
                created=now - timedelta(days=person.key_days) if person.key_days else None,
                expires=now + timedelta(seconds=person.expires_in) if person.expires_in else None,
            )  # fmt: skip
        return found

    def founded(self, story: Story) -> RunningGateway:
        """A gateway with the story's members and lists, to be copied; those alike share one."""
        people = [story.people[name] for name in story.members]
        if any(one.expires_in for one in people):
            return self._found(people, story.lists)
        key = (tuple(people), json.dumps(story.lists))
        if key not in self._founded:
            self._founded[key] = self._found(people, story.lists)
        return self._founded[key]

    def close(self) -> None:
        for officer in self._officers.values():
            officer.close()
        for gateway in self._founded.values():
            gateway.close()

    def _found(
        self, people: Sequence[Person], lists: Mapping[str, Mapping[str, object]]
    ) -> RunningGateway:
        made = RunningGateway(short_place("founded"))
        empty = self._founded.get(None)
        if empty is None:
            empty = self._founded[None] = RunningGateway(short_place("empty"))
            empty.found()
        made.found_as(empty)
        folder = made.place / "certificates"
        folder.mkdir()
        rows = []
        for number, person in enumerate(people):
            (folder / str(number)).write_bytes(self.officer(person).certificate)
            rows.append(
                {
                    "address": person.address, "name": person.name,
                    "organisation": person.organisation, "country": person.country,
                    "kind": person.kind, "certificate": str(number),
                    "tick_off": person.tick_off, "roles": " ".join(person.roles),
                }
            )  # fmt: skip
        made.import_members(rows, folder)
        for name, settings in lists.items():
            made.environet("list", "set", name, *_options(settings))
        return made


@dataclass(frozen=True, slots=True)
class Summary:
    """peak: bytes of memory that the server process has had at most."""

    peak: int


class Play:
    """One story under way."""

    def __init__(self, story: Story, cast: Cast) -> None:
        self.story = story
        self.officers = {
            name: cast.officer(one) for name, one in story.people.items() if name in _used(story)
        }
        self._made_at = time.monotonic()
        template = cast.founded(story)
        sink = story.handoff == "smtp"
        self.gateway = RunningGateway(
            short_place("story"), settings=dict(story.settings), sink=sink
        )
        self.gateway.found_as(template)
        self.identities = self._identities()
        self._submissions: dict[str, Submission] = {}
        self._seen: dict[str, int] = {}
        self._holds: set[str] = set()
        self._unfinished: set[int] = set()

    def run(self) -> Summary:
        """All steps, each with all that follows from it."""
        gateway = self.gateway
        gateway.start()
        for number, step in enumerate(self.story.steps, 1):
            try:
                self._step(step)
            except Exception as error:
                error.add_note(f"in step {number}: {step.does}\n{gateway.log_text[-2000:]}")
                raise
        peak = gateway.peak_memory()
        assert peak < MOST_MEMORY, f"the server took {peak >> 20} MiB"
        with gateway.reading() as session:
            assert ledger.verify(session).fault is None
        assert gateway.stop() == 0
        for trouble in ("Traceback", "fault on our side", "delivery failed", "interrupted"):
            assert trouble not in gateway.log_text, gateway.log_text
        return Summary(peak)

    def close(self) -> None:
        self.gateway.close()

    def _step(self, step: Step) -> None:
        logged = len(self.gateway.log_text)
        self._act(step, step.act)
        assert step.outcome.logs in self.gateway.log_text[logged:], "the log does not say why"
        self.gateway.wait_until_delivered()
        self._check_holds(step)
        self._check_parked(step)
        self._check_mailboxes(step)

    def _act(self, step: Step, act: Act) -> None:
        match act:
            case Mail():
                self._send(step, act)
            case Command():
                self._command(act.environet.split(" "), act.prints, act.fails)
            case Enrol():
                self._enrol(act)
            case Revoke():
                self._revoke(act)
            case Expire():
                seconds = self.story.people[act.until_expiry_of].expires_in
                time.sleep(max(0.0, self._made_at + seconds + 1.5 - time.monotonic()))

    def _send(self, step: Step, act: Mail) -> None:
        author = self.officers[act.author]
        to = [self._address(one) for one in act.to]
        sender = author.address if act.envelope_from is None else act.envelope_from
        if act.rcpt_reply is not None:
            assert _line(self.gateway.ask(to[0], sender)) == act.rcpt_reply
        if act.again is not None:
            submission = self._submissions[act.again]
        else:
            submission = self._written(act, author)
        self._submissions[step.name] = submission
        mail = submission.mail
        if act.mutation is not None:
            lists = [self.identities[one.partition("@")[0]] for one in to]
            by = None if act.by is None else self.officers[act.by]
            scene = Scene(author, by, [one.certificate for one in lists])
            mail = MUTATIONS[act.mutation](mail, scene)
        reply = _line(self.gateway.send(mail, sender, to))
        assert reply == act.reply, f"the answer was {reply}"

    def _written(self, act: Mail, author: Officer) -> Submission:
        at = datetime.now(UTC) - act.age if act.signed_ago else None
        readers = [self._certificate(one) for one in act.encrypt_to or act.to]
        answered = self._submissions[act.answers].message_id if act.answers else None
        attachments = [_attachment(name) for name in act.attachments]
        mail = author.write(
            to=[self._address(one) for one in act.headers_to or act.to],
            certificates=[*readers, author.certificate],
            subject=act.subject,
            text=act.text,
            attachments=attachments,
            form=act.form,
            protected=act.protected,
            sign=act.signed,
            headers={**CLIENT, **act.headers},
            line_end=act.line_end,
            in_reply_to=answered,
            references=[answered] if answered else [],
            at=at,
            options=(*act.options, *(_OLD_KEY if at else ())),
        )
        signed = signed_octets(author, mail)
        return Submission(act.author, mail, signed, act.subject, act.text, attachments)

    def _command(self, words: Sequence[str], prints: str, fails: int) -> None:
        try:
            status, output = 0, self.gateway.environet(*words)
        except CommandFailed as error:
            status, output = error.status, str(error)
        assert (status, prints in output) == (fails, True), f"exit status {status}:\n{output}"

    def _enrol(self, act: Enrol) -> None:
        officer, person = self.officers[act.enrol], self.story.people[act.enrol]
        file = self.gateway.place / "enrolled.asc"
        file.write_bytes(revoked(officer) if act.revoked else officer.certificate)
        words = [
            "member", "add", person.address, "--name", person.name, "--organisation",
            person.organisation, "--country", person.country, "--certificate", str(file),
        ]  # fmt: skip
        self._command(words, act.prints, act.fails)

    def _revoke(self, act: Revoke) -> None:
        """No command learns of a revocation yet, so it is written where one would write it."""
        officer = self.officers[act.revoke]
        with self.gateway.writing() as session:
            row = certificates.of(session, member.get(session, officer.address))
            assert row is not None
            row.data = openpgp.read(revoked(officer)).data

    def _check_holds(self, step: Step) -> None:
        with self.gateway.reading() as session:
            all_open = {one.label: one for one in hold.held(session)}
            new = {
                one.mailing_list.local_part: one.rule
                for label, one in all_open.items()
                if label not in self._holds
            }
            self._holds |= set(all_open)
        assert new == dict(step.outcome.held), f"held: {new}"

    def _check_parked(self, step: Step) -> None:
        with self.gateway.reading() as session:
            found = {}
            for entry, address in outbox.unfinished(session):
                if entry.id not in self._unfinished:
                    self._unfinished.add(entry.id)
                    found[address] = entry.reason
        wanted = {self.story.people[n].address: why for n, why in step.outcome.parked.items()}
        assert found == wanted, f"not delivered: {found}"

    def _check_mailboxes(self, step: Step) -> None:
        """Exactly the copies and notices that the step names, each as it must be."""
        wanted = {(p, origin) for origin, people in step.outcome.copies.items() for p in people}
        wanted |= {(person, "gateway") for person in step.outcome.notices}
        found = []
        for name, officer in self.officers.items():
            for raw in self._new(name, officer):
                local = parseaddr(parse(raw)["From"])[1].partition("@")[0]
                found.append((name, local))
                if local == "gateway":
                    told = step.outcome.notices.get(name, "")
                    check_notice(raw, officer, self.identities[local], told)
                elif (name, local) in wanted:
                    self._check_copy(step, raw, officer, local)
        assert sorted(found) == sorted(wanted), f"delivered: {sorted(found)}"

    def _check_copy(self, step: Step, raw: bytes, reader: Officer, local: str) -> None:
        key = step.outcome.of or step.name
        submission = self._submissions[key]
        person = self.story.people[submission.author]
        origin = self.identities[local]
        ending = f"({person.name}, {person.country})"
        subject = step.outcome.shown_subject or f"[{origin.title}] {submission.subject} {ending}"
        answers = step.act.answers if isinstance(step.act, Mail) else None
        expected = Expected(
            submission=submission,
            author=self.officers[submission.author],
            person=person,
            subject=subject,
            answers=self._submissions[answers].message_id if answers else None,
            says=step.outcome.says,
        )
        needles = needles_of(submission, self.story.people, CLIENT)
        message_id = check_copy(raw, reader, origin, expected, needles)
        assert submission.message_id in (None, message_id), "two Message-IDs of one posting"
        self._submissions[key] = replace(submission, message_id=message_id)

    def _new(self, name: str, officer: Officer) -> list[bytes]:
        copies = self.gateway.copies(officer.address)
        before, self._seen[name] = self._seen.get(name, 0), len(copies)
        return copies[before:]

    def _identities(self) -> dict[str, Identity]:
        """Local part -> identity, of every list, by its letter too, and of gateway@."""
        domain = self.gateway.domain
        with self.gateway.reading() as session:
            command = mailing_list.own_key(session, Purpose.COMMAND)
            found = {"gateway": _identity(command, "")}
            for one in mailing_list.all_lists(session):
                assert one.key.address == one.address(domain)
                found[one.local_part] = found[one.letter.lower()] = _identity(one.key, one.title)
        return found

    def _address(self, name: str) -> str:
        if name in self.story.people:
            return self.story.people[name].address
        return name if "@" in name else f"{name}@{self.gateway.domain}"

    def _certificate(self, name: str) -> bytes:
        if name in self.story.people:
            return self.officers[name].certificate
        return self.identities[name].certificate


def revoked(officer: Officer) -> bytes:
    """The certificate of a GnuPG user with the revocation that gpg made beside the key."""
    home = officer.program.home
    text = (home / "openpgp-revocs.d" / f"{officer.fingerprint}.rev").read_text()
    # A colon keeps gpg users from importing it by mistake.
    block = text[text.index(":-----BEGIN") + 1 :].encode()
    with TemporaryDirectory(prefix="pgp") as folder:
        other = Path(folder)
        programs.gpg(other, "--no-autostart", "--import", data=officer.certificate + block)
        return programs.gpg(other, "--armor", "--export", officer.fingerprint)


def _identity(key: GatewayKey, title: str) -> Identity:
    return Identity(key.address, title, key.fingerprint, key.certificate)


def _used(story: Story) -> set[str]:
    """Names of those who are members, or do something."""
    names = set(story.members)
    for step in story.steps:
        match step.act:
            case Mail():
                readers = {one for one in step.act.encrypt_to or () if one in story.people}
                names |= {step.act.author, *readers} | ({step.act.by} if step.act.by else set())
            case Enrol():
                names.add(step.act.enrol)
            case _:
                pass
    return names


def _attachment(name: str) -> Attachment:
    """A file with octets that a careless program would change."""
    content = name.encode() + b"\r\nline\nline\r \x00\xff\xfe" + bytes(range(256)) * 20
    return name, "application/octet-stream", content


def _options(settings: Mapping[str, object]) -> list[str]:
    """{"signed_only": True, "moderation": "all"} -> --signed-only --moderation all"""
    words = []
    for name, value in settings.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def _line(answer: tuple[int, str]) -> str:
    return f"{answer[0]} {answer[1]}"
