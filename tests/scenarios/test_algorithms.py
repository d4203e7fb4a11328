"""Members with keys of every algorithm that can be served, on one list: each posts, and each reads
what the others posted; what can't be served is refused when it is admitted, with a word for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.officers import Officer

LIST = f"wildlife@{DOMAIN}"
KEYS = {
    "rsa": ("gpg", "rsa3072"),
    "cv25519": ("gpg", "cv25519"),
    "p256": ("gpg", "nistp256"),
    "p384": ("gpg", "nistp384"),
    "p521": ("gpg", "nistp521"),
    "dsa": ("gpg", "dsa"),
    "v6": ("sequoia", "v6"),
    "v6-448": ("sequoia", "v6-448"),
    "mlkem768": ("sequoia", "v6-mlkem768"),
    "mldsa65": ("sequoia", "v6-mldsa65"),
    "mldsa87": ("sequoia", "v6-mldsa87"),
}


@pytest.fixture(scope="module")
def members() -> Iterator[dict[str, Officer]]:
    with ExitStack() as ends:
        yield {
            name: ends.enter_context(
                Officer.create(program, f"Ana {name}", f"{name}@customs.example", algorithm=key)
            )
            for name, (program, key) in KEYS.items()
        }


@pytest.fixture(scope="module")
def gateway(members: dict[str, Officer]) -> Iterator[RunningGateway]:
    with RunningGateway(short_place("algorithms")) as gateway:
        gateway.found()
        gateway.environet("list", "set", "wildlife", "--moderation", "open")
        for one in members.values():
            gateway.add_member(one)
        gateway.start()
        yield gateway


@pytest.mark.parametrize("name", KEYS)
def test_who_posts_is_read_by_everybody(
    gateway: RunningGateway, members: dict[str, Officer], name: str
) -> None:
    author, certificate = members[name], gateway.certificate(LIST)
    mail = author.write(
        to=[LIST], certificates=[certificate], subject=f"Ivory, {name}", text=f"At dawn: {name}.\n"
    )
    assert gateway.send(mail, author.address, [LIST]) == (250, "2.0.0 Accepted")
    gateway.wait_until_delivered()
    for reader in members.values():
        reading = reader.read(gateway.copies(reader.address)[-1], certificate)
        assert f"At dawn: {name}." in reading.text
        assert reading.list_signature is not None
        if KEYS[name][0] == "gpg":  # which knows no others to check the evidence with
            assert reading.author(author.certificate) == author.fingerprint


@pytest.mark.parametrize(
    ("program", "algorithm", "why"),
    [
        ("gpg", "elgamal", "ElGamal-2048 is not served here. Ed25519, "),
        ("gpg", "brainpoolP256r1", "brainpoolP256r1, a weak algorithm or one that is not served"),
        ("gpg", "brainpoolP384r1", "brainpoolP384r1, a weak algorithm or one that is not served"),
        ("gpg", "brainpoolP512r1", "brainpoolP512r1, a weak algorithm or one that is not served"),
    ],
)
def test_what_can_not_be_served_is_refused_with_a_word(
    gateway: RunningGateway, program: str, algorithm: str, why: str
) -> None:
    with (
        Officer.create(program, "Old Key", "old@customs.example", algorithm=algorithm) as officer,
        pytest.raises(CommandFailed, match=why),
    ):
        gateway.add_member(officer)
