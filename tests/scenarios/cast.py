"""The people of the stories with their keys, and gateways founded with them, made once each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import programs
from tests.gateway import RunningGateway, short_place
from tests.officers import Officer
from tests.scenarios.story import Person, Story


class Cast:
    """Officers with their keys, made once, and founded gateways, for as long as the tests run."""

    def __init__(self) -> None:
        self._officers: dict[Person, Officer] = {}
        self._founded: dict[object, RunningGateway] = {}

    def officer(self, person: Person) -> Officer:
        """Raises ProgramMissing where their program is not installed."""
        found = self._officers.get(person)
        if found is None:
            now = datetime.now(UTC)
            found = self._officers[person] = Officer.create(
                person.program, person.name, person.address, None, person.algorithm,
                created=now - timedelta(days=person.key_days) if person.key_days else None,
                expires=now + timedelta(seconds=person.expires_in) if person.expires_in else None,
            )  # fmt: skip
        return found

    def forget_expiring(self, story: Story) -> None:
        """Who has a key that expires soon gets a new one for each story."""
        for person in story.people.values():
            if person.expires_in and person in self._officers:
                self._officers.pop(person).close()

    def founded(self, story: Story) -> RunningGateway:
        """A gateway with the story's members and lists, to be copied; those alike share one."""
        people = [story.people[name] for name in story.members]
        key = (tuple(self.officer(one).fingerprint for one in people), *people,
               json.dumps(story.lists))  # fmt: skip
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
