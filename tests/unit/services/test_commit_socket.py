"""Both ends of the quick way of commits, with a target that answers when the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio
import pytest

from shoal.chunk.v1.chunk_pb2_grpc import add_ChunkServiceServicer_to_server
from shoal_core.errors import OwnerUnreachable, PreconditionFailed
from shoal_core.frames import commit_socket_of
from shoal_core.objects import ObjectInfo, Version
from shoal_gateway.commit_stream import CommitStream
from shoal_store.commit import Answer, Commit
from shoal_target import commit_socket as module
from shoal_target.chunk_service import ChunkServicer
from shoal_target.commit_socket import commit_socket
from support.waiting import eventually


@dataclass
class Taker:
    """Keeps what came."""

    waiting: list[tuple[Commit, Answer]] = field(default_factory=list)

    def submit(self, commit: Commit, answer: Answer) -> None:
        self.waiting.append((commit, answer))

    def answer_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for commit, answer in waiting:
            answer(info_of(commit.name))


def info_of(name: str) -> ObjectInfo:
    return ObjectInfo(name, 0, Version(b"v"), 1, "e", None, 0, "text/plain", {})


def commit_of(name: str) -> Commit:
    return Commit("delete", b"bucketid", 0, name, 0)


@dataclass
class Ends:
    stream: CommitStream
    taker: Taker
    target: AsyncExitStack
    """Left when the target stops."""
    frames: Path


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    taker, server, stopping = Taker(), grpc.aio.server(), asyncio.Event()
    # Unix socket paths end at 107 bytes, which pytest's folders exceed.
    with TemporaryDirectory(prefix="shoal-") as folder:
        unix_socket = Path(folder) / "t.sock"
        frames = commit_socket_of(unix_socket)
        add_ChunkServiceServicer_to_server(ChunkServicer(taker, node="t1", stopping=stopping), server)
        server.add_insecure_port(f"unix:{unix_socket}")
        await server.start()
        async with AsyncExitStack() as target, grpc.aio.insecure_channel(f"unix:{unix_socket}") as channel:
            await target.enter_async_context(commit_socket(frames, taker, node="t1"))
            stream = CommitStream(channel, target="t1", socket=frames)
            stream.start()
            await stream.connected.wait()
            yield Ends(stream, taker, target, frames)
            await stream.close()
            stopping.set()
        await server.stop(None)


async def test_commits_of_one_turn_go_together_and_each_has_its_answer(ends: Ends) -> None:
    answers = [ends.stream.commit(commit_of(f"n{number}")) for number in range(600)]
    await eventually(lambda: len(ends.taker.waiting) == 600)
    ends.taker.answer_all()
    assert [(await answer).name for answer in answers] == [f"n{number}" for number in range(600)]


async def test_a_commit_does_not_wait_for_the_answer_of_another(ends: Ends) -> None:
    first = ends.stream.commit(commit_of("first"))
    await eventually(lambda: len(ends.taker.waiting) == 1)
    second = ends.stream.commit(commit_of("second"))
    await eventually(lambda: len(ends.taker.waiting) == 2)
    ends.taker.answer_all()
    assert [(await answer).name for answer in (first, second)] == ["first", "second"]


async def test_a_refusal_arrives_as_what_it_is(ends: Ends) -> None:
    refused = ends.stream.commit(commit_of("a"))
    await eventually(lambda: len(ends.taker.waiting) == 1)
    ends.taker.waiting.pop()[1](PreconditionFailed("another etag"))
    with pytest.raises(PreconditionFailed):
        await refused


async def test_a_target_that_stops_answers_first_what_it_has_received(ends: Ends) -> None:
    answer = ends.stream.commit(commit_of("a"))
    await eventually(lambda: len(ends.taker.waiting) == 1)
    stopping = asyncio.create_task(ends.target.aclose())
    await asyncio.sleep(0)
    ends.taker.answer_all()
    assert (await answer).name == "a"
    await stopping
    assert not ends.frames.exists()


async def test_of_what_a_target_did_not_answer_nobody_knows_whether_it_happened(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_SECONDS_MAX", 0.0)
    answer = ends.stream.commit(commit_of("a"))
    await eventually(lambda: len(ends.taker.waiting) == 1)
    await ends.target.aclose()
    with pytest.raises(OwnerUnreachable) as caught:
        await answer
    assert caught.value.metadata["outcome"] == "unknown"
    ends.taker.answer_all()


async def test_without_the_socket_commits_go_by_grpc(ends: Ends) -> None:
    await ends.target.aclose()
    await eventually(lambda: not ends.stream.connected.is_set())
    await ends.stream.connected.wait()
    answer = ends.stream.commit(commit_of("a"))
    await eventually(lambda: len(ends.taker.waiting) == 1)
    ends.taker.answer_all()
    assert (await answer).name == "a"


async def test_a_message_without_commits_ends_the_connection(ends: Ends) -> None:
    reader, writer = await asyncio.open_unix_connection(str(ends.frames))
    writer.write(bytes(4))
    async with asyncio.timeout(10):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
    writer.close()


async def test_a_gateway_that_goes_away_takes_no_commit_with_it(ends: Ends) -> None:
    answer = ends.stream.commit(commit_of("a"))
    await eventually(lambda: len(ends.taker.waiting) == 1)
    await ends.stream.close()
    with pytest.raises(OwnerUnreachable):
        await answer
    ends.taker.answer_all()
