"""The long-lived stream on which this gateway hands records to a target of its host, which alone commits.

The stream is a gRPC call, which says whether the target is there, and beside it a Unix socket with frames
(`shoal_core.frames`), by which commits leave as they come.

By the gRPC call itself, where there is no such socket, a commit leaves at once when no other is unanswered. While one
is, new commits gather, and leave together when an answer comes: such a message costs more than a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import random
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from shoal.chunk.v1.chunk_pb2 import CommitEntry, CommitRequest, CommitResponse, CommitResult, ReadsDone
from shoal.chunk.v1.chunk_pb2_grpc import ChunkServiceStub
from shoal_core.error_table import from_status
from shoal_core.errors import DeadlineExceeded, OwnerUnreachable, ShoalError
from shoal_core.frames import Frames
from shoal_core.load import Limit
from shoal_core.objects import ObjectInfo
from shoal_core.rpc import stream_metadata, translate_errors
from shoal_core.telemetry import get_logger
from shoal_store.commit import Commit, decode_info, encode_commit
from shoal_store.read_counts import ReadCounts

ENTRIES_MAX = 256
"""In one message, as the proto demands."""
MESSAGE_BYTES_TARGET = 1 << 20
PENDING_MAX = 1024
CONNECT_SECONDS_MAX = 5.0
COMMIT_SECONDS_MAX = 30.0
EXPIRY_SECONDS = 1.0
"""Between two looks for commits that took too long."""
HOLD_SECONDS_MAX = 0.005
"""How long a commit waits for the answer of another at most: that one may be held up by another disk."""
TELL_SECONDS = 1.0
"""Between two messages about what was read."""
PAUSE_SECONDS_MIN = 0.05
PAUSE_SECONDS_MAX = 0.5

Stream = grpc.aio.StreamStreamCall[CommitRequest, CommitResponse]


@dataclass(slots=True)
class Pending:
    """One commit on its way."""

    sequence: int
    commit: bytes
    answer: asyncio.Future[ObjectInfo]
    deadline: float
    """On the event loop's clock."""
    sent: bool = False


