"""DKIM on what goes out; what DKIM, DMARC and ARC say of what comes in, noted and nothing more."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import authheaders
import dkim
import pytest
from sqlalchemy import select

from gateway import dispatch
from gateway.app import App, utc_now
from gateway.crypto import domain, domain_key
from gateway.crypto.domain import MOST_CHECKED_BYTES, MOST_SIGNATURES, Origin, Signature
from gateway.delivery.worker import Worker
from gateway.errors import UsageError
from gateway.message import entity
from gateway.message.envelope import Envelope
from gateway.naming.resolver import Names
from gateway.posting import evidence
from gateway.store.mailing_list import Moderation
from gateway.store.posting import Posting
from tests.gateway import DOMAIN, CommandFailed
from tests.unit.group import Group, Hand
from tests.unit.nameserver import NameServer

ROLES = {"ana": (), "bo": (), "leo": (), "awa": ("moderator:B",), "ada": ("administrator",)}
PLAIN = (
    b"From: Ana Berg <ana@customs.example>\r\nTo: wildlife@environet.example\r\n"
    b"Subject: Ivory\r\nDate: Tue, 24 Nov 2026 05:00:00 +0000\r\n"
    b"Message-ID: <1@customs.example>\r\n"
)
BODY = b"84 raw tusks.\r\n"


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    with Group(ROLES) as made:
        yield made


@pytest.fixture(scope="module")
def customs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the customs' mail server has its DKIM keys, of selector 'mail'."""
    state = tmp_path_factory.mktemp("customs")
    domain_key.make(state, "mail")
    return state


@pytest.fixture
def dns(customs: Path) -> Iterator[NameServer]:
    """The DNS as the gateway sees it."""
    rsa, ed = domain_key.load(customs, "mail", "both")
    zone = (
        f"{_text('mail-rsa._domainkey.customs.example', rsa.record)}"
        f"{_text('mail-ed._domainkey.customs.example', ed.record)}"
        f"{_text('mail-rsa._domainkey.carrier.example', rsa.record)}"
        f"{_text('_dmarc.customs.example', 'v=DMARC1; p=reject; adkim=r')}"
    )
    with NameServer("example.", zone) as made:
        yield made


def _text(name: str, text: str) -> str:
    pieces = " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
    return f"{name}. 300 IN TXT {pieces}\n"


def outgoing(group: Group, **settings: object) -> list[bytes]:
    """What is handed off of one posting, on the wire, with other settings of DKIM."""
    app = with_dkim(group.app, **settings)
    hand = Hand()
    asyncio.run(Worker(app, "worker", hand).drain())
    return [b"".join(one.parts) for one in hand.taken]


def with_dkim(app: App, **settings: object) -> App:
    """The gateway with other settings of DKIM."""
    config = app.config.model_copy(update={"dkim": app.config.dkim.model_copy(update=settings)})
    return App(app.state, config, app.database, app.keyring, app.clock)


def published(app: App) -> Callable[..., bytes | None]:
    """A DNS with the gateway's own keys in it, as dkimpy asks it."""
    keys = domain_key.load(app.state, app.config.dkim.selector, "both")
    there = {f"{one.selector}._domainkey.{DOMAIN}.".encode(): one.record.encode() for one in keys}
    return lambda name, timeout=5: there.get(name)


