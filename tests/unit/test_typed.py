"""What a person typed, out of the mails that programs make of it."""

from __future__ import annotations

import base64
import os
import quopri
import time
from pathlib import Path

import pytest

from gateway.errors import Malformed
from gateway.message import entity
from gateway.message.entity import Entity
from gateway.message.typed import (
    MOST_CHARACTERS,
    Typed,
    quoted_too,
    typed_lines,
    typed_subject,
)

FORM_KEYS = frozenset({"name", "address", "organisation", "kind", "country", "local part"})
GATEWAY = "ENVIRONET <gateway@environet.example>"
SIGNED_OFF = "Ana Lind\nRevenue Authority"


def part(text: str, kind: str = "text/plain", parameters: str = "") -> bytes:
    fields = f"Content-Type: {kind}; charset=utf-8{parameters}\nContent-Transfer-Encoding: 8bit\n\n"
    return (fields + text).replace("\n", "\r\n").encode()


def multipart(kind: str, *parts: bytes) -> bytes:
    head = f"Content-Type: multipart/{kind}; boundary=b-{kind}\r\n\r\n".encode()
    delimiter = f"\r\n--b-{kind}".encode()
    return head + b"".join(delimiter + b"\r\n" + one for one in parts) + delimiter + b"--\r\n"


def lines(raw: bytes) -> list[str]:
    return [line.text for line in typed_lines(entity.read(raw), form_keys=FORM_KEYS)]


def plain(text: str) -> list[str]:
    return lines(part(text))


def flowed(text: str, parameters: str = "") -> list[str]:
    return lines(part(text, parameters="; format=flowed" + parameters))


# --- replies as programs write them ---------------------------------------------------------------

ATTRIBUTIONS = {
    "Thunderbird in French": f"Le 14/03/2026 à 10:22, {GATEWAY} a écrit :",
    "Thunderbird in German": "Am 14.03.26 um 10:22 schrieb ENVIRONET:",
    "Thunderbird in Russian": "14.03.2026 10:22, ENVIRONET пишет:",
    "Thunderbird in Arabic": "في ١٤‏/٣‏/٢٠٢٦ ١٠:٢٢، كتب ENVIRONET:",
    "NeoMutt": "On Sat, Mar 14, 2026 at 10:22:31AM +0000, ENVIRONET wrote:",
    "Claws, on two lines": "On Sat, 14 Mar 2026 10:22:31 +0000\nENVIRONET wrote:",
    "Gmail": f"On Sat, Mar 14, 2026 at 10:22 AM {GATEWAY} wrote:",
    "Gmail, broken before the verb": (
        f"On Sat, Mar 14, 2026 at 10:22 AM ENVIRONET Wildlife {GATEWAY}\nwrote:"
    ),
    "Gmail, broken in the address": (
        "On Sat, Mar 14, 2026 at 10:22 AM ENVIRONET Wildlife Moderators <\n"
        "gateway@environet.example> wrote:"
    ),
    "Gmail in French, broken": f"Le sam. 14 mars 2026 à 10:22, {GATEWAY} a\nécrit :",
    "French, broken, without the time": (
        "Le samedi 14 mars 2026, le secrétariat du groupe ENVIRONET pour la faune\na écrit :"
    ),
    "no date, broken": (
        f"The gateway of the regional customs group for wildlife, {GATEWAY},\nwrote:"
    ),
    "Gmail in Spanish": f"El sáb, 14 mar 2026 a las 10:22, ENVIRONET (<{GATEWAY}>) escribió:",
    "Gmail in Russian": f"сб, 14 мар. 2026 г. в 10:22, {GATEWAY}:",
    "Gmail in Arabic": (
        "\u202bفي السبت، 14 مارس 2026 في 10:22 ص تمت كتابة ما يلي بواسطة "
        "\u202aENVIRONET\u202c\u200f <\u202agateway@environet.example\u202c\u200f>:\u202c"
    ),
    "Apple Mail": "On 14 Mar 2026, at 10:22, ENVIRONET <gateway@environet.example> wrote:",
    "a Chinese one": "在 2026年3月14日，ENVIRONET 写道：",
    "no date at all": "ENVIRONET wrote:",
}
QUOTATION = "> A posting is held: H-17.\n> approve H-18\n>\n>> discard H-18"


