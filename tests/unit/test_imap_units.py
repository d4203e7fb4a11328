"""What is believed of a mail in a mailbox, what is remembered of it, and when it is tried again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest

from gateway.errors import Reply
from gateway.intake import imap_hand
from gateway.intake.imap_envelope import NOBODY, NOWHERE, UNREADABLE, envelope_of, refusal_note
from gateway.intake.imap_hand import FILE, Hand
from gateway.intake.imap_mailbox import Waiting
from gateway.intake.imap_taking import Later
from gateway.message.envelope import Envelope
from gateway.settings import ImapSection

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
DOMAIN = "environet.example"
OURS = {f"{one}@{DOMAIN}" for one in ("wildlife", "waste", "gateway")}


def judged_at(header: str, **settings: str) -> list[str] | Reply:
    """The local parts that a mail with this header is judged at, or why it is refused."""
    found = envelope(header, **settings)
    if isinstance(found, Reply):
        return found
    return [address.partition("@")[0] for address in found.recipients]


def envelope(header: str, **settings: str) -> Envelope | Reply:
    chosen = ImapSection(host="mail.agency.example", **settings)
    data = header.replace("\n", "\r\n").encode() + b"\r\n\r\nText.\r\n"
    return envelope_of(data, chosen, DOMAIN, NOW, OURS.__contains__)


TO = f"To: wildlife@{DOMAIN}"


def test_the_author_names_lists_in_to_and_cc_together() -> None:
    assert judged_at(TO) == ["wildlife"]
    assert judged_at(f"{TO}\nCc: Waste <WASTE@Environet.Example>, x@else.example") == [
        "wildlife", "waste",
    ]  # fmt: skip
    assert judged_at(f"Cc: waste@{DOMAIN}\nTo: x@else.example, {TO[4:]}\nCc: {TO[4:]}") == [
        "wildlife", "waste",
    ]  # fmt: skip
    assert judged_at(f"Cc: waste@{DOMAIN}\n{TO}", recipient_headers="Cc") == ["waste"]


def test_what_a_server_says_goes_before_what_the_author_wrote() -> None:
    assert judged_at(f"Delivered-To: gateway@{DOMAIN}\n{TO}") == ["gateway"]
    assert judged_at(f"{TO}\nX-Original-To: waste@{DOMAIN}") == ["waste"]
    assert judged_at(f"{TO}\nX-Original-To: waste@{DOMAIN}", recipient_headers="To") == ["wildlife"]


def test_of_several_servers_the_last_is_believed_and_not_who_wrote_below_it() -> None:
    mailbox, forged = "Delivered-To: gate@agency.example", f"Delivered-To: waste@{DOMAIN}"
    assert judged_at(f"{mailbox}\nDelivered-To: gateway@{DOMAIN}\n{forged}\n{TO}") == ["gateway"]


def test_a_mail_for_nobody_here_is_for_whom_the_settings_name_or_refused() -> None:
    for header in ("Subject: x", f"To: nobody@{DOMAIN}", f"To: wildlife@sub.{DOMAIN}",
                   f'To: "wildlife@{DOMAIN}" <x@else.example>'):  # fmt: skip
        assert judged_at(header) == NOWHERE
    assert judged_at("To: x@else.example", recipient=f"waste@{DOMAIN}") == ["waste"]
    assert judged_at(f"To: nobody@{DOMAIN}", recipient=f"waste@{DOMAIN}") == NOWHERE


def test_a_header_beyond_reason_is_refused() -> None:
    assert envelope("\n".join(["X: y"] * 4000)) == UNREADABLE
    assert envelope("X: " + "y" * 300_000) == UNREADABLE
    assert judged_at("\n".join([f"To: {n}@else.example" for n in range(2000)] + [TO])) == NOWHERE


@pytest.mark.parametrize(
    ("path", "sender"),
    [
        ("Return-Path: <>\n", ""),
        ("Return-Path: <Ana@Customs.Example>\n", "ana@customs.example"),
        ("Return-Path: ana@customs.example\nReturn-Path: <>\n", "ana@customs.example"),
        ("Return-Path: <a b>\n", NOBODY),
        ("", NOBODY),
    ],
)
def test_the_null_path_is_known_by_what_the_last_server_wrote(path: str, sender: str) -> None:
    found = envelope(path + TO)
    assert isinstance(found, Envelope)
    assert (found.sender, found.peer, found.received_at) == (sender, "mail.agency.example", NOW)


LONG = f"<{'x' * 200}@elsewhere.example>"


@pytest.mark.parametrize(
    ("message_id", "told"),
    [("<one@else.example>", "<one@else.example>"), (LONG, LONG), ("<a b@else.example>", None),
     (f"<{'x' * 600}@else.example>", None), ("one@else.example", None), ("", None)],
    ids=["plain", "long", "spaces", "too long", "no brackets", "none"],
)  # fmt: skip
def test_a_note_says_why_and_nothing_of_the_mail_but_which_it_is(
    message_id: str, told: str | None
) -> None:
    mail = f"Subject: Secret\r\nMessage-ID: {message_id}\r\n\r\nSecret\r\n".encode()
    made = refusal_note("523 5.7.10 Encryption needed", len(mail), mail, DOMAIN, NOW)
    assert b"Secret" not in made
    assert made.count(b"\n") == made.count(b"\r\n")
    note = message_from_bytes(made)
    assert note["Subject"] == "Refused: 523 5.7.10 Encryption needed"
    assert note["In-Reply-To"] == told
    assert note["Auto-Submitted"] == "auto-generated"
    unread = message_from_bytes(refusal_note("552 5.3.4 Too large", 10**9, None, DOMAIN, NOW))
    assert "1000000000 bytes" in unread.get_payload()


def test_a_process_that_died_tells_the_next_one_what_it_had_in_hand(tmp_path: Path) -> None:
    for deaths in range(3):
        assert imap_hand.take_up(tmp_path, 7, 12).deaths == deaths
    imap_hand.put_down(tmp_path, moved=False)  # this one lives, and the mail stays
    assert imap_hand.take_up(tmp_path, 7, 12) == Hand(7, 12, 2)
    assert imap_hand.take_up(tmp_path, 8, 12) == Hand(8, 12)  # another mail of the same number
    imap_hand.put_down(tmp_path, moved=True)
    assert not (tmp_path / FILE).exists()


def test_that_a_reason_was_laid_is_known_until_the_mail_is_moved(tmp_path: Path) -> None:
    hand = imap_hand.take_up(tmp_path, 7, 12)
    imap_hand.note(tmp_path, hand)
    imap_hand.put_down(tmp_path, moved=False)
    assert imap_hand.take_up(tmp_path, 7, 12) == Hand(7, 12, 0, noted=True)
    imap_hand.put_down(tmp_path, moved=True)
    assert imap_hand.take_up(tmp_path, 7, 12) == Hand(7, 12)


@pytest.mark.parametrize("broken", [b"", b"[]", b"{", b'{"x": 1}', b"\xff" * 2000])
def test_a_file_that_a_power_cut_broke_tells_nothing(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / FILE).write_bytes(broken)
    assert imap_hand.take_up(tmp_path, 7, 12) == Hand(7, 12)


def test_a_mail_that_fails_waits_for_twice_as_long_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    later, one, other = Later(), Waiting(12, 500), Waiting(13, 500)
    later.of(7)
    assert later.seconds() == float("inf")
    waited = []
    for _ in range(12):
        assert later.is_due(one)
        later.put_off(one)
        assert not later.is_due(one)
        assert later.is_due(other)
        waited.append(later.seconds())
        now += later.seconds()
    assert waited[:4] == [2, 4, 8, 16]
    assert waited[-2:] == [600, 600]
    assert sorted([one, other], key=later.has) == [other, one]
    later.keep({12})
    later.of(7)
    assert later.has(one)
    later.of(8)  # the folder was made anew: its numbers are of other mails
    assert not later.has(one)
