"""Plays a story on a real gateway, and holds it to what the story says."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parseaddr

from gateway.crypto import certificate as openpgp
from gateway.store import certificate as certificates
from gateway.store import hold, ledger, mailing_list, member, outbox
from gateway.store.mailing_list import GatewayKey, Purpose
from tests.gateway import CommandFailed, RunningGateway, short_place
from tests.officers import Attachment, Officer, parse
from tests.scenarios.cast import Cast, revoked
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
from tests.scenarios.story import (
    Act,
    Command,
    Enrol,
    Expire,
    Mail,
    Revoke,
    Spoil,
    Step,
    Story,
)

MOST_MEMORY = 400 * 2**20
# Every mail carries them, and no copy may show them.
CLIENT = {"User-Agent": "Nightjar/7.1", "X-Originating-IP": "[192.0.2.7]"}
# gpg, its clock set back, is to encrypt to keys that were made since.
_OLD_KEY = ("--ignore-time-conflict", "--ignore-valid-from")


class Play:
    """One story under way."""

    def __init__(self, story: Story, cast: Cast) -> None:
        self.story = story
        cast.forget_expiring(story)
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

    def run(self) -> int:
        """All steps, each with all that follows from it. The most bytes of memory that it took."""
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
        return peak

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
                self._command(shlex.split(act.environet), act.prints, act.fails)
                self.identities = self._identities()
            case Enrol():
                self._enrol(act)
            case Revoke():
                self._revoke(act)
            case Spoil():
                address = self.story.people[act.spoil].address
                with self.gateway.writing() as session:
                    row = certificates.of(session, member.get(session, address))
                    assert row is not None
                    row.stripped = row.stripped[:-20] + bytes(20)
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
            lists = [self.identities[one.partition("@")[0].lower()] for one in to]
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
        told = {address: wanted.get(address, "-") in (why or "") for address, why in found.items()}
        assert told == dict.fromkeys(wanted, True), f"not delivered: {found}"

    def _check_mailboxes(self, step: Step) -> None:
        """Exactly the copies and notices that the step names, each as it must be."""
        wanted = {(p, origin) for origin, people in step.outcome.copies.items() for p in people}
        wanted |= {(person, "gateway") for person in step.outcome.notices}
        found = []
        for name, officer in self.officers.items():
            self._check_envelopes(officer)
            for raw in self._new(name, officer):
                local = parseaddr(parse(raw)["From"])[1].partition("@")[0]
                found.append((name, local))
                if local == "gateway":
                    told = step.outcome.notices.get(name, "")
                    check_notice(raw, officer, self.identities[local], told)
                elif (name, local) in wanted:
                    self._check_copy(step, raw, officer, local)
        assert sorted(found) == sorted(wanted), f"delivered: {sorted(found)}"
        assert self.gateway.recipients() <= {one.address for one in self.officers.values()}

    def _check_envelopes(self, officer: Officer) -> None:
        """Copies bounce to an address of their own; notices have the null sender (RFC 3834 3.1)."""
        for handed in self.gateway.sink.handed if self.gateway.sink else ():
            if handed.recipient == officer.address:
                notice = parse(handed.data)["Auto-Submitted"] is not None
                pattern = "" if notice else rf"bounce\+\d+-[0-9a-f]{{20}}@{self.gateway.domain}"
                assert re.fullmatch(pattern, handed.sender), handed.sender

    def _check_copy(self, step: Step, raw: bytes, reader: Officer, local: str) -> None:
        key = step.outcome.of or step.name
        submission = self._submissions[key]
        person = self.story.people[submission.author]
        origin = self.identities[local]
        ending = f"({person.name}, {person.country})"
        subject = step.outcome.shown_subject or f"[{origin.title}] {submission.subject} {ending}"
        answers = step.act.answers if isinstance(step.act, Mail) else None
        answers = answers if step.outcome.threaded else None
        expected = Expected(
            submission=submission,
            author=self.officers[submission.author],
            person=person,
            subject=subject,
            answers=self._submissions[answers].message_id if answers else None,
            says=step.outcome.says,
            evidence=step.outcome.evidence,
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


def _line(answer: tuple[int, str]) -> str:
    return f"{answer[0]} {answer[1]}"
