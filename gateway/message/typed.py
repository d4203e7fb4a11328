"""What a person typed into a mail, line by line, whatever their mail program put around it.

Programs mark a quotation in few ways, which are told by their form here and in no language's words.
Where it is not certain, a line counts as quoted: a command must be its author's own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.message import hypertext, submission, thread
from gateway.message.entity import Entity

MOST_LINES = 200
MOST_CHARACTERS = 64 * 1024
"""Of a part; the lines after it are not read."""
MOST_BYTES = 4 * MOST_CHARACTERS
"""Of a part as transferred."""
LONGEST_LINE = 1000
LONGEST_SHOWN = 200
_WIDTH = 60
_BROKEN = 50
"""Characters from which a line may be one that a program broke."""
"""Characters; no program breaks a shorter line."""
_RULE = "-_=*–—─"
_SHORTEST_RULE = 5
_STRAIGHT = str.maketrans("‘’‚‛“”„‟‐−", "''''\"\"\"\"--")
_DASH = re.compile(r"(?<=\w)[‒-―](?=\w)")
# Blanks within are French.
_GUILLEMETS = re.compile(r"« ?([^«»]*?) ?»")
# Outlook writes the link after what it is the link of.
_MAILTO = re.compile(r"(?<=\w) ?<mailto:[^<>]*+>", re.IGNORECASE)
_BULLET = re.compile(r"\A(?:[-*•·–]|\d{1,2}[.)]) (?=\S)")
_QUOTED = re.compile(r">|&gt;")
# A blank after the colon, but where the script has none: "发件人：". Bold is shown by asterisks.
_KEY = re.compile(r"\*?([^\W\d][^\d:@<>\"*]{0,40}?) ?(?:\*?:\*?(?= |$)|(?<=[^\x00-\x7f]):)")
_MOST_KEY_WORDS = 4
_TIME = re.compile(r"\b\d{1,2}[:.h]\d\d\b")
_YEAR = re.compile(r"\b\d{4}\b")
_ARMOR_BEGINS = "-----BEGIN PGP "
_ARMOR_ENDS = "-----END PGP "
# Some programs make one dash of two.
_SIGNATURE = frozenset({"--", "–", "—"})
_SUBJECT_PREFIX = re.compile(
    r"(?: ?(?:\[[^\[\]]{1,80}\]|[^\s\d:\[\]()]{1,8}(?:[\[(]\d{1,3}[\])])? ?:))+ ?"
)


@dataclass(frozen=True, slots=True)
class Typed:
    """text: the line as a command is read, at most 1,000 characters; shown: as it is quoted back
    to its author, at most 200."""

    text: str
    shown: str


def typed_lines(
    payload: Entity, most: int = MOST_LINES, *, form_keys: Collection[str] = ()
) -> tuple[Typed, ...]:
    """The first `most` lines that the author of a mail typed, of its first text part.

    Left out is what is quoted, and all that follows a signature line, a line "end", a separator or
    the header of a quoted mail. form_keys: casefolded; a line "key: value" with one of these is
    part of a form, and never of such a header. Raises Malformed where the mail can't be read.
    """
    lines = [*_without_armor(map(_typed, _lines(payload)))]
    own = _without_quotations(lines[: _end(lines, form_keys)], form_keys)
    return tuple(line for line in own if line.text)[:most]


def typed_subject(subject: str) -> Typed | None:
    """A subject as a command line, without "Re:", "[ENVIRONET]" and the like before it; None where
    nothing else is in it."""
    text = _clean(subject)
    if prefix := _SUBJECT_PREFIX.match(text):
        text = text[prefix.end() :]
    return Typed(text, _shown(subject)) if text else None


def quoted_too(payload: Entity) -> str:
    """The first text part as lines of plain text, quotations and all, at most 64 KB of it.

    Raises Malformed where the mail can't be read.
    """
    return "\n".join(map(_clean, _lines(payload)))[:MOST_CHARACTERS]


def _lines(payload: Entity) -> list[str]:
    """The lines of the first text part that has any text, HTML or plain: of alternatives the plain
    one is first (RFC 2046 5.1.4), and some programs leave it empty."""
    for part in submission.leaves(payload):
        if _is_readable(part, payload):
            lines = _lines_of(part)
            if any(map(thread.plain, lines)):
                return lines
    return []


def _is_readable(part: Entity, payload: Entity) -> bool:
    # Programs before RFC 9788 repeat the protected subject in a text part of its own.
    is_header = part is not payload and part.parameter("protected-headers") == "v1"
    is_text = part.content_type in ("text/plain", "text/html") and not part.is_attachment
    return is_text and not is_header


def _lines_of(part: Entity) -> list[str]:
    text = submission.text(part, MOST_BYTES)
    if part.content_type == "text/html":
        text = hypertext.text(text)
    if len(text) > MOST_CHARACTERS or part.end - part.body_start > MOST_BYTES:
        # Without the last line, of which a part may be a command that nobody typed.
        text = text[:MOST_CHARACTERS].rpartition("\n")[0]
    # Only where mail ends a line: a quotation could hold what else Unicode takes for a line's end.
    lines = text.replace("\r\n", "\n").split("\n")
    if part.content_type == "text/html":
        return lines
    if part.parameter("hp-legacy-display") == "1" and "" in lines:  # RFC 9788 2.1.2
        lines = lines[lines.index("") :]
    if part.parameter("format") == "flowed":
        return [*_unflowed(lines, part.parameter("delsp") == "yes")]
    return lines


def _unflowed(lines: Sequence[str], deletes_space: bool) -> Iterator[str]:
    """Lines as they were before the program broke them (RFC 3676 4)."""
    paragraph: list[str] = []
    depth = 0
    for line in lines:
        bare = line.lstrip(">")
        quoted = len(line) - len(bare)
        bare = bare.removeprefix(" ")  # 4.4, space-stuffing
        is_signature = bare == "-- "  # 4.3
        if paragraph and (quoted != depth or is_signature):  # 4.5
            yield _joined(paragraph, depth)
            paragraph = []
        depth = quoted
        is_soft = bare.endswith(" ") and not is_signature
        paragraph.append(bare[:-1] if is_soft and deletes_space else bare)
        if not is_soft:
            yield _joined(paragraph, depth)
            paragraph = []
    if paragraph:
        yield _joined(paragraph, depth)


def _joined(paragraph: Sequence[str], depth: int) -> str:
    return ("> " if depth else "") + "".join(paragraph)


def _typed(line: str) -> Typed:
    return Typed(_clean(line), _shown(line))


def _shown(line: str) -> str:
    return thread.plain(line)[:LONGEST_SHOWN]


def _clean(line: str) -> str:
    """A line with the characters that people have on their keys, where programs put finer ones."""
    text = thread.plain(unicodedata.normalize("NFKC", line)).translate(_STRAIGHT)
    text = _GUILLEMETS.sub(r'"\1"', _DASH.sub("-", text))
    text = _BULLET.sub("", _MAILTO.sub("", text))
    return text[:LONGEST_LINE].strip()


def _without_armor(lines: Iterable[Typed]) -> Iterator[Typed]:
    """A certificate that is pasted into the text is read elsewhere."""
    inside = False
    for line in lines:
        inside = inside or line.text.startswith(_ARMOR_BEGINS)
        if not inside:
            yield line
        inside = inside and _ARMOR_ENDS not in line.text


def _end(lines: Sequence[Typed], form_keys: Collection[str]) -> int:
    """Where what was typed ends: the index of the first line that is not read."""
    header: list[str] = []
    for at, line in enumerate(lines):
        if line.text in _SIGNATURE or line.text.casefold() == "end" or _is_separator(line.text):
            return at
        key = _key(line.text)
        header = [*header, line.text] if key and key not in form_keys else []
        # Outlook quotes with nothing but From, Sent, To and Subject above, in its own language.
        if len(header) > 2 or (len(header) == 2 and "@" in "".join(header)):
            return at + 1 - len(header)
    return len(lines)


def _is_separator(text: str) -> bool:
    """Such as "_____" and "-----Message d'origine-----"."""
    begins = len(text) - len(text.lstrip(_RULE))
    return begins >= _SHORTEST_RULE and text[-1] in _RULE


def _key(text: str) -> str | None:
    """The key of a line "key: value", casefolded."""
    found = _KEY.match(text)
    if found is None or len(found[1].split()) > _MOST_KEY_WORDS:
        return None
    return found[1].casefold()


def _without_quotations(lines: Sequence[Typed], form_keys: Collection[str]) -> list[Typed]:
    own: list[Typed] = []
    since = longest = 0
    below = False
    for line in lines:
        if not line.text:
            below, longest = False, 0
        longest = max(longest, len(line.text))
        if _QUOTED.match(line.text):
            _drop_attribution(own, since, form_keys)
            since = len(own)
            below = True
        # Some programs break a long quoted line and put no ">" before its rest, which whoever wrote
        # the line can choose.
        elif not (below and longest >= _BROKEN):
            own.append(line)
    return own


def _drop_attribution(own: list[Typed], since: int, form_keys: Collection[str]) -> None:
    """Take off the line above a quotation that says whose it is, which ends with a colon in every
    language; of one that the program broke, both lines."""
    while len(own) > since and not own[-1].text:
        own.pop()
    if len(own) == since or not own[-1].text.endswith(":") or _key(own[-1].text) in form_keys:
        return
    last = own.pop().text
    if len(own) > since and _goes_on(own[-1].text, last):
        own.pop()


def _goes_on(first: str, last: str) -> bool:
    """Whether `last` is the rest of an attribution that begins in `first`."""
    # Some programs give the date and time a line of its own; what is broken is long.
    if _TIME.search(first) and not _TIME.search(last):
        return True
    if len(first) + len(last.split()[0]) < _WIDTH:
        return False
    has_year = _YEAR.search(first) and not _YEAR.search(last)
    return bool(has_year) or ("@" in first and "@" not in last)
