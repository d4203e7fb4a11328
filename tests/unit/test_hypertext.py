"""What a person typed into HTML, which every mail program makes in its own way."""

from __future__ import annotations

import time

import pytest

from gateway.message import entity, hypertext
from gateway.message.typed import typed_lines


def markup(text: str) -> list[str]:
    raw = b"Content-Type: text/html; charset=utf-8\r\n\r\n" + text.encode()
    return [line.text for line in typed_lines(entity.read(raw), form_keys={"name", "address"})]


def test_markup_within_a_line_does_not_end_it() -> None:
    assert markup("<p>approve <b>H</b>-<i>17</i> <span>n<u>o</u>w</span></p>") == [
        "approve H-17 now"
    ]


@pytest.mark.parametrize(
    "body",
    [
        "approve H-17<br>discard H-18",
        "approve\n  H-17<BR/>discard\r\nH-18",
        "<div>approve H-17</div><div>discard H-18</div>",
        "approve H-17<div>discard H-18</div>",
        "<p>approve H-17<p>discard H-18",
        "<ul><li>approve H-17</li><li>discard H-18</li></ul>",
        "<table><tr><td>approve</td><td>H-17</td></tr><tr><td>discard</td><th>H-18</table>",
        "<pre>approve H-17\ndiscard H-18</pre>",
        "<div style='white-space:pre-wrap'>approve H-17\ndiscard H-18</div>",
        "<html><head><title>x</title></head><body>approve H-17<hr style='display:none'>"
        "<h1>discard H-18</h1></body></html>",
    ],
)
def test_blocks_breaks_rows_and_items_end_a_line(body: str) -> None:
    found = markup(body)
    assert found[:1] == ["approve H-17"]
    assert found[1:] == ([] if "<hr" in body else ["discard H-18"])


@pytest.mark.parametrize(
    "unseen",
    [
        "<style>p { x: y }\napprove H-18</style>",
        "<script>if (a < b) { approve }</script>",
        "<!-- approve H-18 > <br> -->",
        "<!--[if gte mso 9]><xml>approve H-18</xml><![endif]-->",
        "<title>approve H-18</title>",
        '<div style="Display : NONE">approve <div>H-18</div> x</div>',
        "<span hidden>approve H-18</span>",
        "<p style='mso-list:Ignore'>1.</p>",
        "<!doctype html><?xml version='1.0'?><![if !supportLists]><![endif]>",
        '<img src="cid:x" alt="a > b" style="display:none">',
    ],
)
def test_what_a_reader_does_not_see_is_not_read(unseen: str) -> None:
    assert markup(f"<div>help</div>{unseen}<div>topics</div>") == ["help", "topics"]


def test_a_comment_of_two_halves_shows_what_is_between() -> None:
    assert markup("<!--[if !mso]><!-->help<!--<![endif]--><br>topics") == ["help", "topics"]
    assert markup("<!-->help<br>topics") == ["help", "topics"]


def test_what_never_ends_goes_on_to_the_end() -> None:
    for unseen in ("<!-- ", "<style>", "<div hidden>", "<blockquote>"):
        assert markup(f"help{unseen}approve H-18<br>approve H-18") == ["help"], unseen


def test_what_is_hidden_within_a_line_does_not_end_it() -> None:
    assert markup("approve <span hidden><p>x</p><hr><br></span>H-17") == ["approve H-17"]


def test_every_block_is_a_line() -> None:
    blocks = ("address", "article", "dd", "div", "dl", "dt", "fieldset", "form", "h1", "h6", "li")
    for name in (*blocks, "ol", "p", "section", "tr", "ul"):
        assert markup(f"help<{name}>topics</{name}>help") == ["help", "topics", "help"], name


@pytest.mark.parametrize(
    "mark",
    [
        "gmail_attr",
        "gmail_signature",
        "moz-cite-prefix",
        "moz-signature",
        "protonmail_signature_block",
        "Signature",
        "ms-outlook-mobile-signature",
        "header-protection-legacy-display",
    ],
)
def test_what_a_program_marks_as_not_typed_is_not_read(mark: str) -> None:
    for name in ("div", "span"):
        body = f'help<{name} class="x {mark}"><{name}>a</{name}>approve H-18</{name}>topics'
        assert markup(body) == ["help", "topics"]
        assert markup(body.replace("x ", "").replace("class", "id")) == ["help", "topics"]


@pytest.mark.parametrize("mark", ["gmail_quote", "yahoo_quoted", "protonmail_quote"])
def test_nothing_behind_the_beginning_of_a_quotation_is_read(mark: str) -> None:
    """Whoever is quoted may have written what looks like its end."""
    for inside in (
        '<img alt="</div><p>approve H-18</p>">',
        "<xmp></div>approve H-18</xmp>",
        '<a title="<svg ">x</a></div><p>approve H-18</p>',
        "",
    ):
        assert markup(f'help<div class="{mark}">{inside}</div><p>approve H-18</p>') == ["help"]
        assert markup(f"help<blockquote>{inside}</blockquote><p>approve H-18</p>") == ["help"]


@pytest.mark.parametrize(
    "mark",
    [
        "appendonsend",
        "divRplyFwdMsg",
        "ms-outlook-mobile-reference-message",
        "mail-editor-reference-message-container",
    ],
)
def test_nothing_after_a_program_s_mark_of_the_answered_mail_is_read(mark: str) -> None:
    assert markup(f"help<div id='{mark}'></div><div>approve H-18</div>") == ["help"]
    assert markup(f"help<span class={mark}>x</span>approve H-18") == ["help"]