@pytest.mark.parametrize("gap", ["", "\n"], ids=["directly", "after-a-blank-line"])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS.values(), ids=ATTRIBUTIONS)
def test_an_answer_above_a_quotation_is_what_was_typed(attribution: str, gap: str) -> None:
    body = f"approve H-17\n\n{attribution}\n{gap}{QUOTATION}\n"
    assert plain(body) == ["approve H-17"]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS.values(), ids=ATTRIBUTIONS)
def test_an_answer_below_a_quotation_is_what_was_typed(attribution: str) -> None:
    assert plain(f"{attribution}\n{QUOTATION}\n\napprove H-17\n") == ["approve H-17"]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS.values(), ids=ATTRIBUTIONS)
def test_a_command_directly_above_an_attribution_is_no_part_of_it(attribution: str) -> None:
    body = f"suspend ana.lind@customs.example\n{attribution}\n{QUOTATION}\n"
    assert plain(body) == ["suspend ana.lind@customs.example"]


def test_a_time_of_day_in_a_command_does_not_make_it_an_attribution() -> None:
    attribution = "On Sat, Mar 14, 2026 at 10:22 AM ENVIRONET wrote:"
    assert plain(f"reject H-17 came at 10:22\n{attribution}\n> x") == ["reject H-17 came at 10:22"]


def test_answers_between_quoted_lines_are_all_read() -> None:
    body = """On Sat, 14 Mar 2026 at 10:22, ENVIRONET wrote:
> H-17, by Bo Berg: Ivory
approve H-17

> H-18, by Chen Wei: Ivory again

reject H-18 seen before
Thanks:

> H-19
discard H-19
"""
    assert plain(body) == ["approve H-17", "reject H-18 seen before", "discard H-19"]


def test_an_attribution_is_looked_for_above_each_quotation_only() -> None:
    # The blank line between two quotations does not lead back to what stands above both.
    assert plain("Also:\nENVIRONET wrote:\n> a\n\n> b\nhelp") == ["Also:", "help"]
    assert plain("Also:\n\nENVIRONET wrote:\n> a\n\n> b\nhelp") == ["Also:", "help"]


def test_every_way_to_write_the_mark_of_a_quotation_counts() -> None:
    marks = [">", "> ", ">>", "\u200f> ", "\u00a0> ", " \t> ", "＞", "&gt; ", "- > "]
    for mark in marks:
        assert plain(f"{mark}approve H-18\nhelp") == ["help"], mark


def test_nothing_but_mails_own_line_end_ends_a_quoted_line() -> None:
    for char in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        assert plain(f"help\n\n> seized{char}approve H-18\n") == ["help"], repr(char)


OUTLOOK = {
    "English": "From: ENVIRONET <gateway@environet.example>\nSent: Saturday, 14 March 2026 10:22\n"
    "To: Ana Lind\nSubject: [ENVIRONET] Held: H-17",
    "French": "De : ENVIRONET <gateway@environet.example>\nEnvoyé : samedi 14 mars 2026 10:22\n"
    "À : Ana Lind\nObjet : [ENVIRONET] En attente",
    "French, without an address": "De : ENVIRONET\nEnvoyé : samedi 14 mars 2026\nÀ : Ana Lind",
    "Spanish": "De: ENVIRONET\nEnviado el: sábado, 14 de marzo de 2026 10:22\nPara: Ana Lind",
    "Russian": "От: ENVIRONET\nОтправлено: 14 марта 2026 г. 10:22\nКому: Ana Lind\nТема: H-17",
    "Arabic": "من: ENVIRONET\nإلى: Ana Lind\nالموضوع: H-17",
    "Arabic, marked": "\u200fمن:\u200f ENVIRONET\n\u200fإلى:\u200f Ana\n\u200fالموضوع:\u200f H-17",
    "Chinese": "发件人：ENVIRONET\n发送时间：2026年3月14日 10:22\n收件人：Ana Lind",
    "bold": "*From:* ENVIRONET <gateway@environet.example>\n*Sent:* Saturday, 14 March 2026",
}


