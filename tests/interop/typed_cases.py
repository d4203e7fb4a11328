"""What officers type as commands, and what becomes of it; and how programs that don't run here set
out a text: Thunderbird's editor, K-9, Outlook, Apple Mail."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tests.interop import typing

BOTH_OFF = {"ticked off": "B E"}
NO_OWN_COPIES = {"own copies": False}
QUOTED_TICK_OFF = "> deliver digest daily\n> tick off G\n"


@dataclass(frozen=True, slots=True)
class Case:
    """typed: as in a mail program's window. told, untold: what the answer says, and what not.
    changes: of the profile. events: that the ledger has of it, but for the mail itself."""

    typed: str
    told: tuple[str, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    untold: tuple[str, ...] = ("deliver digest", "digest each")


CASES = {
    "help": Case("Help\n", ("tick off TOPIC ...", "> Help"), untold=("Not done",)),
    "comma and full stop": Case(
        "tick off wildlife, E.\n", ("tick on B E",), BOTH_OFF, ("ticked-off",)
    ),
    "French, above the quotation": Case(
        "Bonjour,\n\nTick off B E\nmerci\n\n"
        "Le 23/11/2026 à 17:26, ENVIRONET a écrit :\n" + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command", "Not done"),
    ),
    "French, below the quotation": Case(
        "Le 23/11/2026 à 17:26, ENVIRONET a écrit :\n" + QUOTED_TICK_OFF + "\ntick off B E\n"
        "Merci\n",
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command",),
    ),
    "between quotations": Case(
        "23.11.2026 17:26, ENVIRONET пишет:\n> own copies off\n\nTick off: B; E\n\n"
        + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command", "Your own postings"),
    ),
    "Russian, above the quotation": Case(
        "Здравствуйте!\n\nTICK OFF B E\n\nПонедельник, 23 ноября 2026, 17:26 +03:00 от ENVIRONET "
        "<gateway@environet.example>:\n" + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command",),
    ),
    "Arabic, above the quotation": Case(
        "السلام عليكم\n\u200ftick off B E\u200f\n\nفي ٢٣‏/١١‏/٢٠٢٦ ١٧:٢٦، كتب ENVIRONET:\n"
        + QUOTED_TICK_OFF,
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command",),
    ),
    "a signature": Case(
        "tick off B and E\n\n-- \nMira Osei\nCustoms\ntick off G\ndeliver digest daily\n",
        ("tick on B E",),
        BOTH_OFF,
        ("ticked-off",),
        ("no command", "> Mira", "Customs", "digest each"),
    ),
    "from a telephone": Case(
        "own copies off\n\nEnvoyé de mon mobile\n",
        ("Your own postings do not come back",),
        NO_OWN_COPIES,
        ("own-copies-changed",),
    ),
    "no-break spaces and dashes": Case(
        "tick\u00a0off\u00a0B,\u202fE\nown–copies off\n",
        ("tick on B E", "Your own postings do not come back"),
        {**BOTH_OFF, **NO_OWN_COPIES},
        ("ticked-off", "own-copies-changed"),
        ("no command", "Not done"),
    ),
    "a numbered list": Case(
        "Dear colleagues,\n\n1. tick off B E\n2) own copies: off\n – deliver digest daily please\n"
        "\nBest regards\n",
        ("tick on B E", "Your own postings do not come back", "a digest each day"),
        {**BOTH_OFF, **NO_OWN_COPIES, "delivery": "daily"},
        ("ticked-off", "own-copies-changed", "delivery-changed"),
        ("no command", "Not done"),
    ),
    "what nobody asked for": Case(
        "Could you please tick off B for me? I wrote 'own copies off' last week.\n",
        ("This is no command",),
    ),
    "another language's words": Case(
        "désabonner B\nunsubscribe E\n", ("This is no command. Did you mean: tick off TOPIC",)
    ),
}
WRAPPED = Case("tick off B \nE\nown \ncopies \noff\n", ("tick on B E", "Your own postings"),
               {**BOTH_OFF, **NO_OWN_COPIES}, ("ticked-off", "own-copies-changed"),
               ("no command",))  # fmt: skip


def k9(case: Case) -> bytes:
    """Imitated: plain text, and under it K-9's own signature."""
    sign = "-- \nThis message was sent from my Android device with K-9 Mail.\ntick off G\n"
    return typing.plain(f"{case.typed}\n{sign}")