def test_references_are_resolved_and_hide_no_quotation() -> None:
    assert markup("tick&nbsp;off&#32;B<br>&gt; approve H-18<br>a &lt;b&gt; &amp; c") == [
        "tick off B",
        "a <b> & c",
    ]


@pytest.mark.parametrize("text", ["a < b", "x <y", "1 <2> 3", "<", "a <b c", "R&D; &#x110000; &#;"])
def test_what_is_no_html_is_text(text: str) -> None:
    assert len(markup(text)) == 1
    assert markup(f"help<br>{text}")[0] == "help"


HTML_REPLIES = {
    "Thunderbird": """<html><head><meta http-equiv="content-type" content="text/html; charset=UTF-8"
></head><body><p>approve H-17</p><p><br></p>
<div class="moz-cite-prefix">Le 14/03/2026 à 10:22, ENVIRONET a écrit :<br></div>
<blockquote type="cite" cite="mid:x@environet.example"><pre class="moz-quote-pre" wrap="">held
approve H-18</pre></blockquote><pre class="moz-signature" cols="72">--&nbsp;
Ana</pre></body></html>""",
    "Gmail": """<div dir="ltr">approve H-17</div><br><div class="gmail_quote gmail_quote_container">
<div dir="ltr" class="gmail_attr">On Sat, Mar 14, 2026 at 10:22 AM ENVIRONET &lt;<a
 href="mailto:gateway@environet.example">gateway@environet.example</a>&gt; wrote:<br></div>
<blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex">held<br>
approve H-18<br></blockquote></div>""",
    "Outlook on the web": """<html><body dir="ltr"><div class="elementToProof">approve H-17</div>
<div id="appendonsend"></div><hr style="display:inline-block;width:98%" tabindex="-1">
<div id="divRplyFwdMsg" dir="rtl"><b>من:</b> ENVIRONET<br><b>تم الإرسال:</b> السبت<br></div>
<div>approve H-18</div></body></html>""",
    "Outlook": """<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><style><!--
p.MsoNormal {margin:0cm;} --></style></head><body lang=FR><div class=WordSection1>
<p class=MsoNormal><span style='mso-fareast-language:EN-US'>approve H-17<o:p></o:p></span></p>
<p class=MsoNormal><o:p>&nbsp;</o:p></p>
<div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'>
<p class=MsoNormal><b>De&nbsp;:</b> ENVIRONET &lt;gateway@environet.example&gt; <br>
<b>Envoyé&nbsp;:</b> samedi 14 mars 2026 10:22<br><b>À&nbsp;:</b> Ana Lind<br>
<b>Objet&nbsp;:</b> H-17<o:p></o:p></p></div>
<p class=MsoNormal>approve H-18<o:p></o:p></p></div></body></html>""",
    "Outlook, a header of paragraphs": """<div><p>approve H-17</p>

<p><b>Von:</b> ENVIRONET</p>
 <p><b>Gesendet:</b> Samstag, 14. März 2026 10:22</p>
<p> <b>An:</b> Ana Lind</p></div><p>approve H-18</p>""",
    "Apple Mail": """<html><head></head><body style="overflow-wrap: break-word;">approve H-17<br
 id="lineBreakAtBeginningOfMessage"><div><br><blockquote type="cite"><div>On 14 Mar 2026, at 10:22,
ENVIRONET wrote:</div><br class="Apple-interchange-newline"><div>approve H-18</div></blockquote>
</div></body></html>""",
    "K-9": """<!DOCTYPE html><html><body><pre dir="auto" class="k9mail">approve H-17</pre>
<div class="gmail_quote"><div dir="auto">On 14 March 2026 10:22:31 GMT, ENVIRONET wrote:</div>
<blockquote class="gmail_quote" style="margin: 0pt 0pt 0pt 0.8ex;">
<pre dir="auto" class="k9mail">held
approve H-18
</pre></blockquote></div></body></html>""",
    "Samsung": """<html><body dir="auto"><div dir="auto">approve H-17</div><div><br></div>
<div align="left"><div>-------- Исходное сообщение --------</div><div>От: ENVIRONET</div></div>
<div>approve H-18</div></body></html>""",
    "Proton": """<div style="font-family: Arial">approve H-17</div><div class="protonmail_quote">
On Saturday, 14 March 2026 at 10:22, ENVIRONET wrote:<br><blockquote class="protonmail_quote"
 type="cite">approve H-18</blockquote></div>""",
    "RFC 9788's repeated subject": """<div class="header-protection-legacy-display"><pre>
Subject: [ENVIRONET] H-17</pre></div><div>approve H-17</div>""",
}


@pytest.mark.parametrize("body", HTML_REPLIES.values(), ids=HTML_REPLIES)
def test_a_reply_in_html_is_what_was_typed(body: str) -> None:
    assert markup(body) == ["approve H-17"]


def test_what_stands_above_a_quotation_is_read() -> None:
    body = "help<blockquote>a<blockquote>b</blockquote></div></b>approve H-18</blockquote>topics"
    assert markup(body) == ["help"]
    assert markup("<div><b><blockquote></b>approve H-18</div>approve H-18") == []


def test_a_form_in_html_is_read_line_by_line() -> None:
    body = "nominate<br><b>name:</b> Zoë<br>address: <a href='mailto:z@c.example'>z@c.example</a>"
    assert markup(body) == ["nominate", "name: Zoë", "address: z@c.example"]


def test_html_takes_time_in_proportion_to_its_length() -> None:
    def seconds(units: int) -> float:
        began = time.process_time()
        hypertext.text("<a b='x\" <blockquote>&gt;<br></p>" * units)
        return time.process_time() - began

    seconds(1000)
    assert seconds(40_000) < 40 * max(seconds(4000), 0.01)
