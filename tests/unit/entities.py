"""MIME entities as a hostile or odd program makes them, posted with a good signature."""

from __future__ import annotations

from base64 import encodebytes
from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import select

from gateway.store.posting import Posting
from tests.gateway import DOMAIN
from tests.officers import encrypted_entity, header_lines
from tests.programs import How
from tests.unit.group import Group

_BOUNDARY = b"between-the-parts"


def part(content_type: str, content: bytes, *fields: str) -> bytes:
    """A part in base64. fields: more header lines, as they are to stand."""
    head = [f"Content-Type: {content_type}", "Content-Transfer-Encoding: base64", *fields]
    return "\r\n".join([*head, "", ""]).encode() + encodebytes(content).replace(b"\n", b"\r\n")


def multipart(
    kind: str, parts: Sequence[bytes], *fields: str, boundary: bytes = _BOUNDARY
) -> bytes:
    """fields: more lines of the header, which is said to be protected."""
    head = [*fields, f'Content-Type: multipart/{kind}; hp="cipher"; boundary="{boundary.decode()}"']
    delimited = b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts)
    return "\r\n".join([*head, "", ""]).encode() + delimited + b"--" + boundary + b"--\r\n"


def post_entity(group: Group, who: str, entity: bytes) -> str:
    """Have an entity taken as a posting to Wildlife; its label."""
    officer = group.officers[who]
    outside = {
        "From": officer.address,
        "To": f"wildlife@{DOMAIN}",
        "Subject": "...",
        "Message-ID": f"<{sha256(entity).hexdigest()}@customs.example>",
    }
    message = officer.program.encrypt(entity, [group.key("wildlife")], True, How())
    mail = header_lines(outside) + encrypted_entity(message)
    assert group.submit(mail, "wildlife") == ["250 2.0.0"]
    with group.app.database.reading() as session:
        newest = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
        return newest.label
