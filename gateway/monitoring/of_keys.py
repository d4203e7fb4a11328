"""Checks of the gateway's own keys and of gpg-agent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from gateway.crypto.keyring import Keyring
from gateway.errors import GatewayError
from gateway.monitoring.finding import Finding, fault, ok, warning
from gateway.monitoring.scene import Scene
from gateway.store import data_key, own_key
from gateway.store.mailing_list import GatewayKey, Purpose

_SOON: Final = timedelta(days=30)
_SLOW_SECONDS: Final = 2.0
_SIGNING_SECONDS: Final = 10.0
_SAMPLE: Final = b"Signed to see whether the key serves.\n"


def keys(scene: Scene) -> Iterator[Finding]:
    """Each key in use: when it expires, and whether its secret part signs."""
    scene.check_database_is_there()
    now = scene.clock()
    with scene.database.reading() as session:
        found = own_key.in_use(session)
    late = [one for one in found if one.expires_at is not None and one.expires_at <= now]
    soon = [
        one for one in found
        if one.expires_at is not None and now < one.expires_at <= now + _SOON
    ]  # fmt: skip
    renew = "environet key renew --all"
    for one in late:
        yield fault(f"the key of {one.address} has expired", renew)
    for one in soon:
        yield warning(f"the key of {one.address} expires on {one.expires_at:%Y-%m-%d}", renew)
    tried, silent = _without_secret(scene.keyring(), [one for one in found if one not in late])
    for one in silent:
        yield fault(
            f"the key of {one.address} does not sign: its secret part is missing or broken",
            "restore the state's gnupg folder from a backup; see 'Keys' in docs/operating.md",
        )
    yield ok(f"{len(found)} in use, {tried} of them tried")


def _without_secret(keyring: Keyring, keys: list[GatewayKey]) -> tuple[int, list[GatewayKey]]:
    """How many keys there was time to sign with, and those of them that don't."""
    silent, tried, begun = [], 0, time.monotonic()
    for one in keys:
        if time.monotonic() - begun > _SIGNING_SECONDS:
            break
        tried += 1
        try:
            keyring.sign(_SAMPLE, one.fingerprint)
        except GatewayError:
            silent.append(one)
    return tried, silent


def agent(scene: Scene) -> Iterator[Finding]:
    """A decryption and a signature, as each mail needs them, and how long they take."""
    scene.check_database_is_there()
    with scene.database.reading() as session:
        sealed = data_key.messages(session)
        command = next(
            one.fingerprint for one in own_key.in_use(session) if one.purpose is Purpose.COMMAND
        )
    keyring = scene.keyring()
    restart = "gpgconf --homedir STATE/gnupg --kill all (gpg starts a new one), then ask again"
    begun = time.monotonic()
    try:
        for message in sealed.values():
            keyring.decrypt(message)
    except GatewayError as error:
        yield fault(f"the data key does not open, so no content does: {error}", restart)
        return
    try:
        keyring.sign(_SAMPLE, command)
    except GatewayError as error:
        yield fault(f"it does not sign: {error}", restart)
        return
    seconds = time.monotonic() - begun
    said = f"{len(sealed)} data key(s) opened and a signature made in {seconds:.2f} s"
    if seconds > _SLOW_SECONDS:
        yield warning(said, "see whether the machine is overloaded; a mail waits as long")
    else:
        yield ok(said)
