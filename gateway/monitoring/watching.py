"""A server's monitoring as one thing: what measures, what is asked, and where it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.app import App
from gateway.intake.door import Door, Reception
from gateway.monitoring.health import Health
from gateway.monitoring.listener import Listener
from gateway.monitoring.measuring import MeasuredReception, measured
from gateway.monitoring.metrics import Child, Metrics
from gateway.settings import split_host_port


class Monitoring:
    """children and doors: as they are when it is asked. app: to be used in place of the one given,
    so that openings and commits are measured."""

    def __init__(
        self,
        app: App,
        children: Callable[[], Sequence[Child]],
        doors: Callable[[], Sequence[Door]],
    ) -> None:
        self._where = app.config.monitoring.listen
        with_tls = app.config.smtp.tls_listen
        self._tls_port = split_host_port(with_tls)[1] if with_tls else None
        self._doors = doors
        self._metrics = Metrics(app, children, lambda: self._health.findings())
        self._health = Health(app, self._addresses, children, self._metrics.look)
        self.app = measured(app, self._metrics)
        self._listener: Listener | None = None

    def reception(self, behind: Reception) -> Reception:
        """The same, counted."""
        return MeasuredReception(behind, self._metrics)

    def open(self, announce: Callable[[str], None]) -> None:
        """Listen, where that is set, and count from now on. Raises UsageError."""
        if self._where:
            self._metrics.look()
            self._listener = Listener(self._where, self._metrics.registry, self._health.findings)
            host, port = self._listener.address
            announce(f"listening: monitoring {host}:{port}")

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def _addresses(self) -> list[tuple[str, int, bool]]:
        return [(*one.address, one.address[1] == self._tls_port) for one in self._doors()]
