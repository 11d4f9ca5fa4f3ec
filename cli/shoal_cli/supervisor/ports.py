"""Ports on 127.0.0.1: whether one is free, and which to take for listeners that nobody types."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from shoal_core.errors import ConfigurationError

EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_PORT = 20_000
ATTEMPTS_MAX = 1000


class PortChooser:
    """Gives each listener another free port, below those that the kernel lends to outgoing connections.

    A port of the kernel's own range could be lent to some connection while its listener is being restarted.
    """

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self._end = max(first_ephemeral_port(), FIRST_PORT + 2000)

    def choose(self, *, preferred: int) -> int:
        candidates = [preferred] if preferred else []
        candidates += [random.randrange(FIRST_PORT, self._end) for _ in range(ATTEMPTS_MAX)]
        for port in candidates:
            if port not in self.taken and is_free(port):
                self.taken.add(port)
                return port
        raise ConfigurationError(
            f"no free port found on 127.0.0.1 between {FIRST_PORT} and {self._end}; stop some of the programs "
            "that listen there (`ss -ltn`)"
        )


def is_free(port: int) -> bool:
    return trouble_with(port) is None


def trouble_with(port: int) -> OSError | None:
    """Why nothing can listen there; None when something can."""
    with socket.socket() as probe:
        # Connections of an earlier listener in TIME_WAIT do not matter; another listener fails even so.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            return error
        return None


def first_ephemeral_port() -> int:
    try:
        return int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
