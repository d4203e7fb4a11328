"""Checks of what the gateway talks to: its own doors, the mail server, the web archive."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from gateway.monitoring.finding import Finding, fault, ok, warning
from gateway.monitoring.scene import Scene
from gateway.settings import split_host_port

_SECONDS: Final = 5.0
_SOON: Final = timedelta(days=14)


def doors(scene: Scene) -> Iterator[Finding]:
    """Each door greets, and its TLS certificate is good for some time."""
    smtp = scene.config.smtp
    if smtp.certificate:
        chain = x509.load_pem_x509_certificates((scene.state / smtp.certificate).read_bytes())
        yield from _life("the doors' TLS certificate", chain[0].not_valid_after_utc)
    for name, where, implicit in (
        ("smtp", smtp.listen, False),
        ("smtps", smtp.tls_listen, True),
        ("lmtp", smtp.lmtp_listen, False),
    ):
        if where and scene.served and not where.endswith(":0"):
            yield from _door(name, where, implicit=implicit)
    if not scene.served:
        yield ok("not served now, so not tried")


def _door(name: str, where: str, *, implicit: bool) -> Iterator[Finding]:
    try:
        said = greeting(where, implicit=implicit)
    except OSError as error:
        yield fault(
            f"{name} at {where}: {error.strerror or type(error).__name__}",
            "see the log for why it is not open; restart the gateway",
        )
        return
    if said.startswith("220"):
        yield ok(f"{name} at {where} greets")
    else:
        yield warning(
            f"{name} at {where} says {said[:60]!r}",
            "see who fills it (ss -tn); smtp.connections is the most at once",
        )


def greeting(where: str, *, implicit: bool = False) -> str:
    """What a door says first; its certificate is not asked for. where: HOST:PORT. Raises OSError
    where nothing does within five seconds."""
    host, port = split_host_port(where)
    if host in ("0.0.0.0", "::"):  # noqa: S104  all addresses: one of them is this machine's
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    with socket.create_connection((host, port), _SECONDS) as plain:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) if implicit else plain as talking:
            line = talking.recv(512).decode("ascii", "replace")
            with suppress(OSError):
                talking.sendall(b"QUIT\r\n")
            return line.rstrip("\r\n")


def mail_server(scene: Scene) -> Iterator[Finding]:
    """The way out of the copies."""
    setting = scene.config.handoff.to
    scheme, _, rest = setting.partition(":")
    if scheme == "maildir":
        yield from _maildir(scene.state / rest)
        return
    url = urlsplit(setting)
    host, port = str(url.hostname), url.port or 25
    try:
        with smtplib.SMTP(host, port, scene.config.domain, timeout=_SECONDS) as client:
            yield from _spoken(client, scene, host, tls=scheme == "smtp+starttls")
    except (OSError, smtplib.SMTPException) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        yield fault(
            f"{host}:{port}: {why}", "start the mail server; copies wait until it takes them"
        )


def _maildir(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        yield ok(f"copies go into {folder}, which is made with the first")
    elif os.access(folder, os.W_OK | os.X_OK):
        yield ok(f"copies go into {folder}")
    else:
        yield fault(f"{folder} can't be written to", f"chown it to the gateway's user: {folder}")


def _spoken(client: smtplib.SMTP, scene: Scene, host: str, *, tls: bool) -> Iterator[Finding]:
    code, _ = client.ehlo()
    if code != 250:
        yield fault(f"{host} answers EHLO with {code}", "see the mail server's log")
        return
    if tls:
        context = ssl.create_default_context()
        try:
            client.starttls(context=context)
        except ssl.SSLCertVerificationError as error:
            yield fault(
                f"its certificate is not good: {error.verify_message}",
                "mend the mail server's certificate; copies wait until it is good",
            )
            return
        client.ehlo()
        wrapped = client.sock
        if isinstance(wrapped, ssl.SSLSocket):
            der = wrapped.getpeercert(binary_form=True)
            if der:
                until = x509.load_der_x509_certificate(der).not_valid_after_utc
                yield from _life("its certificate", until)
    elif not _is_near(host):
        yield warning(
            f"copies go to {host} without TLS", "set handoff.to to smtp+starttls://HOST:PORT"
        )
    size = client.esmtp_features.get("size", "0")
    wanted = scene.config.smtp.message_bytes
    if size.isdigit() and 0 < int(size) < wanted:
        yield warning(
            f"it takes mails of {int(size):,} bytes, and copies may have {wanted:,}",
            "raise its limit (Postfix: message_size_limit), or lower smtp.message_bytes",
        )
    yield ok(f"{host} answers EHLO" + (" with TLS" if tls else ""))


def web(scene: Scene) -> Iterator[Finding]:
    """The web archive that runs beside the doors."""
    where = scene.config.web.listen
    if not where or not scene.served or where.endswith(":0"):
        yield ok("not served here" if not where else "not served now, so not tried")
        return
    host, port = split_host_port(where)
    try:
        connection = HTTPConnection(host, port, timeout=_SECONDS)
        connection.request("GET", "/robots.txt")
        status = connection.getresponse().status
        connection.close()
    except (OSError, HTTPException) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        yield fault(f"{where}: {why}", "see the log for why its processes end")
        return
    if status == 200:
        yield ok(f"answers at {where}")
    else:
        yield fault(f"{where} answers {status}", "see the log: web archive")


def _life(what: str, until: datetime) -> Iterator[Finding]:
    now = datetime.now(UTC)
    if until <= now:
        yield fault(f"{what} expired on {until:%Y-%m-%d}", "put a new one in its place, restart")
    elif until <= now + _SOON:
        yield warning(f"{what} expires on {until:%Y-%m-%d}", "put a new one in its place, restart")
    else:
        yield ok(f"{what} is good until {until:%Y-%m-%d}")


def _is_near(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"
