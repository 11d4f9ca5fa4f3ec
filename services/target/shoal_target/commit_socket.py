"""The commits of this host's gateways over a Unix socket of their own: the messages of `ChunkService.Commit` in frames.

The gRPC stream that each gateway holds open beside it still says whether this target is there, and takes the commits of
gateways that know no other way.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.protobuf.message import DecodeError

from shoal.chunk.v1.chunk_pb2 import CommitRequest, CommitResponse, CommitResult
from shoal_core.errors import PermissionDenied
from shoal_core.frames import Frames
from shoal_core.telemetry import get_logger
from shoal_store.commit import CommitTaker
from shoal_target.chunk_service import ENTRIES_MAX, IN_FLIGHT_MAX, OpenCommits
from shoal_target.descriptor_socket import check_peer, listening

DRAIN_SECONDS_MAX = 5.0
"""How long commits may take that were received before the target was asked to stop."""


@asynccontextmanager
async def commit_socket(path: Path, taker: CommitTaker, *, node: str) -> AsyncIterator[None]:
    """Takes commits until it is left; what was received by then is answered first."""
    connections = set[CommitConnection]()
    loop = asyncio.get_running_loop()
    with listening(path) as listener:
        server = await loop.create_unix_server(
            lambda: CommitConnection(taker, connections, node=node), sock=listener
        )
        try:
            yield
        finally:
            server.close()
            for connection in connections:
                connection.finish()
            if ended := [connection.ended for connection in connections]:
                await asyncio.wait(ended, timeout=DRAIN_SECONDS_MAX)
            for connection in connections:
                connection.transport.abort()


class CommitConnection(Frames):
    """What one gateway process sends, and is answered."""

    def __init__(self, taker: CommitTaker, all: set[CommitConnection], *, node: str) -> None:
        super().__init__(self._take)
        self._all = all
        self._commits = OpenCommits(taker, self._add, node=node)
        self._results: list[CommitResult] = []
        self._is_paused = False
        self._is_finishing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        try:
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
                check_peer(connection)
        except PermissionDenied as error:
            get_logger().warning("commit-socket-refused", reason=error.message)
            self.transport.abort()
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.discard(self)

    def finish(self) -> None:
        """Takes nothing more, and ends when all is answered."""
        self._is_finishing = True
        self.transport.pause_reading()
        if not self._commits.open:
            self.transport.close()

    def _take(self, frame: bytes) -> None:
        try:
            request = CommitRequest.FromString(frame)
        except DecodeError:
            return self.transport.abort()
        if self._is_finishing or not 0 < len(request.entries) <= ENTRIES_MAX:
            return self.transport.abort()
        for entry in request.entries:
            self._commits.start(entry)
        if self._commits.open > IN_FLIGHT_MAX and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()

    def _add(self, result: CommitResult) -> None:
        """The answers of a round leave together."""
        if not self._results:
            asyncio.get_running_loop().call_soon(self._flush)
        self._results.append(result)

    def _flush(self) -> None:
        results, self._results = self._results, []
        if self.transport.is_closing():
            return
        for start in range(0, len(results), ENTRIES_MAX):
            response = CommitResponse(results=results[start : start + ENTRIES_MAX])
            self.send(response.SerializeToString())
        if self._is_finishing and not self._commits.open:
            self.transport.close()
        elif self._is_paused and self._commits.open <= IN_FLIGHT_MAX // 2:
            self._is_paused = False
            self.transport.resume_reading()
