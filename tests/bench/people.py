"""Made-up subscribers by the hundred thousand, each with a certificate of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import pysequoia
from pysequoia.packet import PacketPile, Tag
from sqlalchemy import func, insert, select

from gateway.app import App
from gateway.crypto import certificate as openpgp
from gateway.message.packet import packets
from gateway.store import certificate as certificates
from gateway.store import member
from gateway.store.certificate import CertificateKey, MemberCertificate
from gateway.store.member import DeliveryMode, Kind, Member, State
from tests.officers import Officer

_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Person:
    """A certificate, what of it is encrypted to, and (fingerprint, key ID) of each of its keys."""

    certificate: bytes
    stripped: bytes
    keys: tuple[tuple[str, str], ...]


def made(count: int) -> list[Person]:
    """So many, made by all processors."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_person, range(count), chunksize=200))
    first = openpgp.read(found[0].certificate)
    if {key.fingerprint for key in first.keys} != {one for one, _ in found[0].keys}:
        raise SystemExit("a certificate is not what the bench takes it for")
    if [len(each) for each in (openpgp.strip(first),)] != [len(found[0].stripped)]:
        raise SystemExit("a certificate is stripped of other things than the bench takes")
    return found


def _person(number: int) -> Person:
    key = pysequoia.Tsk.generate(f"Officer {number} <o{number}@member.example>")
    data = bytes(key.extract_certificate())
    keys = [
        one for one in PacketPile.from_bytes(data) if one.tag in (Tag.PublicKey, Tag.PublicSubkey)
    ]
    named = tuple(((one.fingerprint or "").upper(), (one.key_id or "").upper()) for one in keys)
    # Its fifth and sixth packets are the subkey for signing and its binding. What the gateway does
    # to cut them off is dear, as it trusts nobody.
    stripped = b"".join(
        data[one.start : one.end] for at, one in enumerate(packets(data)) if at not in (4, 5)
    )
    return Person(data, stripped, named)


def enrol(app: App, author: Officer, people: Sequence[Person]) -> None:
    """The author, and the people as members who get each posting."""
    now = app.clock()
    with app.database.transaction() as session:
        added = member.add(
            session, address=author.address, name=author.name, organisation="Agency",
            kind=Kind.AGENCY, country="KE", now=now,
        )  # fmt: skip
        certificates.admit(session, added, openpgp.read(author.certificate), now)
        first = (session.scalar(select(func.max(Member.id))) or 0) + 1
        for start in range(0, len(people), _AT_ONCE):
            some = list(enumerate(people[start : start + _AT_ONCE], first + start))
            connection = session.connection()
            connection.execute(insert(Member), [
                {"id": at, "address": f"o{at}@member.example", "name": "Officer",
                 "organisation": "Agency", "kind": Kind.AGENCY, "country": "KE",
                 "state": State.ACTIVE, "joined_at": now, "delivery": DeliveryMode.EACH}
                for at, _ in some
            ])  # fmt: skip
            connection.execute(insert(MemberCertificate), [
                {"id": at, "member_id": at, "fingerprint": one.keys[0][0], "data": one.certificate,
                 "stripped": one.stripped, "admitted_at": now}
                for at, one in some
            ])  # fmt: skip
            connection.execute(insert(CertificateKey), [
                {"fingerprint": fingerprint, "key_id": key_id, "certificate_id": at}
                for at, one in some
                for fingerprint, key_id in one.keys
            ])  # fmt: skip
