"""One client-streaming call with deadlines, which tells why the server ended it early.

When a server answers in the middle of an upload, the write in progress fails inside grpc.aio, which then puts
"INTERNAL: Internal error from Core" in the place of the server's status (seen in 3 of 4 early refusals). The
true status is there either before that or after it, so both are looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from shoal_core.error_table import from_rpc_error
from shoal_core.errors import DeadlineExceeded, InternalError, ShoalError
from shoal_core.rpc import translate_errors

Request = TypeVar("Request")
Response = TypeVar("Response")
T = TypeVar("T")


class Upload(Generic[Request, Response]):
    """Write messages, then `finish`. Raises ShoalErrors; `cancel` makes the server forget all of it."""

    def __init__(
        self, call: grpc.aio.StreamUnaryCall[Request, Response], *, peer: str, idle_seconds: float
    ) -> None:
        self._call = call
        self._peer = peer
        self._idle_seconds = idle_seconds
        self._first_status: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._keep_first_status)

    async def write(self, message: Request) -> None:
        """Returns when the connection has room for more, which is the back-pressure of a slow server."""
        with translate_errors(self._peer):
            try:
                async with asyncio.timeout(self._idle_seconds):
                    await self._call.write(message)
            except TimeoutError as error:
                raise self._too_slow("took no data") from error
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                raise await self._refusal() from error

    async def finish(self) -> Response:
        with translate_errors(self._peer):
            try:
                async with asyncio.timeout(self._idle_seconds):
                    await self._call.done_writing()
                    return await self._call
            except TimeoutError as error:
                raise self._too_slow("did not confirm the upload") from error

    def cancel(self) -> None:
        self._call.cancel()

    async def _refusal(self) -> ShoalError:
        try:
            async with asyncio.timeout(self._idle_seconds):
                await self._call
        except TimeoutError:
            return self._too_slow("broke off without a status")
        except grpc.aio.AioRpcError as error:
            first = self._first_status
            masked = first is not None and first.code() is not grpc.StatusCode.INTERNAL
            return from_rpc_error(first if first is not None and masked else error, peer=self._peer)
        return InternalError(f"{self._peer} confirmed an upload before its end; please report this")

    def _too_slow(self, what: str) -> DeadlineExceeded:
        self._call.cancel()
        return DeadlineExceeded(f"{self._peer} {what} for {self._idle_seconds:g} seconds", peer=self._peer)

    def _keep_first_status(self, call: Any) -> None:
        """Runs at the moment the status arrives, when these coroutines have nothing to wait for."""
        self._first_status = grpc.aio.AioRpcError(
            at_once(call.code()),
            at_once(call.initial_metadata()),
            at_once(call.trailing_metadata()),
            details=at_once(call.details()),
        )


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that is known not to wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("the status of a call that is done was not there at once")
