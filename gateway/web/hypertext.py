"""Foreign text and hypertext as HTML that does nothing: no script, no style, nothing from
elsewhere, and no link that leads where its words don't say."""

from __future__ import annotations

import html
import re

import nh3
from markupsafe import Markup, escape

from gateway.archive.confined import run

MOST_MARKUP = 300_000
"""Characters of a hypertext that are shown."""
_TAGS = frozenset(
    {
        "a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "dd", "del", "div", "dl",
        "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "ins", "kbd", "li", "ol", "p",
        "pre", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "table", "tbody", "td",
        "tfoot", "th", "thead", "tr", "u", "ul",
    }
)  # fmt: skip
_DROPPED = frozenset(
    {"script", "style", "title", "textarea", "template", "noscript", "svg", "math"}
)
_LINK = "noreferrer noopener nofollow"
_HEADING = re.compile(r"<(/?)h[1-6]>")
_TARGET = re.compile(r'<a href="([^"]*)">|<a>|</a>')
# Letters, digits and marks of RFC 3986 alone, so that what is read is what is asked for; no "@",
# before which a name of somebody else's could stand.
_URL = re.compile(
    r"https?://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?(?:[/?#][a-z0-9/?#&=%.,;:!+*~_$-]*)?",
    re.IGNORECASE | re.ASCII,
)
_ENDINGS = ".,;:!?"
_MAY_FOLLOW = frozenset(" \t\n\u00a0)>]}\"'»”’…")
_SECONDS = 2


def linked(text: str) -> Markup:
    """Text in which each web address leads to exactly what it says; all else is escaped."""
    pieces: list[Markup] = []
    at = 0
    for match in _URL.finditer(text):
        # What goes on with a character that we don't know is an address that we don't know.
        if match.end() < len(text) and text[match.end()] not in _MAY_FOLLOW:
            continue
        url = match[0].rstrip(_ENDINGS)
        pieces += [escape(text[at : match.start()]), _link(url)]
        at = match.start() + len(url)
    return Markup("").join([*pieces, escape(text[at:])])


def confined(markup: str) -> Markup | None:
    """`sanitised` in a process of its own, as parsing takes time with the square of its depth; None
    where it took too long."""
    made = run(__name__, markup[:MOST_MARKUP].encode("utf-8", "replace"), seconds=_SECONDS)
    return None if made is None else Markup(made.decode())  # noqa: S704  what `work` wrote


def prepare() -> None:
    """Have nh3 make its tables."""
    nh3.clean("")


def work(data: bytes) -> bytes:
    return sanitised(data.decode()).encode()


def sanitised(markup: str) -> Markup:
    """Hypertext without all that acts or loads, each link's target in words behind it.

    What is left passes nh3 last, so that it is harmless whatever was done to it before.
    """
    kept = nh3.clean(
        markup[:MOST_MARKUP],
        tags=set(_TAGS),
        clean_content_tags=set(_DROPPED),
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
        strip_comments=True,
    )
    told = _told(kept)
    return Markup(  # noqa: S704  what nh3 lets pass
        nh3.clean(
            told,
            tags=set(_TAGS),
            clean_content_tags=set(_DROPPED),
            attributes={"a": {"href"}},
            url_schemes={"http", "https"},
            link_rel=_LINK,
        )
    )


def _told(kept: str) -> str:
    """With the words of each link as words alone and its target after them; all its headings below
    the page's own."""
    pieces: list[str] = []
    targets: list[str] = []
    at = 0
    for tag in _TARGET.finditer(kept):
        pieces.append(kept[at : tag.start()])
        at = tag.end()
        if tag[0] != "</a>":
            targets.append(html.unescape(tag[1] or ""))
        elif targets and (target := targets.pop()):
            pieces.append(f" [{_link(target) if _URL.fullmatch(target) else escape(target)}]")
    return _HEADING.sub(r"<\1h2>", "".join((*pieces, kept[at:])))


def _link(url: str) -> Markup:
    return Markup('<a href="{}" rel="{}">{}</a>').format(url, _LINK, url)
