"""Checks of what others say of the gateway: the DNS, and the mailbox that mail is taken from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from gateway.app import App
from gateway.crypto import domain_key
from gateway.intake.imap import look
from gateway.monitoring.finding import Finding, ok, warning
from gateway.monitoring.scene import Scene
from gateway.naming import checking
from gateway.naming.checking import State
from gateway.naming.records import Wanted
from gateway.naming.resolver import Names

_SECONDS: Final = 4.0


def dns(scene: Scene) -> Iterator[Finding]:
    """The domain's records. None of them stops mail here, so what is amiss is a warning."""
    config = scene.config
    names = Names(config.dkim.resolver)
    try:
        names.texts(config.domain, _SECONDS)
    except TimeoutError:
        yield warning("the DNS gives no answer", "see /etc/resolv.conf or dkim.resolver")
        return
    keys = domain_key.load(scene.state, config.dkim.selector, config.dkim.sign)
    wanted = Wanted(
        config.domain,
        (config.domain,),
        urlsplit(config.archive_url).hostname or config.domain,
        f"postmaster@{config.domain}",
        tuple((one.selector, one.record) for one in keys),
    )
    verdicts = checking.check(names, wanted, any_exchange=True)
    wrong = [one for one in verdicts if one.state is not State.RIGHT]
    if wrong:
        told = ", ".join(f"{one.record.purpose} {one.state}" for one in wrong)
        yield warning(
            f"{len(wrong)} of {len(verdicts)} records of {config.domain}: {told}",
            "environet dns --check says what to change",
        )
    else:
        yield ok(f"all {len(verdicts)} records are right")


def imap(scene: Scene) -> Iterator[Finding]:
    """The mailbox elsewhere, where one is set."""
    if not scene.config.imap.host:
        yield ok("no mail is taken from a mailbox")
        return
    app = App(scene.state, scene.config, scene.database, scene.keyring(), scene.clock)
    seen = look(app)
    waiting = sum(one.count or 0 for one in seen.folders if one.purpose == "waiting")
    yield ok(f"logged in to {seen.host}, {seen.security}; {waiting} mails wait")
    if scene.served and not scene.is_held("imap.lock"):
        yield warning("the process that takes mail does not run", "see the log for why it ends")