@pytest.mark.parametrize("header", OUTLOOK.values(), ids=OUTLOOK)
@pytest.mark.parametrize("rule", ["", "_" * 32 + "\n"], ids=["bare", "ruled"])
def test_nothing_below_the_header_of_a_quoted_mail_is_read(header: str, rule: str) -> None:
    body = f"approve H-17\n\n{SIGNED_OFF}\n{rule}{header}\n\nA posting is held.\napprove H-18\n"
    assert plain(body) == ["approve H-17", *SIGNED_OFF.split("\n")]


@pytest.mark.parametrize(
    "separator",
    [
        "-----Original Message-----",
        "-----Message d'origine-----",
        "-----Ursprüngliche Nachricht-----",
        "-------- Исходное сообщение --------",
        "---------- Forwarded message ---------",
        "-------- الرسالة الأصلية --------",
        "_____",
        "========================",
        "*****",
        "———————",
    ],
)
def test_nothing_below_a_separator_is_read(separator: str) -> None:
    assert plain(f"approve H-17\n{separator}\napprove H-18") == ["approve H-17"]


@pytest.mark.parametrize("last", ["-- ", "--", "—", "end", "END", " End "])
def test_nothing_below_a_signature_or_end_is_read(last: str) -> None:
    assert plain(f"approve H-17\n{last}\napprove H-18") == ["approve H-17"]


@pytest.mark.parametrize(
    "line",
    [
        "----",
        "endorse",
        "search ivory from:ana topic:B after:2026-01-01",
        "https://archive.environet.example/B/1234",
        "----- no rule without its end",
    ],
)
def test_what_only_looks_like_the_end_is_read(line: str) -> None:
    again = [line] * 3
    assert plain("\n".join((*again, "help"))) == [*again, "help"]


def test_a_form_is_no_header_of_a_quoted_mail() -> None:
    body = """nominate
Name: Zoë Kimani
Address: zoe@customs.example
Organisation : Revenue Authority
COUNTRY: KE
local part: x

help
"""
    assert plain(body) == [
        "nominate",
        "Name: Zoë Kimani",
        "Address: zoe@customs.example",
        "Organisation : Revenue Authority",
        "COUNTRY: KE",
        "local part: x",
        "help",
    ]


def test_a_header_below_a_form_still_ends_what_was_typed() -> None:
    form = "nominate\nname: Zoë Kimani\naddress: zoe@customs.example"
    assert plain(f"{form}\n{OUTLOOK['English']}\n\napprove H-18") == form.split("\n")
    unknown = "phone: 1"  # one line that is no key of the form is not yet a header
    assert plain(f"{form}\n{unknown}\ncountry: KE") == [*form.split("\n"), unknown, "country: KE"]


def test_a_form_s_last_line_is_no_attribution() -> None:
    assert plain("nominate\norganisation:\n> quoted") == ["nominate", "organisation:"]


def test_a_pasted_certificate_is_passed_over() -> None:
    block = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nmDMEaa==\n=abcd\n"
    end = "-----END PGP PUBLIC KEY BLOCK-----\n"
    assert plain(f"key replace\n{block}{end}help\n") == ["key replace", "help"]
    assert plain(f"key replace\n{block}help\n") == ["key replace"]


