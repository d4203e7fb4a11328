"""HTML mail as lines of text, for reading what somebody typed.

One pass with regular expressions, each step of which stops at the next "<": the standard library's
parser, and what is built on it, needs half a minute for 64 KB of "<a ".
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

import nh3

TAGS = frozenset(
    {
        "a", "abbr", "address", "article", "b", "bdi", "big", "blockquote", "br", "caption",
        "center", "cite", "code", "col", "colgroup", "dd", "del", "dfn", "div", "dl", "dt", "em",
        "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header",
        "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp",
        "section", "small", "span", "strike", "strong", "sub", "sup", "table", "tbody", "td",
        "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var", "wbr",
    }
)  # fmt: skip
DROPPED = frozenset({"script", "style", "title", "textarea", "template", "noscript", "svg", "math"})
HERE = 64 * 1024
"""Characters that nh3 parses in this process: it takes time with the square of their depth."""
_MARKS = frozenset({"class", "id"})
"""Attributes that say what a program quotes."""
SEPARATOR = "-----"
"""Stands for a rule, and for a mark after which a program puts the mail that is answered."""
_TAG = re.compile(
    r"<(?P<end>/?)(?P<name>[a-z][^\s<>/]*+)"
    # Quotes may hold ">"; where they are not paired the first ">" ends the tag. Not possessive, as
    # Python before 3.11.5 errs there with a group; what a try gives back is no more than it took.
    r"(?P<attributes>(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*|[^<>]*+)>"
    r"|<[!?/][^<>]*+>",
    re.IGNORECASE,
)
_TAG_OR_COMMENT = re.compile(f"<!--|{_TAG.pattern}", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"([^\s=/\"'<>]++)(?:\s*+=\s*+(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]++)))?", re.IGNORECASE
)
_UNSEEN = re.compile(r"<!--|<(style|script|title|template|textarea|svg)(?=[\s/>])", re.IGNORECASE)
# A reference of more digits than any character has, which Python would not convert.
_LONG_REFERENCE = re.compile(r"&#x?[0-9a-f]{8,}+;?", re.IGNORECASE)
_PICTURE = re.compile(r'<img(?: alt="([^"]*)")?[^<>]*>')
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_VOID = frozenset(
    {
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source",
        "track", "wbr",
    }
)  # fmt: skip
BLOCK = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details",
        "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2",
        "h3", "h4", "h5", "h6", "header", "html", "legend", "li", "main", "menu", "nav", "ol", "p",
        "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
    }
)  # fmt: skip
_QUOTING = frozenset({"blockquote", "cite"})
_QUOTATIONS = frozenset({"gmail_quote", "yahoo_quoted", "protonmail_quote"})
# What programs mark as not typed: quotations, the line above them, signatures, and a subject that
# RFC 9788 had them repeat.
_NOT_TYPED = frozenset(
    {
        "gmail_quote", "gmail_attr", "gmail_signature", "moz-cite-prefix", "moz-signature",
        "yahoo_quoted", "protonmail_quote", "protonmail_signature_block", "signature",
        "ms-outlook-mobile-signature", "header-protection-legacy-display",
    }
)  # fmt: skip
_BEFORE_ANSWERED = frozenset(
    {
        "appendonsend", "divrplyfwdmsg", "ms-outlook-mobile-reference-message",
        "mail-editor-reference-message-container",
    }
)  # fmt: skip
# Word marks the number of a list's item with the last.
_HIDDEN = re.compile(r"display\s*+:\s*+none|mso-list\s*+:\s*+ignore", re.IGNORECASE)
_PREFORMATTED = re.compile(r"white-space\s*+:\s*+(?:pre|break-spaces)", re.IGNORECASE)


@dataclass(slots=True)
class _Region:
    """An element with an effect on all inside; depth: how many of its name are open within."""

    name: str
    depth: int = 1


def shown(markup: str) -> str:
    """`text` of a hypertext as it travels: what whoever gets it as a mail reads."""
    return text(bare(markup, _MARKS)).strip()


def bare(markup: str, kept: Set[str] = frozenset()) -> str:
    """Hypertext as it travels (archive/harmless.py), with no attributes but those `kept`: what one
    hides is seen there. What stands for a picture is text."""
    if len(markup) > HERE:
        return "".join(_bare_pieces(markup, kept))
    cleaned = nh3.clean(
        markup, tags=set(TAGS), clean_content_tags=set(DROPPED), link_rel=None,
        attributes={"*": set(kept), "img": {"alt"}},
        attribute_filter=_kept_value,
    )  # fmt: skip
    return _PICTURE.sub(lambda picture: _words(picture[1]), cleaned)


def _kept_value(tag: str, name: str, value: str) -> str | None:
    """What is kept of an attribute; None where it is left out. Marks of tags in it nh3 escapes."""
    return None if tag == "img" and name != "alt" else value


def _words(alternative: str | None) -> str:
    """What stands for a picture."""
    return f" {alternative} " if alternative else ""


def _bare_pieces(markup: str, kept: Set[str]) -> Iterator[str]:
    """Of a large one, with this module's own reading of tags. Comments are left out; none begins
    within a tag."""
    at = 0
    while found := _TAG_OR_COMMENT.search(markup, at):
        yield markup[at : found.start()]
        at = found.end()
        if found[0] == "<!--":
            end = markup.find("-->", at - len("--"))  # "<!-->" is a whole one
            if end < 0:
                return
            at = end + len("-->")
        else:
            yield _bare(found, kept)
    yield markup[at:]


def _bare(tag: re.Match[str], kept: Set[str]) -> str:
    if not tag["name"]:
        return ""
    attributes = _ATTRIBUTE.findall(tag["attributes"] or "") if kept or tag["name"] == "img" else []
    values = {name.lower(): one or two or three for name, one, two, three in attributes}
    if tag["name"].lower() == "img":
        return _words(values.get("alt"))
    written = "".join(f' {name}="{html.escape(values[name])}"' for name in kept & values.keys())
    return f"<{tag['end']}{tag['name']}{written}>"


def text(markup: str) -> str:
    """The text that a reader sees, LF line ends. Lines of what the program quotes, and of its
    signature, begin with ">"; where a quotation begins, or the mail that is answered, stands
    SEPARATOR.

    Linear in the markup's length; whatever is no HTML is text.
    """
    seen = _LONG_REFERENCE.sub("\ufffd", _without_unseen(markup))
    regions: dict[str, _Region] = {}
    pieces = [""]
    at = 0
    for tag in _TAG.finditer(seen):
        _write(pieces, regions, seen[at : tag.start()])
        at = tag.end()
        if tag["name"]:
            _step(pieces, regions, tag["name"].lower(), tag)
    _write(pieces, regions, seen[at:])
    return "".join(pieces)


def _without_unseen(markup: str) -> str:
    """Comments, styles and the like cut out; one without an end goes on to the end of all."""
    kept = []
    at = 0
    while opening := _UNSEEN.search(markup, at):
        kept.append(markup[at : opening.start()])
        name = opening[1]
        ending = re.compile(rf"</{name}[^<>]*+>" if name else "-->", re.IGNORECASE)
        # From within the mark: "<!-->" is a whole comment.
        end = ending.search(markup, opening.start() + 2)
        if end is None:
            return "".join(kept)
        at = end.end()
    return "".join((*kept, markup[at:]))


def _write(pieces: list[str], regions: dict[str, _Region], raw: str) -> None:
    if not raw or "hidden" in regions:
        return
    written = html.unescape(raw)
    if "preformatted" in regions:
        pieces.append(written.replace("\r\n", "\n").replace("\n", _line_end(regions)))
    elif (collapsed := _BLANKS.sub(" ", written)) != " " or pieces[-1] != _line_end(regions):
        pieces.append(collapsed)


def _step(pieces: list[str], regions: dict[str, _Region], name: str, tag: re.Match[str]) -> None:
    """What one tag does to the regions and lines."""
    was_quoted = "quoted" in regions
    if tag["end"]:
        _close(regions, name)
        marks = frozenset[str]()
    else:
        marks = _open(regions, name, tag["attributes"])
    if "hidden" in regions:
        return
    line_end = _line_end(regions)
    if not tag["end"] and (name in _QUOTING or marks & _QUOTATIONS):
        # Whoever is quoted chose what is in it, perhaps something that looks to us like its end.
        pieces += ["\n> ", f"\n{SEPARATOR}", "\n> "]
    elif name == "hr" or marks & _BEFORE_ANSWERED:
        pieces += [line_end, SEPARATOR, line_end]
    elif name == "br":
        pieces.append(line_end)
    elif name in BLOCK or was_quoted != ("quoted" in regions):
        if pieces[-1] != line_end:
            pieces.append(line_end)
    elif name in ("td", "th"):
        pieces.append(" ")


def _open(regions: dict[str, _Region], name: str, attributes: str) -> frozenset[str]:
    """Enter an element; returns its classes and its id, in lower case."""
    for region in regions.values():
        region.depth += region.name == name
    found = {
        one[1].lower(): one[2] or one[3] or one[4] or "" for one in _ATTRIBUTE.finditer(attributes)
    }
    marks = frozenset(f"{found.get('class', '')} {found.get('id', '')}".lower().split())
    if name in _VOID:
        return marks
    style = found.get("style", "")
    for effect, begins in (
        ("hidden", "hidden" in found or _HIDDEN.search(style)),
        ("quoted", name in _QUOTING or marks & _NOT_TYPED),
        ("preformatted", name == "pre" or _PREFORMATTED.search(style)),
    ):
        if begins and effect not in regions:
            regions[effect] = _Region(name)
    return marks


def _close(regions: dict[str, _Region], name: str) -> None:
    for effect, region in [*regions.items()]:
        region.depth -= region.name == name
        if not region.depth:
            del regions[effect]


def _line_end(regions: dict[str, _Region]) -> str:
    return "\n> " if "quoted" in regions else "\n"
