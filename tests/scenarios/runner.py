"""Plays a story on a real gateway, and holds it to what the story says."""

from __future__ import annotations

import base64
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from gateway.message.armor import dearmor
from gateway.store import certificate as certificates
from gateway.store import hold, ledger, mailing_list, member, outbox, own_key
from gateway.store.mailing_list import GatewayKey, Purpose
from tests.gateway import CommandFailed, RunningGateway, short_place
from tests.officers import Attachment, Officer
from tests.scenarios.cast import Cast, add, extend, revoked
from tests.scenarios.checks import Identity, Submission, Told, signed_octets
from tests.scenarios.mailboxes import CLIENT, Mailboxes
from tests.scenarios.mutations import MUTATIONS, Scene
from tests.scenarios.story import (
    POSTING_SUBJECT,
    Act,
    Command,
    Enrol,
    Expire,
    Extend,
    Mail,
    Outcome,
    Pass,
    Revoke,
    Spoil,
    Step,
    Story,
    duration,
)
from tests.scenarios.words import common_word, filled, fingerprint_word

MOST_MEMORY = 400 * 2**20
# What the gateway itself answers at.
SERVICES = ("gateway", "register", "library")
# gpg, its clock set back, is to encrypt to keys that were made since.
_OLD_KEY = ("--ignore-time-conflict", "--ignore-valid-from")


