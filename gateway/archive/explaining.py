"""A query in words, as it was understood."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time

from gateway.archive.query import All, Any, Dates, Filter, Name, Node, Not, Words
from gateway.errors import N_
from gateway.notices.language import Language

_WHERE = {
    None: (N_("“%(words)s”"), N_("the phrase “%(words)s”")),
    Name.SUBJECT: (N_("“%(words)s” in the subject"), N_("the phrase “%(words)s” in the subject")),
    Name.FILENAME: (N_("“%(words)s” in a file name"), N_("the phrase “%(words)s” in a file name")),
}
_PARTICULARS = {
    Name.FROM: N_("written by “%(value)s”"),
    Name.TOPIC: N_("topic %(value)s"),
    Name.THREAD: N_("in the thread of %(value)s"),
    Name.MARKING: N_("marked TLP:%(value)s"),
}
_FLAGS = {
    Name.HAS: N_("with an attachment"),
    Name.IS: N_("waiting for your decision"),
}


def explained(to: Language, node: Node) -> str:
    """ "postings with “ivory” and the phrase “false bottom”, topic B, since 1 January 2026"."""
    parts = node.parts if isinstance(node, All) else (node,)
    said = [_told(to, one) for one in parts if not _is_particular(one)]
    rest = [_told(to, one) for one in parts if _is_particular(one)]
    begin = to.say("postings with %(what)s", what=_joined(to, said)) if said else to.say("postings")
    return ", ".join([begin, *rest])


def _is_particular(node: Node) -> bool:
    """Whether it is said of the postings, and not of what stands in them."""
    if isinstance(node, Any | All):
        return any(map(_is_particular, node.parts))
    return isinstance(node, Filter | Dates | Not)


def _told(to: Language, node: Node) -> str:
    match node:
        case Words(text, where):
            word, phrase = _WHERE[where]
            return to.say(phrase if " " in text else word, words=text)
        case Filter(name, value):
            if name in _FLAGS:
                return to.say(_FLAGS[name])
            shown = value.upper() if name is Name.MARKING else value
            return to.say(_PARTICULARS[name], value=shown)
        case Dates():
            return _dates(to, node)
        case Not(part):
            return to.say("but not %(what)s", what=_inside(to, part))
        case All(parts):
            return _joined(to, [_inside(to, one) for one in parts])
        case Any(parts):
            shown_ = [_inside(to, one) for one in parts]
            return to.say("%(first)s or %(last)s", first=", ".join(shown_[:-1]), last=shown_[-1])


def _inside(to: Language, node: Node) -> str:
    told = _told(to, node)
    return f"({told})" if isinstance(node, All | Any) else told


def _joined(to: Language, told: Sequence[str]) -> str:
    if len(told) < 2:
        return "".join(told)
    return to.say("%(first)s and %(last)s", first=", ".join(told[:-1]), last=told[-1])


def _dates(to: Language, node: Dates) -> str:
    first, last = (
        "" if one is None else to.date(datetime.combine(one, time(12), UTC))
        for one in (node.first, node.last)
    )
    if first and first == last:
        return to.say("on %(day)s", day=first)
    if first and last:
        return to.say("from %(first)s to %(last)s", first=first, last=last)
    if first:
        return to.say("since %(day)s", day=first)
    return to.say("until %(day)s", day=last)
