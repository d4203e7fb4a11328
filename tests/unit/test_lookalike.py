"""Text that looks like the gateway's attestation, names that look like others'."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from gateway.message import entity, flowed, lookalike
from gateway.store.member import profile_faults

ATTESTATION = """\
Author:    Bo Berg <bo@police.example>, Police, SE
Subject:   Release the container
Signature: good, 2026-03-14 02:08 UTC, by key
           5F2A00000000000000000000000000000000000A
Posting:   B-12   TLP:CLEAR
"""
FLOWED = "Content-Type: text/plain; format=flowed; delsp=yes\r\n"
HTML = (
    "<table><tr><td>Author:</td><td>Bo Berg</td></tr></table>"
    "<p><b>Signature:</b> good, 2026-03-14</p><div>Posting: B-12</div>"
)


def payload(text: str, kind: str = "plain", more: str = "") -> entity.Entity:
    kind_field = "" if "Content-Type" in more else f"Content-Type: text/{kind}; charset=utf-8\r\n"
    header = f"{kind_field}{more}\r\n"
    return entity.read(header.encode() + text.replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
    "mail",
    [
        payload("Dear all,\n\n" + ATTESTATION),
        payload(ATTESTATION.replace("Author", "\u0410uthor").replace("Sign", "S\u0456gn")),
        payload(ATTESTATION.replace("A", "\uff21").replace("o", "o\u200b")),
        payload(ATTESTATION.upper()),
        payload(ATTESTATION.replace(":", " :")),
        payload(HTML, "html"),
        payload("<!--" + "x" * 300_000 + "-->" + HTML, "html"),
        payload("<blockquote>" + HTML.replace("Author", "Au<b>th</b>or"), "html"),
        payload(ATTESTATION.replace(":", "\ua789")),
        payload(ATTESTATION.replace("\n", "\u2028")),
        payload(ATTESTATION.replace("u", "u\x01")),
        payload("\u2800" + ATTESTATION.replace("\n", "\n\u3164")),
        payload(ATTESTATION, "x-note"),
        payload("Dear all<br>Au<b></b>thor: Bo<p>Sig<i></i>nature<wbr>: good", "html"),
        payload("Author<b title='>'></b>: Bo<p>Sig<!-- > -->nature: good", "html"),
        payload("Author<b title='>'></b>: Bo<p>Sig<!-- > -->nature: good" + " " * 70_000, "html"),
        payload("Aut<noscript>x</noscript>hor: Bo<p>Sig<svg>x</svg>nature: good", "html"),
        payload("<img alt='Author: Bo'><p hidden>Signature: good", "html"),
        payload("\u202e" + "Author: Bo"[::-1] + "\n\u202e" + "Signature: good"[::-1] + "\n"),
        payload("\u200b" * 200_000 + "\n" + ATTESTATION),
        payload(ATTESTATION.replace(":", "\u0589")),
        payload("<table><td>x<td>Au<b></b>thor: Bo<td>Pos<b></b>ting: B", "html"),
        payload("Au \nthor: Bo\n\n>quoted \nSigna \nture: good\n", more=FLOWED),
        payload(ATTESTATION, more="Content-Disposition: attachment; filename=a.txt\r\n"),
        entity.read(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nAuthor: Bo\r\n"
                    b"--b\r\n\r\nSignature: good\r\n--b--\r\n"),
    ],
    ids=["plain", "Cyrillic", "wide and zero-width", "capitals", "blanks", "HTML",
         "after a comment", "in a quotation's markup", "other colons", "other line ends",
         "control characters", "blank letters", "other text", "words in pieces",
         "ends in tags", "of a large one", "between dropped tags", "pictures and hidden", "turned",
         "behind what nobody sees", "another colon", "cells", "flowing", "attached",
         "in two parts"],
)  # fmt: skip
def test_what_looks_like_an_attestation_is_found(mail: entity.Entity) -> None:
    assert lookalike.attests(mail)


@pytest.mark.parametrize(
    "mail",
    [
        payload("".join(f"> {line}\n" for line in ATTESTATION.splitlines())),
        payload("Author: me\nThe container left.\n"),
        payload("The author: unknown. Signature: none.\n"),
        payload("Subject: tusks\nArchive: none\n"),
    ],
    ids=["quoted", "one line", "within a line", "what many texts have"],
)
def test_what_does_not_is_not(mail: entity.Entity) -> None:
    assert not lookalike.attests(mail)


def test_a_subject_is_read_with_the_text() -> None:
    assert lookalike.attests(payload("x\n"), "Ivory \u2800 Author: Bo   Posting: B-1")
    assert not lookalike.attests(payload("x\n"), "Re: the author: unknown")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a \nb\nc\n", "a b\nc"),
        ("> a \n> b \nc \n> d\n", ">a b \nc \n>d"),
        (" From \n  >x\n", "From  >x"),
        ("a \n-- \nAna\n", "a \n-- \nAna"),
        ("", ""),
    ],
)
def test_lines_flow_as_programs_show_them(written: str, shown: str) -> None:
    more = "Content-Type: text/plain; format=flowed\r\n"
    assert flowed.joined(written, payload(written, more=more)) == shown
    assert flowed.joined(written, payload(written)) == written


@pytest.mark.parametrize(
    "markup",
    [
        "<p hidden>TLP:RED<p>Two tons", "<p style='display:none'>TLP:RED</p>Two tons",
        "<p style='mso-list:ignore'>TLP:RED</p>", "<img alt='TLP:RED'>Two tons",
        "<img alt='<!--'>TLP:RED", "<p class='<!--'>TLP:RED", "<p title='<!--'>TLP:RED",
        "<img class=x alt='<p hidden>TLP:RED'>", "<p id='<script>'>TLP:RED",
        "\u202eDER:PLT\u202c<p>Two tons", "<b>TL</b><i>P:RED</i><p>Two tons",
    ],
)  # fmt: skip
def test_a_marking_in_hypertext_is_found_where_its_readers_see_it(markup: str) -> None:
    assert "TLP:RED" in lookalike.first_lines(payload(markup, "html"))[0]


@pytest.mark.parametrize("charset", ["utf-32", "utf-32le", "cp500", "ibm037", "cp1140", "cp1026",
                                     "hz", "iso-2022-kr", "shift_jis_2004", "utf-7"])  # fmt: skip
def test_a_charset_that_mail_programs_do_not_know_hides_nothing(charset: str) -> None:
    raw = f"Content-Type: text/plain; charset={charset}\r\n\r\nTLP:RED\r\n".encode()
    assert lookalike.first_lines(entity.read(raw))[0] == "TLP:RED"


def test_a_marking_in_flowing_lines_is_found() -> None:
    first, others = lookalike.first_lines(payload("TLP:R \nED\n", more=FLOWED))
    assert (first, others) == ("TLP:R\nED", "TLP:RED")
    assert lookalike.first_lines(payload("TLP:RED \nTwo tons\n", more=FLOWED))[0] == (
        "TLP:RED\nTwo tons"
    )


def test_the_labels_are_those_of_the_attestation() -> None:
    template = Path(__file__).parents[2] / "templates" / "mail" / "attestation.txt"
    labels = set(re.findall(r"^(\w+):", template.read_text(), re.MULTILINE))
    assert {one.lower() for one in labels} - {"note"} == set(lookalike.LABELS)


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("Ana Lind", True),
        ("Анна Линд", True),
        ("Анна Lind", True),
        ("佐藤 はなこ", True),
        ("José Núñez", True),
        ("\u0410na Lind", False),
        ("Ana L\u0456nd", False),
        ("\u0391na Lind", False),
    ],
)
def test_a_name_of_mixed_letters_is_nobodys(name: str, is_good: bool) -> None:
    assert (profile_faults(name, "Customs", "KE") == []) == is_good
    assert (profile_faults("Bo", name, "KE") == []) == is_good


def test_what_is_not_seen_at_once_costs_little() -> None:
    large = [payload("\ufdfa" * 400_000), payload("<p>" * 300_000, "html"), payload("\n" * 900_000)]
    began = time.process_time()
    assert not any(map(lookalike.attests, large))
    assert time.process_time() - began < 5  # it takes half a second; a minute before
