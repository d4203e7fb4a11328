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
KEYWORDS: dict[str, None] = {
    "N_": None,
    "say": None,
    "UsageError": None,
    "_": None,
    "gettext": None,
}
ROOMS = ("store", "notices", "administration", "posting", "archive", "library", "command", "upkeep",
         "web")  # fmt: skip
"""Those whose texts and faults officers are told; the operator's are English."""
_TEMPLATES = [(f"**.{end}", "jinja2.ext.babel_extract") for end in ("txt", "html", "xml")]
_CODE = [("**.py", "python")]


def texts() -> Iterator[tuple[str, str]]:
    """(msgid, where it stands) of every text to be translated."""
    options = {
        pattern: {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}
        for pattern, _ in _TEMPLATES
    }
    rooms = [(ROOT / "gateway" / room, _CODE, KEYWORDS) for room in ROOMS]
    # What is wrong with a handoff is the operator's to know.
    delivery = (ROOT / "gateway" / "delivery", _CODE, {"N_": None})
    templates = [(ROOT / "templates" / name, _TEMPLATES, KEYWORDS) for name in ("mail", "web")]
    for folder, method, keywords in (*rooms, delivery, *templates):
        found = extract_from_dir(folder, method, options, keywords=keywords)
        for name, _, message, _, _ in found:
            if isinstance(message, str) and message.strip():
                yield message, f"{folder.relative_to(ROOT)}/{name}"


def template() -> Catalog:
    made = Catalog(project="ENVIRONET", charset="utf-8", fuzzy=False)
    for message, where in sorted(texts()):
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
        missing = sum(1 for one in catalogue if one.id and not one.string)
        print(f"{code}: {len(catalogue)} texts, {missing} to be translated")


if __name__ == "__main__":
    main()
