"""The readers of foreign bytes, each with what must hold whatever the bytes are.

A target takes any bytes. It returns where they were read well or refused by the error that the
reader names, and raises otherwise: any other exception, or a claim that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from gateway.archive import harmless, query
from gateway.bounces import reading as bounces
from gateway.command.reading import command_in, read
from gateway.command.table import COMMANDS
from gateway.crypto import certificate, domain
from gateway.errors import BadCertificate, Malformed, Undecryptable
from gateway.intake.wire import DataReader
from gateway.message import (
    entity,
    form,
    hypertext,
    keydata,
    lookalike,
    marking,
    packet,
    protected,
    signed,
    submission,
    thread,
    typed,
)
from gateway.message.armor import armor, dearmor
from gateway.posting.opening import open_mail

Target = Callable[[bytes], None]

MOST_INFLATED = 1 << 18
"""Small, so that a bomb is found within a fuzzer's patience."""
NOBODY = {"of somebody": 18}
"""Whose keys there are: what is opened is for nobody named."""
_FORM_KEYS = frozenset().union(*(one.form for one in COMMANDS))
_END_OF_DATA = b"\r\n.\r\n"


def packets(data: bytes) -> None:
    """Packets are the bytes, cut; what `split` gives each recipient is one packet of theirs."""
    try:
        found = list(packet.packets(data))
    except Malformed:
        return
    assert b"".join(data[one.start : one.end] for one in found) == data
    assert all(len(packet.body(data, one)) <= one.end - one.start for one in found)
    try:
        encrypted = packet.split(data)
    except Malformed:
        return
    of_tag = {one.tag: one for one in found if one.tag in (packet.PKESK, packet.SEIPD)}
    assert b"".join(one for _, one in encrypted.pkesks) == b"".join(
        data[one.start : one.end] for one in found if one.tag == packet.PKESK
    )
    assert encrypted.data == data[of_tag[packet.SEIPD].start :]
    for key_id, one in encrypted.pkesks:
        assert packet.split(one + encrypted.data).pkesks == ((key_id, one),)


def armored(data: bytes) -> None:
    """What is read from an armor, armored anew, is read as the same."""
    for kind in ("MESSAGE", "SIGNATURE", "PUBLIC KEY BLOCK"):
        try:
            found = dearmor(data, kind)
        except Malformed:
            continue
        assert dearmor(armor(found, kind), kind) == found


def signed_message(data: bytes) -> None:
    """A signed message's literal is no larger than the limit, and its signatures have facts."""
    try:
        found = signed.open_message(data, MOST_INFLATED)
    except Malformed:
        return
    assert len(found.body) <= MOST_INFLATED
    for one in found.signatures:
        try:
            signed.signature_facts(one)
        except Malformed:
            continue


def detached_signatures(data: bytes) -> None:
    try:
        for one in signed.detached(data):
            signed.signature_facts(one)
    except Malformed:
        return


def mail(data: bytes) -> None:
    """Any mail is opened, or it is said why not; what an encryption hides is taken for its
    ciphertext, so that what is inside is reached."""
    try:
        opening = open_mail(entity.read(data), NOBODY, _hidden_by_nothing, MOST_INFLATED)
        partly = open_mail(
            entity.read(data), NOBODY, _hidden_by_nothing, MOST_INFLATED, partly=True
        )
    except Malformed:
        return
    assert (opening.content is None) == (opening.source is None) == (opening.fault is not None)
    assert opening.content is None or partly.content is not None, "whole, and yet not in part"
    for one in (opening, partly):
        if one.content is not None:
            assert len(one.content.payload) <= 2 * MOST_INFLATED
            marking.of_mail(one.fields.subject, one.fields.subject_signed, "")
            keydata.offered(entity.read(data), entity.read(one.content.payload))


def travelling(data: bytes) -> None:
    """What is taken of a signed content travels as a content that can be read, without style, and
    with as many parts."""
    try:
        submission.check_payload(submission.Content(data, (), data))
    except Malformed:
        return
    found = entity.read(data)
    lookalike.attests(found)
    lookalike.first_lines(found)
    made = entity.read(harmless.content(found))
    parts = list(submission.leaves(made))
    assert len(parts) == len(list(submission.leaves(found)))
    for part in parts:
        assert not part.content_type.startswith("message/")
        if part.content_type == "text/html" and not part.is_attachment:
            assert "<style" not in submission.text(part).lower()


