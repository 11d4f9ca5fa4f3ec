"""A TCP proxy that can swallow one direction and cut its connections: it puts loss where a test wants it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

BUFFER_BYTES = 64 * 1024


class CuttingProxy:
    """Between clients and `target` (host:port); used as `async with`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._swallow_requests = False
        self._swallow_answers = False
        self._refuse = False
        self._answers_pass = asyncio.Event()
        self._answers_pass.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def endpoint(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def swallow_requests(self) -> None:
        """From now on nothing reaches the target."""
        self._swallow_requests = True

    def swallow_answers(self) -> None:
        """From now on requests arrive and their answers are lost."""
        self._swallow_answers = True

    def hold_answers(self) -> None:
        """From now on answers wait for `release_answers`."""
        self._answers_pass.clear()

    def release_answers(self) -> None:
        self._answers_pass.set()

    def refuse(self) -> None:
        """Break all connections and every new one until `accept`."""
        self._refuse = True
        self.cut()

    def accept(self) -> None:
        self._refuse = False

    @property
    def connections(self) -> int:
        return len(self._writers) // 2

    def cut(self) -> None:
        """Break all connections; new ones work again."""
        self._swallow_requests = self._swallow_answers = False
        self._answers_pass.set()
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuse:
            return
        try:
            target_reader, target_writer = await asyncio.open_connection(*self._target)
        except OSError:
            return
        both = {writer, target_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, target_writer, answers=False))
                group.create_task(self._pump(target_reader, writer, answers=True))
        finally:
            self._writers -= both

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await reader.read(BUFFER_BYTES):
                if answers:
                    await self._answers_pass.wait()
                if not (self._swallow_answers if answers else self._swallow_requests):
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