def verdicts(mail: bytes, dnsfunc: Callable[..., bytes | None]) -> list[bool]:
    """dkimpy's word on each signature."""
    reader = dkim.DKIM(mail)
    found = []
    for number in range(mail.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")):
        try:
            found.append(bool(reader.verify(number, dnsfunc=dnsfunc)))
        except dkim.DKIMException:
            found.append(False)
    return found


def signed(customs: Path, mail: bytes, by: str = "customs.example", kind: str = "rsa") -> bytes:
    """A member's mail as it leaves their organisation's server."""
    (key,) = domain_key.load(customs, "mail", kind)
    sign = domain.signer(by, [key], utc_now)
    assert sign is not None
    return sign(mail)(()) + mail


# What goes out


def test_every_copy_and_notice_carries_two_good_signatures(group: Group) -> None:
    group.post("ana")
    group.set_list("waste", moderation=Moderation.ALL)
    group.post("ana", "waste")
    mails = outgoing(group)
    senders = {mail.partition(b"\r\nTo:")[0].rpartition(b"<")[2] for mail in mails}
    assert senders == {b"wildlife@environet.example>", b"gateway@environet.example>"}
    for mail in mails:
        assert verdicts(mail, published(group.app)) == [True, True]
        assert mail.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;")


def test_a_notice_in_the_clear_is_signed_too(group: Group) -> None:
    group.gateway.environet("member", "remove", "leo@customs.example")
    plain = [mail for mail in outgoing(group) if b"multipart/encrypted" not in mail]
    assert [verdicts(mail, published(group.app)) for mail in plain] == [[True, True]]


@pytest.fixture(scope="module")
def copy(group: Group) -> bytes:
    group.post("bo")
    return outgoing(group)[0]


def test_another_implementation_says_so_too(group: Group, copy: bytes, tmp_path: Path) -> None:
    if (opendkim := shutil.which("opendkim", path="/usr/sbin:/usr/bin")) is None:
        pytest.skip("opendkim is not installed")
    rsa, _ = domain_key.load(group.app.state, "environet", "both")
    keys = tmp_path / "keys"
    keys.write_text(f"{rsa.selector}._domainkey.{DOMAIN} {rsa.record}\n")
    settings = tmp_path / "conf"
    settings.write_text(f"Mode v\nTestPublicKeys {keys}\nSyslog no\nTrustAnchorFile /dev/null\n")
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(copy)
    bad.write_bytes(copy.replace(b"\r\nDate: ", b"\r\nDate:  X", 1))
    said = [
        subprocess.run(
            [opendkim, "-v", "-x", settings, "-t", file], capture_output=True, check=False
        ).stdout.decode()
        for file in (good, bad)
    ]
    assert "verification (s=environet-rsa, d=environet.example, 2048-bit key) succeeded" in said[0]
    assert "succeeded" not in said[1]


def test_authheaders_aligns_it_with_our_own_dmarc_record(group: Group, copy: bytes) -> None:
    keys = published(group.app)

    def texts(name: str | bytes, timeout: float = 5) -> bytes | str | None:
        if name == f"_dmarc.{DOMAIN}":
            return "v=DMARC1; p=reject; adkim=s; aspf=s"
        return keys(name) if isinstance(name, bytes) else None

    header = authheaders.authenticate_message(copy, "mx.example", dnsfunc=texts, spf=False)
    assert "dkim=pass" in header
    assert "dmarc=pass" in header


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\n\r\n--", b"\r\n\r\n --"),
        (b"--\r\n", b"--\r\n.\r\n"),
        (b"Version: 1", b"Version: 2"),
        (b"\r\nSubject: ", b"\r\nSubject: Urgent "),
        (b"\r\nFrom: ", b"\r\nFrom: x@environet.example\r\nFrom: "),
        (b"\r\nFrom: ", b"\r\nSubject: Call me\r\nFrom: "),
        (b"\r\nFrom: ", b"\r\nReply-To: x@elsewhere.example\r\nFrom: "),
        (b"\r\nFrom: ", b"\r\nContent-Type: text/plain\r\nFrom: "),
        (b"\r\nAutocrypt: addr=wildlife", b"\r\nAutocrypt: addr=waste"),
    ],
)
def test_what_is_changed_or_added_on_the_way_fails(
    group: Group, copy: bytes, old: bytes, new: bytes
) -> None:
    assert old in copy
    head, changed, tail = copy.rpartition(old)
    assert changed
    assert verdicts(head + new + tail, published(group.app)) == [False, False]


def test_folding_and_received_fields_harm_nothing(group: Group, copy: bytes) -> None:
    carried = b"Received: from a by b;\r\n Tue, 24 Nov 2026 05:00:00 +0000\r\n" + copy
    carried = carried.replace(b"\r\nTo: ", b"\r\nTO:\r\n\t")
    assert verdicts(carried, published(group.app)) == [True, True]


