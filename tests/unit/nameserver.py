"""A DNS server on loopback for tests, with the zone that it is given."""

from __future__ import annotations

import socket
import threading
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.zone
from dns.name import Name
from dns.rdataset import Rdataset


class NameServer:
    """Answers over UDP from one zone. asked: names, lower case, each as often as it was asked for.

    silent: takes questions and never answers. failing: answers SERVFAIL.
    """

    def __init__(self, origin: str, zone: str, *, silent: bool = False) -> None:
        self.asked: list[str] = []
        self.silent = silent
        self.failing = False
        self._zone = dns.zone.from_text(zone, origin=origin, relativize=False, check_origin=False)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            asked = query.question[0]
            self.asked.append(str(asked.name).rstrip(".").lower())
            if not self.silent:
                answer = self._answer(query, asked.name, asked.rdtype)
                self._socket.sendto(answer.to_wire(), client)

    def _answer(
        self, query: dns.message.Message, name: Name, kind: dns.rdatatype.RdataType
    ) -> dns.message.Message:
        answer = dns.message.make_response(query, recursion_available=True)
        if self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer
        while (alias := self._found(name, dns.rdatatype.CNAME)) is not None:
            answer.answer.append(dns.rrset.from_rdata_list(name, alias.ttl, list(alias)))
            name = alias[0].target
        found = self._found(name, kind)
        if found is not None:
            answer.answer.append(dns.rrset.from_rdata_list(name, found.ttl, list(found)))
        elif not answer.answer and self._zone.get_node(name) is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def _found(self, name: Name, kind: dns.rdatatype.RdataType) -> Rdataset | None:
        origin = self._zone.origin
        if origin is None or not name.is_subdomain(origin):
            return None
        return self._zone.get_rdataset(name, kind)