# --- the line itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("approve\u00a0H-17", "approve H-17"),
        ("  approve \t H-17  ", "approve H-17"),
        ("approve H\u201117", "approve H-17"),
        ("approve H\u201317", "approve H-17"),
        ("approve H\u221217", "approve H-17"),
        ("none until 2026–12–01", "none until 2026-12-01"),
        ("reject H-17 too vague — see above", "reject H-17 too vague — see above"),
        ("search “false bottom”", 'search "false bottom"'),
        ("search « false bottom »", 'search "false bottom"'),
        ("search «\u202ffalse bottom\u202f»", 'search "false bottom"'),
        ("reject H-17 it’s old", "reject H-17 it's old"),
        ("\u202aapprove\u202c \u200fH-17\u200e", "approve H-17"),
        ("app\u00adrove H\u200b-17\ufeff", "approve H-17"),
        ("ａｐｐｒｏｖｅ Ｈ－１７", "approve H-17"),
        ("reject H-17 - old * see 2. of March", "reject H-17 - old * see 2. of March"),
        ("* approve H-17", "approve H-17"),
        ("   2. approve H-17", "approve H-17"),
        ("• approve H-17", "approve H-17"),
        ("suspend a@b.example<mailto:a@b.example>", "suspend a@b.example"),
        ("address: a@b.example <MAILTO:a@b.example>", "address: a@b.example"),
        ("approve H-17\x00", "approve H-17"),
    ],
)
def test_a_line_is_read_as_it_was_meant(typed: str, read: str) -> None:
    assert plain(typed) == [read]


def test_a_line_is_shown_as_it_was_typed_but_for_what_hides() -> None:
    (line,) = typed_lines(entity.read(part("reject  H–17\u202e “no”")))
    assert line == Typed('reject H-17 "no"', "reject H–17 “no”")


def test_a_line_and_what_is_shown_of_it_are_cut() -> None:
    (line,) = typed_lines(entity.read(part("x" * 5000)))
    assert (len(line.text), len(line.shown)) == (1000, 200)


def test_at_most_so_many_lines_are_read() -> None:
    raw = entity.read(part("help\n\n" * 300))
    assert len(typed_lines(raw)) == 200
    assert len(typed_lines(raw, 3)) == 3


def test_commands_stand_in_a_mail_in_arabic() -> None:
    body = "السلام عليكم\n\u200fapprove H-17\u200f\nشكرا\n-- \nزينب\n"
    assert plain(body) == ["السلام عليكم", "approve H-17", "شكرا"]


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("koi8-r", "отклонить"),
        ("windows-1251", "отклонить"),
        ("iso-8859-1", "écartée"),
        ("windows-1256", "مرفوض"),
        ("gb18030", "拒绝"),
        ("iso-2022-jp", "却下"),
        ("utf-16", "écartée"),
    ],
)
def test_any_charset_of_mail_is_read(charset: str, text: str) -> None:
    written = f"reject H-17 {text}\r\nhelp\r\n".encode(charset)
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: "
    expected = [f"reject H-17 {text}", "help"]
    assert lines(head.encode() + b"base64\r\n\r\n" + base64.encodebytes(written)) == expected
    quoted = quopri.encodestring(written)
    assert lines(head.encode() + b"quoted-printable\r\n\r\n" + quoted) == expected


# --- format=flowed --------------------------------------------------------------------------------


def test_a_line_that_the_program_broke_is_one_line_again() -> None:
    reason = "reject H-17 a long reason \nthat the program \nbroke\nhelp\n"
    assert flowed(reason) == ["reject H-17 a long reason that the program broke", "help"]
    assert plain(reason)[:2] == ["reject H-17 a long reason", "that the program"]


def test_delsp_takes_the_blank_of_a_soft_break_away() -> None:
    assert flowed("reject H-17 却下 \nします\n", "; delsp=yes") == ["reject H-17 却下します"]


def test_flowed_lines_keep_their_quotation_apart() -> None:
    body = "> quoted and \n> broken and \napprove H-17 \n>> more \n> less \n\n> x \n"
    assert flowed(body) == ["approve H-17"]