@pytest.mark.parametrize(
    ("sign", "algorithms"),
    [("no", []), ("rsa", [b"rsa"]), ("ed25519", [b"ed25519"]), ("both", [b"rsa", b"ed25519"])],
)
def test_the_setting_says_who_signs(group: Group, sign: str, algorithms: list[bytes]) -> None:
    group.deliver()
    group.post("ana")
    for mail in outgoing(group, sign=sign):
        head = mail.partition(b"\r\n\r\n")[0]
        found = [line.partition(b"a=")[2] for line in head.split(b"DKIM-Signature:")[1:]]
        assert [one.partition(b"-")[0] for one in found] == algorithms
        assert verdicts(mail, published(group.app)) == [True] * len(algorithms)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 100_000])
def test_the_hash_goes_over_the_parts_as_over_the_whole(customs: Path, size: int) -> None:
    keys = domain_key.load(customs, "mail", "both")
    sign = domain.signer("customs.example", keys, utc_now)
    assert sign is not None
    head, rest = PLAIN + b"\r\nHi", (b"a" * size, b"\r", b"\n")
    there = {f"{one.selector}._domainkey.customs.example.": one.record for one in keys}
    mail = sign(head)(rest) + head + b"".join(rest)
    assert verdicts(mail, lambda name, timeout=5: there[name.decode()].encode()) == [True, True]


@pytest.mark.parametrize("end", [b"x", b"x\r\n\r\n", b"\r\n"])
def test_a_body_that_is_not_in_its_simple_form_is_not_signed(customs: Path, end: bytes) -> None:
    sign = domain.signer("a.example", domain_key.load(customs, "mail", "rsa"), utc_now)
    assert sign is not None
    with pytest.raises(ValueError, match="one CRLF"):
        sign(PLAIN + b"\r\n")((end[:1], end[1:]))


# Its keys


def test_keys_are_their_owners_alone_and_stay_as_they_are(tmp_path: Path) -> None:
    domain_key.make(tmp_path, "gate")
    files = sorted((tmp_path / "dkim").iterdir())
    assert [one.name for one in files] == ["gate-ed.pem", "gate-rsa.pem"]
    assert [one.stat().st_mode & 0o777 for one in [tmp_path / "dkim", *files]] == [
        0o700, 0o600, 0o600,
    ]  # fmt: skip
    before = [one.read_bytes() for one in files]
    domain_key.make(tmp_path, "gate")
    assert [one.read_bytes() for one in files] == before
    files[0].unlink()
    assert not domain_key.are_there(tmp_path, "gate")
    domain_key.make(tmp_path, "gate")
    assert files[0].read_bytes() != before[0]
    assert files[1].read_bytes() == before[1]


def test_a_key_that_does_not_serve_is_named_with_its_file(tmp_path: Path) -> None:
    domain_key.make(tmp_path, "gate")
    rsa, ed = tmp_path / "dkim" / "gate-rsa.pem", tmp_path / "dkim" / "gate-ed.pem"
    secret = rsa.read_text()
    rsa.write_bytes(ed.read_bytes())
    with pytest.raises(UsageError, match=r"gate-rsa\.pem is no key for rsa"):
        domain_key.load(tmp_path, "gate", "both")
    rsa.write_text(secret[:200])
    with pytest.raises(UsageError, match=r"gate-rsa\.pem is no secret key") as raised:
        domain_key.load(tmp_path, "gate", "rsa")
    assert secret[30:60] not in str(raised.value)
    with pytest.raises(UsageError, match=r"other-ed\.pem can't be read"):
        domain_key.load(tmp_path, "other", "ed25519")
    assert domain_key.load(tmp_path, "other", "no") == ()


def test_a_state_without_keys_is_upgraded_first(group: Group) -> None:
    folder, aside = group.app.state / "dkim", group.app.state / "aside"
    folder.rename(aside)
    try:
        with pytest.raises(CommandFailed, match="run 'environet upgrade'"):
            group.gateway.environet("member", "list")
        group.gateway.environet("upgrade")
        group.gateway.environet("member", "list")
        assert domain_key.are_there(group.app.state, "environet")
    finally:
        shutil.rmtree(folder)
        aside.rename(folder)


