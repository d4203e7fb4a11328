"""`environet dns`: the records of the gateway's domain, and what a real DNS server says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dns.zone
import pytest

from gateway.naming import checking, records
from gateway.naming.records import Wanted
from gateway.naming.resolver import MOST_LOOKUPS, Names
from tests.gateway import DOMAIN, CommandFailed, RunningGateway, short_place
from tests.unit.nameserver import NameServer

HOST = f"mail.{DOMAIN}"
KEYS = (
    ("gate-rsa", "v=DKIM1; k=rsa; p=" + "A" * 392),
    ("gate-ed", "v=DKIM1; k=ed25519; p=BB=="),
)
WANTED = Wanted(DOMAIN, (HOST,), f"archive.{DOMAIN}", f"reports@{DOMAIN}", KEYS)
HOSTS = f"{HOST}. 300 IN A 192.0.2.1\narchive.{DOMAIN}. 300 IN AAAA 2001:db8::1\n"


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(short_place("dns")) as made:
        made.found()
        yield made


def states(zone: str, wanted: Wanted = WANTED, *, any_exchange: bool = False) -> dict[str, str]:
    with NameServer(f"{DOMAIN}.", zone) as server:
        found = checking.check(Names(server.address), wanted, any_exchange=any_exchange)
    return {one.record.purpose: str(one.state) for one in found}


def zone_without(*purposes: str) -> str:
    lines = [one.line for one in records.records(WANTED) if one.purpose not in purposes]
    return "\n".join(lines) + "\n" + HOSTS


def test_what_is_printed_is_a_zone_and_all_right_once_it_is_there(gateway: RunningGateway) -> None:
    printed = gateway.environet("dns", "--mx", HOST)
    zone = dns.zone.from_text(printed, origin=f"{DOMAIN}.", check_origin=False)
    assert len(list(zone.iterate_rdatas())) == 9
    with NameServer(f"{DOMAIN}.", printed + HOSTS) as server:
        said = gateway.environet("dns", "--mx", HOST, "--check", "--resolver", server.address)
    assert [line.split()[-1] for line in said.splitlines()] == ["right"] * 9


def test_what_is_missing_is_said_with_what_to_add(gateway: RunningGateway) -> None:
    with NameServer(f"{DOMAIN}.", HOSTS) as server, pytest.raises(CommandFailed) as raised:
        gateway.environet("dns", "--check", "--resolver", server.address)
    assert raised.value.status == 3
    printed = gateway.environet("dns").splitlines()
    for line in printed:
        if line and not line.startswith(";"):
            assert f"    add: {line}" in str(raised.value)


def test_json_has_the_same(gateway: RunningGateway) -> None:
    made = json.loads(gateway.environet("dns", "--mx", HOST, "--json"))
    assert {one["type"] for one in made["records"]} == {"MX", "TXT", "CNAME"}
    assert all(one["line"] in gateway.environet("dns", "--mx", HOST) for one in made["records"])
    assert made["policy"]["url"] == f"https://mta-sts.{DOMAIN}/.well-known/mta-sts.txt"
    assert made["policy"]["text"] == (
        f"version: STSv1\r\nmode: testing\r\nmx: {HOST}\r\nmax_age: 604800\r\n"
    )
    zone = "\n".join(one["line"] for one in made["records"]) + "\n" + HOSTS
    with NameServer(f"{DOMAIN}.", zone) as server:
        words = ("dns", "--mx", HOST, "--check", "--resolver", server.address, "--json")
        judged = json.loads(gateway.environet(*words))
    assert [one["state"] for one in judged] == ["right"] * 9


@pytest.mark.parametrize(
    "purpose",
    ["MX", "SPF", "DKIM gate-rsa", "DKIM gate-ed", "DMARC", "MTA-STS", "MTA-STS host", "TLS-RPT",
     "WKD host"],
)  # fmt: skip
def test_each_record_is_missed(purpose: str) -> None:
    said = states(zone_without(purpose))
    assert {name for name, state in said.items() if state != "right"} == {purpose}
    assert said[purpose] == "missing"


@pytest.mark.parametrize(
    ("purpose", "line", "state"),
    [
        ("MX", f"{DOMAIN}. 300 IN MX 5 mx.elsewhere.example.", "different"),
        ("MX", f"{DOMAIN}. 300 IN MX 5 archive.{DOMAIN}.", "different"),
        ("SPF", f'{DOMAIN}. 300 IN TXT "v=spf1 ip4:192.0.2.1 -all"', "right"),
        ("SPF", f'{DOMAIN}. 300 IN TXT "v=spf1 +all"', "different"),
        ("SPF", f'{DOMAIN}. 300 IN TXT "v=spf1 mx -all"\n{DOMAIN}. 300 IN TXT "v=spf1 a -all"',
         "different"),
        ("SPF", f'{DOMAIN}. 300 IN TXT "v=spf1 mx -all"\n{DOMAIN}. 300 IN TXT "site=1"', "right"),
        ("DKIM gate-ed", f'gate-ed._domainkey.{DOMAIN}. 300 IN TXT "v=DKIM1;k=ed25519;p=BB=="',
         "right"),
        ("DKIM gate-ed", f'gate-ed._domainkey.{DOMAIN}. 300 IN TXT "v=DKIM1; k=ed25519; p=BC=="',
         "different"),
        ("DMARC", f'_dmarc.{DOMAIN}. 300 IN TXT "v=DMARC1; p=none"', "different"),
        ("DMARC", f'_dmarc.{DOMAIN}. 300 IN TXT "v=DMARC1; p=quarantine; pct=50"', "right"),
        ("DMARC", f'_dmarc.{DOMAIN}. 300 IN TXT "p=reject"', "missing"),
        ("MTA-STS", f'_mta-sts.{DOMAIN}. 300 IN TXT "v=STSv1; id=20261124"', "right"),
        ("MTA-STS", f'_mta-sts.{DOMAIN}. 300 IN TXT "v=STSv1"', "different"),
        ("TLS-RPT", f'_smtp._tls.{DOMAIN}. 300 IN TXT "v=TLSRPTv1; rua=https://x.example/r"',
         "right"),
        ("WKD host", f"openpgpkey.{DOMAIN}. 300 IN A 192.0.2.9", "right"),
        ("WKD host", f"openpgpkey.{DOMAIN}. 300 IN CNAME nowhere.{DOMAIN}.", "missing"),
    ],
)  # fmt: skip
def test_what_else_may_stand_there_and_what_not(purpose: str, line: str, state: str) -> None:
    assert states(f"{zone_without(purpose)}{line}\n")[purpose] == state


def test_without_being_told_any_server_may_take_the_mail() -> None:
    elsewhere = f"{zone_without('MX')}{DOMAIN}. 300 IN MX 5 archive.{DOMAIN}.\n"
    assert states(elsewhere, any_exchange=True)["MX"] == "right"
    nowhere = f"{zone_without('MX')}{DOMAIN}. 300 IN MX 5 nowhere.{DOMAIN}.\n"
    assert states(nowhere, any_exchange=True)["MX"] == "different"


def test_a_dns_that_does_not_answer_is_no_missing_record(gateway: RunningGateway) -> None:
    with NameServer(f"{DOMAIN}.", "") as server:
        server.failing = True
        with pytest.raises(CommandFailed) as raised:
            gateway.environet("dns", "--check", "--resolver", server.address)
    assert raised.value.status == 3
    assert str(raised.value).count("not known") == 9


def test_the_dns_does_not_speak_to_the_terminal(gateway: RunningGateway) -> None:
    odd = f'_dmarc.{DOMAIN}. 300 IN TXT "v=DMARC1; \\027[2J\\010p=none"\n'
    with NameServer(f"{DOMAIN}.", odd) as server, pytest.raises(CommandFailed) as raised:
        gateway.environet("dns", "--check", "--resolver", server.address)
    assert "there is: v=DMARC1; \ufffd[2J\ufffdp=none" in str(raised.value)


def test_another_selector_gets_keys_of_its_own(gateway: RunningGateway) -> None:
    old, new = gateway.environet("dns"), gateway.environet("dns", "--selector", "y2027")
    assert "environet-rsa._domainkey" in old
    assert "y2027-rsa._domainkey" in new
    assert "y2027-ed._domainkey" in new
    assert gateway.environet("dns", "--selector", "y2027") == new
    assert (gateway.state / "dkim" / "y2027-rsa.pem").stat().st_mode & 0o777 == 0o600


def test_where_the_mail_server_signs_no_keys_are_printed() -> None:
    with RunningGateway(short_place("dns"), settings={"dkim.sign": "no"}) as gateway:
        gateway.found()
        assert "_domainkey" not in gateway.environet("dns")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mx", "a b"], "--mx: 'a b' is no domain name"),
        (["--reports", "x@a.example;rua=y"], "--reports: 'x@a.example;rua=y' is no mail address"),
        (["--selector", "../x"], "--selector: '../x' can't be used as dkim.selector"),
        (["--resolver", "dns.example:53", "--check"], "'dns.example:53' can't be used"),
    ],
)
def test_words_that_make_no_sense_are_refused(
    gateway: RunningGateway, words: list[str], said: str
) -> None:
    with pytest.raises(CommandFailed, match=said.replace(".", r"\.")) as raised:
        gateway.environet("dns", *words)
    assert raised.value.status == 1


def test_a_mail_asks_for_so_many_names_and_no_more() -> None:
    with NameServer(f"{DOMAIN}.", HOSTS) as server:
        texts = Names(server.address).for_mail()
        for number in range(MOST_LOOKUPS):
            assert list(texts(f"n{number}.{DOMAIN}")) == []
        with pytest.raises(TimeoutError):
            texts(f"another.{DOMAIN}")
        assert len(server.asked) == MOST_LOOKUPS


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example", "\ufffd.example", ""])
def test_what_is_no_name_has_no_records(name: str) -> None:
    with NameServer("example.", "") as server:
        assert Names(server.address).texts(name) == []


def test_without_any_dns_server_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dns.resolver.Resolver.read_resolv_conf", _no_servers)
    with pytest.raises(TimeoutError):
        Names().texts(DOMAIN)


def _no_servers(*_: object) -> None:
    raise dns.resolver.NoResolverConfiguration