def test_a_flowed_signature_ends_the_reading_and_joins_nothing() -> None:
    assert flowed("approve H-17 \n-- \nAna \nLind\n") == ["approve H-17"]


def test_space_stuffing_is_taken_off_and_frees_no_quotation() -> None:
    assert flowed(" From here\n >approve H-18\nhelp") == ["From here", "help"]
    assert flowed("approve H- \n 17\n", "; delsp=yes") == ["approve H-17"]


# --- which part -----------------------------------------------------------------------------------


def test_the_first_text_part_is_read() -> None:
    own = multipart("alternative", part("approve H-17"), part("<p>topics</p>", "text/html"))
    assert lines(multipart("mixed", own, part("help"))) == ["approve H-17"]
    html_alone = multipart("related", part("<p>topics</p>", "text/html"), part("help"))
    assert lines(multipart("mixed", html_alone)) == ["topics"]


def test_an_empty_alternative_gives_way_to_the_next() -> None:
    assert lines(
        multipart("alternative", part(" \u200b\n"), part("<p>topics</p>", "text/html"))
    ) == ["topics"]


def test_attachments_and_other_types_are_passed_over() -> None:
    attached = b"Content-Disposition: attachment\r\n" + part("approve H-18")
    calendar = part("approve H-18", "text/calendar")
    assert lines(multipart("mixed", attached, calendar, part("help"))) == ["help"]
    assert lines(multipart("mixed", attached, calendar)) == []


def test_a_subject_repeated_for_old_programs_is_not_typed() -> None:
    repeated = part("Subject: H-17\n", parameters='; protected-headers="v1"')
    assert lines(multipart("mixed", repeated, part("help"))) == ["help"]
    assert lines(part("Subject: H-17\n\nhelp", parameters='; hp-legacy-display="1"')) == ["help"]
    whole = part("topics\n\nhelp", parameters='; protected-headers="v1"')
    assert lines(whole) == ["topics", "help"]


def test_a_broken_multipart_is_malformed() -> None:
    with pytest.raises(Malformed):
        lines(multipart("mixed", part("help")).removesuffix(b"--\r\n"))


# --- the subject, and what is quoted --------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "read"),
    [
        ("approve H-17", "approve H-17"),
        ("Re: approve H-17", "approve H-17"),
        ("RE : Réf: approve H-17", "approve H-17"),
        ("AW: SV: [ENVIRONET] WG: approve H-17", "approve H-17"),
        ("[ENVIRONET] Отв: approve H-17", "approve H-17"),
        ("\u200fرد: \u200fapprove H–17", "approve H-17"),
        ("回复：approve H-17", "approve H-17"),
        ("Re[2]: approve H-17", "approve H-17"),
        ("search ivory from:ana", "search ivory from:ana"),
        ("H-17: approve", "H-17: approve"),
        ("help [COMMAND]", "help [COMMAND]"),
        ("Re: ", None),
        ("[ENVIRONET]", None),
        ("", None),
    ],
)
def test_a_subject_is_read_as_a_command(subject: str, read: str | None) -> None:
    found = typed_subject(subject)
    assert (found.text if found else None) == read


def test_a_subject_is_shown_whole() -> None:
    assert typed_subject("Re: help") == Typed("help", "Re: help")


