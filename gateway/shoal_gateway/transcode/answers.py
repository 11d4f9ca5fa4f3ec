"""What a JSON caller gets: messages as JSON, failures as `google.rpc.Status`, both worded as Envoy words them.

A request that no RPC can be made of is answered in plain text, as Envoy does: no service has spoken.
"""

from __future__ import annotations

import grpc
import grpc.aio
import msgspec
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import status_pb2

from shoal_core.error_table import CODE_OF_NUMBER, RETRY_AFTER_SECONDS, has_answer, status_of, to_status
from shoal_core.errors import ShoalError
from shoal_gateway.call import Call
from shoal_gateway.exchange import Headers
from shoal_gateway.transcode.values import BadRequest

Code = grpc.StatusCode

HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""The table of gRPC's documents, which Envoy follows."""

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain")
RETRY_AFTER = (b"retry-after", b"%d" % RETRY_AFTER_SECONDS)
TRY_AGAIN = frozenset({429, 503})


class NoSuchRpc(ShoalError):
    """No rule matches the method and path."""


def answer_to(error: ShoalError, call: Call) -> tuple[int, Headers, bytes]:
    """The answer to a failed call: status, headers, body."""
    if isinstance(error, BadRequest | NoSuchRpc):
        status, kind, body = 400 if isinstance(error, BadRequest) else 404, TEXT, error.message.encode()
    else:
        failed = relayed_status(error, node=call.node)
        code = CODE_OF_NUMBER.get(failed.code, Code.UNKNOWN)
        status, kind, body = HTTP_STATUS[code], JSON, as_json(failed)
    headers = sized(body, kind)
    if status in TRY_AGAIN:
        headers.append(RETRY_AFTER)
    return status, headers, b"" if call.method == "HEAD" else body


def media_type_of(body: HttpBody) -> tuple[bytes, bytes]:
    """The header for it. Where a service says none, Envoy leaves JSON's."""
    return (b"content-type", body.content_type.encode("latin-1", "replace")) if body.content_type else JSON


def sized(body: bytes, kind: tuple[bytes, bytes]) -> Headers:
    return [kind, (b"content-length", b"%d" % len(body))]


def relayed_status(error: ShoalError, *, node: str) -> status_pb2.Status:
    """The status that a service gave, unchanged; our own error in the same form."""
    cause = error.__cause__
    if isinstance(cause, grpc.aio.AioRpcError) and has_answer(cause):
        status = status_of(cause)
        assert status is not None, "has_answer has found it"
        return status
    return to_status(error, node=node)


def as_json(message: Message) -> bytes:
    """Fields that are not set are left out, names are lowerCamelCase, 64-bit integers are strings."""
    return msgspec.json.encode(json_format.MessageToDict(message))
