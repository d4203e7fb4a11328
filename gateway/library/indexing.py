"""The Library in the search index: what was approved is found by title and description, and by its
files' names and words."""

from __future__ import annotations

import logging
import time
from itertools import chain

from sqlalchemy import select, update
from sqlalchemy.orm import Session, selectinload

from gateway.app import App
from gateway.archive import extraction, parts, terms
from gateway.archive.indexing import SECONDS, purge
from gateway.errors import GatewayError, Unavailable, trace
from gateway.library import sealing
from gateway.message import entity
from gateway.posting import evidence
from gateway.store import library, search_index
from gateway.store.library import INDEX, Status, Version

log = logging.getLogger(__name__)


def run(app: App) -> int:
    """Index what waits. Returns how many versions were."""
    done, until = 0, time.monotonic() + SECONDS
    while (due := _due(app)) is not None:
        version_id, withdrawn = due
        found = [] if withdrawn else _terms(app, version_id)
        with app.database.transaction() as session:
            done += _keep(session, app, version_id, found, withdrawn=withdrawn)
        if withdrawn:
            purge(app, INDEX)
        if time.monotonic() > until:
            break
    return done


def mark_all(session: Session) -> int:
    """Have every version indexed anew; until it is, it is found as it was. Returns how many."""
    done = session.execute(update(Version).where(Version.indexed_at.is_not(None)).values(
        indexed_at=None))  # fmt: skip
    return int(getattr(done, "rowcount", 0))


def _due(app: App) -> tuple[int, bool] | None:
    """(id, whether it was withdrawn) of one that waits."""
    with app.database.reading() as session:
        waits = (Version.indexed_at.is_(None), Version.status == Status.APPROVED)
        query = (
            select(Version.id, Version.withdrawn_at)
            .where(*waits)
            .order_by(Version.id.desc())
            .limit(1)
        )
        row = session.execute(query).one_or_none()
        return None if row is None else (row[0], row[1] is not None)


def _terms(app: App, version_id: int) -> list[str]:
    with app.database.reading() as session:
        loaded = [selectinload(Version.topics)]
        version = session.get_one(Version, version_id, options=loaded)
        facts = terms.Facts(version.author_id, [one.id for one in version.topics])
        known = terms.of_facts(app.vault, facts)
        try:
            return terms.document(known, _words(app, version))
        except Unavailable:
            raise
        except Exception as error:
            # One that can't be read must not keep the others from being found.
            said = str(error) if isinstance(error, GatewayError) else trace(error)
            log.error("%s is indexed without its words: %s", version.label, said)  # noqa: TRY400
            return terms.document(known, [])


def _words(app: App, version: Version) -> list[str]:
    sheet = sealing.sheet(app.vault, version)
    _, opened = evidence.opened(app.vault, version)
    texts = extraction.texts(parts.sorted_out(entity.read(opened.payload)))
    next(texts)  # the form, of which title and description are taken
    names = [one.name for one in sheet.files]
    return terms.of_text(
        app.vault, version.language, sheet.title, names, chain([sheet.description], texts)
    )


def _keep(
    session: Session, app: App, version_id: int, found: list[str], *, withdrawn: bool
) -> bool:
    """Write down what was made, unless another process did, or it was withdrawn meanwhile."""
    version = library.locked(session, version_id)
    if version.indexed_at is not None or (version.withdrawn_at is not None) is not withdrawn:
        return False
    search_index.remove(session, INDEX, version_id)
    if not withdrawn:
        search_index.replace(session, INDEX, version_id, found)
    version.indexed_at = app.clock()
    session.flush()
    return True