class Play:
    """One story under way."""

    def __init__(self, story: Story, cast: Cast) -> None:
        self.story = story
        self._cast = cast
        cast.forget_expiring(story)
        used = _used(story)
        self.officers = {
            name: cast.officer(name, one) for name, one in story.people.items() if name in used
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
        self._mailboxes = Mailboxes(story, self.gateway, self.officers, self._submissions)
        self._words: dict[str, str] = {}
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
        step = replace(
            step, act=filled(step.act, self._word), outcome=filled(step.outcome, self._word)
        )
        self._act(step, step.act)
        assert step.outcome.logs in self.gateway.log_text[logged:], "the log does not say why"
        self.gateway.wait_until_delivered()
        self.identities = self._identities()
        self._check_holds(step)
        self._check_parked(step)
        self._take(step.outcome, self._mailboxes.check(step, self.identities))

    def _act(self, step: Step, act: Act) -> None:
        match act:
            case Mail():
                self._send(step, act)
            case Command():
                self._command(shlex.split(act.environet), act.prints, act.fails)
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
            case Extend():
                extend(self.officers[act.extend], duration(act.to))
            case Pass():
                self.gateway.pass_time(duration(act.passes))
                self._command(["upkeep"], act.prints)

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
            by = None if act.by is None else self.officers[act.by]
            scene = Scene(author, by, [self._certificate(one) for one in to])
            mail = MUTATIONS[act.mutation](mail, scene)
        reply = _line(self.gateway.send(mail, sender, to))
        assert reply == act.reply, f"the answer was {reply}"

    def _written(self, act: Mail, author: Officer) -> Submission:
        at = datetime.now(UTC) - act.age if act.signed_ago else None
        readers = [self._certificate(one) for one in act.encrypt_to or act.to]
        answered = self._submissions[act.answers].message_id if act.answers else None
        subject, text = act.subject or POSTING_SUBJECT, act.text
        if act.answers_notice:
            notice = self._mailboxes.last_notice(act.author)
            answered, text = notice.message_id, _reply(act.text, notice)
            subject = act.subject or f"Re: {notice.subject}"
        attachments = [_attachment(name) for name in act.attachments]
        if act.attach_key is not None:
            attachments.append(_certificate_of(self.officers[act.attach_key]))
        headers = {**CLIENT, **act.headers}
        if act.autocrypt is not None:
            headers["Autocrypt"] = _autocrypt(author, self.officers[act.autocrypt])
        second = self.officers[act.also_signed_by].program if act.also_signed_by else None
        mail = author.write(
            to=[self._address(one) for one in act.headers_to or act.to],
            certificates=[*readers, author.certificate],
            subject=subject,
            text=text,
            attachments=attachments,
            form=act.form,
            protected=act.protected,
            sign=act.signed,
            headers=headers,
            line_end=act.line_end,
            in_reply_to=answered,
            references=[answered] if answered else [],
            at=at,
            options=(*act.options, *(_OLD_KEY if at else ())),
            also_by=second,
        )
        signed = signed_octets(author, mail)
        posting = any(_local_part(one) not in SERVICES for one in act.to)
        return Submission(act.author, mail, signed, subject, text, attachments, posting)

    def _command(self, words: Sequence[str], prints: str, fails: int = 0) -> None:
        self._printed(lambda: self.gateway.environet(*words), prints, fails)

    def _printed(self, command: Callable[[], str], prints: str, fails: int) -> None:
        """Run a command and hold it to what it says and its exit status."""
        try:
            status, output = 0, command()
        except CommandFailed as error:
            status, output = error.status, str(error)
        assert (status, prints in output) == (fails, True), f"exit status {status}:\n{output}"

    def _enrol(self, act: Enrol) -> None:
        officer, person = self.officers[act.enrol], self.story.people[act.enrol]
        certificate = revoked(officer) if act.revoked else None
        self._printed(
            lambda: add(self.gateway, officer, person, certificate), act.prints, act.fails
        )

    def _revoke(self, act: Revoke) -> None:
        """A mail that nothing signs brings it, as after a theft: what only the owner can make."""
        officer, to = self.officers[act.revoke], self._address("gateway")
        last_word = ("key.asc", "application/pgp-keys", revoked(officer))
        mail = officer.write(
            to=[to], subject="Revoked", text="My key is lost.\n", form="plain",
            attachments=[last_word],
        )  # fmt: skip
        assert self.gateway.send(mail, officer.address, [to])[0] == 523

    def _take(self, outcome: Outcome, told: Mapping[str, Sequence[Told]]) -> None:
        """Words for later steps, out of the notices of this one."""
        shown = "\n".join(one.shown for one in told.get(outcome.from_notice or "", ()))
        for name, pattern in outcome.takes.items():
            found = re.search(pattern, shown, re.MULTILINE)
            assert found is not None, f"nothing to take for {name}:\n{shown}"
            self._words[name] = found[1]

    def _word(self, name: str) -> str:
        for handle, person in self.story.people.items():
            if name == fingerprint_word(handle):
                return self._cast.officer(handle, person).fingerprint
        return self._words[name] if name in self._words else common_word(name)

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

    def _identities(self) -> dict[str, Identity]:
        """Local part -> identity, of every list, by its letter too, of every desk, and of the
        gateway's own addresses; "former-" before it: with the key that was replaced."""
        domain = self.gateway.domain
        with self.gateway.reading() as session:
            command = mailing_list.own_key(session, Purpose.COMMAND)
            before = _signs_along(session, command)
            found = {
                one: replace(_identity(command, f"{one}@{domain}", ""), former=before)
                for one in SERVICES
            }
            for key in own_key.in_use(session):
                if (former := own_key.former(session, key)) is not None:
                    name = f"former-{_local_part(key.address)}"
                    found[name] = _identity(former, key.address, "")
            for one in (*mailing_list.all_lists(session), *mailing_list.desks(session)):
                made = _identity(one.key, one.address(domain), one.title, desk=one.is_desk)
                found[one.local_part] = made
                if not one.is_desk:
                    assert one.key.address == made.address
                    found[one.letter.lower()] = made
        return found

    def _address(self, name: str) -> str:
        if name in self.story.people:
            return self.story.people[name].address
        return name if "@" in name else f"{name}@{self.gateway.domain}"

    def _certificate(self, name: str) -> bytes:
        if name in self.story.people:
            return self.officers[name].certificate
        return self.identities[_local_part(name)].certificate


def _local_part(name: str) -> str:
    return name.partition("@")[0].lower()


def _signs_along(session: Session, command: GatewayKey) -> bytes | None:
    """The certificate of the key before the one for commands, for 14 days after all were told."""
    former, told = own_key.former(session, command), command.announced_at
    over = told is not None and told < datetime.now(UTC) - timedelta(days=14)
    return None if former is None or over else former.certificate


def _identity(key: GatewayKey, address: str, title: str, *, desk: bool = False) -> Identity:
    return Identity(address, title, key.fingerprint, key.certificate, desk)


def _used(story: Story) -> set[str]:
    """Names of those who are members, do something, or get something."""
    names = set(story.members)
    for step in story.steps:
        names |= step.people
        if isinstance(step.act, Mail):
            names |= {one for one in step.act.encrypt_to or () if one in story.people}
    return names


def _attachment(name: str) -> Attachment:
    """A file with octets that a careless program would change."""
    content = name.encode() + b"\r\nline\nline\r \x00\xff\xfe" + bytes(range(256)) * 20
    return name, "application/octet-stream", content


def _certificate_of(officer: Officer) -> Attachment:
    """As Thunderbird attaches one."""
    name = f"OpenPGP_0x{officer.fingerprint[-16:]}.asc"
    return name, "application/pgp-keys", officer.certificate


def _autocrypt(sender: Officer, owner: Officer) -> str:
    """A field that says that the sender's certificate is the owner's (Autocrypt Level 1)."""
    data = base64.encodebytes(dearmor(owner.certificate, "PUBLIC KEY BLOCK")).decode()
    # With blanks, at which the field is folded.
    return f"addr={sender.address}; keydata= {' '.join(data.split())}"


def _reply(text: str, notice: Told) -> str:
    """What somebody types above the quotation that their program makes."""
    quoted = "".join(f"> {line}".rstrip() + "\n" for line in notice.text.splitlines())
    return f"{text.rstrip()}\n\nENVIRONET wrote:\n{quoted}"


def _line(answer: tuple[int, str]) -> str:
    return f"{answer[0]} {answer[1]}"
