"""The two directions of one HTTP exchange, with a deadline on every step of both.

A client that sends nothing or takes nothing for the idle time is cut off, so that it cannot hold a request
slot, an open object or a half-written file for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from starlette.types import Message, Receive, Send

from shoal_core.errors import SizeMismatch
from shoal_core.objects import BodyBytes
from shoal_core.patience import PROGRESS_BYTES_MIN, Patience
from shoal_gateway.call import Call
from shoal_gateway.large_body import LargeBody
from shoal_gateway.rest.errors import RequestTimedOut

Headers = list[tuple[bytes, bytes]]


class Sending(Protocol):
    """A part of a body on its way, as `piece_sending.PieceSending`."""

    @property
    def left(self) -> int: ...

    def sent_at_once(self) -> bool: ...

    async def send(self) -> None: ...


SendPieces = Callable[[Sequence[BodyBytes]], Sending]
"""Of a body whose length was not announced."""
AWAITED_BYTES = 64 << 10
TakeBody = Callable[[], LargeBody | None]
"""None: not now; what is there comes by ASGI's `receive`."""
Unsent = Callable[[], int]
"""Bytes that were given to the connection and not taken by the client yet."""


class ClientGone(SizeMismatch):
    """The connection ended before the body did, its own or that of the answer."""


class Exchange:
    """ASGI's `receive` and `send` with deadlines, and a memory of what was answered so far."""

    def __init__(
        self,
        call: Call,
        receive: Receive,
        send: Send,
        *,
        idle_timeout_seconds: float,
        take_body: TakeBody | None = None,
        send_pieces: SendPieces | None = None,
        unsent: Unsent | None = None,
    ) -> None:
        self.call = call
        self.started = False
        self.status = 0
        self.common_headers: Headers = [(b"x-request-id", call.request_id.encode())]
        """Added to every answer."""
        self._receive = receive
        self._send = send
        self._patience = Patience(idle_timeout_seconds)
        self._unsent = unsent or (lambda: 0)
        self._take_body = take_body
        self._send_pieces = send_pieces
        self._expects_continue = call.headers.get("expect", "").lower() == "100-continue"

    async def write_pieces(self, pieces: Sequence[BodyBytes]) -> None:
        """As `write` with more to come, without copying them together first where that can be spared."""
        if self._send_pieces is None:
            await self.write(b"".join(pieces), more=True)
        else:
            # A client that takes all at once must not keep the loop from everybody else.
            await asyncio.sleep(0)
            sending = self._send_pieces(pieces)
            if not sending.sent_at_once():
                await self._patiently(sending.send, left=lambda: sending.left)

    async def receive(self) -> Message:
        self._expects_continue = False
        self._patience.begin()
        try:
            async with asyncio.timeout(self._patience.seconds):
                message = await self._receive()
        except TimeoutError as error:
            raise self._timed_out() from error
        if self._patience.is_out(len(message.get("body", b""))) and message.get("more_body", False):
            raise self._timed_out()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = [*message.get("headers", ()), *self.common_headers]
            if self._expects_continue:
                # The client was not told to go on, and whether it sends its body now nobody knows.
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        if len(message.get("body", b"")) > AWAITED_BYTES and not message.get("more_body", False):
            # The end goes out alone, once the client has taken most of the rest: what waits for it belongs to a
            # request that is still counted.
            rest = {**message, "more_body": True}
            await self._patiently(lambda: self._send(rest))
            message = {"type": message["type"], "body": b"", "more_body": False}
        await self._patiently(lambda: self._send(message))

    async def _patiently(
        self, write: Callable[[], Awaitable[None]], *, left: Callable[[], int] = lambda: 0
    ) -> None:
        """`write` waits until the client has taken most of what it has. A wait that was given up can be begun again for
        a client that is slow and steady: what was not written by then is `left`."""
        seconds = self._patience.seconds
        while True:
            unsent = self._unsent() + left()
            try:
                async with asyncio.timeout(seconds):
                    return await write()
            except TimeoutError as error:
                if unsent - self._unsent() - left() < PROGRESS_BYTES_MIN:
                    raise RequestTimedOut(
                        f"the client took less than {PROGRESS_BYTES_MIN} bytes in {seconds:g} s"
                    ) from error

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives. Raises ClientGone when the connection ends first."""
        while True:
            if self._take_body is not None and (large := self._take_body()) is not None:
                async for piece in self._pieces(large):
                    yield piece
                return
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise client_gone()
            if piece := message.get("body", b""):
                yield piece
            if not message.get("more_body", False):
                return

    async def _pieces(self, large: LargeBody) -> AsyncIterator[bytes]:
        try:
            while large.left:
                self._patience.begin()
                try:
                    piece = await large.receive(idle_timeout_seconds=self._patience.seconds)
                except TimeoutError as error:
                    raise self._timed_out() from error
                if not piece:
                    raise client_gone()
                if self._patience.is_out(len(piece)) and large.left:
                    raise self._timed_out()
                yield piece
        finally:
            large.close()

    def _timed_out(self) -> RequestTimedOut:
        return RequestTimedOut(
            f"less than {PROGRESS_BYTES_MIN} bytes of the body came in {self._patience.seconds:g} s: "
            "send it without such pauses"
        )

    async def start(self, status: int, headers: Headers) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        await self.start(status, headers)
        await self.write(body, more=False)

    async def wait_disconnected(self) -> None:
        """Returns when the client has gone (or the answer is complete)."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def client_gone() -> ClientGone:
    return ClientGone("the connection ended before the body was complete: nothing was stored")


def client_gone_in_answer() -> ClientGone:
    return ClientGone("the connection ended in the middle of the answer")
