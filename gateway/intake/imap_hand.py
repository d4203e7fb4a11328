"""Which mail of the mailbox is in hand, on the disk: a process that died tells the next one so.

One file in the state directory, which names a mail by number and nothing of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FILE = "imap-in-hand.json"
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Hand:
    """The mail that was taken up last. deaths: how often a process has ended while it had it.
    noted: the reason why it is refused lies in the mailbox already."""

    validity: int = 0
    uid: int = 0
    deaths: int = 0
    noted: bool = False


def take_up(state: Path, validity: int, uid: int) -> Hand:
    """Write down that a mail is worked on from now on: if this process dies, as a death of it.
    Returns what was known of it before. Raises OSError where the disk is full, say."""
    known = _read(state)
    if (known.validity, known.uid) != (validity, uid):
        known = Hand(validity, uid)
    _write(state, replace(known, deaths=known.deaths + 1))
    return known


def note(state: Path, hand: Hand) -> None:
    """The same, and that its reason was laid beside it."""
    _write(state, replace(hand, deaths=hand.deaths + 1, noted=True))


def put_down(state: Path, *, moved: bool) -> None:
    """This process lived to put the mail down: it is no death more. moved: out of the folder, so
    that it won't be met again."""
    known = _read(state)
    if moved or not (known.noted or known.deaths > 1):
        (state / FILE).unlink(missing_ok=True)
    else:
        _write(state, replace(known, deaths=known.deaths - 1))


def _read(state: Path) -> Hand:
    try:
        with (state / FILE).open("rb") as stream:
            return Hand(**json.loads(stream.read(_MOST)))
    except (OSError, ValueError, TypeError):
        return Hand()


def _write(state: Path, hand: Hand) -> None:
    new = state / f"{FILE}.new"
    new.write_text(json.dumps(asdict(hand)))
    new.replace(state / FILE)
