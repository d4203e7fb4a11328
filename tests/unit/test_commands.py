"""Commands as officers type them, by signed mails to a real gateway, and what they are answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from sqlalchemy import select

from gateway.command.reading import Step, closest, read
from gateway.command.table import COMMANDS
from gateway.message import entity
from gateway.message.typed import Typed
from gateway.store.command_mail import Unconfirmed
from gateway.store.member import DeliveryMode, Role
from gateway.store.posting import Posting
from tests.gateway import DOMAIN
from tests.officers import Officer, encrypted_entity, header_lines, signed_entity
from tests.unit.commanding import GATEWAY, ROLES, Place, as_joined, changed, joined, started


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with started() as made:
        yield made


@pytest.fixture
def ana(place: Place) -> Iterator[Place]:
    """The place, in which Ana is as she was when she joined."""
    yield place
    as_joined(place, "ana")


# Reading what was typed


def steps(*lines: str) -> list[Step]:
    return list(read([Typed(one, one) for one in lines], COMMANDS))


def understood(*lines: str) -> list[tuple[str | None, list[str]]]:
    return [(one.command.words if one.command else None, one.call.words) for one in steps(*lines)]


@pytest.mark.parametrize(
    ("typed", "command", "words"),
    [
        ("tick off B E", "tick off", ["B", "E"]),
        ("Tick Off b,e", "tick off", ["b", "e"]),
        ("TICK OFF B, E.", "tick off", ["B", "E"]),
        ("tick-off B and E", "tick off", ["B", "E"]),
        ("tickoff B", "tick off", ["B"]),
        ("tick off: B & E!", "tick off", ["B", "E"]),
        ("please tick off B", "tick off", ["B"]),
        ("Please, tick off B, please.", "tick off", ["B"]),
        ("Hi, please tick off B. Thanks!", "tick off", ["B"]),
        ("Bonjour, merci de tick off B", "tick off", ["B"]),
        ("Пожалуйста, tick off B", "tick off", ["B"]),
        ("من فضلك tick off B", "tick off", ["B"]),
        ('"tick off B"', "tick off", ["B"]),
        ("*tick off B*", "tick off", ["B"]),
        ("help?", "help", []),
        ("help please", "help", []),
        ("Held.", "held", []),
        ("own copies: off", "own copies", ["off"]),
        ("suspend <bo@customs.example>", "suspend", ["bo@customs.example"]),
        ("suspend bo@customs.example.", "suspend", ["bo@customs.example"]),
        ("role add moderator:B bo@customs.example", "role add",
         ["moderator:B", "bo@customs.example"]),
        ("ledger verify", "ledger verify", []),
        ("ledger 5", "ledger", ["5"]),
        ("helper", None, ["helper"]),
        ("heldB", None, ["heldB"]),
        ("ticket off B", None, ["ticket", "off", "B"]),
    ],
)  # fmt: skip
def test_a_line_is_read_as_people_type_it(
    typed: str, command: str | None, words: list[str]
) -> None:
    assert understood(typed) == [(command, words)]


@pytest.mark.parametrize(
    "typed",
    [
        "Hello", "Dear gateway,", "Dear colleagues", "Good morning!", "Thank you.", "Many thanks,",
        "Thanks in advance", "Kind regards,", "Best wishes", "please", "Bonjour,", "Merci d'avance",
        "Cordialement,", "Buenos días", "Muchas gracias", "Saludos", "Здравствуйте!", "Спасибо",
        "С уважением,", "السلام عليكم", "شكرا",
    ],
)  # fmt: skip
def test_small_talk_is_no_command_and_not_answered(typed: str) -> None:
    assert understood(typed, "held", typed) == [("held", [])]


def test_a_reason_stays_as_it_was_typed() -> None:
    (one,) = steps("reject H-17 Known already, please see B-12 and B-13.")
    assert one.call.rest == "H-17 Known already, please see B-12 and B-13."


def test_a_form_goes_on_to_the_next_command() -> None:
    found = steps(
        "member set ana@customs.example", "Name: Ana Lind-Berg", "phone: 123", "COUNTRY : ke",
        "languages: fr en", "name: second", "held", "country: SE",
    )  # fmt: skip
    assert [one.command.words if one.command else None for one in found] == [
        "member set", None, "held", None,
    ]  # fmt: skip
    assert found[0].call.form == {"name": "Ana Lind-Berg", "country": "ke", "languages": "fr en"}
    assert found[1].shown == "phone: 123"


def test_a_key_of_a_form_that_is_a_command_too_belongs_to_the_form() -> None:
    found = steps("nominate", "name: Zoe", "language: fr", "language fr")
    assert [one.command.words if one.command else None for one in found] == ["nominate", "language"]
    assert found[0].call.form["language"] == "fr"


def test_keys_are_taken_with_hyphens_or_blanks() -> None:
    (one,) = steps("list set B", "Moderators-needed: 2", "*signed only*: yes")
    assert one.call.form == {"moderators needed": "2", "signed only": "yes"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("unsubscribe B", "tick off"), ("subscribe", "tick on"), ("tick of B", "tick off"),
        ("tickoff", "tick off"), ("delivre each", "deliver"), ("profil", "profile"),
        ("lists", "topics"), ("aide", "help"), ("approove H-17", "approve"),
        ("own copy off", "own copies"), ("Yesterday we found two containers.", None), ("", None),
    ],
)  # fmt: skip
def test_the_nearest_command_is_found(typed: str, meant: str | None) -> None:
    found = closest(typed, COMMANDS)
    assert (found.words if found else None) == meant


# What mail programs make of it


def entity_of(text: str, kind: str = "plain", **parameters: str) -> bytes:
    made = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    made["To"] = GATEWAY
    made.set_content(text, subtype=kind, cte="quoted-printable")
    for name, value in parameters.items():
        made.set_param(name, value)
    made.set_param("hp", "cipher")
    return made.as_bytes()


def raw(place: Place, name: str, made: bytes) -> bytes:
    officer = place.people[name]
    message = officer.program.encrypt(made, [place.keys[GATEWAY]], sign=True)
    return header_lines({"From": officer.address, "To": GATEWAY}) + encrypted_entity(message)


HTML = """<html><head><style>p {color: red} held </style></head><body>
<p>Bonjour,</p><div>tick <b>off</b>&nbsp;B&nbsp;E<br></div><ol><li>own copies off</li></ol>
<!-- deliver digest daily --><p style="display:none">deliver digest weekly</p>
<div class="gmail_quote"><div class="gmail_attr">On Monday ENVIRONET wrote:<br></div>
<blockquote>language fr</blockquote></div></body></html>"""
FLOWED = "tick off \nB E \n\nown copies off\n> deliver digest daily\n-- \nlanguage fr\n"
FRENCH = """Bonjour,

