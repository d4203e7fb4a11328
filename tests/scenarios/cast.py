"""The people of the stories with their keys, and gateways founded with them, made once each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from pysequoia.packet import PacketPile, Tag

from gateway.message.armor import dearmor
from tests import programs
from tests.gateway import RunningGateway, short_place
from tests.officers import Officer
from tests.scenarios.story import Person, Story


class Cast:
    """Officers with their keys, made once, and founded gateways, for as long as the tests run."""

    def __init__(self) -> None:
        self._officers: dict[object, Officer] = {}
        self._founded: dict[object, RunningGateway] = {}

    def officer(self, handle: str, person: Person) -> Officer:
        """The officer with the key that a story calls `handle`.

        Raises ProgramMissing where their program is not installed.
        """
        key = _key_of(handle, person)
        found = self._officers.get(key)
        if found is None:
            now = datetime.now(UTC)
            found = self._officers[key] = Officer.create(
                person.program, person.name, person.address, None, person.algorithm,
                created=now - timedelta(days=person.key_days) if person.key_days else None,
                expires=now + timedelta(seconds=person.expires_in) if person.expires_in else None,
            )  # fmt: skip
        return found

    def forget_expiring(self, story: Story) -> None:
        """Who has a key that expires soon gets a new one for each story."""
        for handle, person in story.people.items():
            key = _key_of(handle, person)
            if person.expires_in and key in self._officers:
                self._officers.pop(key).close()

    def founded(self, story: Story) -> RunningGateway:
        """A gateway with the story's members and lists, to be copied; those alike share one."""
        people = {name: story.people[name] for name in story.members}
        officers = {name: self.officer(name, one) for name, one in people.items()}
        key = (tuple(one.fingerprint for one in officers.values()), *people.values(),
               json.dumps(story.lists))  # fmt: skip
        if key not in self._founded:
            members = [(officers[name], one) for name, one in people.items()]
            self._founded[key] = self._found(members, story.lists)
        return self._founded[key]

    def close(self) -> None:
        for officer in self._officers.values():
            officer.close()
        for gateway in self._founded.values():
            gateway.close()

    def _found(
        self,
        members: Sequence[tuple[Officer, Person]],
        lists: Mapping[str, Mapping[str, object]],
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
        choosy = []
        for number, (officer, person) in enumerate(members):
            # The file has no columns for these.
            if person.delivery or not person.own_copies:
                choosy.append((officer, person))
                continue
            (folder / str(number)).write_bytes(officer.certificate)
            rows.append(
                {
                    "address": person.address, "name": person.name,
                    "organisation": person.organisation, "country": person.country,
                    "kind": person.kind, "certificate": str(number),
                    "tick_off": person.tick_off, "roles": " ".join(person.roles),
                    "languages": " ".join(person.languages),
                }
            )  # fmt: skip
        if rows:
            made.import_members(rows, folder)
        for officer, person in choosy:
            add(made, officer, person)
        for name, settings in lists.items():
            made.environet("list", "set", name, *_options(settings))
        return made


def add(
    gateway: RunningGateway, officer: Officer, person: Person, certificate: bytes | None = None
) -> str:
    """Make somebody a member with all that the story says of them; what the command prints."""
    return gateway.add_member(
        officer, organisation=person.organisation, country=person.country, kind=person.kind,
        tick_off=person.tick_off, roles=person.roles, languages=person.languages,
        delivery=person.delivery, own_copies=person.own_copies, certificate=certificate,
    )  # fmt: skip


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


def extend(officer: Officer, lasts: timedelta) -> None:
    """Have a GnuPG user set a new expiry on all of their key, so long from now."""
    home, seconds = officer.program.home, f"seconds={int(lasts.total_seconds())}"
    pile = PacketPile.from_bytes(dearmor(officer.certificate, "PUBLIC KEY BLOCK"))
    # "*" would leave out those that have expired.
    subkeys = [one.fingerprint or "" for one in pile if one.tag == Tag.PublicSubkey]
    for keys in ([], subkeys):
        words = ("--quick-set-expire", officer.fingerprint, seconds, *keys)
        programs.gpg(home, "--passphrase", "", *words)
    made = programs.gpg(home, "--armor", "--export", officer.fingerprint)
    officer.program.certificate = made


def _key_of(handle: str, person: Person) -> object:
    """What makes a key another one: roles, topics and the like do not."""
    made = (person.name, person.address, person.program, person.algorithm)
    return handle, *made, person.key_days, person.expires_in


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
