"""The samples in contrib/ are used: systemd judges the units, nginx has the archive behind it."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest

from gateway.app import utc_now
from gateway.intake.tls import make_self_signed
from tests.gateway import RunningGateway, short_place

CONTRIB = Path(__file__).parents[2] / "contrib"
UNITS = sorted(CONTRIB.glob("*.service"))
NAME = "archive.environet.example"
MOST_EXPOSED = 2.0
"""Of systemd's scale to 10; below it a unit is as good as its kind allows."""
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not there")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_little_exposed(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+) OK", said)
    assert found, said
    assert float(found[1]) < MOST_EXPOSED


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not there")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in (*UNITS, *CONTRIB.glob("*.timer")):
        text = unit.read_text().replace("/opt/environet/.venv/bin/environet", sys.executable)
        (tmp_path / unit.name).write_text(text)
    names = [str(one) for one in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    # What it says of other units of the machine is nothing of ours.
    assert [line for line in done.stderr.splitlines() if "environet" in line] == []


@pytest.mark.skipif(not shutil.which("logrotate"), reason="logrotate is not there")
def test_logrotate_reads_its_sample(tmp_path: Path) -> None:
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
    sample = (CONTRIB / "environet.logrotate").read_text()
    sample = sample.replace("environet environet", f"{user} {group}")
    file = tmp_path / "environet"
    file.write_text(sample.replace("/var/log/environet", str(tmp_path)))
    file.chmod(0o644)
    command = ["logrotate", "--debug", "--state", str(tmp_path / "status"), str(file)]
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=path)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr


@pytest.mark.skipif(not shutil.which("caddy"), reason="caddy is not there")
def test_caddy_reads_its_sample() -> None:
    command = ["caddy", "adapt", "--config", str(CONTRIB / "Caddyfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reverse_proxy" in done.stdout


# nginx


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, archive: int) -> Iterator[tuple[int, int]]:
    """The sample with its names and ports replaced, and nothing else: ports of http and https."""
    make_self_signed(NAME, folder / "chain.pem", folder / "key.pem", now=utc_now())
    plain, secure = free_port(), free_port()
    sample = (CONTRIB / "nginx.conf").read_text()
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{secure} ssl http2;"),
        ("    listen [::]:80;\n", ""),
        ("    listen [::]:443 ssl http2;\n", ""),
        (f"/etc/ssl/{NAME}.pem", str(folder / "chain.pem")),
        (f"/etc/ssl/private/{NAME}.key", str(folder / "key.pem")),
        ("127.0.0.1:8080", f"127.0.0.1:{archive}"),
    ):
        assert old in sample, old
        sample = sample.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log {folder}/access.log;\n{places}{sample}\n}}\n"
    )
    process = subprocess.Popen([str(NGINX), "-e", str(folder / "error.log"), "-c", str(conf)])
    try:
        deadline = time.monotonic() + 20
        while not _answers(secure):
            assert process.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield plain, secure
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def asked(port: int, path: str, body: bytes | None = None, host: str = NAME) -> HTTPResponse:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    method = "GET" if body is None else "POST"
    client.request(method, path, body, headers={"Host": host})
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer


@pytest.mark.skipif(NGINX is None, reason="nginx is not there")
def test_the_archive_stands_behind_nginx_as_in_the_sample(tmp_path: Path) -> None:
    with RunningGateway(short_place("nginx"), settings={"web.listen": "127.0.0.1:0"}) as gateway:
        gateway.found()
        gateway.start()
        with nginx(tmp_path, gateway.web_port) as (_, secure):
            page = asked(secure, "/login")
            assert page.status == 200
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            assert page.headers["Cache-Control"] == "no-store"
            assert asked(secure, "/login/abc?q=secretword").status in (200, 400, 404)
            assert asked(secure, "/login", bytes(20_000)).status == 413
            statuses = [asked(secure, "/login").status for _ in range(30)]
            assert set(statuses) == {200, 429}
            directory = "openpgpkey.environet.example"
            policy = "/.well-known/openpgpkey/environet.example/policy"
            assert asked(secure, policy, host=directory).status == 200
            assert asked(secure, "/login", host=directory).status == 404
    for each in tmp_path.rglob("*"):
        assert not each.is_file() or b"secretword" not in each.read_bytes()
    access = tmp_path / "access.log"
    assert not access.exists() or "secretword" not in access.read_text()