1. tick off B E
2) own copies off

Cordialement,
Ana Lind

Le lun. 23 nov. 2026 à 10:22, ENVIRONET <gateway@environet.example> a écrit :
> deliver digest daily
>> language fr
"""
RUSSIAN = """Здравствуйте!
• tick off B E
– own copies off
Спасибо
-----Исходное сообщение-----
От: ENVIRONET
Кому: Ana
Тема: deliver
deliver digest daily
"""
ARABIC = "السلام عليكم\n\u200ftick off B E\u200f\n\u202aown copies off\u202c\nend\nlanguage fr\n"
OUTLOOK = """tick off B E
own copies off

From: ENVIRONET <gateway@environet.example>
Sent: Monday, 23 November 2026 10:22
To: Ana Lind
Subject: [ENVIRONET] Re: help

deliver digest daily
"""


@pytest.mark.parametrize(
    "made",
    [
        entity_of(HTML, "html"),
        entity_of(FLOWED, format="flowed"),
        entity_of(FRENCH),
        entity_of(RUSSIAN),
        entity_of(ARABIC),
        entity_of(OUTLOOK),
        entity_of("“tick off B E”\n*own copies off*\n-- \nlanguage fr\n"),
    ],
    ids=["html", "flowed", "french", "russian", "arabic", "outlook", "marks"],
)
def test_whatever_a_program_made_of_it_the_commands_run(ana: Place, made: bytes) -> None:
    (answer,) = ana.deliver(raw(ana, "ana", made))
    one = ana.member("ana")
    assert ana.off("ana") == {"B", "E"}, answer.text
    assert (one.own_copies, one.delivery, one.languages) == (False, DeliveryMode.EACH, "")
    assert "no command" not in answer.text, "nothing but commands was answered"


def test_a_mail_without_text_is_told_by_its_signed_subject(ana: Place) -> None:
    assert "tick on B" in ana.ask("ana", "", subject="tick off B")
    assert "Write each command on a line of its own" in ana.ask("ana", "Hello\n", subject="Hello")


def test_an_answer_to_an_answer_does_not_run_its_subject_again(ana: Place) -> None:
    how = {"subject": "Re: [ENVIRONET] Re: tick off B", "in_reply_to": f"<x@{DOMAIN}>"}
    assert "Write each command on a line of its own" in ana.ask("ana", "Thanks!\n", **how)
    assert ana.off("ana") == set()
    how["subject"] = "tick off B"
    assert "To undo it" in ana.ask("ana", "Thanks!\n", **how), "a subject that was typed counts"


def test_prose_is_answered_with_the_commands_once(ana: Place) -> None:
    answer = ana.ask("ana", "Yesterday we found two containers.\nThey hold ivory.\n")
    assert answer.count("This is no command") == 1
    assert "These are the commands that you may use: help [COMMAND]" in answer


def test_each_line_has_its_own_result(ana: Place) -> None:
    answer = ana.ask(
        "ana", "tick off B\ntick off Z\nunsubscribe E\nown copies off\nWhat a nice day it is.\n"
    )
    for told in (
        "> tick off B You get nothing more of B (wildlife)",
        "> tick off Z Not done: there is no list 'Z'; there are A (waste)",
        "> unsubscribe E This is no command. Did you mean: tick off TOPIC",
        "> own copies off Your own postings do not come back",
        "> What a nice day it is. This is no command.",
    ):
        assert told in answer
    assert ana.off("ana") == {"B"}
    assert "These are the commands" not in answer, "the help is for who found no command"


def test_a_command_is_applied_whole_or_not_at_all(ana: Place) -> None:
    ana.ask("ana", "tick off B Z E\nown copies off\n")
    assert ana.off("ana") == set()
    assert ana.member("ana").own_copies is False


def test_a_mail_has_no_end_of_commands(ana: Place) -> None:
    answer = ana.ask("ana", "own copies off\nown copies on\n" * 25 + "tick off B\ntick off E\n")
    assert "> tick off B Not run, nor what follows it: a mail may have 50 commands" in answer
    assert (ana.off("ana"), ana.member("ana").own_copies) == (set(), True)


# Never twice, and only what was meant for the gateway


def test_the_same_mail_again_is_taken_and_does_nothing(ana: Place) -> None:
    mail = ana.mail("ana", "tick off B\n")
    assert len(ana.deliver(mail)) == 1
    ana.ask("ana", "tick on B\n")
    assert ana.deliver(mail) == []
    assert ana.off("ana") == set()


def test_the_same_signature_in_another_encryption_does_nothing(ana: Place) -> None:
    made = entity_of("tick off B\n")
    signed = signed_entity(made, ana.people["ana"].program.sign(made))
    for expected in (1, 0):
        message = ana.people["bo"].program.encrypt(signed, [ana.keys[GATEWAY]])
        mail = header_lines({"From": "x@x.example"}) + encrypted_entity(message)
        assert len(ana.deliver(mail)) == expected
        ana.ask("ana", "tick on B\n")


def test_a_mail_for_another_address_is_no_mail_of_commands(ana: Place) -> None:
    """Signed for a list, for applications or for a person; encrypted to the gateway by somebody."""
    for to in (f"wildlife@{DOMAIN}", f"register@{DOMAIN}", "bo@customs.example"):
        made = entity_of("tick off B\n").replace(GATEWAY.encode(), to.encode())
        assert ana.submit(raw(ana, "ana", made)).startswith("550 5.7.1 This mail was signed for")
    letter = ana.mail("ana", "tick off B\n", f"wildlife@{DOMAIN}", protected=False)
    assert ana.submit(letter).startswith("550 5.7.1 This mail was signed for")
    assert ana.off("ana") == set()


def code_in(answer: str) -> str:
    return answer.partition(" confirm ")[2].split()[0]


def test_what_does_not_say_for_whom_it_was_waits_for_a_confirmation(ana: Place) -> None:
    answer = ana.ask("ana", "topics\ntick off B\nown copies off\n", protected=False)
    assert "Wildlife <wildlife@" in answer, "what only asks is answered at once"
    assert "Not done yet" in answer
    assert f"subject=confirm%20{code_in(answer)}&body=confirm%20" in answer
    assert ana.off("ana") == set()
    confirm = f"confirm {code_in(answer)}\n"
    assert "there is nothing to confirm" in ana.ask("bo", confirm, protected=False)
    done = ana.ask("ana", confirm, protected=False)
    assert "> tick off B You get nothing more of B" in done
    assert (ana.off("ana"), ana.member("ana").own_copies) == ({"B"}, False)
    ana.ask("ana", "tick on B\n")
    assert "there is nothing to confirm" in ana.ask("ana", confirm)
    assert ana.off("ana") == set()


def test_a_confirmation_comes_too_late(ana: Place) -> None:
    code = code_in(ana.ask("ana", "tick off B\n", protected=False))
    hours = ana.app.config.policy.command_hours
    with ana.app.database.transaction() as session:
        for kept in session.scalars(select(Unconfirmed)):
            kept.at -= timedelta(hours=hours, seconds=1)
    assert "there is nothing to confirm" in ana.ask("ana", f"confirm {code}\n")
    ana.ask("ana", "tick off E\n", protected=False)
    with ana.app.database.reading() as session:
        assert len(session.scalars(select(Unconfirmed)).all()) == 1, "the late one is forgotten"


def test_a_hidden_recipient_is_no_other_one(ana: Place) -> None:
    """gpg -R names nobody; who knows whom it was for is the signed header alone."""
    with Officer.create("gpg", "Hid Den", "hid@customs.example") as hid:
        ana.gateway.add_member(hid)
        mail = hid.write(
            to=[GATEWAY], certificates=[ana.keys[GATEWAY]], subject="x", text="tick off B\n",
            options=["--throw-keyids"],
        )  # fmt: skip
        (answer,) = ana.deliver(mail)
        assert "You get nothing more of B" in joined(answer.text)


# A member's own settings


def test_a_profile_says_all_that_there_is(ana: Place) -> None:
    ana.ask("ana", "tick off B\nlanguage sw fr\ndeliver digest weekly\nown copies off\n")
    answer = ana.ask("ana", "profile\n")
    digits = ana.people["ana"].fingerprint
    for told in (
        "Name: Ana Lind", "Organisation: Inspectorate (agency)", "Country: Kenya (KE)",
        "Languages: Swahili (sw), French (fr)", "Delivery: a digest each Monday",
        "Own copies: off", "Ticked off: B", "Roles: -",
        " ".join(digits[at : at + 4] for at in range(0, len(digits), 4)),
        "Expires: does not expire",
    ):  # fmt: skip
        assert told in answer
    assert "Roles: moderator (B)" in ana.ask("awa", "profile\n")


def test_a_list_by_invitation_is_there_for_the_invited_alone(ana: Place) -> None:
    ana.ask("ada", "list add\nlocal part: op-tusk\nletter: TUSK\ntitle: Tusk\n"
            "description: Operation Tusk\ninvited: bo@customs.example\n")  # fmt: skip
    assert "Tusk" in ana.ask("bo", "topics\n")
    assert "by invitation and can't be ticked off" in ana.ask("bo", "tick off tusk\n")
    for text in ("topics\n", "tick off TUSK\n", "tick off nothing\n", "tick off all\n"):
        assert "Tusk" not in ana.ask("ana", text)
        assert "op-tusk" not in ana.ask("ana", text)
    assert ana.off("ana") == {"A", "B", "C", "D", "E", "F", "G"}
    ana.ask("ada", "list close TUSK\n")
    assert "Tusk" not in ana.ask("bo", "topics\n")


def test_topics_are_named_by_letter_name_title_or_address(ana: Place) -> None:
    ana.ask("ana", f"tick off b, Waste and general@{DOMAIN}\ntick off LMO\n")
    assert ana.off("ana") == {"A", "B", "C", "G"}
    answer = ana.ask("ana", "tick on all\n")
    assert ana.off("ana") == set()
    assert "You get now: A (waste), B (wildlife)" in answer


@pytest.mark.parametrize(
    ("typed", "mode", "told"),
    [
        ("deliver digest daily", DeliveryMode.DAILY, "a digest each day"),
        ("deliver daily", DeliveryMode.DAILY, "To undo it, write: deliver each"),
        ("Deliver: digest weekly.", DeliveryMode.WEEKLY, "a digest each Monday"),
        ("deliver each", DeliveryMode.EACH, "as it comes"),
        ("deliver digest", DeliveryMode.EACH, "Not done: say how often"),
        ("deliver none", DeliveryMode.EACH, "Not done: say until when"),
        ("deliver none until tomorrow", DeliveryMode.EACH, "Not done: tomorrow is no date"),
        ("deliver none until 2026-02-30", DeliveryMode.EACH, "Not done: 2026-02-30 is no date"),
        ("deliver none until 2020-01-01", DeliveryMode.EACH, "is not in the future"),
        ("deliver", DeliveryMode.EACH, "Not done: there are: deliver each"),
    ],
)
def test_how_postings_come(ana: Place, typed: str, mode: DeliveryMode, told: str) -> None:
    assert told in ana.ask("ana", f"{typed}\n")
    assert ana.member("ana").delivery is mode
    assert ana.member("ana").none_until is None


def test_nothing_for_a_while_and_back(ana: Place) -> None:
    until = (ana.app.clock() + timedelta(days=10)).date()
    answer = ana.ask("ana", f"deliver digest daily\ndeliver none until {until}\n")
    assert "after that a digest each day" in answer
    assert "To undo it, write: deliver digest daily" in answer
    one = ana.member("ana")
    assert one.none_until is not None
    assert one.none_until.date() == until
    assert one.delivery is DeliveryMode.DAILY
    ana.ask("ana", "deliver each\n")
    assert ana.member("ana").none_until is None


@pytest.mark.parametrize(
    ("typed", "kept", "told"),
    [
        ("language fr", "fr", "français"),
        ("language French", "fr", "français"),
        ("language fr en sw", "fr en sw", "swahili (sw)"),
        ("language sw", "sw", "There are no texts of the gateway in Swahili"),
        ("language xx", "", "xx is no language's code"),
        ("language", "", "say which"),
    ],
)
def test_the_language_of_notices(ana: Place, typed: str, kept: str, told: str) -> None:
    assert told in ana.ask("ana", f"{typed}\n")
    assert ana.member("ana").languages == kept


def test_a_new_language_keeps_the_others(ana: Place) -> None:
    ana.ask("ana", "language en sw\nlanguage fr\n")
    assert ana.member("ana").languages == "fr en sw"


def test_every_change_of_a_profile_is_in_the_ledger(ana: Place) -> None:
    number = ana.member("ana").id
    ana.ask("ana", "tick off B\ntick on B\nlanguage fr\ndeliver digest daily\nown copies off\n")
    for event in ("ticked-off", "ticked-on", "languages-changed", "delivery-changed",
                  "own-copies-changed"):  # fmt: skip
        assert f'"by":{number}' in ana.events(event)[-1]


# Who may use what


def lines_of(words: Sequence[str]) -> Iterator[str]:
    """Mails with all these lines, no more in each than a mail may have."""
    for at in range(0, len(words), 40):
        yield "\n".join(words[at : at + 40]) + "\n"


@pytest.mark.parametrize("name", sorted(ROLES))
@pytest.mark.timeout(60)
def test_each_role_has_its_own_commands_and_sees_no_other(place: Place, name: str) -> None:
    """Every command of the table, typed in full, by a holder of each role: either it is one, or it
    is answered as any unknown word; and the help shows just the former."""
    role = Role(str(ROLES[name]).partition(":")[0]) if ROLES[name] else None
    theirs = {one.words for one in COMMANDS if not one.roles or role in one.roles}
    # An argument that no command can use keeps all of them from doing anything.
    typed = [f"{one.words} {{}} {{}} {{}}" for one in COMMANDS if one.words != "expertise"]
    known: set[str] = set()
    for text in lines_of(typed):
        for told in place.deliver(place.mail(name, text)):
            assert (told.reader, told.template) == (name, "answer")
            for block in told.text.split("\n\n"):
                shown, _, said = block.partition("\n")
                if shown.startswith("> ") and "This is no command" not in block:
                    known.add(shown[2:].partition(" {}")[0])
                if "Did you mean" in block:
                    meant = joined(said).partition("Did you mean: ")[2]
                    assert any(meant.startswith(one) for one in theirs), meant
    assert known == theirs - {"expertise"}
    help_ = place.deliver(place.mail(name, "help\n"))[0].text
    usages = [line.strip() for line in help_.splitlines() if line.startswith("  ") and
              not line.startswith("   ")]  # fmt: skip
    assert usages == [one.usage for one in COMMANDS if one.words in theirs]


def test_help_explains_one_command(place: Place) -> None:
    answer = place.ask("ana", "help deliver\nhelp tick\nhelp suspend\nhelp profil\n")
    assert "Example: deliver digest daily deliver none until 2026-12-01" in answer
    assert "tick off TOPIC ... You get nothing more" in answer
    assert "tick on TOPIC ... You get these topics again" in answer
    assert "there is no command suspend" in answer, "as for any other word"
    assert "Shows all that the gateway has about you" in answer
    assert "After it, a line each: name, organisation" in place.ask("ada", "help member set\n")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.words)
def test_the_example_of_a_command_is_read_as_that_command(command: object) -> None:
    one = next(each for each in COMMANDS if each is command)
    found = [step for step in steps(*one.example.split("\n")) if step.command is not None]
    assert {step.command.words for step in found if step.command} == {one.words}
    if one.form:
        assert set(found[0].call.form) <= set(one.form)
        assert found[0].call.form, "an example of a form shows its lines"


def test_commands_have_names_of_their_own() -> None:
    words = [one.words for one in COMMANDS]
    assert len(words) == len(set(words))
    assert all(words == words.casefold() for words in words)


# Bounds


def test_a_member_has_so_many_mails_an_hour(ana: Place) -> None:
    few = replace(ana, app=changed(ana.app, "policy", commands_an_hour=1))
    ana.ask("ana", "help\n")
    assert few.submit(few.mail("ana", "tick off B\n")).startswith("450 4.7.1 Too many mails")
    assert ana.off("ana") == set()


def test_a_mail_signed_too_long_ago_is_refused(ana: Place) -> None:
    late = replace(ana.app, clock=lambda: ana.app.clock() + timedelta(hours=49))
    assert (
        replace(ana, app=late)
        .submit(ana.mail("ana", "tick off B\n"))
        .startswith("550 5.7.1 Signed too long ago")
    )


def test_an_answer_does_not_grow_beyond_a_mail(ana: Place) -> None:
    list_ = f"general@{DOMAIN}"
    for number in (1, 2):
        ana.submit(ana.mail("ana", f"{'x' * 70}\n" * 60 + f"{number}\n", list_), list_)
    with ana.app.database.reading() as session:
        labels = [one.label for one in session.scalars(select(Posting).order_by(Posting.id.desc()))]
    small = replace(ana, app=changed(ana.app, "smtp", message_bytes=10_000))
    (told,) = small.deliver(ana.mail("ana", f"get {labels[0]}\nget {labels[1]}\n"))
    assert len(told.enclosed.split()) == 1
    assert "it is too large for this answer" in joined(told.text)


def test_a_form_and_its_lines_are_kept_for_a_confirmation(ana: Place) -> None:
    answer = ana.ask("ada", "member set bo@customs.example\norganisation: Toll Office\n",
                     protected=False)  # fmt: skip
    assert ana.member("bo").organisation == "Inspectorate"
    done = ana.ask("ada", f"confirm {code_in(answer)}\n")
    assert "Organisation: Toll Office" in done
    ana.ask("ada", "member set bo@customs.example\norganisation: Inspectorate\n")


def test_nothing_of_a_strangers_mail_is_read(place: Place) -> None:
    with Officer.create("sequoia", "Mal Lory", "mal@x.example") as mal:
        mail = mal.write(to=[GATEWAY], certificates=[place.keys[GATEWAY]], subject="x",
                         text="help\n")  # fmt: skip
        before = place.newest()
        assert place.submit(mail).startswith("550 5.7.1 No good signature")
        assert place.told(before) == []


def test_entities_for_these_tests_are_entities() -> None:
    assert entity.read(entity_of("x")).parameter("hp") == "cipher"
