"""The gate in front of every RPC: who calls, may they, is there room, how long, and what an error reads like.

One gate belongs to one server, so to one listener, and the listener decides how a caller proves who it is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge, Histogram

from shoal_core.access import ANONYMOUS, LOCAL_ADMINISTRATOR, Principal, authorize_rpc, node_principal
from shoal_core.certificates import identity_of
from shoal_core.error_table import DETAILS_KEY, row_of, to_status
from shoal_core.errors import (
    DataCorrupt,
    DeadlineExceeded,
    InternalError,
    InvalidArgument,
    OutOfSpace,
    ShoalError,
    Unauthenticated,
    Unavailable,
)
from shoal_core.load import Load, Places
from shoal_core.rpc_waits import to_its_end
from shoal_core.telemetry import accepted_request_id, get_logger, request_id

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    Context = grpc.aio.ServicerContext
    Handler = grpc.RpcMethodHandler

REQUEST_ID_KEY = "shoal-request-id"
CONCURRENT_WATCHES_MAX = 1000
UNARY_BYTES = 256 << 10
STREAM_BYTES = 2 << 20
"""What a call may hold at most, in the ordinary case: of a stream a message that comes and one that is worked on."""
WRITE_SECONDS_MAX = 60.0
"""How long a caller may take no message of a stream; then the call ends and frees what it holds."""
LONG_LIVED = frozenset(
    {"/shoal.cluster.v1.ClusterService/WatchClusterMap", "/shoal.chunk.v1.ChunkService/Commit"}
)
"""Streams that stay open for hours; they are counted apart, so that they cannot shut ordinary calls out."""

REQUESTS = Counter("shoal_rpc_requests_total", "Calls served", ["method", "code"])
SECONDS = Histogram("shoal_rpc_seconds", "Time from the call's arrival to its end", ["method"])
IN_FLIGHT = Gauge("shoal_rpc_in_flight", "Calls being served", ["method"], multiprocess_mode="livesum")

_principal: ContextVar[Principal] = ContextVar("principal", default=ANONYMOUS)


class Listener(StrEnum):
    """Whom a server listens to, and so how it knows them."""

    PUBLIC = "public"
    INTERNAL = "internal"
    LOCAL_SOCKET = "local-socket"


def current_principal() -> Principal:
    """Who made the call that this task serves."""
    return _principal.get()


class Gate(grpc.aio.ServerInterceptor):
    """Stands in front of every method of a server."""

    def __init__(
        self,
        *,
        node: str,
        cluster_id: str,
        mode: Listener,
        insecure_anonymous: bool,
        unary_seconds_max: float,
        concurrent_calls_max: int,
        load: Load,
    ) -> None:
        self.node = node
        self._cluster_id = cluster_id
        self._mode = mode
        self._insecure_anonymous = insecure_anonymous
        self._unary_seconds_max = unary_seconds_max
        self._calls = Places("rpc-calls", concurrent_calls_max, load=load, bytes_max=load.share_bytes)
        # They hold next to nothing, and a gateway without its commit stream could finish no write.
        self._watches = Places("rpc-watches", CONCURRENT_WATCHES_MAX, load=Load())
        self._handlers: dict[str, Handler] = {}
        self._log = get_logger()

    async def intercept_service(
        self, continuation: Any, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        method = handler_call_details.method
        wrapped = self._handlers.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._handlers[method] = self._wrapped(method, handler)
        return wrapped

    def authenticate(self, context: Context) -> Principal:
        match self._mode:
            case Listener.LOCAL_SOCKET:
                # The folder's mode lets in this user's processes only, and users' programs use the ports.
                return node_principal("gateway", "this-host")
            case Listener.PUBLIC:
                if self._insecure_anonymous or is_loopback(peer_host(context.peer())):
                    return LOCAL_ADMINISTRATOR
                raise Unauthenticated("in local mode only callers of this host are served")
            case Listener.INTERNAL:
                return self._authenticated_node(context)

    def enter(self, method: str, bytes_held: int) -> None:
        """Count a call that begins, or refuse it. `leave` must follow."""
        self._places_of(method).take(bytes_held, what=f"calls of {self.node}")
        IN_FLIGHT.labels(method).inc()

    def leave(self, method: str, bytes_held: int) -> None:
        self._places_of(method).give_back(bytes_held)
        IN_FLIGHT.labels(method).dec()

    def _places_of(self, method: str) -> Places:
        return self._watches if method in LONG_LIVED else self._calls

    def worded(self, error: Exception, method: str) -> ShoalError:
        """What the caller is told; logged here, once, if somebody should look at it."""
        if isinstance(error, ExceptionGroup):
            error = first_shoal_error(error) or error
        if not isinstance(error, ShoalError):
            self._log.error("internal-error", method=method, exc_info=error)
            return InternalError(f"internal error, request id {request_id.get()}: please report it")
        if isinstance(error, InternalError):
            self._log.error("internal-error", method=method, exc_info=error)
        elif isinstance(error, Unavailable | DataCorrupt | OutOfSpace):
            self._log.warning("call-failed", method=method, kind=type(error).__name__, message=error.message)
        return error

    def _authenticated_node(self, context: Context) -> Principal:
        identity = identity_of(context.auth_context())
        if identity is None:
            raise Unauthenticated("this listener is for nodes, and the certificate names none")
        if identity.cluster_id != self._cluster_id:
            raise Unauthenticated(f"the certificate is of cluster {identity.cluster_id}, not of this one")
        return node_principal(identity.role, identity.member_id)

    def _wrapped(self, method: str, handler: Handler) -> Handler:
        """The same handler behind the gate. Streams are written by hand, so that a cancelled call closes the
        handler's generator at once instead of when it is collected."""
        if handler.response_streaming:
            return self._wrapped_stream(method, handler)
        read = decoding(handler)
        behaviour: Any = handler.stream_unary or handler.unary_unary
        if handler.request_streaming:

            async def stream_unary(requests: Any, context: Context) -> Any:
                async with ServedCall(self, method, context, bytes_held=STREAM_BYTES), closing(requests):
                    return await behaviour(requests, context)

            return grpc.stream_unary_rpc_method_handler(stream_unary, read, handler.response_serializer)

        async def unary_unary(request: bytes, context: Context) -> Any:
            async with ServedCall(self, method, context):
                return await self._within_ceiling(behaviour, read(request), context)

        return grpc.unary_unary_rpc_method_handler(unary_unary, None, handler.response_serializer)

    def _wrapped_stream(self, method: str, handler: Handler) -> Handler:
        read, write = decoding(handler), handler.response_serializer
        behaviour: Any = handler.stream_stream or handler.unary_stream
        if handler.request_streaming:

            async def stream_stream(requests: Any, context: Context) -> None:
                async with ServedCall(self, method, context, bytes_held=STREAM_BYTES), closing(requests):
                    await write_all(behaviour(requests, context), context)

            return grpc.stream_stream_rpc_method_handler(stream_stream, read, write)

        async def unary_stream(request: bytes, context: Context) -> None:
            async with ServedCall(self, method, context, bytes_held=STREAM_BYTES):
                await write_all(behaviour(read(request), context), context)

        return grpc.unary_stream_rpc_method_handler(unary_stream, None, write)

    async def _within_ceiling(self, behaviour: Any, request: Any, context: Context) -> Any:
        try:
            async with asyncio.timeout(self._unary_seconds_max) as ceiling:
                return await behaviour(request, context)
        except TimeoutError as error:
            if not ceiling.expired():
                raise
            raise DeadlineExceeded(
                f"{self.node} could not finish the call in {self._unary_seconds_max:g} s"
            ) from error


