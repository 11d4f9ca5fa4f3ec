"""Calls to etcd with deadlines, and the rule of what may be tried again.

A read is tried again until its deadline. A write is tried again only as long as it is certain that etcd has
not taken it (no connection yet, no leader, too many requests); after that it happens once, and when its
answer does not come the caller learns so as `OutcomeUnknown`.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Generic, TypeVar

import grpc
import grpc.aio

from shoal_core.errors import (
    ConfigurationError,
    ControlPlaneDown,
    InvalidArgument,
    LeaseLost,
    OutOfSpace,
    ShoalError,
)
from shoal_core.etcd.values import OutcomeUnknown, RevisionCompacted

Request = TypeVar("Request")
Response = TypeVar("Response")

BACKOFF_SECONDS_MIN = 0.02
BACKOFF_SECONDS_MAX = 1.0
ATTEMPT_SECONDS_MIN = 0.5
# A member cut off from the quorum refuses at once instead of letting the call hang on it.
NEEDS_LEADER = (("hasleader", "true"),)
# How the details begin or read when etcd (or gRPC before it) has certainly not taken the request.
REFUSALS = ("failed to connect", "dns resolution failed", "no leader", "too many requests")


class Backoff:
    """Pauses that double from 20 ms to 1 s, with jitter; `reset` after a success."""

    def __init__(self, seconds_max: float = BACKOFF_SECONDS_MAX) -> None:
        self._seconds = BACKOFF_SECONDS_MIN
        self._seconds_max = seconds_max

    def reset(self) -> None:
        self._seconds = BACKOFF_SECONDS_MIN

    async def pause(self, *, until: float | None = None) -> None:
        """Sleep, but not past `until` on the monotonic clock."""
        seconds = self._seconds * random.uniform(0.5, 1.0)
        self._seconds = min(self._seconds * 2, self._seconds_max)
        if until is not None:
            seconds = min(seconds, until - time.monotonic())
        await asyncio.sleep(max(0.0, seconds))


class UnaryMethod(Generic[Request, Response]):
    """One request, one answer."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        stub: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        *,
        name: str,
    ) -> None:
        self._channel = channel
        self._stub = stub
        self._name = name

    async def repeatable(
        self, request: Request, timeout_seconds: float, *, needs_leader: bool = True
    ) -> Response:
        """For reads, and for changes that may happen twice without harm."""
        deadline = time.monotonic() + timeout_seconds
        # One silent member must not use up the time in which another could answer.
        attempt_seconds_max = max(ATTEMPT_SECONDS_MIN, timeout_seconds / 3)
        metadata = NEEDS_LEADER if needs_leader else ()
        backoff = Backoff()
        while True:
            seconds = min(attempt_seconds_max, deadline - time.monotonic())
            try:
                return await self._stub(request, timeout=max(seconds, 0.001), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                if not is_transient(error) or time.monotonic() >= deadline:
                    raise self._translated(error) from error
            await backoff.pause(until=deadline)

    async def once(self, request: Request, timeout_seconds: float) -> Response:
        """For changes that must not happen twice. OutcomeUnknown: nobody can say what came of it."""
        deadline = time.monotonic() + timeout_seconds
        backoff = Backoff()
        while True:
            await self._wait_until_connected(deadline)
            try:
                return await self._stub(
                    request, timeout=max(deadline - time.monotonic(), 0.001), metadata=NEEDS_LEADER
                )
            except grpc.aio.AioRpcError as error:
                refused = is_refusal(error)
                if not refused and is_ambiguous(error):
                    raise OutcomeUnknown(
                        f"{self._name} gave no answer ({describe(error)}): the change may have happened; "
                        "read it back"
                    ) from error
                if not refused or time.monotonic() >= deadline:
                    raise self._translated(error) from error
            await backoff.pause(until=deadline)

    async def _wait_until_connected(self, deadline: float) -> None:
        backoff = Backoff(seconds_max=0.1)
        while self._channel.get_state(try_to_connect=True) is not grpc.ChannelConnectivity.READY:
            if time.monotonic() >= deadline:
                raise ControlPlaneDown(f"{self._name}: no member answers; nothing was changed, try again")
            await backoff.pause(until=deadline)

    def _translated(self, error: grpc.aio.AioRpcError) -> ShoalError:
        return translated(error, self._name)


class StreamMethod(Generic[Request, Response]):
    """Opens two-way streams."""

    def __init__(self, stub: grpc.aio.StreamStreamMultiCallable[Request, Response], *, name: str) -> None:
        self._stub = stub
        self._name = name

    async def open(self, first: Request, timeout_seconds: float) -> Stream[Request, Response]:
        stream = Stream(self._stub(metadata=NEEDS_LEADER), self._name)
        try:
            await stream.send(first, timeout_seconds)
        except BaseException:
            stream.cancel()
            raise
        return stream


class Stream(Generic[Request, Response]):
    """An open two-way stream. After any error it is dead: cancel it and open another."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Request, Response], name: str) -> None:
        # Written and read by hand: a request generator leaves pending tasks when the server dies.
        self._call = call
        self._name = name

    async def send(self, message: Request, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._call.write(message)
        except TimeoutError as error:
            raise ControlPlaneDown(f"{self._name} takes no message for {timeout_seconds:g} s") from error
        except asyncio.InvalidStateError as error:
            raise ControlPlaneDown(f"{self._name}: the stream was closed by etcd") from error
        except grpc.aio.AioRpcError as error:
            raise translated(error, self._name) from error

    async def receive(self, timeout_seconds: float | None) -> Response:
        """The next message. None waits for as long as keepalive pings of the channel are answered."""
        try:
            async with asyncio.timeout(timeout_seconds):
                message = await self._call.read()
        except TimeoutError as error:
            raise ControlPlaneDown(f"{self._name} sends no answer for {timeout_seconds:g} s") from error
        except grpc.aio.AioRpcError as error:
            raise translated(error, self._name) from error
        # The type of EOF is private to grpc, so the check is by identity and mypy cannot follow it.
        if message is grpc.aio.EOF:
            raise ControlPlaneDown(f"{self._name}: the stream was closed by etcd")
        return message  # type: ignore[return-value]

    def cancel(self) -> None:
        self._call.cancel()


def is_refusal(error: grpc.aio.AioRpcError) -> bool:
    """Whether nothing can have happened and the same request may well succeed soon."""
    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return False
    details = (error.details() or "").lower()
    return any(refusal in details for refusal in REFUSALS)


def is_ambiguous(error: grpc.aio.AioRpcError) -> bool:
    return error.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
    )


def is_transient(error: grpc.aio.AioRpcError) -> bool:
    return is_refusal(error) or is_ambiguous(error)


def describe(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"


def translated(error: grpc.aio.AioRpcError, name: str) -> ShoalError:
    details = error.details() or ""
    what = f"{name}: {describe(error)}"
    match error.code():
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "space" in details:
            return OutOfSpace(f"{what}; compact and defragment etcd, then disarm its NOSPACE alarm")
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidArgument(what)
        case grpc.StatusCode.OUT_OF_RANGE if "future" in details:
            return InvalidArgument(what)
        case grpc.StatusCode.OUT_OF_RANGE:
            return RevisionCompacted(f"{what}; list again")
        case grpc.StatusCode.NOT_FOUND if "lease" in details:
            return LeaseLost(f"{what}; the lease has ended, take a new one")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return ConfigurationError(f"{what}; etcd refuses this process's certificate or user")
        case _:
            return ControlPlaneDown(what)