def test_what_is_quoted_is_found_where_it_is_wanted() -> None:
    plain_reply = "accept\n-- \nAna\n\nOn Saturday ENVIRONET wrote:\n> Your code: K7Q2–M4XZ\u200b\n"
    assert "> Your code: K7Q2-M4XZ" in quoted_too(entity.read(part(plain_reply))).split("\n")
    reply = "<p>ok</p><blockquote><p>Your code:</p>K7Q2-M4XZ</blockquote><div id=divRplyFwdMsg>x"
    assert "> K7Q2-M4XZ" in quoted_too(entity.read(part(reply, "text/html"))).split("\n")
    assert len(quoted_too(entity.read(part(("\ufdfa" * 99 + "\n") * 600)))) == MOST_CHARACTERS


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_a_part_that_is_too_long_is_cut_between_lines(kind: str) -> None:
    end = "<br>\n" if kind == "text/html" else "\n"
    raw = part(f"\n{end}" * 8000 + f"approve H-17{end}" * 20_000, kind)
    found = typed_lines(entity.read(raw), 20_000)
    assert 1000 < len(found) < 20_000
    assert {line.text for line in found} == {"approve H-17"}
    assert typed_lines(entity.read(part("x" * MOST_CHARACTERS + "y", kind))) == ()


def test_a_part_that_is_too_long_as_transferred_is_cut_between_lines() -> None:
    text = ("réserve: " + "é" * 200 + "\n") * 1000
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable"
    raw = head + b"\r\n\r\n" + quopri.encodestring(text.encode()).replace(b"\n", b"\r\n")
    found = quoted_too(entity.read(raw)).split("\n")
    assert 150 < len(found) < 300
    assert set(found) == {"réserve: " + "é" * 200}


HOSTILE = {
    "unclosed tags": "<a ",
    "unclosed quotes": "<a b='\"",
    "quotes with tags in them": '<a b=">" ',
    "comments": "<!--",
    "declarations": "<![x",
    "deep": "<div><b>",
    "deep quotations": "<blockquote class=gmail_quote>",
    "breaks": "<br></b>",
    "styles": "<style>",
    "references": "&#",
    "guillemets": "« ",
    "links": "x<mailto:",
    "colons": "a: ",
    "prefixes": "Re: [x] ",
    "rules": "-----x",
    "blank quotations": "\n\n>",
    "lines": "\n",
    "long numbers": "&#" + "9" * 5000 + ";",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_a_hostile_text_takes_no_long_time(unit: str, kind: str) -> None:
    raw = entity.read(part(unit * (1_000_000 // len(unit)), kind))
    began = time.process_time()
    typed_lines(raw)
    quoted_too(raw)
    typed_subject(unit * (8000 // len(unit)))
    assert time.process_time() - began < 5  # it takes half a second; squares take minutes


CORPORA = (
    "thunderbird-mailnews", "stalwart-mail-parser", "mime-tools", "ruby-mail", "cpython-email",
    "mox", "notmuch", "sisimai-set-of-emails", "kmail-messagelib", "thunderbird-openpgp",
)  # fmt: skip


@pytest.mark.parametrize("name", CORPORA)
def test_real_mails_are_read_or_malformed(name: str) -> None:
    corpora = os.environ.get("ENVIRONET_CORPORA")
    folder = Path(corpora or ".") / name
    if not corpora or not folder.is_dir():
        pytest.skip("ENVIRONET_CORPORA names no folder with these real mails")
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        began = time.process_time()
        try:
            found = typed_lines(entity.read(path.read_bytes()))
        except Malformed:
            continue
        assert time.process_time() - began < 3, path
        for line in found:
            assert 0 < len(line.text) <= 1000, path
            assert not line.text.startswith(">"), path


def test_no_attribution_of_a_real_reply_is_left(tmp_path: Path) -> None:
    corpora = os.environ.get("ENVIRONET_CORPORA")
    folder = Path(corpora or tmp_path) / "notmuch/test/corpora/lkml/cur"
    if not folder.is_dir():
        pytest.skip("ENVIRONET_CORPORA names no folder with these real mails")
    mails = [entity.read(path.read_bytes()) for path in sorted(folder.iterdir())]
    assert len(mails) > 100
    found = {line.text for mail in mails for line in typed_lines(mail)}
    assert not {line for line in found if line.endswith(" wrote:")}


def test_an_entity_of_no_bytes_has_no_lines() -> None:
    empty: Entity = entity.read(b"")
    assert typed_lines(empty) == ()
    assert quoted_too(empty) == ""
