"""The channel to etcd: endpoints, TLS, and its options."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from shoal_core.errors import ConfigurationError
from shoal_core.etcd.calls import StreamMethod, UnaryMethod

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

RESPONSE_BYTES_MAX = 64 << 20

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Also the time one attempt to connect may take: a TLS handshake on a busy machine needs more than 0.1 s.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A member that comes back may have another address; the library's own pause is half a minute.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # etcd refuses pings closer together than 5 s. They find a dead peer under an idle watch.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
    # Clients of one process must not share a connection: closing one would not close it.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for mutual TLS; read once, when the client is made."""

    certificate_authority: Path
    certificate: Path
    key: Path
    server_name: str | None = None
    """Name to expect in every server's certificate; None: the host of the first endpoint."""

    def credentials(self) -> grpc.ChannelCredentials:
        try:
            return grpc.ssl_channel_credentials(
                root_certificates=self.certificate_authority.read_bytes(),
                private_key=self.key.read_bytes(),
                certificate_chain=self.certificate.read_bytes(),
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot read TLS file {error.filename} for etcd: {error.strerror}"
            ) from error


class Connection:
    """One channel to all members; makes typed methods of it."""

    def __init__(self, endpoints: Sequence[str], *, tls: TlsFiles | None) -> None:
        self.name = ",".join(endpoints)
        target = channel_target(endpoints)
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            name = tls.server_name or split_endpoint(endpoints[0])[0]
            options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", name))
            self._channel = grpc.aio.secure_channel(target, tls.credentials(), options=options)

    async def close(self) -> None:
        await self._channel.close()

    def unary(
        self, path: str, request: type[Request], response: type[Response]
    ) -> UnaryMethod[Request, Response]:
        stub = self._channel.unary_unary(
            path, request_serializer=serializer(request), response_deserializer=response.FromString
        )
        return UnaryMethod(self._channel, stub, name=f"{path} at etcd {self.name}")

    def stream(
        self, path: str, request: type[Request], response: type[Response]
    ) -> StreamMethod[Request, Response]:
        stub = self._channel.stream_stream(
            path, request_serializer=serializer(request), response_deserializer=response.FromString
        )
        return StreamMethod(stub, name=f"{path} at etcd {self.name}")


def serializer(_request: type[Request]) -> Callable[[Request], bytes]:
    return lambda message: message.SerializeToString()


def channel_target(endpoints: Sequence[str]) -> str:
    """The gRPC target for `host:port` endpoints: addresses as one list, a single name for DNS to resolve."""
    if not endpoints:
        raise ConfigurationError("no etcd endpoint is configured; give at least one host:port")
    pairs = [split_endpoint(endpoint) for endpoint in endpoints]
    versions = {address_version(host) for host, _ in pairs}
    if versions == {4}:
        return "ipv4:" + ",".join(f"{host}:{port}" for host, port in pairs)
    if versions == {6}:
        return "ipv6:" + ",".join(f"[{host}]:{port}" for host, port in pairs)
    if len(pairs) == 1:
        return f"dns:///{pairs[0][0]}:{pairs[0][1]}"
    raise ConfigurationError(
        f"etcd endpoints {', '.join(endpoints)}: give either IP addresses of one kind or one DNS name "
        "that resolves to all members"
    )


def split_endpoint(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise ConfigurationError(f"etcd endpoint {endpoint!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def address_version(host: str) -> int | None:
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None
