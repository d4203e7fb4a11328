"""The stories' own machinery: what a story may say, its words and notices, keys, passing time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.crypto import certificate
from gateway.crypto.signature import Verified, examine
from gateway.message.armor import dearmor
from gateway.message.pgpmime import multipart_signed
from gateway.store import ledger
from gateway.store.database import UtcDateTime
from gateway.store.models import Base
from tests import programs
from tests.gateway import RunningGateway, short_place
from tests.officers import Officer, parse, readers
from tests.scenarios.cast import Cast
from tests.scenarios.checks import Identity, Told, check_plain_notice, check_told, encryption_keys
from tests.scenarios.mutations import MUTATIONS, Scene
from tests.scenarios.runner import Play
from tests.scenarios.story import Command, Mail, Notices, Pass, Story, StoryFault, duration, read
from tests.scenarios.words import UnknownWord, common_word, filled

HEAD = 'title = "A story"\nmembers = ["ana", "bo-new"]\n'
NEW_KEY = """
[people.bo-new]
name = "Bo Berg"
address = "bo.berg@police.example"
organisation = "Police Authority"
country = "SE"
program = "gpg"
algorithm = "cv25519"

[lists.waste]
moderation = "all"
"""
HELD = 'from = "ana"\nto = "waste"\nreply = "250 2.0.0 Accepted"\nheld = "moderated-list"\n'
POSTED = 'from = "ana"\nreply = "250 2.0.0 Accepted"\n'


def told(tmp_path: Path, *steps: str) -> Story:
    """A story of these steps, each without its sentence."""
    text = HEAD + NEW_KEY
    for number, step in enumerate(steps, 1):
        text += f'\n[[step]]\ndoes = "Step {number}"\n{step}\n'
    (tmp_path / "story.toml").write_text(text, encoding="utf-8")
    return read(tmp_path / "story.toml")


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    made = Cast()
    yield made
    made.close()


@pytest.fixture(scope="module")
def own() -> Iterator[Officer]:
    """Stands for the gateway."""
    with Officer.create("gpg", "ENVIRONET", "gateway@environet.example") as made:
        yield made


@pytest.fixture(scope="module")
def ana() -> Iterator[Officer]:
    with Officer.create("gpg", "Ana Lind", "ana.lind@customs.example") as made:
        yield made


@pytest.fixture(scope="module")
def bo() -> Iterator[Officer]:
    with Officer.create("gpg", "Bo Berg", "bo.berg@police.example") as made:
        yield made


def test_a_mail_goes_to_any_address_and_carries_a_certificate(tmp_path: Path) -> None:
    plea = told(tmp_path, 'from = "zoe"\nto = "register"\nattach_key = true\nreply = ""').steps[0]
    assert isinstance(plea.act, Mail)
    assert (plea.act.to, plea.act.attach_key) == (("register",), "zoe")
    assert plea.people == {"zoe"}


def test_two_signatures_take_the_form_that_has_room_for_them(tmp_path: Path) -> None:
    both = 'from = "ana"\nalso_signed_by = "bo-new"\nreply = ""'
    act = told(tmp_path, both).steps[0].act
    assert isinstance(act, Mail)
    assert act.form == "6.1"
    with pytest.raises(StoryFault, match=r"need form 6\.1"):
        told(tmp_path, both + '\nform = "6.2"')


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"held"', (("held",),)),
        ('["held", "H-1"]', (("held", "H-1"),)),
        ('[["held"], ["H-1", "late"]]', (("held",), ("H-1", "late"))),
    ],
)
def test_what_somebody_is_told_is_a_text_or_texts_or_several_notices(
    tmp_path: Path, written: str, meant: Notices
) -> None:
    step = told(tmp_path, f"{POSTED}notices = {{ ana = {written} }}").steps[0]
    assert step.outcome.notices == {"ana": meant}


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ('environet = "hold approve $hold"', r"no step before took \$hold"),
        ('environet = "It costs $ 5"', r"a \$ alone is written \$\$"),
        (POSTED + 'copies = ["nobody"]', "nobody is called nobody"),
        (POSTED + 'attach_key = "nobody"', "nobody is called nobody"),
        (POSTED + 'notices = { ana = ["a", ["b"]] }', "a notice says"),
        (POSTED + "notices = { ana = 3 }", "a notice says"),
        (POSTED + 'notices_lack = { ana = "a" }', "can't be told too much"),
        (POSTED + "takes = { hold = '(H-1)' }", "from the notice of somebody"),
        (POSTED + "notices = { ana = \"a\" }\ntakes = { hold = 'H-1' }", "the one group"),
        (POSTED + "notices = { ana = \"a\" }\ntakes = { Hold = '(H)' }", "the one group"),
        (POSTED + 'pass = "3 days"', "has one of from"),
    ],
)
def test_a_story_that_nobody_could_play_is_refused(tmp_path: Path, step: str, fault: str) -> None:
    with pytest.raises(StoryFault, match=fault):
        told(tmp_path, step)


def test_a_word_is_known_to_the_steps_after_it_is_taken(tmp_path: Path) -> None:
    takes = f"{HELD}notices = {{ ana = \"held\" }}\ntakes = {{ hold = '^(H-\\d+)$' }}"
    story = told(tmp_path, takes, 'environet = "hold approve $hold ${fingerprint_bo_new} $$5"')
    assert story.steps[0].outcome.from_notice == "ana"
    act = filled(story.steps[1].act, {"hold": "H-1", "fingerprint_bo_new": "F"}.__getitem__)
    assert act == Command("hold approve H-1 F $5")
    # A pattern's own $ stays.
    assert filled(story.steps[0].outcome, common_word).takes == {"hold": r"^(H-\d+)$"}


def test_a_day_to_come_is_a_word_that_every_story_has() -> None:
    assert common_word("in_30_days") == str((datetime.now(UTC) + timedelta(days=30)).date())
    with pytest.raises(UnknownWord):
        common_word("in_some_days")


def test_time_passes_in_words(tmp_path: Path) -> None:
    assert told(tmp_path, 'pass = "3 days"').steps[0].act == Pass("3 days")
    assert duration("3 days") == timedelta(days=3)


def notice(text: str) -> Told:
    return Told("<1@x.example>", "", text, text)


def test_several_notices_are_told_in_any_order_and_all_of_them() -> None:
    both = [notice("your posting\nis held"), notice("tick off: Wildlife")]
    check_told(both, (("tick", "Wildlife"), ("posting is held",)), ("Mombasa",))
    for wanted in ((("held",), ("held",)), (("tick", "Waste"), ("held",))):
        with pytest.raises(AssertionError, match="do not say"):
            check_told(both, wanted, ())
    with pytest.raises(AssertionError, match="a notice says 'posting is'"):
        check_told(both, (("tick",), ("held",)), ("posting is",))


def plain_notice(own: Officer, to: Officer, text: str, **how: object) -> bytes:
    headers = {
        "Auto-Submitted": "auto-generated", "Autocrypt": "addr=gateway@environet.example",
        "DKIM-Signature": "v=1",
    }  # fmt: skip
    return own.write(
        to=[to.address], subject="[ENVIRONET] You are invited", text=text, headers=headers,
        **{"form": "signed", **how},  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_plain_notice_is_signed_and_says_nothing_of_any_posting(
    own: Officer, ana: Officer
) -> None:
    origin = Identity(own.address, "", own.fingerprint, own.certificate)
    needles = ["Ivory at Mombasa"]
    text = "Dear Ana,\n\nyou are invited.\n"
    read_notice = check_plain_notice(plain_notice(own, ana, text), ana, origin, needles)
    assert read_notice.text == text
    assert "You are invited" in read_notice.shown
    bad = {
        "says": plain_notice(own, ana, text + "About ivory at\nMombasa.\n"),
        "not signed alone": plain_notice(
            own, ana, text, form="6.2", certificates=[ana.certificate]
        ),
        "signature": plain_notice(own, ana, text).replace(b"invited.", b"excluded."),
        "long line": plain_notice(own, ana, "many words " * 10),
    }
    for fault, mail in bad.items():
        with pytest.raises(AssertionError, match=fault):
            check_plain_notice(mail, ana, origin, needles)
    word = "https://archive.environet.example/" + "x" * 72
    check_plain_notice(plain_notice(own, ana, f"  {word}\n> {word} a\n"), ana, origin, needles)


def test_two_signatures_stand_over_the_same_content(own: Officer, ana: Officer) -> None:
    with Officer.create("sequoia", "Ana Lind", ana.address) as new:
        mail = ana.write(
            to=[own.address], certificates=[own.certificate], subject="key replace",
            text="key replace\n", form="6.1", also_by=new.program,
        )  # fmt: skip
        body, signatures = multipart_signed(own.read(mail).plain)
        assert len(signatures) == 2
        keys = [
            certificate.read(dearmor(one.certificate, "PUBLIC KEY BLOCK")) for one in (ana, new)
        ]
    now, soon = datetime.now(UTC), timedelta(minutes=1)
    for signature, key in zip(signatures, keys, strict=True):
        verdict = examine(body, signature, [key], now, soon)
        assert isinstance(verdict, Verified)
        assert verdict.fingerprint == key.fingerprint
        assert not isinstance(examine(body + b"x", signature, [key], now, soon), Verified)


def test_a_signed_message_is_forwarded_in_somebody_elses_mail(
    own: Officer, ana: Officer, bo: Officer
) -> None:
    mail = ana.write(
        to=[own.address],
        certificates=[own.certificate, ana.certificate],
        subject="x",
        text="help\n",
    )
    sent = MUTATIONS["forwarded"](mail, Scene(ana, bo, [own.certificate]))
    assert (parse(sent)["From"], parse(sent)["To"]) == (bo.address, own.address)
    assert readers(sent) == encryption_keys(own) | encryption_keys(bo)
    assert own.read(sent).text == "help\n"
    payload = list(parse(sent).iter_parts())[1].get_payload(decode=True)
    assert isinstance(payload, bytes)
    inside = programs.gpg(own.program.home, "--decrypt", "--unwrap", data=payload)
    assert programs.verify_message(inside, ana.certificate)[0] == ana.fingerprint


def moments(gateway: RunningGateway) -> dict[str, list[tuple[object, ...]]]:
    """Every value of every table, those of moments apart: "table" and "table, moments"."""
    found: dict[str, list[tuple[object, ...]]] = {}
    with gateway.reading() as session:
        for table in Base.metadata.sorted_tables:
            dates = [one for one in table.columns if isinstance(one.type, UtcDateTime)]
            others = [one for one in table.columns if one not in dates]
            order = list(table.primary_key)
            for name, columns in ((table.name, others), (f"{table.name}, moments", dates)):
                query = select(*columns).order_by(*order)
                found[name] = [tuple(row) for row in session.execute(query)] if columns else []
    return found


def test_time_passes_for_all_that_the_database_has_but_the_ledger(ana: Officer) -> None:
    with RunningGateway(short_place("time")) as gateway:
        gateway.found()
        gateway.add_member(ana)
        before = moments(gateway)
        gateway.pass_time(timedelta(days=3))
        after = moments(gateway)
        with gateway.reading() as session:
            assert ledger.verify(session).fault is None
    shifted = {
        name: [
            tuple(one - timedelta(days=3) if isinstance(one, datetime) else one for one in row)
            for row in rows
        ]
        for name, rows in before.items()
        if name.endswith("moments") and not name.startswith("ledger")
    }
    assert after == {**before, **shifted}
    assert any(None in row for row in after["mailing_list, moments"])
    assert after["member, moments"] != before["member, moments"]


def test_people_come_with_their_languages_and_wishes(tmp_path: Path, cast: Cast) -> None:
    text = 'title = "x"\nmembers = ["awa", "kip", "ada"]\nstep = []\n'
    text += '[people.ada]\ndelivery = "daily"\nown_copies = false\nlanguages = ["es"]\n'
    (tmp_path / "story.toml").write_text(text)
    gateway = cast.founded(read(tmp_path / "story.toml"))
    shown = {
        one["address"]: one for one in json.loads(gateway.environet("member", "list", "--json"))
    }
    awa, ada = shown["awa.diop@douane.example"], shown["ada.keller@secretariat.example"]
    assert (awa["languages"], awa["roles"]) == (["fr", "en"], ["moderator:B"])
    assert (ada["languages"], ada["roles"]) == (["es"], ["administrator"])
    assert (ada["delivery"], ada["own_copies"]) == ("daily", False)
    assert shown["kip.otieno@environment.example"]["roles"] == ["contact-point"]


@contextmanager
def playing(story: Story, cast: Cast) -> Iterator[Play]:
    play = Play(story, cast)
    try:
        yield play
    finally:
        play.close()


def test_a_story_takes_a_word_answers_a_notice_and_reads_with_a_new_key(
    tmp_path: Path, cast: Cast
) -> None:
    story = told(
        tmp_path,
        f"{HELD}notices = {{ ana = [\"is held\", \"by a moderator first\"] }}\n"
        "takes = { hold = '(H-\\d+)' }\nnotices_lack = { ana = \"tusks\" }",
        'environet = "hold approve $hold"\nof = "Step 1"\n'
        'copies = { waste = ["ana", "bo-new"] }\nnotices = { ana = "$hold and is approved" }',
        f'{POSTED}answers_notice = true\ntext = "Thank you for $hold."\n'
        'says = ["Thank you for H-1.\\n\\nENVIRONET wrote:\\n> Dear Ana Lind,\\n>\\n"]\n'
        'shown_subject = "[Wildlife] Re: [ENVIRONET] Your posting A-1 is approved (Ana Lind, KE)"\n'
        'copies = ["ana", "bo-new"]',
        'from = "bo-new"\nattach_key = true\nreply = "250 2.0.0 Accepted"\n'
        'copies = ["ana", "bo-new"]',
    )  # fmt: skip
    with playing(story, cast) as play:
        play.run()
        ana, bo = play.officers["ana"], play.officers["bo-new"]
        *_, approved, answer, key = (ana.read(one) for one in play.gateway.copies(ana.address))
        sent = play._submissions["Step 3"].mail
    assert parse(sent)["In-Reply-To"] == approved.outer["Message-ID"]
    assert answer.attachments == {}
    assert key.attachments == {f"OpenPGP_0x{bo.fingerprint[-16:]}.asc": bo.certificate}


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (f'{POSTED}copies = ["ana", "bo"]', r"delivered: .*'bo-new', 'wildlife'"),
        (f'{HELD}notices = {{ ana = [["is held"], ["is held"]] }}', r"delivered: .*'a notice'"),
        (f'{HELD}plain_notices = {{ ana = "is held" }}', r"delivered: .*'a notice'"),
        (f'{HELD}notices = {{ ana = ["is held", "for ever"] }}', "do not say"),
        (f'{HELD}notices = {{ ana = "" }}\nnotices_lack = {{ ana = "is held" }}', "says 'is held'"),
        (f"{HELD}notices = {{ ana = \"\" }}\ntakes = {{ x = '(H-99)' }}", "nothing to take for x"),
    ],
)
def test_a_story_that_tells_otherwise_fails(
    tmp_path: Path, cast: Cast, step: str, fault: str
) -> None:
    with playing(told(tmp_path, step), cast) as play, pytest.raises(AssertionError, match=fault):
        play.run()


def test_each_address_of_the_gateway_has_the_key_that_serves_it(tmp_path: Path, cast: Cast) -> None:
    with playing(told(tmp_path, POSTED), cast) as play:
        pass
    keys = {name: one.fingerprint for name, one in play.identities.items()}
    for name in ("register", "library", "environet", "support"):
        assert keys[name] == keys["gateway"]
    for name in ("b", "wildlife-owner", "wildlife-experts"):
        assert keys[name] == keys["wildlife"]
    assert len({keys[name] for name in ("gateway", "wildlife", "waste")}) == 3
    desks = {name for name, one in play.identities.items() if one.desk}
    assert {"environet", "support", "waste-owner", "waste-experts"} <= desks
    assert desks.isdisjoint({"gateway", "register", "wildlife", "b"})
    assert play.identities["waste-owner"].address == "waste-owner@environet.example"


def test_a_copy_is_judged_by_the_address_and_title_that_it_is_from(
    tmp_path: Path, cast: Cast
) -> None:
    story = told(tmp_path, f'{POSTED}copies = ["ana", "bo-new"]')
    with playing(story, cast) as play:
        play.run()
        (raw,), reader = play.gateway.copies("ana.lind@customs.example"), play.officers["ana"]
        check, wildlife = play._mailboxes._check_copy, play.identities["wildlife"]
        check(story.steps[0], raw, reader, wildlife)
        experts = play.identities["wildlife-experts"]
        for wrong in (
            experts,
            replace(wildlife, title=experts.title),
            replace(wildlife, address=experts.address),
            replace(wildlife, fingerprint=play.identities["waste"].fingerprint),
        ):
            with pytest.raises(AssertionError):
                check(story.steps[0], raw, reader, wrong)


def test_a_desks_mail_reaches_its_readers_and_commands_are_answered(
    tmp_path: Path, cast: Cast
) -> None:
    story = told(
        tmp_path,
        'from = "ana"\nto = "environet"\nreply = "250 2.0.0 Accepted"\ncopies = ["ana", "ada"]',
        'from = "ana"\nto = "gateway"\ntext = "topics"\nreply = "250 2.0.0 Accepted"\n'
        'notices = { ana = "Wildlife" }',
        'pass = "1 hours"',
    )
    with playing(replace(story, members=("ana", "ada")), cast) as play:
        play.run()