def outlook(case: Case) -> bytes:
    """Imitated: HTML of Word's alone, and the mail that is answered under a header of its own."""
    lines = "".join(f"<p class=MsoNormal>{escaped(one)}<o:p></o:p></p>\r\n"
                    for one in case.typed.split("\n"))  # fmt: skip
    quoted = (
        "<div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'>"
        "<p class=MsoNormal><b><span lang=EN-US>De&nbsp;:</span></b> ENVIRONET "
        "&lt;gateway@environet.example&gt; <br><b>Envoyé&nbsp;:</b> lundi 23 novembre 2026 17:26"
        "<br><b>À&nbsp;:</b> Mira Osei<br><b>Objet&nbsp;:</b> Re: help<o:p></o:p></p></div>"
        "<p class=MsoNormal>deliver digest daily<o:p></o:p></p><p class=MsoNormal>tick off G</p>"
    )
    head = "<html xmlns:o='urn:schemas-microsoft-com:office:office'><head><style><!-- p.MsoNormal"
    return typing.html(f"{head} {{margin:0cm;}} --></style></head><body lang=FR>"
                       f"<div class=WordSection1>{lines}{quoted}</div></body></html>")  # fmt: skip


def apple(case: Case) -> bytes:
    """Imitated: both forms, a telephone's line at the end, a blockquote of type cite."""
    text = (
        f"{case.typed}\nSent from my iPhone\n\n> On 23 Nov 2026, at 17:26, ENVIRONET wrote:\n> \n"
    )
    lines = "".join(f"<div>{escaped(one) or '<br>'}</div>" for one in case.typed.split("\n"))
    page = (
        '<html><head></head><body dir="auto">' + lines + '<br id="lineBreakAtBeginningOfSignature">'
        '<div dir="ltr">Sent from my iPhone</div><div dir="ltr"><br><blockquote type="cite">On 23 '
        "Nov 2026, at 17:26, ENVIRONET wrote:<br><br></blockquote></div><blockquote type=\"cite\">"
        "<div dir=\"ltr\">deliver digest daily<br>tick off G</div></blockquote></body></html>"
    )  # fmt: skip
    return typing.alternative(typing.plain(text + QUOTED_TICK_OFF), typing.html(page))


def apple_html(case: Case) -> bytes:
    """The same with nothing in the plain form."""
    return apple(case).replace(b"text/plain", b"text/enriched", 1)


FORMS = {"k9": k9, "outlook": outlook, "apple": apple, "apple-html": apple_html}


def escaped(line: str) -> str:
    return html.escape(line, quote=False).replace("\u00a0", "&nbsp;")


def as_html(text: str) -> str:
    """As Thunderbird's editor keeps a text: lines with breaks, quotations in a blockquote."""
    own: list[str] = []
    for is_quoted, lines in groupby(text.split("\n"), lambda one: one.startswith("> ")):
        if not is_quoted:
            own += [f"{escaped(one)}<br>\r\n" for one in lines]
            continue
        cite = "<br>\r\n".join(escaped(one.removeprefix("> ")) for one in lines)
        own.append(f'<blockquote type="cite" cite="mid:1@x.example">{cite}</blockquote>\r\n')
    head = '<html><head><meta http-equiv="content-type" content="text/html; charset=UTF-8"></head>'
    return f"{head}\r\n<body>\r\n{''.join(own)}</body></html>\r\n"