class ServedCall:
    """One call from its arrival to its end: identity, permission, count, error, metrics."""

    def __init__(self, gate: Gate, method: str, context: Context, *, bytes_held: int = UNARY_BYTES) -> None:
        self._gate = gate
        self._method = method
        self._context = context
        self._bytes_held = bytes_held
        self._started = time.perf_counter()
        self._entered = False

    async def __aenter__(self) -> None:
        identity = accepted_request_id(offered_request_id(self._context))
        request_id.set(identity)
        self._context.set_trailing_metadata(((REQUEST_ID_KEY, identity),))
        try:
            principal = self._gate.authenticate(self._context)
            _principal.set(principal)
            authorize_rpc(principal, self._method)
            self._gate.enter(self._method, self._bytes_held)
            self._entered = True
        except ShoalError as error:
            await self._fail(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._count("OK")
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            await self._fail(error)
        else:
            # The caller has gone, or the handler has answered by itself.
            self._count("CANCELLED" if isinstance(error, asyncio.CancelledError) else "ABORTED_BY_HANDLER")

    async def _fail(self, error: Exception) -> None:
        worded = self._gate.worded(error, self._method)
        status = to_status(worded, node=self._gate.node)
        code, _ = row_of(type(worded))
        self._count(code.name)
        await self._context.abort(
            code,
            status.message,
            ((REQUEST_ID_KEY, request_id.get()), (DETAILS_KEY, status.SerializeToString())),
        )

    def _count(self, code: str) -> None:
        if self._entered:
            self._entered = False
            self._gate.leave(self._method, self._bytes_held)
        REQUESTS.labels(self._method, code).inc()
        if self._method not in LONG_LIVED:
            SECONDS.labels(self._method).observe(time.perf_counter() - self._started)


def closing(requests: Any) -> aclosing[Any]:
    """Around who reads a caller's messages. Left unread, the library's generator and the call would hold each other,
    and all that came and was not read, until Python's collector has seen them twice."""
    return aclosing(aiter(requests))


async def write_all(produced: Any, context: Context) -> None:
    """Send what a handler yields; a handler that writes by itself is a coroutine and yields nothing."""
    if not isinstance(produced, AsyncIterator):
        await produced
    elif isinstance(produced, AsyncGenerator):
        async with aclosing(produced) as messages:
            async for message in messages:
                await write(message, context)
    else:
        async for message in produced:
            await write(message, context)


async def write(message: Any, context: Context) -> None:
    try:
        async with asyncio.timeout(WRITE_SECONDS_MAX) as deadline:
            await to_its_end(context.write(message))
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise DeadlineExceeded(f"the caller took nothing for {WRITE_SECONDS_MAX:g} s") from error


def decoding(handler: Handler) -> Callable[[bytes], Any]:
    """The handler's decoder, raising our error: gRPC would answer UNKNOWN with the parser's text."""
    decode = handler.request_deserializer

    def decoded(data: bytes) -> Any:
        try:
            return decode(data) if decode is not None else data
        except DecodeError as error:
            raise InvalidArgument("the request is not the protobuf message that this method takes") from error

    return decoded


def first_shoal_error(group: ExceptionGroup[Exception]) -> ShoalError | None:
    """The error that a task group failed with; None when some part of it is not ours and so a bug."""
    ours, others = group.split(ShoalError)
    if ours is None or others is not None:
        return None
    first: Exception = ours
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, ShoalError) else None


def offered_request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str):
            return value
    return ""


def peer_host(peer: str) -> str:
    """The host in gRPC's name of a peer, such as `ipv4:127.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0]


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