def header(data: bytes) -> None:
    """What is left of a payload without its protected fields is left as it is by doing it again,
    and no field of a mail has more than a line."""
    try:
        found = entity.read(data)
        fields = protected.fields_of(found)
        protected.merged(fields, protected.protected_fields(found))
        protected.differing(found, found)
        content = protected.content_only(found)
        assert protected.content_only(entity.read(content)) == content
    except Malformed:
        return
    for text in (fields.subject, fields.sender, fields.message_id):
        line = thread.plain(text)
        assert line == thread.plain(line)
        assert not set(line) & set("\r\n\x00\u2028\u2029")
        assert b"\n" not in entity.encoded_field("Subject", line).replace(b"\r\n ", b"")[:-2]


def notice(data: bytes) -> None:
    """The fields of a notice have keys in lower case and values of one bounded line."""
    for key, value in form.of_mail(data.decode("utf-8", "replace")).items():
        assert key == key.lower()
        assert value == value.strip(" \t")
        assert "\n" not in key + value
        assert len(value) <= 1000


def commands(data: bytes) -> None:
    """Each line typed is one clean line; lines are commands or none; what is quoted orders
    nothing."""
    try:
        lines = typed.typed_lines(entity.read(data), form_keys=_FORM_KEYS)
        quoted = typed.quoted_too(entity.read(data))
    except Malformed:
        return
    assert {one.text for one in lines} <= set(quoted.split("\n"))
    for step in read(lines, COMMANDS):
        assert len(step.shown) <= 200
    for one in lines:
        assert one.text
        assert not one.text.startswith(">")
        found = command_in(one.text, COMMANDS)
        assert found is None or found[1] in one.text


def markup(data: bytes) -> None:
    hypertext.text(data.decode("utf-8", "replace"))


def search(data: bytes) -> None:
    """A query is understood, or refused with a place in it and one that is understood."""
    text = data.decode("utf-8", "replace")
    fault: query.QueryFault | None = None
    try:
        tree = query.parse(text)
    except query.QueryFault as found:
        fault = found
    if fault is not None:
        assert 0 <= fault.at <= len(text)
        query.parse(fault.suggestion)
        return
    assert query.parse(query.formatted(tree), 10 * query.MOST_CHARACTERS) == tree


def data_of_mail(data: bytes) -> None:
    """Whatever a client sends after DATA: it ends where the plainest reader ends it, with that
    text, however it was cut into chunks; a bare CR or LF, or a NUL, is refused."""
    wire, size = data[1:] + _END_OF_DATA, 1 + (data[0] if data else 0)
    text, _, rest = (b"\r\n" + wire).partition(_END_OF_DATA)
    lines = (text + b"\r\n").split(b"\r\n")[1:]
    is_refused = any(set(line) & set(b"\r\n\x00") for line in lines)
    reader = DataReader(len(wire), len(wire))
    left: bytes | None = None
    at = 0
    try:
        while left is None:
            left = reader.feed(wire[at : at + size])
            at += size
    except Malformed:
        assert is_refused
        return
    assert not is_refused
    assert left + wire[at:] == rest
    assert reader.message() == b"\r\n".join(line.removeprefix(b".") for line in lines)


def bounce(data: bytes) -> None:
    bounces.of_good_form(data)


def key(data: bytes) -> None:
    """A certificate that was read is the same when read again."""
    try:
        found = certificate.read(data)
    except BadCertificate:
        return
    assert certificate.read(found.data) == found
    certificate.strip(found)
    certificate.admission_faults(found, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1))


def origin(data: bytes) -> None:
    """DKIM, ARC and DMARC of any mail, where no name has a record."""
    try:
        found = domain.check(entity.read(data), lambda _: ())
    except Malformed:
        return
    assert not any(one.verdict == "pass" for one in found.signatures)


def _hidden_by_nothing(message: bytes, limit: int) -> bytes:
    """The content of a SEIPD packet that is in the clear within it."""
    inside = packet.split(message).data
    found = next(packet.packets(inside))
    content = packet.body(inside, found)[1:]
    if not content or len(content) > limit:
        raise Undecryptable("no content")
    return content


TARGETS: Mapping[str, Target] = {
    "packets": packets,
    "armor": armored,
    "signed": signed_message,
    "detached": detached_signatures,
    "mail": mail,
    "travelling": travelling,
    "header": header,
    "notice": notice,
    "commands": commands,
    "markup": markup,
    "search": search,
    "data": data_of_mail,
    "bounce": bounce,
    "certificate": key,
    "origin": origin,
}
