"""Debian's Dovecot with a configuration, ports and mailboxes of its own under a temporary folder:
somebody's mail server, with LMTP and IMAP.

with running_dovecot() as dovecot: ...
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from imapclient import IMAPClient

from tests.mail_servers import HOST, free_port, greets, open_place, wait_until

PASSWORD = "only-for-tests"
OTHER_PASSWORD = "nur-für-Prüfungen"
"""Is as good, and not ASCII."""


class Dovecot:
    """Everybody has a mailbox here, at their address, and PASSWORD. imap, imaps, lmtp: ports."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.imap, self.imaps, self.lmtp = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        mail = place / "mail"
        mail.mkdir()
        shutil.chown(mail, "nobody", "nogroup")
        _make_certificate(place)
        text = _SETTINGS.format(
            place=place, imap=self.imap, imaps=self.imaps, lmtp=self.lmtp, host=HOST,
            password=PASSWORD, other=OTHER_PASSWORD,
        )  # fmt: skip
        (place / "dovecot.conf").write_text(text)

    @property
    def certificate(self) -> Path:
        """PEM, signed by itself."""
        return self.place / "certificate.pem"

    @property
    def log_text(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    def start(self) -> None:
        command = ["/usr/sbin/dovecot", "-F", "-c", str(self.place / "dovecot.conf")]
        self._process = subprocess.Popen(command)
        wait_until(lambda: greets(self.imap) and greets(self.lmtp), "Dovecot greets")

    def stop(self) -> None:
        """Ends all connections as well."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    @contextmanager
    def mailbox(self, user: str) -> Iterator[IMAPClient]:
        with IMAPClient(HOST, self.imap, ssl=False, timeout=30) as client:
            client.login(user, PASSWORD)
            yield client

    def deliver(self, user: str, *mails: bytes, folder: str = "INBOX") -> None:
        """Lay mails into a mailbox, with no server in between."""
        with self.mailbox(user) as client:
            for mail in mails:
                client.append(folder, mail)

    def mails(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """What is in a folder and not marked as deleted, in order; nothing where there is no such
        folder."""
        return [data for data, _ in self.marked(user, folder, "UNDELETED")]

    def marked(
        self, user: str, folder: str, which: str = "ALL"
    ) -> list[tuple[bytes, tuple[bytes, ...]]]:
        """The same with their flags. which: a search key of RFC 3501 6.4.4."""
        with self.mailbox(user) as client:
            if not client.folder_exists(folder):
                return []
            client.select_folder(folder, readonly=True)
            found = client.fetch(client.search([which]), ["BODY.PEEK[]", "FLAGS"])
            return [(found[uid][b"BODY[]"], found[uid][b"FLAGS"]) for uid in sorted(found)]

    def count(self, user: str) -> int:
        """How many mails are in the inbox, by its files: quick."""
        box = self.place / "mail" / user / "Maildir"
        return sum(1 for name in ("new", "cur") for _ in (box / name).glob("*"))


@contextmanager
def running_dovecot() -> Iterator[Dovecot]:
    with open_place("dovecot") as place:
        server = Dovecot(place)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _make_certificate(place: Path) -> None:
    """A key and a certificate that it signed itself, good for the loopback address for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (place / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (place / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


_SETTINGS = """\
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/log
protocols = imap lmtp
listen = {host}
ssl = yes
ssl_cert = <{place}/certificate.pem
ssl_key = <{place}/key.pem
auth_mechanisms = plain
auth_username_format = %Lu
mail_location = maildir:~/Maildir
first_valid_uid = 1
default_process_limit = 20
auth_failure_delay = 0
passdb {{
  driver = static
  args = password={password}
}}
passdb {{
  driver = static
  args = password={other}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={place}/mail/%u
}}
service imap-login {{
  service_count = 0
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  service_count = 1000
  process_limit = 50
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
"""
