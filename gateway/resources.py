"""Where the installed data folders are: templates/, keys/, db/. The only module that looks."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined


def gnupg_skeleton() -> dict[str, str]:
    """File name -> content of a new GnuPG home."""
    folder = files("gateway.keys")
    return {name: folder.joinpath(name).read_text() for name in ("gpg.conf", "gpg-agent.conf")}


def migrations() -> Path:
    """The Alembic script folder, as a real directory."""
    with as_file(files("gateway.db")) as path:
        return path


def mail_templates() -> Environment:
    """Jinja2 environment of templates/mail: plain text, so nothing is escaped."""
    made = Environment(
        loader=PackageLoader("gateway.templates", "mail"),
        autoescape=False,  # noqa: S701  plain text, no markup
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # A translated sentence has the blanks and line ends of its words alone.
    made.policies["ext.i18n.trimmed"] = True
    return made


def web_templates() -> Environment:
    """Jinja2 environment of templates/web: HTML, everything escaped."""
    made = Environment(
        loader=PackageLoader("gateway.templates", "web"),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["ext.i18n.trimmed"] = True
    return made


def style_sheet() -> bytes:
    """The web archive's one style sheet."""
    return files("gateway.templates").joinpath("web", "style.css").read_bytes()


def catalogues() -> dict[str, bytes]:
    """Language code -> gettext catalogue (PO file) of the mails' texts."""
    folder = files("gateway.templates").joinpath("locale")
    return {
        one.name.removesuffix(".po"): one.read_bytes()
        for one in folder.iterdir()
        if one.name.endswith(".po")
    }
