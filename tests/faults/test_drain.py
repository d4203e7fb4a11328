"""SIGTERM: nothing new is taken, what is under way ends or is given back, within ten seconds."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests import programs
from tests.faults.machine import Machine
from tests.faults.points import POINTS, Point
from tests.faults.trial import LIST, Cast, found_cast

SECONDS = 10.0
BY_NAME = {point.name: point for point in POINTS}


@pytest.fixture(scope="module")
def founded() -> Iterator[tuple[Machine, Cast]]:
    template = Machine("template")
    yield template, found_cast(template)
    template.close()


@pytest.fixture
def machine(founded: tuple[Machine, Cast]) -> Iterator[Machine]:
    machine = Machine("drain", {"web.listen": "127.0.0.1:0", "upkeep.every_seconds": 1})
    machine.found_as(founded[0])
    machine.start()
    yield machine
    machine.close()


def ends(machine: Machine) -> float:
    """Seconds that it took to stop, with exit status 0 and no process left."""
    begun = time.monotonic()
    assert machine.stop() == 0
    taken = time.monotonic() - begun
    assert not machine.others()
    return taken


def submitting(machine: Machine, cast: Cast, point: Point) -> threading.Thread:
    """A mail whose way is as far as a point, where its process or thread goes on."""
    machine.plan(point, "pause")
    mail = cast.author.write(to=[LIST], certificates=[cast.certificate], subject="S", text="x\n")

    def send() -> None:
        with suppress(OSError, smtplib.SMTPException):
            machine.send(mail, cast.author.address, [LIST])

    client = threading.Thread(target=send)
    client.start()
    assert machine.reached(30) is not None
    return client


def goes_out_once(machine: Machine, cast: Cast) -> None:
    """After a start without any command, each reader has the one posting once."""
    machine.start()
    machine.wait_until_delivered()
    assert sorted(one.recipient for one in machine.mail_server.handed) == sorted(cast.readers)
    machine.forget_database()


def test_with_nothing_to_do(machine: Machine) -> None:
    assert ends(machine) < 5


def test_an_open_dialogue_is_told_421_and_nobody_gets_in(machine: Machine) -> None:
    with smtplib.SMTP("127.0.0.1", machine.port, "client.example") as client:
        client.ehlo()
        assert ends(machine) < SECONDS
        assert client.getreply()[0] == 421
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", machine.port))


def test_while_gpg_agent_hangs(machine: Machine, founded: tuple[Machine, Cast]) -> None:
    cast = founded[1]
    client = submitting(machine, cast, BY_NAME["before gpg opens it"])
    for pid in machine.agents():
        programs.suspend(pid)
    machine.go_on()
    assert ends(machine) < SECONDS
    client.join()
    assert machine.totals() == {}


def test_while_the_mail_server_stalls(machine: Machine, founded: tuple[Machine, Cast]) -> None:
    cast = founded[1]
    client = submitting(machine, cast, BY_NAME["before a copy's content"])
    machine.mail_server.mood, machine.mail_server.stall_seconds = "stalls", 60.0
    machine.go_on()
    client.join()
    time.sleep(0.2)
    assert ends(machine) < SECONDS
    assert "leased" not in machine.totals()
    goes_out_once(machine, cast)


def test_while_a_round_is_long(machine: Machine, founded: tuple[Machine, Cast]) -> None:
    machine.plan(BY_NAME["round begins"], "pause")
    assert machine.reached(30) is not None
    assert ends(machine) < SECONDS


def test_while_a_client_of_the_web_is_slow(machine: Machine) -> None:
    with socket.create_connection(("127.0.0.1", machine.web_port)) as client:
        client.sendall(b"GET /login HTTP/1.1\r\nHost: a.example\r\nX-Slow: ")
        assert ends(machine) < SECONDS


def test_a_killed_worker_is_started_again_ever_later(machine: Machine) -> None:
    pauses = []
    for _ in range(3):
        killed = machine.worker()
        assert killed is not None
        machine.kill_process(killed)
        begun = time.monotonic()
        while machine.worker() in (killed, None):
            time.sleep(0.02)
        pauses.append(round(time.monotonic() - begun))
    assert pauses == [1, 2, 4]
