"""A channel that flips a bit in messages on their way: what memory or a middlebox may do on either side of TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc.aio

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]


class FlippingChannel:
    """Passes everything on to `channel`; in messages that have `marked`, its first byte changes by a bit."""

    def __init__(self, channel: grpc.aio.Channel, marked: bytes) -> None:
        self._channel = channel
        self._marked = marked
        self._other = bytes((marked[0] ^ 1,)) + marked[1:]
        self.flipped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_stream(
        self, method: str, request_serializer: Serializer, response_deserializer: Deserializer, **more: Any
    ) -> Any:
        return self._channel.unary_stream(
            method, request_serializer, lambda raw: response_deserializer(self._flip(raw)), **more
        )

    def stream_unary(
        self, method: str, request_serializer: Serializer, response_deserializer: Deserializer, **more: Any
    ) -> Any:
        return self._channel.stream_unary(
            method, lambda message: self._flip(request_serializer(message)), response_deserializer, **more
        )

    def _flip(self, raw: bytes) -> bytes:
        self.flipped += self._marked in raw
        return raw.replace(self._marked, self._other, 1)
