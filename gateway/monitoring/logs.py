"""The log: one line a decision, never content, as text for people or as JSON for machines.

Whatever a library tells of a fault is cut to where it happened: its words could be content.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.errors import trace
from gateway.settings import LogSection
from gateway.tracing import current

OWN = "gateway"
# sd-daemon(3): journald reads a line's priority from "<N>" at its start.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


def start(log: LogSection, state: Path) -> None:
    """Log from now on as the settings say. Raises OSError where the file can't be written.

    Libraries are heard from warnings on: what they tell at lower levels may have addresses in it.
    """
    handler: logging.Handler
    if log.file:
        handler = WatchedFileHandler(state / log.file, encoding="utf-8")
    else:
        handler = logging.StreamHandler(sys.stderr)
    # systemd sets it where standard error leads to the journal, which has the time itself.
    to_journal = not log.file and "JOURNAL_STREAM" in os.environ
    handler.setFormatter(JsonLines() if log.format == "json" else TextLines(journal=to_journal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN).setLevel(log.level.upper())
    # A full disk must not stop the mail, nor have the line with its values on standard error.
    logging.raiseExceptions = False


class _Lines(logging.Formatter):
    """What both forms have in common: what a record says, safe to write down."""

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        return "" if ei[1] is None else trace(ei[1])

    def said(self, record: logging.LogRecord) -> str:
        """A record's text; of a library's fault its first line and where it happened."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text.partition(chr(10))[0]}\n{self.formatException(record.exc_info)}"
        return text.rstrip("\n")


class TextLines(_Lines):
    """`2026-11-24T05:10:00.123Z INFO gateway.intake.door: … mail=…`; for the journal with its
    priority in front and without the time."""

    def __init__(self, *, journal: bool = False) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        first, *others = self.said(record).split("\n")
        mail = f" mail={current()}" if current() else ""
        lines = [f"{record.name}: {first}{mail}", *others]
        if self._journal:
            priority = next((n for level, n in _PRIORITIES if record.levelno >= level), 7)
            return "\n".join(f"<{priority}>{line}" for line in lines)
        return f"{_at(record)} {record.levelname} " + "\n".join(lines)


class JsonLines(_Lines):
    """An object a line. kind: the text without its values, the same for all lines of a kind;
    values: in the text's order."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "from": record.name,
            "process": record.process,
            "text": self.said(record),
        }
        if record.name.partition(".")[0] == OWN:
            values = record.args if isinstance(record.args, tuple) else ()
            found |= {"kind": record.msg, "values": [_plain(one) for one in values]}
        if current():
            found["mail"] = current()
        return json.dumps(found, ensure_ascii=False)


def _at(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | None) else str(value)