# What comes in


def checked(mail: bytes, names: Names) -> Origin:
    return domain.check(entity.read(mail), names.for_mail())


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_good_signature_of_the_authors_domain_passes(
    customs: Path, dns: NameServer, kind: str
) -> None:
    mail = signed(customs, PLAIN + b"\r\n" + BODY, kind=kind)
    suffix = {"rsa": "rsa", "ed25519": "ed"}[kind]
    assert checked(mail, Names(dns.address)) == Origin(
        (Signature("customs.example", f"mail-{suffix}", "pass"),), "pass", "none"
    )


def test_what_can_not_pass_is_named(customs: Path, dns: NameServer) -> None:
    good, names = signed(customs, PLAIN + b"\r\n" + BODY), Names(dns.address)
    strange = signed(customs, PLAIN + b"\r\n" + BODY, by="elsewhere.example")
    carried = signed(customs, PLAIN + b"\r\n" + BODY, by="carrier.example")
    two = good.replace(b"\r\nTo:", b"\r\nFrom: bo@other.example\r\nTo:")
    secret = (customs / "dkim" / "mail-rsa.pem").read_bytes()
    sha1, part = (
        dkim.sign(PLAIN + b"\r\n" + BODY, b"mail-rsa", b"customs.example", secret, **how) + PLAIN
        + b"\r\n" + BODY
        for how in ({"signature_algorithm": b"rsa-sha1"}, {"length": True})
    )  # fmt: skip
    cases = {
        "changed": (good.replace(b"84", b"48"), "fail", ""),
        "another subject": (good.replace(b"Ivory", b"Tusks"), "fail", ""),
        "no such key": (strange, "permerror", ""),
        "another domain": (carried, "pass", "unaligned"),
        "two authors": (two, "fail", ""),
        "sha-1": (sha1, "policy", ""),
        "more behind it": (part + b"And more.\r\n", "policy", ""),
        "no base64": (good.replace(b" b=", b" b=%%"), "permerror", ""),
        "from the future": (re.sub(rb" t=\d+", b" t=99999999999", good), "permerror", ""),
    }
    for name, (mail, verdict, dmarc) in cases.items():
        said = checked(mail, names)
        assert ([one.verdict for one in said.signatures], said.dmarc) == ([verdict], dmarc), name


def test_the_second_signature_may_be_the_authors(customs: Path, dns: NameServer) -> None:
    mail = signed(customs, signed(customs, PLAIN + b"\r\n" + BODY), by="carrier.example")
    said = checked(mail, Names(dns.address))
    assert [one.domain for one in said.signatures] == ["carrier.example", "customs.example"]
    assert said.dmarc == "pass"


@pytest.mark.parametrize(
    ("author", "by", "record", "dmarc"),
    [
        ("ana@post.customs.example", "customs.example", "v=DMARC1; p=none", "pass"),
        ("ana@customs.example", "post.customs.example", "v=DMARC1; p=none", "pass"),
        ("ana@customs.example", "post.customs.example", "v=DMARC1; p=none; adkim=s", "unaligned"),
        ("ana@a-customs.example", "customs.example", "v=DMARC1; p=none", "none"),
        ("ana@customs.example", "customs.example", "v=DMARC1", "none"),
        ("ana@customs.example", "customs.example", "v=DMARC1;p", "permerror"),
        ("ana@customs.example", "customs.example", "v=spf1 -all", "none"),
        ("ana@customs.example, bo@other.example", "customs.example", "v=DMARC1; p=none",
         "permerror"),
    ],
)  # fmt: skip
def test_alignment_with_the_domain_that_from_names(
    customs: Path, author: str, by: str, record: str, dmarc: str
) -> None:
    (key,) = domain_key.load(customs, "mail", "rsa")
    zone = _text(f"mail-rsa._domainkey.{by}", key.record) + _text("_dmarc.customs.example", record)
    mail = signed(customs, PLAIN.replace(b"ana@customs.example", author.encode()) + b"\r\n" + BODY,
                  by=by)  # fmt: skip
    with NameServer("example.", zone) as server:
        assert checked(mail, Names(server.address)).dmarc == dmarc


