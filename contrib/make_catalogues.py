"""Bring the gettext catalogues up to date: `python -m contrib.make_catalogues`.

Every text that an officer may read is taken from the code and the templates; texts that are
new in a catalogue are left empty there, and tests/unit/test_catalogues.py fails until they are
translated. A new language: copy nothing, run `python -m contrib.make_catalogues pt`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
CATALOGUES = ROOT / "templates" / "locale"
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "N_": None,
    "say": None,
    "UsageError": None,
    "QueryFault": None,
    "fault": None,
    "_": None,
    "gettext": None,
    "ngettext": (1, 2),
}
ROOMS = ("store", "notices", "administration", "posting", "archive", "library", "command", "upkeep",
         "web")  # fmt: skip
"""Those whose texts and faults officers are told; the operator's are English."""
_TEMPLATES = [(f"**.{end}", "jinja2.ext.babel_extract") for end in ("txt", "html", "xml")]
_CODE = [("**.py", "python")]


def texts() -> Iterator[tuple[str | tuple[str, str], str]]:
    """(msgid, where it stands) of every text to be translated; a pair for one and for several."""
    options = {
        pattern: {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}
        for pattern, _ in _TEMPLATES
    }
    rooms = [(ROOT / "gateway" / room, _CODE, KEYWORDS) for room in ROOMS]
    # What is wrong with a handoff is the operator's to know.
    wanted: dict[str, tuple[int, ...] | None] = {"N_": None}
    delivery = (ROOT / "gateway" / "delivery", _CODE, wanted)
    templates = [(ROOT / "templates" / name, _TEMPLATES, KEYWORDS) for name in ("mail", "web")]
    for folder, method, keywords in (*rooms, delivery, *templates):
        found = extract_from_dir(folder, method, options, keywords=keywords)
        for name, _, message, _, _ in found:
            if isinstance(message, tuple):
                yield (message[0], message[1]), f"{folder.relative_to(ROOT)}/{name}"
            elif message.strip():
                yield message, f"{folder.relative_to(ROOT)}/{name}"


def _first(message: str | tuple[str, str]) -> str:
    return message if isinstance(message, str) else message[0]


def is_told(string: str | tuple[str, ...] | list[str] | None) -> bool:
    """Whether a translation is there, in each of its forms."""
    forms = [string] if isinstance(string, str) else string
    return bool(forms) and all(forms or ())


def template() -> Catalog:
    made = Catalog(project="ENVIRONET", charset="utf-8", fuzzy=False)
    for message, where in sorted(texts(), key=lambda found: (_first(found[0]), found[1])):
        made.add(message, locations=[(where, 0)])
    return made


def read(code: str) -> Catalog:
    path = CATALOGUES / f"{code}.po"
    if not path.exists():
        return Catalog(locale=code, project="ENVIRONET", charset="utf-8", fuzzy=False)
    return read_po(BytesIO(path.read_bytes()), locale=code)


def write(code: str, catalogue: Catalog) -> None:
    made = BytesIO()
    # No line numbers and no dates: a catalogue changes where its texts do.
    write_po(made, catalogue, width=100, no_location=True, omit_header=True, ignore_obsolete=True)
    head = (
        'msgid ""\nmsgstr ""\n'
        f'"Language: {code}\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n'
        f'"Plural-Forms: {catalogue.plural_forms}\\n"\n\n'
    )
    (CATALOGUES / f"{code}.po").write_bytes(head.encode() + made.getvalue().rstrip() + b"\n")


def main() -> None:
    wanted = template()
    for code in sys.argv[1:] or [path.stem for path in sorted(CATALOGUES.glob("*.po"))]:
        catalogue = read(code)
        # A guess from a text that is alike would be sent to officers as if it were right.
        catalogue.update(wanted, no_fuzzy_matching=True)
        write(code, catalogue)
        missing = sum(1 for one in catalogue if one.id and not is_told(one.string))
        print(f"{code}: {len(catalogue)} texts, {missing} to be translated")


if __name__ == "__main__":
    main()
