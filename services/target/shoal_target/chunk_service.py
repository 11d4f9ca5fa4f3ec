"""The door for gateways of this host, which write chunk files themselves and send only records to commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

from google.rpc import status_pb2

from shoal.chunk.v1 import chunk_pb2, chunk_pb2_grpc
from shoal_core.decoding import UNDECODABLE
from shoal_core.error_table import to_status
from shoal_core.errors import InternalError, InvalidArgument, ShoalError
from shoal_core.rpc import Context
from shoal_core.telemetry import get_logger
from shoal_store.commit import Commit, CommitTaker, Outcome, decode_commit, encode_info
from shoal_store.read_counts import ReadCounts

ENTRIES_MAX = 256
"""In one message, either way."""
COMMIT_BYTES_MAX = 1 << 20
IN_FLIGHT_MAX = 1024
"""Commits of one stream that wait for the disk; then the stream is not read, which holds the gateway back."""


class ChunkServicer(chunk_pb2_grpc.ChunkServiceServicer):
    """Streams end by themselves once `stopping` is set and everything received has been answered."""

    def __init__(
        self, taker: CommitTaker, *, node: str, stopping: asyncio.Event, counts: ReadCounts | None = None
    ) -> None:
        """`counts` takes what gateways have read."""
        self._taker = taker
        self._counts = counts or ReadCounts()
        self._node = node
        self._stopping = stopping

    async def Commit(
        self, request_iterator: AsyncIterator[chunk_pb2.CommitRequest], context: Context
    ) -> AsyncIterator[chunk_pb2.CommitResponse]:
        # Headers at once: by them the gateway knows that this target is there.
        await context.send_initial_metadata(())
        stream = CommitStream(self._taker, self._counts, node=self._node)
        reader = asyncio.create_task(stream.read(request_iterator))
        stopper = asyncio.create_task(cancel_when(self._stopping, reader))
        try:
            while results := await stream.results():
                yield chunk_pb2.CommitResponse(results=results)
            with suppress(asyncio.CancelledError):
                await reader
        finally:
            reader.cancel()
            stopper.cancel()


class CommitStream:
    """What one gateway process sent and has still to be answered."""

    def __init__(self, taker: CommitTaker, counts: ReadCounts, *, node: str) -> None:
        self._commits = OpenCommits(taker, self._add, node=node)
        self._counts = counts
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._answers: list[chunk_pb2.CommitResult] = []
        self._wake = asyncio.Event()
        self._ended = False

    async def read(self, requests: AsyncIterator[chunk_pb2.CommitRequest]) -> None:
        try:
            async for request in requests:
                entries_min = 0 if request.HasField("reads") else 1
                if not entries_min <= len(request.entries) <= ENTRIES_MAX:
                    raise InvalidArgument(
                        f"a message holds {len(request.entries)} commits; send {entries_min} to {ENTRIES_MAX}"
                    )
                self._counts.add(request.reads.bytes, reads=request.reads.count)
                for entry in request.entries:
                    await self._room.acquire()
                    self._commits.start(entry)
        finally:
            self._ended = True
            self._wake.set()

    async def results(self) -> list[chunk_pb2.CommitResult]:
        """Everything answered since the last call, up to ENTRIES_MAX; empty when there will be no more."""
        while not self._answers:
            if self._ended and not self._commits.open:
                return []
            self._wake.clear()
            await self._wake.wait()
        batch, self._answers = self._answers[:ENTRIES_MAX], self._answers[ENTRIES_MAX:]
        return batch

    def _add(self, result: chunk_pb2.CommitResult) -> None:
        self._answers.append(result)
        self._room.release()
        self._wake.set()


class OpenCommits:
    """Commits that were received on one connection, and their answers as they become known."""

    def __init__(
        self, taker: CommitTaker, on_result: Callable[[chunk_pb2.CommitResult], None], *, node: str
    ) -> None:
        self._taker = taker
        self._on_result = on_result
        self._node = node
        self.open = 0

    def start(self, entry: chunk_pb2.CommitEntry) -> None:
        # Not stopped with the connection: what was received is committed whether or not anybody hears of it.
        self.open += 1
        answer = partial(self._answer, entry.sequence)
        try:
            self._taker.submit(decoded(entry), answer)
        except Exception as error:
            answer(error)

    def _answer(self, sequence: int, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            result = chunk_pb2.CommitResult(sequence=sequence, error=self._worded(outcome))
        else:
            result = chunk_pb2.CommitResult(sequence=sequence, info=encode_info(outcome))
        self.open -= 1
        self._on_result(result)

    def _worded(self, error: Exception) -> status_pb2.Status:
        if not isinstance(error, ShoalError):
            get_logger().error("internal-error", method="Commit", exc_info=error)
            error = InternalError("internal error while committing a record: please report it")
        return to_status(error, node=self._node)


async def cancel_when(event: asyncio.Event, task: asyncio.Task[None]) -> None:
    await event.wait()
    task.cancel()


def decoded(entry: chunk_pb2.CommitEntry) -> Commit:
    if len(entry.commit) > COMMIT_BYTES_MAX:
        raise InvalidArgument(f"a commit of {len(entry.commit)} bytes; at most {COMMIT_BYTES_MAX} are taken")
    try:
        return decode_commit(entry.commit)
    except UNDECODABLE as error:
        raise InvalidArgument(f"a commit that this target cannot read: {error}") from error
