"""Questions to the DNS, each mail's within a time of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import dns.exception
import dns.name
import dns.resolver
from dns.rdatatype import RdataType

from gateway.settings import split_host_port

MAIL_SECONDS = 3.0
"""What all lookups for one mail may take together."""
PAUSE_SECONDS = 60.0
"""For which nothing is asked for mails after the DNS was silent: one a minute waits for it."""
MOST_LOOKUPS = 20
"""For one mail: who writes its header chooses the names."""
_CACHED = 2000


class Names:
    """A resolver that remembers answers for as long as they are good. Shared by threads.

    server: HOST:PORT of a DNS server by its address; "" for those of /etc/resolv.conf.
    """

    def __init__(self, server: str = "", mail_seconds: float = MAIL_SECONDS) -> None:
        self._server = server
        self._mail_seconds = mail_seconds
        self._resolver: dns.resolver.Resolver | None = None
        self._making = threading.Lock()
        self._silent_until = 0.0

    def for_mail(self) -> Callable[[str], Sequence[str]]:
        """Asks for TXT records on behalf of one mail: all of it ends within the mail's seconds.
        Raises TimeoutError where the DNS gives no answer."""
        ends = time.monotonic() + self._mail_seconds
        asked: dict[str, Sequence[str]] = {}

        def texts(name: str) -> Sequence[str]:
            if name in asked:
                return asked[name]
            now = time.monotonic()
            if now >= ends or now < self._silent_until or len(asked) >= MOST_LOOKUPS:
                raise TimeoutError("the DNS is not asked any more")
            try:
                asked[name] = self.texts(name, ends - now)
            except TimeoutError:
                if time.monotonic() >= ends:
                    self._silent_until = time.monotonic() + PAUSE_SECONDS
                raise
            return asked[name]

        return texts

    def texts(self, name: str, seconds: float = MAIL_SECONDS) -> list[str]:
        """The TXT records of a name, the strings of each put together; [] where there are none.
        Raises TimeoutError where no server answers."""
        return [
            b"".join(one.strings).decode("ascii", "replace")
            for one in self._ask(name, RdataType.TXT, seconds)
        ]

    def exchanges(self, name: str, seconds: float = MAIL_SECONDS) -> list[str]:
        """The mail servers of a domain, the preferred ones first. Raises as `texts` does."""
        found = sorted(
            self._ask(name, RdataType.MX, seconds), key=lambda one: (one.preference, one.exchange)
        )
        return [str(one.exchange).rstrip(".").lower() for one in found]

    def is_host(self, name: str, seconds: float = MAIL_SECONDS) -> bool:
        """Whether a name has an address, by itself or as another's. Raises as `texts` does."""
        return any(self._ask(name, kind, seconds) for kind in (RdataType.A, RdataType.AAAA))

    def _ask(self, name: str, kind: RdataType, seconds: float) -> list[Any]:
        try:
            answer = self._ready().resolve(
                name, kind, lifetime=seconds, search=False, raise_on_no_answer=False
            )
            return list(answer.rrset or ())
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.Timeout, dns.resolver.NoResolverConfiguration, OSError):
            raise TimeoutError("no DNS server answers") from None
        except dns.resolver.NoNameservers:
            raise TimeoutError("the DNS servers can't say") from None
        except (dns.exception.DNSException, UnicodeError):
            return []  # no name that anything could have

    def _ready(self) -> dns.resolver.Resolver:
        with self._making:
            if self._resolver is None:
                made = dns.resolver.Resolver(configure=not self._server)
                if self._server:
                    host, port = split_host_port(self._server)
                    made.nameservers, made.port = [host], port
                made.cache = dns.resolver.LRUCache(_CACHED)
                self._resolver = made
            return self._resolver
