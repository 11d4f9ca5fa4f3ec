"""uvicorn on a socket that all gateway workers of the host share; the kernel deals the connections out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn

from shoal_core.errors import ConfigurationError
from shoal_core.rpc import beyond_loopback
from shoal_gateway.app import GatewayApplication
from shoal_gateway.crowd import Crowd, connections_that_fit
from shoal_gateway.guard import is_loopback
from shoal_gateway.http_protocol import GuardedHttpProtocol
from shoal_gateway.lane.protocol import LaneProtocol

BACKLOG = 2048
CONNECTIONS_MAX = 10_000
KEEP_ALIVE_SECONDS = 65
SHUTDOWN_SECONDS_MAX = 6
DATE_SECONDS = 1.0
"""Between two values of the header `date`."""
FIRST_TICK = 0
"""Of the ten that uvicorn makes a second: the one that sets the date."""


class HttpServer(uvicorn.Server):
    """Stops when `stop` is called, not by signals: the process has more to close than this."""

    def __init__(
        self,
        application: GatewayApplication,
        listener: socket.socket,
        *,
        on_started: Callable[[], None],
        fast_lane: bool = True,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        crowd = Crowd(connections_that_fit(connections_max))
        protocol = partial(LaneProtocol, service=application) if fast_lane else GuardedHttpProtocol
        super().__init__(
            uvicorn.Config(
                application,
                http=partial(protocol, crowd=crowd),  # type: ignore[arg-type]  # is called as a class is
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                # Nobody in front of us: a caller must not choose its own address.
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
                # The request id of one request must not leak into the next of its connection.
                reset_contextvars=True,
            )
        )
        self._application = application
        self._listener = listener
        self._on_started = on_started
        self._stopping = asyncio.Event()

    async def run_until_stopped(self) -> None:
        await self.serve(sockets=[self._listener])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets=sockets)
        self._application.lane_tally.flush()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which wakes ten times a second to look for the end: most of what an idle gateway costs."""
        while not await self.on_tick(FIRST_TICK):
            with suppress(TimeoutError):
                async with asyncio.timeout(DATE_SECONDS):
                    await self._stopping.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening_socket(address: str, *, insecure_anonymous: bool = False) -> socket.socket:
    """A socket bound to `host:port` (port 0 lets the kernel choose) that other workers may bind too."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()):
        raise ConfigurationError(f"cannot listen on {address!r}: write host:port, such as 127.0.0.1:51080")
    if not is_loopback(host) and not insecure_anonymous:
        raise ConfigurationError(beyond_loopback(address))
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted connections inherit it. asyncio would set it only for sockets made with a protocol number, and
        # without it an answer in two pieces waits for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, int(port)))
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {address}: {error}; stop what uses the port or choose another one"
        ) from error
    return listener
