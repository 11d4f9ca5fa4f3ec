"""How the processes of a cluster call each other: gRPC servers that check every call, and channels to them.

Each service listens in up to three ways (docs/decisions/0004): to users with TLS, to nodes with mutual TLS,
to processes of its host on a Unix socket. `build_server` makes a server for one of them; the gate in front of
all its methods (`rpc_gate`) knows the caller, checks the permission, bounds the work and words the error.
"""

from __future__ import annotations

import asyncio
import random
import stat
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import grpc.aio

from shoal_core.certificates import TlsFiles
from shoal_core.error_table import from_rpc_error, has_answer
from shoal_core.errors import ConfigurationError, OwnerUnreachable, ShoalError, Unavailable
from shoal_core.load import Load
from shoal_core.rpc_gate import (
    CONCURRENT_WATCHES_MAX,
    REQUEST_ID_KEY,
    Context,
    Gate,
    Listener,
    current_principal,
    is_loopback,
)
from shoal_core.telemetry import accepted_request_id, request_id

__all__ = [
    "Channels",
    "Context",
    "Listener",
    "add_listener",
    "beyond_loopback",
    "build_server",
    "call",
    "current_principal",
    "stream_metadata",
    "translate_errors",
]

Request = TypeVar("Request")
Response = TypeVar("Response")

MESSAGE_BYTES_MAX = (4 << 20) + (64 << 10)
METADATA_BYTES_MAX = 32 << 10
UNARY_SECONDS_MAX = 120.0
"""A unary call that takes longer is stuck; its caller gets DEADLINE_EXCEEDED even when it set no deadline."""
CONCURRENT_CALLS_MAX = 1000
ATTEMPTS_MAX = 4
PAUSE_SECONDS_MIN = 0.05
UNIX_SOCKET_PATH_BYTES_MAX = 107

SHARED_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
    # A frame of a body goes as one, not in 64 of 16 KiB, each a record of its own under TLS.
    ("grpc.http2.max_frame_size", 1 << 20),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
SERVER_OPTIONS = (
    *SHARED_OPTIONS,
    # Without this a second process could bind the same port, and the kernel would share the callers out.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_concurrent_streams", CONCURRENT_CALLS_MAX),
)
CHANNEL_OPTIONS = (
    *SHARED_OPTIONS,
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The time one attempt to connect may take, whatever its name says.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


def build_server(
    *,
    node: str,
    cluster_id: str,
    mode: Listener,
    services: Sequence[Callable[[grpc.aio.Server], None]],
    insecure_anonymous: bool = False,
    unary_seconds_max: float = UNARY_SECONDS_MAX,
    concurrent_calls_max: int = CONCURRENT_CALLS_MAX,
    load: Load | None = None,
) -> grpc.aio.Server:
    """A server for one listener. Each of `services` adds its handlers, as `add_...Servicer_to_server` does.

    Handlers raise `ShoalError`s; whatever else they raise becomes INTERNAL without its text.
    """
    gate = Gate(
        node=node,
        cluster_id=cluster_id,
        mode=mode,
        insecure_anonymous=insecure_anonymous,
        unary_seconds_max=unary_seconds_max,
        concurrent_calls_max=concurrent_calls_max,
        load=load or Load(),
    )
    server = grpc.aio.server(
        interceptors=[gate],
        options=SERVER_OPTIONS,
        # Messages are read before the gate can count the call, so this bounds their memory.
        maximum_concurrent_rpcs=2 * CONCURRENT_CALLS_MAX + CONCURRENT_WATCHES_MAX,
    )
    for add in services:
        add(server)
    return server


def add_listener(
    server: grpc.aio.Server,
    address: str,
    *,
    tls: TlsFiles | None,
    mode: Listener,
    insecure_anonymous: bool = False,
) -> str:
    """Bind `host:port` (port 0 lets the kernel choose) or `unix:/path`; returns the bound address."""
    if mode is Listener.LOCAL_SOCKET:
        check_socket_path(Path(address.removeprefix("unix:")))
        bind(address, lambda: server.add_insecure_port(address))
        return address
    if tls is None:
        raise ConfigurationError(f"{mode} listener {address} needs TLS files")
    host, _, _ = address.rpartition(":")
    if mode is Listener.PUBLIC and not is_loopback(host) and not insecure_anonymous:
        raise ConfigurationError(beyond_loopback(address))
    credentials = tls.server_credentials(demand_node_certificate=mode is Listener.INTERNAL)
    port = bind(address, lambda: server.add_secure_port(address, credentials))
    return f"{host}:{port}"


def beyond_loopback(address: str) -> str:
    """What is said to who wants to serve users of other machines while nobody can prove who he is."""
    return (
        f"cannot listen on {address}: there is no AuthN yet, so everybody who reaches it would be an "
        "administrator; listen on loopback such as 127.0.0.1, or give --insecure-anonymous if only machines "
        "that you trust can reach it"
    )


class Channels:
    """Connections to other processes, one for each address, kept until `close`."""

    def __init__(self, tls: TlsFiles | None) -> None:
        """`tls` of a node for internal listeners, of the authority alone for public ones; None: sockets."""
        self._credentials = tls.channel_credentials() if tls else None
        self._channels: dict[str, grpc.aio.Channel] = {}

    def get(self, address: str) -> grpc.aio.Channel:
        """The channel to `host:port` or `unix:/path`; connects at the first call, and again when broken."""
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._made(address)
        return channel

    async def retain(self, addresses: Collection[str]) -> None:
        """Close the channels to all other addresses: members that restart may come back under new ports."""
        gone = [address for address in self._channels if address not in addresses]
        for channel in [self._channels.pop(address) for address in gone]:
            await channel.close()

    async def close(self) -> None:
        await self.retain(())

    def _made(self, address: str) -> grpc.aio.Channel:
        if address.startswith("unix:"):
            return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        if self._credentials is None:
            raise ConfigurationError(f"no TLS files to call {address} with; only Unix sockets work without")
        return grpc.aio.secure_channel(address, self._credentials, options=CHANNEL_OPTIONS)


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    timeout_seconds: float,
    idempotent: bool = False,
    peer: str = "",
) -> Response:
    """Make a unary call; raises `ShoalError`s. `peer` names the other side in errors of the connection.

    An idempotent call is tried up to four times while the connection fails; an answer of the peer stands.
    """
    deadline = time.monotonic() + timeout_seconds
    metadata = stream_metadata()
    pause_seconds = PAUSE_SECONDS_MIN
    for attempts_left in reversed(range(ATTEMPTS_MAX if idempotent else 1)):
        try:
            with translate_errors(peer):
                return await method(
                    request, timeout=max(0.001, deadline - time.monotonic()), metadata=metadata
                )
        except Unavailable as error:
            wait_seconds = pause_seconds * random.uniform(0.5, 1.5)
            if not attempts_left or is_answer(error) or time.monotonic() + wait_seconds >= deadline:
                raise
        await asyncio.sleep(wait_seconds)
        pause_seconds *= 2
    raise AssertionError("the last attempt returns or raises")


