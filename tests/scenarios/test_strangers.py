"""What a stranger hears of a mail tells nothing of it: neither the words nor how long they took."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gateway.posting.policy import NO_SIGNATURE
from tests.gateway import DOMAIN, RunningGateway, short_place
from tests.officers import Officer

LIST, REGISTER = f"wildlife@{DOMAIN}", f"register@{DOMAIN}"
STEP_MS = 300


@pytest.fixture(scope="module")
def ana() -> Iterator[Officer]:
    with Officer.create("sequoia", "Ana Lind", "ana@customs.example") as officer:
        yield officer


@pytest.fixture(scope="module")
def eve() -> Iterator[Officer]:
    """Nobody's member."""
    with Officer.create("sequoia", "Eve", "eve@elsewhere.example") as officer:
        yield officer


@pytest.fixture(scope="module")
def gateway(ana: Officer) -> Iterator[RunningGateway]:
    with RunningGateway(short_place("strangers"), settings={"smtp.refusal_ms": STEP_MS}) as gateway:
        gateway.found()
        gateway.add_member(ana)
        gateway.start()
        yield gateway


HOW: dict[str, dict[str, object]] = {
    "signed by a stranger": {},
    "not signed": {"sign": False},
    "for another's key": {"elsewhere": True},
    "captured": {"captured": True},
}


def written(gateway: RunningGateway, ana: Officer, eve: Officer, how: dict[str, object]) -> bytes:
    certificate = eve.certificate if how.get("elsewhere") else gateway.certificate(LIST)
    author = ana if how.get("captured") else eve
    mail = author.write(to=[LIST], certificates=[certificate], subject="Ivory", text="Two tons.",
                        sign=bool(how.get("sign", True)))  # fmt: skip
    if how.get("captured"):
        # Somebody on the way has changed it a little, to see whether it can be decrypted still.
        place = mail.rindex(b"\r\n=") - 20
        mail = (
            mail[:place] + (b"A" if mail[place : place + 1] != b"A" else b"B") + mail[place + 1 :]
        )
    return mail


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_strangers_hear_one_text_at_the_same_moments(
    gateway: RunningGateway, ana: Officer, eve: Officer, how: dict[str, object]
) -> None:
    mail = written(gateway, ana, eve, how)
    began = time.monotonic()
    code, text = gateway.send(mail, "somebody@elsewhere.example", [LIST])
    assert f"{code} {text}" == str(NO_SIGNATURE)
    assert time.monotonic() - began >= STEP_MS / 1000


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize(
    ("to", "field", "code"), [(LIST, b"List-Id: <x.example>\r\n", 250), (REGISTER, b"", 250)]
)
def test_at_the_same_moments_whatever_the_answer(
    gateway: RunningGateway, ana: Officer, eve: Officer, how: dict[str, object], to: str,
    field: bytes, code: int,
) -> None:  # fmt: skip
    mail = field + written(gateway, ana, eve, how)
    began = time.monotonic()
    assert gateway.send(mail, "somebody@elsewhere.example", [to])[0] == code
    assert time.monotonic() - began >= STEP_MS / 1000


def test_a_member_waits_for_nothing(gateway: RunningGateway, ana: Officer) -> None:
    mail = ana.write(to=[LIST], certificates=[gateway.certificate(LIST)], subject="Ivory",
                     text="Two tons.")  # fmt: skip
    assert gateway.send(mail, ana.address, [LIST])[0] == 250
