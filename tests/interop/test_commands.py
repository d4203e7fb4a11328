"""Commands as people type them in real mail programs: run once, and nothing else is run.

NeoMutt and Mutt write their mails here themselves. Thunderbird's are what it once made, with other
words in them; K-9's, Outlook's and Apple Mail's are imitated in how they set out a text.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from gateway.store.member import DeliveryMode, Member
from tests.gateway import RunningGateway, short_place
from tests.interop import typing
from tests.interop.typed_cases import (
    BOTH_OFF,
    CASES,
    FORMS,
    NO_OWN_COPIES,
    WRAPPED,
    as_html,
)
from tests.interop.watching import (
    TO,
    UNTOUCHED,
    World,
    again,
    confirmation,
    confirmed,
    decision,
    events,
    follow_up,
    held,
    inline,
    is_bound,
    newest,
    played,
    profile,
    seen,
    sent,
    swaks,
    told,
)
from tests.officers import Officer
from tests.programs import Gpg, KeyRequest

Write = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Mira moderates Wildlife, where all postings are held."""
    settings = {"policy.commands_an_hour": 1000}
    with (
        Officer.create("gpg", "Mira Osei", "mira.osei@member.example") as mira,
        Officer.create("gpg", "Ana Lind", "ana.lind@customs.example") as ana,
        RunningGateway(short_place("typed"), settings=settings) as gateway,
    ):
        gateway.found()
        gateway.environet("list", "set", "wildlife", "--moderation", "all")
        gateway.add_member(mira, roles=["moderator:B"])
        gateway.add_member(ana)
        gateway.start()
        yield World(gateway, gateway.certificate(TO), mira, ana)
        assert "Traceback" not in gateway.log_text


@pytest.fixture(autouse=True)
def untouched(world: World) -> None:
    """Nobody has chosen anything."""
    with world.gateway.writing() as session:
        for one in session.scalars(select(Member)):
            one.ticked_off = []
            one.own_copies, one.delivery, one.languages = True, DeliveryMode.EACH, ""


@pytest.fixture(scope="module", params=["neomutt", "mutt"])
def mutt(request: pytest.FixtureRequest, world: World) -> Iterator[typing.Mutt]:
    place = short_place(request.param)
    try:
        yield typing.Mutt(request.param, place, world.mira, [world.certificate])
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def bo(corpora: Path, world: World) -> Iterator[Officer]:
    """The officer whose Thunderbird made the mail that others are made after."""
    folder = corpora / "mail-programs"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")

    class GpgWithThatKey(Gpg):
        def _generate(self, request: KeyRequest) -> bytes:
            self._gpg("--import", data=(folder / "sub.sec.asc").read_bytes())
            return (folder / "sub.pub.asc").read_bytes()

    program = GpgWithThatKey(short_place("bo"), KeyRequest("Bo Berg"))
    with Officer("Bo Berg", "bo.berg@member.example", program, own_home=True) as officer:
        world.gateway.add_member(officer, country="SE")
        yield officer


@pytest.fixture(scope="module")
def thunderbird(corpora: Path, world: World, bo: Officer) -> Write:
    """Writes a mail around a MIME entity, as Thunderbird does."""
    name = str(corpora / "mail-programs" / "thunderbird-153-to-list")
    model, outer = Path(name + ".decrypted").read_bytes(), Path(name + ".eml").read_bytes()

    def write(body: bytes) -> bytes:
        return typing.thunderbird(model, outer, bo, world.certificate, f"ENVIRONET <{TO}>", body)

    return write


