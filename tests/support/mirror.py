"""A gRPC server with every service of ours that remembers what it was asked and answers as it was told.

It stands behind two transcoders, so that a test can compare the very messages that both make of a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import MessageToString
from google.protobuf.timestamp_pb2 import Timestamp

from shoal_core.errors import ShoalError
from shoal_gateway.transcode.binding import descriptor_of
from shoal_gateway.transcode.rpcs import methods

SAMPLES: dict[int, object] = {
    FieldDescriptor.CPPTYPE_STRING: 'é "<&>\n',
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_INT32: -7,
    FieldDescriptor.CPPTYPE_INT64: (1 << 53) + 1,
    FieldDescriptor.CPPTYPE_UINT32: 7,
    FieldDescriptor.CPPTYPE_UINT64: (1 << 64) - 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
    FieldDescriptor.CPPTYPE_FLOAT: 0.25,
}


class Mirror:
    """`error` fails every call; `empty` answers messages without a field; else every field has a value.

    With `stands_still_after` a call says no more after so many messages.
    """

    def __init__(self, served: Iterable[MethodDescriptor] | None = None) -> None:
        self._served = list(methods() if served is None else served)
        self.received: list[tuple[str, Message]] = []
        self.error: ShoalError | None = None
        self.empty = False
        self.stands_still_after: int | None = None

    def calls(self) -> list[tuple[str, str]]:
        """Names and requests since this was last asked for, as text: NaN is not equal to itself."""
        received, self.received = self.received, []
        return [(name, MessageToString(message)) for name, message in received]

    def add_to(self, server: grpc.aio.Server) -> None:
        services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for method in self._served:
            if not method.client_streaming:
                handlers = services.setdefault(method.containing_service.full_name, {})
                handlers[method.name] = self._handler(method)
        for name, handlers in services.items():
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)

        async def unary(message: Message, _context: object) -> Message:
            self._receive(method.name, message)
            await self._answer(0)
            return response() if self.empty else sample(response)

        async def stream(message: Message, _context: object) -> AsyncIterator[Message]:
            self._receive(method.name, message)
            for number in range(0 if self.empty else 2):
                await self._answer(number)
                yield sample(response)

        make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        handler = stream if method.server_streaming else unary
        return make(handler, request.FromString, response.SerializeToString)

    def _receive(self, name: str, message: Message) -> None:
        self.received.append((name, message))
        if self.error is not None:
            raise self.error

    async def _answer(self, number: int) -> None:
        """Returns when that message may be sent."""
        if number == self.stands_still_after:
            await asyncio.get_running_loop().create_future()


def sample(kind: type[Message]) -> Message:
    """A message in which every field has a value that is not its default."""
    if kind is HttpBody:
        return HttpBody(content_type="text/x-sample; charset=utf-8", data=b"\x00bytes\xff")
    message = kind()
    if isinstance(message, Timestamp):
        message.FromMilliseconds(1_700_000_000_123)
        return message
    if isinstance(message, Duration):
        message.FromMilliseconds(-1_500)
        return message
    if isinstance(message, FieldMask):
        message.paths.extend(["a.b", "some_field"])
        return message
    for field in descriptor_of(message).fields:
        set_sample(message, field)
    return message


def set_sample(message: Message, field: FieldDescriptor) -> None:
    held = getattr(message, field.name)
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        set_sample_entry(held, inner)
    elif inner is not None:
        (held.add() if field.is_repeated else held).CopyFrom(sample(GetMessageClass(inner)))
    elif field.is_repeated:
        held.extend([value_of(field)] * 2)
    else:
        setattr(message, field.name, value_of(field))


def set_sample_entry(held: Any, entry: Descriptor) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    if value.message_type is None:
        held[value_of(key)] = value_of(value)
    else:
        held[value_of(key)].CopyFrom(sample(GetMessageClass(value.message_type)))


def value_of(field: FieldDescriptor) -> object:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return b"\x00\xfb\xff" if field.type == FieldDescriptor.TYPE_BYTES else SAMPLES[field.cpp_type]