def test_a_mail_without_signatures_asks_the_dns_nothing(dns: NameServer) -> None:
    assert checked(PLAIN + b"\r\n" + BODY, Names(dns.address)) == Origin()
    assert dns.asked == []


def test_answers_are_remembered(customs: Path, dns: NameServer) -> None:
    mail, names = signed(customs, PLAIN + b"\r\n" + BODY), Names(dns.address)
    first = checked(mail, names)
    asked = len(dns.asked)
    assert checked(mail, names) == first
    assert len(dns.asked) == asked == 2


def test_a_silent_dns_costs_one_mail_its_time_and_the_next_nothing(customs: Path) -> None:
    mail = signed(customs, signed(customs, PLAIN + b"\r\n" + BODY), by="carrier.example")
    with NameServer("example.", "", silent=True) as server:
        names = Names(server.address, mail_seconds=0.5)
        began = time.monotonic()
        assert {one.verdict for one in checked(mail, names).signatures} == {"temperror"}
        waited = time.monotonic()
        assert 0.4 < waited - began < 2
        asked = len(server.asked)
        assert {one.verdict for one in checked(mail, names).signatures} == {"temperror"}
        assert time.monotonic() - waited < 0.4
        assert len(server.asked) == asked


def test_a_failing_dns_is_no_bad_signature(customs: Path, dns: NameServer) -> None:
    dns.failing = True
    said = checked(signed(customs, PLAIN + b"\r\n" + BODY), Names(dns.address))
    assert [one.verdict for one in said.signatures] == ["temperror"]