def stream_metadata() -> tuple[tuple[str, str], ...]:
    """Metadata for every call: the id of the request that this task works for, or a new one."""
    return ((REQUEST_ID_KEY, accepted_request_id(request_id.get())),)


class translate_errors:
    """Turns what grpc.aio raises inside the block into `ShoalError`s.

    A channel that is closed under a call makes grpc raise CancelledError in a task that nobody cancelled;
    that becomes Unavailable. A write to a stream that the peer has ended becomes OwnerUnreachable: await the
    call (or read from it) inside the block to learn the peer's reason.
    """

    def __init__(self, peer: str) -> None:
        self._peer = peer or "peer"

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, ShoalError):
            return
        if isinstance(error, grpc.aio.AioRpcError):
            raise from_rpc_error(error, peer=self._peer) from error
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling() == 0:
                raise Unavailable(f"the connection to {self._peer} was closed during the call") from error
        if isinstance(error, asyncio.InvalidStateError | grpc.aio.UsageError):
            raise OwnerUnreachable(f"{self._peer} has ended the call: {error}", peer=self._peer) from error


def is_answer(error: ShoalError) -> bool:
    return isinstance(error.__cause__, grpc.aio.AioRpcError) and has_answer(error.__cause__)


def check_socket_path(path: Path) -> None:
    if len(bytes(path)) > UNIX_SOCKET_PATH_BYTES_MAX:
        raise ConfigurationError(
            f"socket path {path} is longer than {UNIX_SOCKET_PATH_BYTES_MAX} bytes; use a shorter folder"
        )
    try:
        mode = path.parent.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"cannot use the folder of socket {path}: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(
            f"folder {path.parent} of the node socket is open to other users; run chmod 700 on it"
        )


def bind(address: str, add: Callable[[], int]) -> int:
    try:
        port = add()
    except RuntimeError as error:
        raise ConfigurationError(
            f"cannot listen on {address}: it is taken or not an address of this host; choose another"
        ) from error
    if port == 0:
        raise ConfigurationError(f"cannot listen on {address}: it is taken; choose another")
    return port
