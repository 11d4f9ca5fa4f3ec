"""The gRPC servers of one process: bound first, started when all is there to serve, drained."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

import grpc.aio

from shoal_core.certificates import TlsFiles
from shoal_core.errors import ConfigurationError
from shoal_core.load import Load
from shoal_core.rpc import Listener, add_listener, build_server

DRAIN_SECONDS_MAX = 5.0
"""How long calls may go on after the process was asked to stop."""

AddService = Callable[[grpc.aio.Server], None]


class Servers:
    """One server for each listener. `stopping` is set first, so that endless streams can end themselves."""

    def __init__(
        self,
        *,
        node: str,
        cluster_id: str,
        tls: TlsFiles,
        insecure_anonymous: bool = False,
        load: Load | None = None,
    ) -> None:
        self.stopping = asyncio.Event()
        self._node = node
        self._cluster_id = cluster_id
        self._tls = tls
        self._insecure_anonymous = insecure_anonymous
        self._load = load
        self._servers: list[grpc.aio.Server] = []

    def listen(self, mode: Listener, address: str, services: Sequence[AddService]) -> str:
        """Bind; returns the bound address. Raises ConfigurationError when it is taken."""
        if mode is not Listener.LOCAL_SOCKET:
            check_free(address)
        anonymous = self._insecure_anonymous
        server = build_server(
            node=self._node,
            cluster_id=self._cluster_id,
            mode=mode,
            services=services,
            insecure_anonymous=anonymous,
            load=self._load,
        )
        bound = add_listener(server, address, tls=self._tls, mode=mode, insecure_anonymous=anonymous)
        self._servers.append(server)
        return bound

    async def start(self) -> None:
        for server in self._servers:
            await server.start()

    async def stop(self, drain_seconds: float = DRAIN_SECONDS_MAX) -> None:
        """Refuse new calls, let those under way finish, and cut what takes longer."""
        self.stopping.set()
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(server.stop(drain_seconds))


def check_free(address: str) -> None:
    """Try the address before gRPC does, which would say why it failed on stderr in words of its own."""
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigurationError(f"cannot listen on {address}: {reason}; choose another address") from error
