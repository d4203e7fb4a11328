"""What each reader has got since the step before, held to what the step says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from email.utils import parseaddr

from tests.gateway import RunningGateway
from tests.officers import Officer, parse, readers
from tests.scenarios.checks import (
    Expected,
    Identity,
    Submission,
    Told,
    check_copy,
    check_notice,
    check_plain_notice,
    check_told,
    content_of,
    encryption_keys,
    needles_of,
)
from tests.scenarios.story import Mail, Step, Story

# Every mail carries them, and no copy may show them.
CLIENT = {"User-Agent": "Nightjar/7.1", "X-Originating-IP": "[192.0.2.7]"}
_NOTICE, _PLAIN = "a notice", "a plain notice"


class Mailboxes:
    """The mailboxes of a story's people; those of one address share one, each with a key of theirs.

    submissions: step's name -> what was sent; copies tell it their Message-ID.
    """

    def __init__(
        self,
        story: Story,
        gateway: RunningGateway,
        officers: Mapping[str, Officer],
        submissions: MutableMapping[str, Submission],
    ) -> None:
        self._story = story
        self._gateway = gateway
        self._officers = officers
        self._submissions = submissions
        self._seen: dict[str, Counter[bytes]] = {}
        self._last: dict[str, Told] = {}

    def last_notice(self, name: str) -> Told:
        """The newest notice in somebody's mailbox."""
        address = self._officers[name].address
        assert address in self._last, f"{name} has got no notice to answer"
        return self._last[address]

    def check(self, step: Step, identities: Mapping[str, Identity]) -> dict[str, list[Told]]:
        """Exactly the copies and notices that the step names, each as it must be.

        identities: of the gateway's addresses by local part. Returns each person's notices.
        """
        outcome = step.outcome
        wanted = [(name, one) for one, names in outcome.copies.items() for name in names]
        wanted += [(name, _NOTICE) for name, notices in outcome.notices.items() for _ in notices]
        wanted += [(name, _PLAIN) for name, some in outcome.plain_notices.items() for _ in some]
        found: list[tuple[str, str]] = []
        told: dict[tuple[str, str], list[Told]] = {}
        for address, names in self._names().items():
            self._check_envelopes(address)
            for raw in self._new(address):
                kind, name, origin = self._sorted(raw, names, step, identities)
                found.append((name, kind))
                if kind in (_NOTICE, _PLAIN):
                    notice = self._told(raw, kind, self._officers[name], origin)
                    told.setdefault((name, kind), []).append(notice)
                    self._last[address] = notice
                elif (name, kind) in wanted:
                    self._check_copy(step, raw, self._officers[name], origin)
        shown = "\n\n".join(f"{name}: {n.shown}" for (name, _), some in told.items() for n in some)
        assert sorted(found) == sorted(wanted), f"delivered: {sorted(found)}\n{shown}"
        assert self._gateway.recipients() <= set(self._names())
        for (name, kind), notices in told.items():
            asked = (outcome.notices if kind == _NOTICE else outcome.plain_notices)[name]
            check_told(notices, asked, outcome.notices_lack.get(name, ()))
        return {
            name: [*told.get((name, _NOTICE), ()), *told.get((name, _PLAIN), ())]
            for name, _ in told
        }

    def _names(self) -> dict[str, list[str]]:
        """Address -> names of the people who have it."""
        found: dict[str, list[str]] = {}
        for name, officer in self._officers.items():
            found.setdefault(officer.address, []).append(name)
        return found

    def _sorted(
        self,
        raw: bytes,
        names: Sequence[str],
        step: Step,
        identities: Mapping[str, Identity],
    ) -> tuple[str, str, Identity]:
        """(which list's copy or which kind of notice, whose, from which address) a mail is."""
        outer = parse(raw)
        local = parseaddr(outer["From"])[1].partition("@")[0]
        kind = local
        if outer["Auto-Submitted"] is not None:
            kind = _PLAIN if outer.get_content_type() == "multipart/signed" else _NOTICE
        keys = readers(raw)
        mine = [name for name in names if keys & encryption_keys(self._officers[name])]
        if not keys:
            mine = [name for name in names if name in step.outcome.plain_notices]
        return kind, [*mine, *names][0], identities[local]

    def _told(self, raw: bytes, kind: str, reader: Officer, origin: Identity) -> Told:
        if kind == _NOTICE:
            return check_notice(raw, reader, origin)
        postings = [one for one in self._submissions.values() if one.posting]
        needles = [needle for one in postings for needle in content_of(one)]
        return check_plain_notice(raw, reader, origin, needles)

    def _check_envelopes(self, address: str) -> None:
        """Copies bounce to an address of their own; notices have the null sender (RFC 3834 3.1)."""
        for handed in self._gateway.sink.handed if self._gateway.sink else ():
            if handed.recipient == address:
                notice = parse(handed.data)["Auto-Submitted"] is not None
                pattern = "" if notice else rf"bounce\+\d+-[0-9a-f]{{20}}@{self._gateway.domain}"
                assert re.fullmatch(pattern, handed.sender), handed.sender

    def _check_copy(self, step: Step, raw: bytes, reader: Officer, origin: Identity) -> None:
        key = step.outcome.of or step.name
        submission = self._submissions[key]
        person = self._story.people[submission.author]
        usual = f"[{origin.title}] {submission.subject} ({person.name}, {person.country})"
        answers = step.act.answers if isinstance(step.act, Mail) else None
        answers = answers if step.outcome.threaded else None
        expected = Expected(
            submission=submission,
            author=self._officers[submission.author],
            person=person,
            subject=step.outcome.shown_subject or usual,
            answers=self._submissions[answers].message_id if answers else None,
            says=step.outcome.says,
            evidence=step.outcome.evidence,
        )
        needles = needles_of(submission, self._story.people, CLIENT)
        message_id = check_copy(raw, reader, origin, expected, needles)
        assert submission.message_id in (None, message_id), "two Message-IDs of one posting"
        self._submissions[key] = replace(submission, message_id=message_id)

    def _new(self, address: str) -> list[bytes]:
        """In the order of the outbox, in which what was parked stands before what came since."""
        mails = self._gateway.copies(address)
        before, self._seen[address] = self._seen.get(address, Counter()), Counter(mails)
        new = []
        for mail in mails:
            if before[mail]:
                before[mail] -= 1
            else:
                new.append(mail)
        return new
