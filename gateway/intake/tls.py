"""TLS for the doors: a server's context, and a certificate to begin with."""

from __future__ import annotations

import os
import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.errors import UsageError

SELF_SIGNED_LIFE = timedelta(days=3650)


def tls_context(certfile: Path, keyfile: Path) -> ssl.SSLContext:
    """A server's context, TLS 1.2 or later (RFC 8996). Raises UsageError for unusable files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certfile, keyfile)
    except OSError as error:
        is_content = isinstance(error, ssl.SSLError)
        reason = "no certificate and its key" if is_content else error.strerror
        raise UsageError(f"TLS with {certfile} and {keyfile}: {reason}") from error
    return context


def make_self_signed(hostname: str, certfile: Path, keyfile: Path, *, now: datetime) -> None:
    """Write a P-256 key (mode 0600) and its own certificate for hostname, good for ten years.

    hostname: ASCII (A-labels). now: UTC. Raises UsageError if either file exists already.
    """
    for path in (certfile, keyfile):
        if path.exists():
            raise UsageError(f"{path} exists already; move it away first")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A client whose clock runs a little behind must not find it unborn.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + SELF_SIGNED_LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with open(os.open(keyfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as key_out:
        key_out.write(key_pem)
    certfile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
