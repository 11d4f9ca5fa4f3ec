"""`JsonFace`: answers `/-/api/v1/...` by calling the service that the path means, over gRPC, on a proxy.

There is no route per RPC: `rpcs` finds them in the descriptors, `binding` fills the request, `streams` and
`answers` write what comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from starlette.types import Scope

from shoal.common.v1 import common_pb2
from shoal_core.access import RPC_PERMISSIONS, Permission, Principal, authorize, authorize_rpc
from shoal_core.errors import InvalidArgument
from shoal_core.load import Load, Places
from shoal_core.objects import BucketReference
from shoal_core.rpc import call as call_unary
from shoal_gateway.call import Call
from shoal_gateway.exchange import Exchange, Headers
from shoal_gateway.failures import failure_of
from shoal_gateway.parts import ProxyChannel
from shoal_gateway.rest.errors import RequestTimedOut
from shoal_gateway.transcode.answers import JSON, NoSuchRpc, answer_to, as_json, media_type_of, sized
from shoal_gateway.transcode.binding import fill_request
from shoal_gateway.transcode.limits import JSON_LIMITS, JsonLimits
from shoal_gateway.transcode.rpcs import Rpc, annotated_rpcs, methods
from shoal_gateway.transcode.streams import relay_body, relay_list
from shoal_gateway.transcode.templates import query_bindings

PREFIX = b"/-/api/"


class JsonFace:
    """`proxy` gives the connection to a proxy that is alive, and its name in errors.

    `served` are the RPCs to serve: all of our descriptor set, but for those without a rule.
    """

    def __init__(
        self,
        proxy: ProxyChannel,
        limits: JsonLimits = JSON_LIMITS,
        *,
        served: Iterable[MethodDescriptor] | None = None,
        load: Load | None = None,
    ) -> None:
        self._proxy = proxy
        self._limits = limits
        self._rpcs = annotated_rpcs(methods() if served is None else served)
        self._lists = Places("json-lists", limits.lists, load=load or Load())

    async def __call__(self, call: Call, scope: Scope, exchange: Exchange) -> None:
        found = self._rpcs.find(call.method, call.raw_path)
        if found is None:
            raise NoSuchRpc(f"Could not resolve {call.url_path} to a method.")
        rpc, bindings = found
        authorize_rpc(call.principal, rpc.method)
        request = rpc.request()
        fill_request(
            request,
            body=await limited_body(exchange, self._limits),
            body_field=rpc.body_field,
            bindings=[*bindings, *query_bindings(scope["query_string"])],
        )
        authorize_bucket(call.principal, rpc, request)
        if not rpc.streaming:
            await self._unary(rpc, request, exchange)
        elif rpc.answers_body:
            await relay_body(rpc, request, exchange, proxy=self._proxy, limits=self._limits)
        else:
            await self._list(rpc, request, exchange)

    async def _unary(self, rpc: Rpc, request: Message, exchange: Exchange) -> None:
        channel, peer = self._proxy()
        method: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
            rpc.method,
            request_serializer=rpc.request.SerializeToString,
            response_deserializer=rpc.response.FromString,
        )
        response = await call_unary(
            method, request, timeout_seconds=self._limits.call_seconds, idempotent=rpc.is_read, peer=peer
        )
        if isinstance(response, HttpBody):
            await exchange.answer(200, sized(response.data, media_type_of(response)), response.data)
        else:
            body = as_json(response)
            await exchange.answer(200, sized(body, JSON), body)

    async def _list(self, rpc: Rpc, request: Message, exchange: Exchange) -> None:
        self._lists.take(what="streams of this gateway worker")
        try:
            await relay_list(rpc, request, exchange, proxy=self._proxy, limits=self._limits)
        finally:
            self._lists.give_back()


def json_failure(error: Exception, call: Call) -> tuple[int, Headers, bytes]:
    """The answer to a failed call: status, headers, body."""
    if isinstance(error, NoSuchRpc):
        return answer_to(error, call)
    return answer_to(failure_of(error, call), call)


def authorize_bucket(principal: Principal, rpc: Rpc, request: Message) -> None:
    """The caller must be allowed to do this to the very bucket that the request names, wherever it names it."""
    named = getattr(request, "bucket", None)
    permission = RPC_PERMISSIONS[rpc.method]
    if isinstance(named, common_pb2.BucketReference) and isinstance(permission, Permission):
        reference = BucketReference(named.name, named.provider or "ais", named.namespace)
        authorize(principal, permission, reference)


async def limited_body(exchange: Exchange, limits: JsonLimits) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in exchange.body():
                body += piece
                if len(body) > limits.body_bytes:
                    raise InvalidArgument(
                        f"the body is longer than {limits.body_bytes} bytes, which no method takes"
                    )
    except TimeoutError as error:
        raise RequestTimedOut(f"the body was not complete within {limits.body_seconds:g} s") from error
    return bytes(body)
