"""uvicorn's HTTP protocol, with limits on slow and endless headers and a way to cut a connection."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shoal_gateway.app import ABORT_KEY

HEADER_SECONDS_MAX = 20.0
HEADER_BYTES_MAX = 64 << 10
HEADERS_MAX = 128


class TooManyHeaders(Exception):
    """Raised inside the parser, which answers 400 and closes."""


class GuardedHttpProtocol(HttpToolsProtocol):
    """Headers must be complete in time and small; bodies have their deadlines in `Exchange`."""

    _header_timer: asyncio.TimerHandle | None = None
    _in_headers = False
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_headers = self._in_headers
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_headers and self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES_MAX:
                self._refuse_headers()
        elif self.cycle is None or self.cycle.response_complete:
            # Bytes came, but no request yet (empty lines): they must not keep the connection for ever.
            self._arm_header_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._header_bytes = 0
        self._arm_header_timer()
        self.scope[ABORT_KEY] = self.transport.abort  # type: ignore[literal-required]  # ours

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS_MAX:
            raise TooManyHeaders
        # Blanks after a value are not of it (RFC 9110, 5.5); the parser leaves them there.
        super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._disarm_header_timer()
        super().on_headers_complete()

    def _arm_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS_MAX, self._headers_too_slow)

    def _disarm_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_too_slow(self) -> None:
        self._header_timer = None
        self.transport.abort()

    def _refuse_headers(self) -> None:
        self.transport.write(STATUS_LINE[431] + b"connection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()