class CommitStream:
    """Implements the store's `Committer`. `connected` says that the target process is there, so that its
    disks may be read (docs/decisions/0005)."""

    def __init__(self, channel: grpc.aio.Channel, *, target: str, socket: Path | None = None) -> None:
        """`socket` is the quick way, which a target of an older version has not."""
        self._stub = ChunkServiceStub(channel)
        self._target = target
        self._socket = socket
        self._frames: Frames | None = None
        """The quick way, while there is one."""
        self._leaving = False
        self._limit = Limit("writes-pending", PENDING_MAX)
        self._sequences = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._unsent: deque[Pending] = deque()
        self._wake = asyncio.Event()
        """There is something that may leave."""
        self._unanswered = 0
        """Sent on this connection."""
        self._hold: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self.reads = ReadCounts()
        """Of the target's disks by this process; the target is told once a second."""
        self._writing = asyncio.Lock()
        """One message at a time goes into the gRPC call."""
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
        self._disconnect()

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

    def commit(self, commit: Commit) -> asyncio.Future[ObjectInfo]:
        """Fails with what the target answers. A commit that was sent and not answered may have happened: the
        error then carries the metadata `outcome="unknown"`, and the files that it names must stay."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ObjectInfo] = loop.create_future()
        try:
            self.require_connected()
            self._require_room()
        except ShoalError as error:
            answer.set_exception(error)
            return answer
        now = loop.time()
        pending = Pending(next(self._sequences), encode_commit(commit), answer, now + COMMIT_SECONDS_MAX)
        self._pending[pending.sequence] = pending
        self._unsent.append(pending)
        if self._expiry is None:
            self._expiry = loop.call_at(now + EXPIRY_SECONDS, self._expire)
        if self._frames is not None:
            self._leave_soon(loop)
        elif not self._unanswered:
            self._wake.set()
        elif self._hold is None:
            self._hold = loop.call_at(now + HOLD_SECONDS_MAX, self._wake.set)
        return answer

    def _leave_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """With all others that come in this turn of the loop."""
        if not self._leaving:
            self._leaving = True
            loop.call_soon(self._leave)

    def _leave(self) -> None:
        self._leaving = False
        while self._frames is not None and (entries := self._next_entries()):
            self._frames.send(CommitRequest(entries=entries).SerializeToString())

    def _require_room(self) -> None:
        if len(self._pending) >= PENDING_MAX:
            raise self._limit.refusal(
                f"{PENDING_MAX} writes wait for target {self._target} already: repeat shortly"
            )

    def _expire(self) -> None:
        """One timer for all commits: they came in the order in which they time out."""
        loop = asyncio.get_running_loop()
        self._expiry = None
        while self._pending:
            pending = next(iter(self._pending.values()))
            if loop.time() < pending.deadline:
                self._expiry = loop.call_later(EXPIRY_SECONDS, self._expire)
                return
            del self._pending[pending.sequence]
            if not pending.answer.done():
                pending.answer.set_exception(self._too_slow())

    def _too_slow(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"target {self._target} did not commit within {COMMIT_SECONDS_MAX:g} s; the write may yet happen",
            outcome="unknown",
        )

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
            self._frames = await self._opened()
            self.connected.set()
            self._tried.set()
            get_logger().info("commit-stream-connected", target=self._target)
            if self._frames is not None:
                return await self._serve_frames(stream, self._frames)
            tasks = [
                asyncio.create_task(each) for each in (self._write_all(stream), self._tell_reads(stream))
            ]
            try:
                await self._read_all(stream)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                stream.cancel()

    async def _opened(self) -> Frames | None:
        if self._socket is None:
            return None
        loop = asyncio.get_running_loop()
        # It is there at once or not at all: where too many wait already, the kernel refuses.
        with contextlib.suppress(OSError):
            _, frames = await loop.create_unix_connection(lambda: Frames(self._take), str(self._socket))
            return frames
        return None

    async def _serve_frames(self, stream: Stream, frames: Frames) -> None:
        """Until either connection ends. The gRPC call tells of reads alone, and notices a process that stands still."""
        reading, telling = asyncio.ensure_future(stream.read()), asyncio.create_task(self._tell_reads(stream))
        ends: list[asyncio.Future[Any]] = [frames.ended, reading]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not frames.ended.done() and await stream.code() is grpc.StatusCode.OK:
                # It stops, and answers what it has received.
                await asyncio.wait([frames.ended], timeout=COMMIT_SECONDS_MAX)
        finally:
            frames.transport.abort()
            stream.cancel()
            reading.cancel()
            telling.cancel()
            await asyncio.gather(reading, telling, return_exceptions=True)
        raise OwnerUnreachable(f"target {self._target} ended the commit stream", peer=self._target)

    def _take(self, frame: bytes) -> None:
        for result in CommitResponse.FromString(frame).results:
            self._answer(result)

    async def _write_all(self, stream: Stream) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._hold is not None:
                self._hold.cancel()
                self._hold = None
            while entries := self._next_entries():
                self._unanswered += len(entries)
                async with self._writing:
                    await stream.write(CommitRequest(entries=entries))

    async def _tell_reads(self, stream: Stream) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            if self.reads.reads:
                taken = self.reads.take()
                reads = ReadsDone(count=taken.reads, bytes=taken.read_bytes)
                async with self._writing:
                    await stream.write(CommitRequest(reads=reads))

    def _next_entries(self) -> list[CommitEntry]:
        entries: list[CommitEntry] = []
        size = 0
        while self._unsent and len(entries) < ENTRIES_MAX and size < MESSAGE_BYTES_TARGET:
            pending = self._unsent.popleft()
            if pending.answer.done():
                # Its writer has given up before it left.
                self._pending.pop(pending.sequence, None)
                continue
            pending.sent = True
            entries.append(CommitEntry(sequence=pending.sequence, commit=pending.commit))
            size += len(pending.commit)
        return entries

    async def _read_all(self, stream: Stream) -> None:
        while isinstance(response := await stream.read(), CommitResponse):
            self._unanswered -= len(response.results)
            if self._unsent:
                self._wake.set()
            for result in response.results:
                self._answer(result)
        # Raises the status with which the target ended the stream, if it was not a clean end.
        code = await stream.code()
        if code is not grpc.StatusCode.OK:
            raise OwnerUnreachable(f"target {self._target} ended the commit stream: {await stream.details()}")

    def _answer(self, result: CommitResult) -> None:
        pending = self._pending.pop(result.sequence, None)
        if pending is None or pending.answer.done():
            return
        if result.WhichOneof("outcome") == "info":
            pending.answer.set_result(decode_info(result.info))
        else:
            pending.answer.set_exception(from_status(result.error))

    def _disconnect(self) -> None:
        """Nothing more will be answered: what was sent may have been committed, the rest was not."""
        self.connected.clear()
        self._frames = None
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(self._lost(pending))
        self._pending.clear()
        self._unsent.clear()
        self._unanswered = 0
        self._wake.clear()
        for timer in (self._hold, self._expiry):
            if timer is not None:
                timer.cancel()
        self._hold = self._expiry = None

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
