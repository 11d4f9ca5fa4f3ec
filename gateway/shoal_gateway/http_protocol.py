"""uvicorn's HTTP protocol, with limits on slow and endless headers, and ways to cut a connection and to take a body."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shoal_core.objects import BodyBytes
from shoal_gateway.app import ABORT_KEY, CROWD_KEY, REST_KEY, SEND_PIECES_KEY, TAKE_BODY_KEY, UNSENT_KEY
from shoal_gateway.crowd import Crowd
from shoal_gateway.exchange import client_gone_in_answer
from shoal_gateway.large_body import LARGE_BYTES_MIN, LargeBody
from shoal_gateway.leaving import Leaving
from shoal_gateway.piece_sending import PieceSending
from shoal_gateway.resting import Resting
from shoal_gateway.unsent import unsent_in_kernel

HEADER_SECONDS_MAX = 20.0
HEADER_BYTES_MAX = 64 << 10
HEADERS_MAX = 128


class TooManyHeaders(Exception):
    """Raised inside the parser, which answers 400 and closes."""


class GuardedHttpProtocol(HttpToolsProtocol):
    """Headers must be complete in time and small; bodies have their deadlines in `Exchange`."""

    is_admitted = True
    """Unless there are too many connections: then every request of this one is refused."""
    _answered_at = 0.0
    """When the connection was made, or its last answer ended."""
    _leaves = False
    """It was told to make room."""
    _leaving: Leaving | None = None
    _resting: Resting | None = None
    _header_timer: asyncio.TimerHandle | None = None
    _in_headers = False
    _header_bytes = 0
    _body_left = 0
    """Of the request that the parser is in; never more than is still to come."""
    _large_body: LargeBody | None = None
    """While it is there, the parser gets nothing."""
    _beside: socket.socket | None = None
    """The connection under a descriptor of our own, made when it is first needed."""
    _pieces: PieceSending | None = None
    """While a batch leaves: the last that were sent beside the transport."""
    _unread = 0
    """Bytes of a large body that nobody wants any more."""

    def __init__(self, *arguments: Any, crowd: Crowd, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._crowd = crowd

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answered_at = time.monotonic()
        self._arm_header_timer()
        if self._crowd.is_overrun(len(self.connections)):
            self._crowd.limit.refuse()
            transport.abort()
        else:
            # The set holds our own protocols alone.
            self.is_admitted = self._crowd.admits(self.connections, len(self.connections))  # type: ignore[arg-type]

    def idle_since(self) -> float | None:
        idle = not self._in_headers and (self.cycle is None or self.cycle.response_complete)
        return self._answered_at if idle and not self.transport.is_closing() else None

    def make_room(self) -> None:
        self._leaves = True
        self.transport.close()
        self._watch_leaving()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._leaves:
            self._crowd.left()
        self._disarm_header_timer()
        if self._leaving is not None:
            self._leaving.end()
        if self._resting is not None:
            self._resting.cancel()
        if self._large_body is not None:
            self._large_body.lose()
        if self._pieces is not None:
            self._pieces.lose()
        if self._beside is not None:
            self._beside.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._unread and not (data := self._after_unread(data)):
            return
        assert self._large_body is None, "the transport is paused while somebody else reads the connection"
        was_in_headers = self._in_headers
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_headers and self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES_MAX:
                self._refuse_headers(431, b"the headers are longer than %d bytes" % HEADER_BYTES_MAX)
        elif self.cycle is None or self.cycle.response_complete:
            # Bytes came, but no request yet (empty lines): they must not keep the connection for ever.
            self._arm_header_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers = True
        self._header_bytes = 0
        self._arm_header_timer()
        self.scope[ABORT_KEY] = self.transport.abort  # type: ignore[literal-required]  # ours
        self.scope[UNSENT_KEY] = self._unsent  # type: ignore[literal-required]  # ours
        self.scope[REST_KEY] = self._rest  # type: ignore[literal-required]  # ours
        if not self.is_admitted:
            self.scope[CROWD_KEY] = self._crowd.limit  # type: ignore[literal-required]  # ours

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS_MAX:
            raise TooManyHeaders
        # Blanks after a value are not of it (RFC 9110, 5.5); the parser leaves them there.
        super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._disarm_header_timer()
        self._body_left = announced_length(self.headers)
        if self._body_left >= LARGE_BYTES_MIN and not self.parser.should_upgrade():
            self.scope[TAKE_BODY_KEY] = partial(self._take_body, self.scope)  # type: ignore[literal-required]  # ours
        super().on_headers_complete()
        cycle = self.cycle
        if (
            self._body_left
            and cycle.scope is self.scope
            and self.scope["method"] == "GET"
            and self.transport.get_extra_info("sslcontext") is None
        ):
            # Only a batch is asked for by a GET with a body; others are spared the price of this.
            self.scope[SEND_PIECES_KEY] = partial(self._send_pieces, cycle)  # type: ignore[literal-required]  # ours

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        self._answered_at = time.monotonic()
        if self._large_body is not None:
            self._large_body.close()
        if self._pieces is not None:
            self._pieces = None
            self.transport.set_write_buffer_limits()
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_leaving()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_leaving()

    def _rest(self) -> None:
        if self.transport.is_closing():
            return
        if self._resting is None:
            self._resting = Resting(self.flow)
        self._resting.begin()

    def _watch_leaving(self) -> None:
        if self._leaving is None:
            transport = self.transport
            self._leaving = Leaving(
                waiting=transport.get_write_buffer_size, unsent=self._unsent, abort=transport.abort
            )
            self._leaving.watch()

    def _unsent(self) -> int:
        connection = self.transport.get_extra_info("socket")
        kernel = unsent_in_kernel(connection.fileno()) if connection is not None else 0
        return self.transport.get_write_buffer_size() + kernel

    def beside(self) -> socket.socket:
        """The connection, for what is sent past uvloop's transport. Closed with it."""
        if self._beside is None:
            self._beside = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        return self._beside

    def _send_pieces(self, cycle: RequestResponseCycle, pieces: Sequence[BodyBytes]) -> PieceSending:
        """`exchange.SendPieces`: as the cycle sends a body, but what the pieces hold is copied by the kernel alone."""
        assert cycle.chunked_encoding, "the length of the body was not announced"
        if cycle.disconnected or self.transport.is_closing():
            raise client_gone_in_answer()
        if self._pieces is None:
            # What the transport still has must be known to the last byte.
            self.transport.set_write_buffer_limits(0)
        self._pieces = PieceSending(
            self.beside(), pieces, is_clear=self._is_clear, clear=partial(self._cleared, cycle)
        )
        return self._pieces

    def _is_clear(self) -> bool:
        return not self.transport.get_write_buffer_size()

    async def _cleared(self, cycle: RequestResponseCycle) -> None:
        """Until the transport has nothing to send."""
        while not cycle.disconnected and not self._is_clear():
            if self.flow.write_paused:
                await self.flow.drain()
            else:
                await asyncio.sleep(0)
        if cycle.disconnected:
            raise client_gone_in_answer()

    def _take_body(self, scope: Any) -> LargeBody | None:
        """What is still to come of this request's body, if that is worth it and nothing waits to be taken before it."""
        cycle = self.cycle
        connection = self.transport.get_extra_info("socket")
        if (
            cycle.scope is not scope
            or cycle.body
            or cycle.waiting_for_100_continue
            or self._body_left < LARGE_BYTES_MIN
            or self._large_body is not None
            or self.transport.is_closing()
            or connection is None
            or self.transport.get_extra_info("sslcontext") is not None
        ):
            return None
        self.flow.pause_reading()
        self._large_body = LargeBody(
            connection.fileno(), self._body_left, on_close=self._on_large_body_closed
        )
        return self._large_body

    def _on_large_body_closed(self) -> None:
        """The parser has not seen the end of the request, so the next one gets a new parser."""
        assert self._large_body is not None
        self._unread, self._large_body, self._body_left = self._large_body.left, None, 0
        self.cycle.more_body = self._unread > 0
        if not self.transport.is_closing():
            self.parser = new_parser(self)
            self.flow.resume_reading()

    def _after_unread(self, data: bytes) -> bytes:
        rest = data[self._unread :]
        self._unread -= len(data) - len(rest)
        self.cycle.more_body = self._unread > 0
        return rest

    def _arm_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS_MAX, self._headers_too_slow)

    def _disarm_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_too_slow(self) -> None:
        """Who has begun a request is told why; who never said anything is a connection made in advance."""
        self._header_timer = None
        if self._in_headers:
            self._refuse_headers(408, b"the headers were not complete within %d s" % HEADER_SECONDS_MAX)
        else:
            self.transport.close()

    def _refuse_headers(self, status: int, reason: bytes) -> None:
        head = b"connection: close\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(reason)
        self.transport.write(STATUS_LINE[status] + head + reason)
        self.transport.close()


def announced_length(headers: list[tuple[bytes, bytes]]) -> int:
    """0 when there is none. The parser has refused what is ambiguous, or no number."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0


def new_parser(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    """As uvicorn makes its first."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