@pytest.mark.parametrize("name", CASES)
def test_thunderbirds_plain_text_is_run(
    world: World, bo: Officer, thunderbird: Write, name: str
) -> None:
    played(world, bo, thunderbird(typing.flowed(CASES[name].typed)), CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_thunderbirds_html_with_its_plain_alternative_is_run(
    world: World, bo: Officer, thunderbird: Write, name: str
) -> None:
    case = CASES[name]
    body = typing.alternative(typing.flowed(case.typed), typing.html(as_html(case.typed)))
    played(world, bo, thunderbird(body), case)


def test_lines_that_thunderbird_broke_are_one_command(
    world: World, bo: Officer, thunderbird: Write
) -> None:
    played(world, bo, thunderbird(typing.flowed(WRAPPED.typed)), WRAPPED)


# Their signature does not say whom the mail is for: what changes something is confirmed first.


UNQUOTED = ("comma and full stop", "no-break spaces and dashes", "a numbered list", "help")


@pytest.mark.parametrize("name", UNQUOTED)
@pytest.mark.parametrize("form", FORMS)
def test_what_other_programs_form_is_run_once_it_is_confirmed(
    world: World, form: str, name: str
) -> None:
    write = partial(typing.sealed, world.mira, world.certificate, TO)
    case = CASES[name]
    confirmed(world, write(FORMS[form](case)), case, lambda _, line: write(typing.plain(line)))


@pytest.mark.parametrize("name", UNQUOTED)
def test_an_inline_message_sent_by_swaks_is_run_once_it_is_confirmed(
    world: World, name: str
) -> None:
    if shutil.which("swaks") is None:
        pytest.skip("swaks is not installed")
    case = CASES[name]
    before = seen(world, world.mira)
    mail = inline(world, case.typed)
    swaks(world, mail, world.mira)
    answer = newest(world, world.mira, before)
    follow_up(world, case, before, mail, answer, lambda _, line: inline(world, line))


@pytest.mark.parametrize("name", CASES)
def test_what_is_typed_in_mutt_is_run(world: World, mutt: typing.Mutt, name: str) -> None:
    case = CASES[name]
    mail = mutt.write(TO, "a request – bitte", case.typed)
    confirmed(world, mail, case, mutt.answer)


@pytest.mark.parametrize("where", ["above", "below"])
def test_an_answer_in_mutt_runs_nothing_of_what_it_quotes(
    world: World, mutt: typing.Mutt, where: str
) -> None:
    before = seen(world, world.mira)
    sent(world, mutt.write(TO, "a question", "help tick off\n"), world.mira)
    answer = newest(world, world.mira, before)
    assert "tick off" in told(world, world.mira, answer)
    mail = mutt.answer(answer, "\ntick off wildlife, E.\n\n", where)
    confirmed(world, mail, CASES["comma and full stop"], mutt.answer)


@pytest.mark.parametrize(
    "typed", ["Please approve H-{}.\n", "approve H–{}\n", "APPROVE\u00a0h{}\n"]
)
@pytest.mark.parametrize("where", ["above", "below"])
def test_a_moderator_answers_the_notice_of_a_held_posting_in_mutt(
    world: World, mutt: typing.Mutt, where: str, typed: str
) -> None:
    notice, number = held(world)
    before = seen(world, world.mira)
    mail = mutt.answer(notice, "\n" + typed.format(number), where)
    sent(world, mail, world.mira)
    answer = newest(world, world.mira, before)
    if not is_bound(world, mail):
        assert decision(world, number) == "open"
        before = seen(world, world.mira)
        sent(world, mutt.answer(answer, confirmation(world, answer)), world.mira)
        answer = newest(world, world.mira, before)
    said = told(world, world.mira, answer)
    assert f"H-{number} is approved." in said
    assert "Not done" not in said
    assert "no command" not in said
    assert decision(world, number) == "approved"
    assert profile(world, world.mira) == UNTOUCHED
    assert set(events(world, before)) == {"commands", "approved"}
    again(world, mail, world.mira)


@pytest.mark.parametrize("verb", ["approve", "reject", "discard"])
def test_the_mail_that_a_notices_link_prepares_is_run(world: World, verb: str) -> None:
    notice, number = held(world)
    links = re.findall(r"mailto:\S+", world.mira.read(notice).text)
    parts = [urlsplit(one) for one in links]
    assert {one.path for one in parts} == {TO}
    bodies = [parse_qs(one.query)["body"][0] for one in parts]
    (body,) = (one for one in bodies if one.startswith(verb))
    write = partial(typing.sealed, world.mira, world.certificate, TO, subject=body)
    before = seen(world, world.mira)
    sent(world, write(typing.flowed(body)), world.mira)
    answer = newest(world, world.mira, before)
    before = seen(world, world.mira)
    sent(world, write(typing.flowed(confirmation(world, answer))), world.mira)
    assert f"H-{number} is " in told(world, world.mira, newest(world, world.mira, before))
    assert decision(world, number).startswith(verb)


POLITE: dict[str, dict[str, Any]] = {
    "own copies off please\n": NO_OWN_COPIES,
    "tick off B E please\n": BOTH_OFF,
    "deliver digest daily, please.\n": {"delivery": "daily"},
    "s'il vous plaît, own copies off\n": NO_OWN_COPIES,
    "Bitte tick off B E!\n": BOTH_OFF,
}
NOT_QUITE: dict[str, dict[str, Any]] = {
    "own copies off, s'il vous plaît\n": NO_OWN_COPIES,
    "tick off B E, bitte\n": BOTH_OFF,
    "tick off B et E\n": BOTH_OFF,
    "tick off B E X\n": BOTH_OFF,
    "language fr por favor\n": {"languages": "fr"},
}


@pytest.mark.parametrize("typed", POLITE)
def test_politeness_is_no_part_of_a_command(
    world: World, bo: Officer, thunderbird: Write, typed: str
) -> None:
    before = seen(world, bo)
    sent(world, thunderbird(typing.flowed(typed)), bo)
    assert "Not done" not in told(world, bo, newest(world, bo, before))
    assert profile(world, bo) == {**UNTOUCHED, **POLITE[typed]}


@pytest.mark.parametrize("typed", NOT_QUITE)
def test_a_line_that_is_not_understood_whole_is_not_run_in_part(
    world: World, bo: Officer, thunderbird: Write, typed: str
) -> None:
    before = seen(world, bo)
    sent(world, thunderbird(typing.flowed(typed)), bo)
    is_refused = "Not done" in told(world, bo, newest(world, bo, before))
    assert profile(world, bo) == {**UNTOUCHED, **({} if is_refused else NOT_QUITE[typed])}


@pytest.mark.parametrize("verb", ["approve", "discard"])
def test_politeness_after_a_hold_is_no_part_of_the_command(world: World, verb: str) -> None:
    _, number = held(world)
    write = partial(typing.sealed, world.mira, world.certificate, TO)
    before = seen(world, world.mira)
    sent(world, write(typing.plain(f"{verb.capitalize()} H-{number} please\n")), world.mira)
    answer = newest(world, world.mira, before)
    sent(world, write(typing.plain(confirmation(world, answer))), world.mira)
    assert decision(world, number).startswith(verb)


TELEPHONES = (
    "Envoyé de mon mobile", "Envoyé de mon iPhone", "Sent from my iPhone", "Get Outlook for iOS",
    "Von meinem iPhone gesendet", "Отправлено с iPhone", "Enviado desde mi iPhone",
    "أُرسلت من الـ iPhone",
)  # fmt: skip


@pytest.mark.parametrize("line", TELEPHONES)
def test_a_telephones_line_is_not_run_and_does_no_harm(
    world: World, bo: Officer, thunderbird: Write, line: str
) -> None:
    case = CASES["from a telephone"]
    typed = f"own copies off\n\n{line}\n"
    played(world, bo, thunderbird(typing.flowed(typed)), case)
