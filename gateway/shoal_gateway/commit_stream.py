"""The long-lived stream on which this gateway hands records to a target of its host, which alone commits.

While one message is being written, new commits gather; they leave together in the next one. So many
writers cost few messages, and the target commits their records in few transactions.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import random
from collections import deque
from dataclasses import dataclass

import grpc.aio

from shoal.chunk.v1.chunk_pb2 import CommitEntry, CommitRequest, CommitResponse, CommitResult
from shoal.chunk.v1.chunk_pb2_grpc import ChunkServiceStub
from shoal_core.error_table import from_status
from shoal_core.errors import DeadlineExceeded, OwnerUnreachable, ShoalError, TooBusy
from shoal_core.objects import ObjectInfo
from shoal_core.rpc import stream_metadata, translate_errors
from shoal_core.telemetry import get_logger
from shoal_store.commit import Commit, decode_info, encode_commit

ENTRIES_MAX = 256
"""In one message, as the proto demands."""
MESSAGE_BYTES_TARGET = 1 << 20
PENDING_MAX = 1024
CONNECT_SECONDS_MAX = 5.0
COMMIT_SECONDS_MAX = 30.0
PAUSE_SECONDS_MIN = 0.05
PAUSE_SECONDS_MAX = 0.5

Stream = grpc.aio.StreamStreamCall[CommitRequest, CommitResponse]


@dataclass(slots=True)
class Pending:
    """One commit on its way."""

    entry: CommitEntry
    answer: asyncio.Future[ObjectInfo]
    sent: bool = False


class CommitStream:
    """Implements the store's `Committer`. `connected` says that the target process is there, so that its
    disks may be read (docs/decisions/0005)."""

    def __init__(self, channel: grpc.aio.Channel, *, target: str) -> None:
        self._stub = ChunkServiceStub(channel)
        self._target = target
        self._sequences = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._unsent: deque[Pending] = deque()
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        self._tried = asyncio.Event()

    def start(self) -> None:
        # Outlives the request that caused it, so it must not log that one's id for ever.
        self._running = asyncio.create_task(
            self._run(), name=f"commit-stream-{self._target}", context=contextvars.Context()
        )

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def wait_first_connection(self) -> None:
        """Returns when the first attempt to connect has succeeded or failed; later ones are not waited for."""
        if not self._tried.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._tried.wait(), 2 * CONNECT_SECONDS_MAX)

    def require_connected(self) -> None:
        if not self.connected.is_set():
            raise OwnerUnreachable(
                f"target {self._target} is not running; its objects come back with it: repeat shortly",
                peer=self._target,
            )

    async def commit(self, commit: Commit) -> ObjectInfo:
        """Raises what the target answers. A commit that was sent and not answered may have happened: the
        error then carries the metadata `outcome="unknown"`, and the files that it names must stay."""
        self.require_connected()
        if len(self._pending) >= PENDING_MAX:
            raise TooBusy(f"{PENDING_MAX} writes wait for target {self._target} already: repeat shortly")
        sequence = next(self._sequences)
        entry = CommitEntry(sequence=sequence, commit=encode_commit(commit))
        pending = Pending(entry, asyncio.get_running_loop().create_future())
        self._pending[sequence] = pending
        self._unsent.append(pending)
        self._wake.set()
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                return await pending.answer
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"target {self._target} did not commit within {COMMIT_SECONDS_MAX:g} s; "
                "the write may yet happen",
                outcome="unknown",
            ) from error
        finally:
            self._pending.pop(sequence, None)

    async def _run(self) -> None:
        pause_seconds = PAUSE_SECONDS_MIN
        while True:
            try:
                await self._serve_connection()
            except ShoalError as error:
                if self.connected.is_set():
                    get_logger().warning("commit-stream-lost", target=self._target, message=error.message)
            if self.connected.is_set():
                pause_seconds = PAUSE_SECONDS_MIN
            self._disconnect()
            self._tried.set()
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.5))
            pause_seconds = min(pause_seconds * 2, PAUSE_SECONDS_MAX)

    async def _serve_connection(self) -> None:
        """Connect, then write and read until the stream ends; raises what ended it."""
        with translate_errors(f"target {self._target}"):
            stream = self._stub.Commit(metadata=stream_metadata())
            try:
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    await stream.wait_for_connection()
            except TimeoutError:
                stream.cancel()
                return
            self.connected.set()
            self._tried.set()
            get_logger().info("commit-stream-connected", target=self._target)
            writing = asyncio.create_task(self._write_all(stream))
            try:
                await self._read_all(stream)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                stream.cancel()

    async def _write_all(self, stream: Stream) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while entries := self._next_entries():
                await stream.write(CommitRequest(entries=entries))

    def _next_entries(self) -> list[CommitEntry]:
        entries: list[CommitEntry] = []
        size = 0
        while self._unsent and len(entries) < ENTRIES_MAX and size < MESSAGE_BYTES_TARGET:
            pending = self._unsent.popleft()
            if pending.answer.done():
                # Its writer has given up before it left.
                continue
            pending.sent = True
            entries.append(pending.entry)
            size += len(pending.entry.commit)
        return entries

    async def _read_all(self, stream: Stream) -> None:
        while isinstance(response := await stream.read(), CommitResponse):
            for result in response.results:
                self._answer(result)
        # Raises the status with which the target ended the stream, if it was not a clean end.
        code = await stream.code()
        if code is not grpc.StatusCode.OK:
            raise OwnerUnreachable(f"target {self._target} ended the commit stream: {await stream.details()}")

    def _answer(self, result: CommitResult) -> None:
        pending = self._pending.get(result.sequence)
        if pending is None or pending.answer.done():
            return
        if result.WhichOneof("outcome") == "info":
            pending.answer.set_result(decode_info(result.info))
        else:
            pending.answer.set_exception(from_status(result.error))

    def _disconnect(self) -> None:
        """Nothing more will be answered: what was sent may have been committed, the rest was not."""
        self.connected.clear()
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(self._lost(pending))
        self._unsent.clear()
        self._wake.clear()

    def _lost(self, pending: Pending) -> OwnerUnreachable:
        if pending.sent:
            return OwnerUnreachable(
                f"target {self._target} went away before it answered; the write may have happened: repeat it",
                peer=self._target,
                outcome="unknown",
            )
        return OwnerUnreachable(
            f"target {self._target} went away: repeat the write shortly", peer=self._target
        )