def _hostile(customs: Path) -> dict[str, bytes]:
    good = signed(customs, PLAIN + b"\r\n" + BODY)
    field = good[: good.index(b"From:")]
    seal = b"ARC-Seal: i=%d; a=rsa-sha256; cv=none; d=customs.example; s=mail-rsa; b=AAAA\r\n"
    return {
        "signatures": field * (MOST_SIGNATURES + 1) + good,
        "large": good + b"84 raw tusks.\r\n" * (MOST_CHECKED_BYTES // 15),
        "field": b"Subject: " + b" " * 9000 + b"x\r\n" + good,
        "tags": b"DKIM-Signature: " + b";" * 7000 + b"\r\n" + PLAIN + b"\r\n" + BODY,
        "spaces": b"DKIM-Signature: b" + b" \r\n " * 1900 + b"=\r\n" + PLAIN + b"\r\n" + BODY,
        "b": good.replace(b" b=", b" b=" + b"B \r\n " * 1200),
        "instances": seal % 999_999_999 + PLAIN + b"\r\n" + BODY,
        "seals": seal % 1 * MOST_SIGNATURES + PLAIN + b"\r\n" + BODY,
        "bytes": field.replace(b"customs.example", b"\xff\xfe.example") + PLAIN + b"\r\n" + BODY,
        "label": field.replace(b"customs.example", b"a" * 200 + b".example") + PLAIN + b"\r\n",
        "blank lines": (b"DKIM-Signature: v=1; c=relaxed/relaxed\r\n" + PLAIN + b"\r\n"
                        + b" \t" * 450_000 + b"\r\n" * 500_000),
        "words": (field.replace(b"relaxed/simple", b"relaxed/relaxed") * MOST_SIGNATURES + PLAIN
                  + b"\r\n" + (b" " * 49 + b"x") * 41_000),
        "whitespace": (field.replace(b"relaxed/simple", b"relaxed/relaxed") + PLAIN + b"\r\n"
                       + (b" \t" * 490 + b"x\r\n") * 10_000 + b"\r\n" * 1000),
    }  # fmt: skip


@pytest.mark.timeout(60)  # in which time that grew with the square would not come to its end
def test_no_header_makes_the_check_fail_or_dear(
    customs: Path, dns: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    names = Names(dns.address)
    for name, mail in _hostile(customs).items():
        said = checked(mail, names)
        assert "pass" not in [one.verdict for one in said.signatures], name
        assert re.fullmatch(r"[\w .;:()?-]*", str(said)), name
    assert "tusks" not in caplog.text
    assert "Ivory" not in caplog.text


def test_the_front_servers_word_can_be_taken_instead(dns: NameServer) -> None:
    mine = (
        b"Authentication-Results: MX.front.example; dkim=pass header.d=customs.example"
        b" header.s=mail;\r\n spf=pass smtp.mailfrom=customs.example; dmarc=pass\r\n"
    )
    other = b"Authentication-Results: mx.other.example; dkim=fail header.d=customs.example\r\n"
    forged = mine.replace(b"pass", b"fail")
    said = domain.told(entity.read(other + mine + forged + PLAIN + b"\r\n"), "mx.front.example")
    assert said == Origin(
        (Signature("customs.example", "mail", "pass"),), "pass", "none", "mx.front.example"
    )
    nothing = domain.told(entity.read(other + b"Authentication-Results: ;;\r\n" + PLAIN), "mx.a")
    assert nothing.fault == "the front server says nothing"


@pytest.mark.parametrize(
    ("name", "registered"),
    [
        ("customs.example", "customs.example"),
        ("a.b.customs.example", "customs.example"),
        ("post.customs.go.ke", "customs.go.ke"),
        ("customs.co.uk", "customs.co.uk"),
        ("go.ke", "go.ke"),
        ("example", "example"),
        ("a.www.ck", "www.ck"),
        ("a.b.c.ck", "b.c.ck"),
    ],
)
def test_the_domain_that_was_registered(name: str, registered: str) -> None:
    assert domain.organisation(name) == registered


# What is noted


def taken(app: App, mail: bytes) -> tuple[str, Origin | None]:
    """(label, what was noted) of a posting."""
    envelope = Envelope("x@x.example", (f"wildlife@{DOMAIN}",), mail, "127.0.0.1", app.clock())
    assert [one.code for one in dispatch.submit(app, envelope, 2**22) or ()] == [250]
    with app.database.reading() as session:
        row = session.scalars(select(Posting).order_by(Posting.id.desc()).limit(1)).one()
        return row.label, evidence.origin(app.vault, row)


def test_a_members_mail_is_noted_with_what_its_way_says(
    group: Group, customs: Path, dns: NameServer
) -> None:
    written = group.write("ana", "wildlife", text="84 raw tusks.\n")
    app = with_dkim(group.app, resolver=dns.address)
    label, origin = taken(app, signed(customs, written))
    assert str(origin) == "DKIM pass (customs.example); DMARC pass; ARC none"
    assert str(origin) in group.gateway.environet("posting", "show", label)


def test_no_verdict_decides_anything(group: Group, customs: Path, dns: NameServer) -> None:
    app = with_dkim(group.app, resolver=dns.address)
    bad = signed(customs, group.write("ana", "wildlife", text="Forged on the way?\n"))
    bad = bad.replace(b"\r\nSubject: ", b"\r\nSubject: x", 1)
    _, origin = taken(app, bad)
    assert origin is not None
    assert origin.signatures[0].verdict == "fail"
    # A stranger with a perfect signature of a member's domain stays a stranger.
    good = signed(customs, PLAIN + b"\r\n" + BODY)
    asked = len(dns.asked)
    envelope = Envelope("ana@customs.example", (f"wildlife@{DOMAIN}",), good, "127.0.0.1",
                        app.clock())  # fmt: skip
    assert [one.code for one in dispatch.submit(app, envelope, 2**22) or ()] == [523]
    assert len(dns.asked) == asked


def test_nothing_is_looked_up_where_that_is_switched_off(
    group: Group, customs: Path, dns: NameServer
) -> None:
    app = with_dkim(group.app, resolver=dns.address, check=False)
    written = signed(customs, group.write("ana", "wildlife", text="Quietly.\n"))
    label, origin = taken(app, written)
    assert origin is None
    assert dns.asked == []
    assert "not checked" in group.gateway.environet("posting", "show", label)
