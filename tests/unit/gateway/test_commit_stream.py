"""The gateway's end of the commit stream, with a target that answers when the test says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import grpc.aio
import pytest

from shoal.chunk.v1.chunk_pb2 import CommitEntry, CommitRequest, CommitResponse, CommitResult
from shoal.chunk.v1.chunk_pb2_grpc import ChunkServiceServicer, add_ChunkServiceServicer_to_server
from shoal_core.errors import DeadlineExceeded, OwnerUnreachable, TooBusy
from shoal_core.objects import ObjectInfo, Version
from shoal_core.rpc import Context
from shoal_gateway import commit_stream
from shoal_gateway.commit_stream import CommitStream
from shoal_store.commit import Commit, decode_commit, encode_info
from support.waiting import eventually


class Target(ChunkServiceServicer):
    """Keeps what came, message by message."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self.reads: list[tuple[int, int]] = []
        self._waiting: list[CommitEntry] = []
        self._answers: asyncio.Queue[CommitResponse | None] = asyncio.Queue()

    async def Commit(
        self, request_iterator: AsyncIterator[CommitRequest], context: Context
    ) -> AsyncIterator[CommitResponse]:
        await context.send_initial_metadata(())
        reading = asyncio.create_task(self._read(request_iterator))
        while (answer := await self._answers.get()) is not None:
            yield answer
        reading.cancel()

    async def _read(self, requests: AsyncIterator[CommitRequest]) -> None:
        async for request in requests:
            if request.HasField("reads"):
                self.reads.append((request.reads.count, request.reads.bytes))
                continue
            self.messages.append([decode_commit(entry.commit).name for entry in request.entries])
            self._waiting += request.entries

    def answer_all(self) -> None:
        results = [
            CommitResult(sequence=each.sequence, info=encode_info(info_of(decode_commit(each.commit).name)))
            for each in self._waiting
        ]
        self._waiting.clear()
        self._answers.put_nowait(CommitResponse(results=results))

    def end(self) -> None:
        self._answers.put_nowait(None)


def info_of(name: str) -> ObjectInfo:
    return ObjectInfo(name, 0, Version(b"v"), 1, "e", None, 0, "text/plain", {})


def commit_of(name: str) -> Commit:
    return Commit("delete", b"bucketid", 0, name, 0)


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    # Unix socket paths end at 107 bytes, which pytest's folders exceed.
    with TemporaryDirectory(prefix="shoal-") as folder:
        yield Path(folder)


@pytest.fixture
async def target() -> Target:
    return Target()


@pytest.fixture
async def stream(target: Target, socket_folder: Path) -> AsyncIterator[CommitStream]:
    async with connected(target, socket_folder) as stream:
        yield stream


@asynccontextmanager
async def connected(target: Target, socket_folder: Path) -> AsyncIterator[CommitStream]:
    server = grpc.aio.server()
    add_ChunkServiceServicer_to_server(target, server)
    server.add_insecure_port(f"unix:{socket_folder}/t.sock")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{socket_folder}/t.sock") as channel:
        stream = CommitStream(channel, target="t1")
        stream.start()
        await stream.connected.wait()
        yield stream
        await stream.close()
    await server.stop(None)


async def test_commits_gather_while_one_is_unanswered_and_leave_together(
    stream: CommitStream, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_stream, "HOLD_SECONDS_MAX", 3600.0)
    first = stream.commit(commit_of("first"))
    await eventually(lambda: target.messages == [["first"]])
    others = [stream.commit(commit_of(name)) for name in ("a", "b", "c")]
    target.answer_all()
    assert (await first).name == "first"
    await eventually(lambda: target.messages == [["first"], ["a", "b", "c"]])
    target.answer_all()
    assert [(await other).name for other in others] == ["a", "b", "c"]


async def test_a_commit_does_not_wait_long_for_the_answer_of_another(
    stream: CommitStream, target: Target
) -> None:
    waiting = [stream.commit(commit_of("stuck"))]
    await eventually(lambda: target.messages == [["stuck"]])
    waiting.append(stream.commit(commit_of("next")))
    await eventually(lambda: target.messages == [["stuck"], ["next"]])
    target.answer_all()
    await asyncio.gather(*waiting)


async def test_a_commit_that_was_given_up_before_it_left_stays_here(
    stream: CommitStream, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_stream, "HOLD_SECONDS_MAX", 3600.0)
    first = stream.commit(commit_of("first"))
    await eventually(lambda: target.messages == [["first"]])
    given_up, kept = stream.commit(commit_of("given-up")), stream.commit(commit_of("kept"))
    given_up.cancel()
    target.answer_all()
    await first
    await eventually(lambda: target.messages == [["first"], ["kept"]])
    target.answer_all()
    await kept


async def test_only_what_was_sent_may_have_happened_when_the_target_goes_away(
    stream: CommitStream, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_stream, "HOLD_SECONDS_MAX", 3600.0)
    sent = stream.commit(commit_of("sent"))
    await eventually(lambda: target.messages == [["sent"]])
    unsent = stream.commit(commit_of("unsent"))
    target.end()
    outcomes = await asyncio.gather(sent, unsent, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OwnerUnreachable, OwnerUnreachable]
    assert [getattr(outcome, "metadata", {}).get("outcome") for outcome in outcomes] == ["unknown", None]


async def test_a_commit_that_is_not_answered_in_time_may_yet_happen(
    stream: CommitStream, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_stream, "COMMIT_SECONDS_MAX", 0.0)
    monkeypatch.setattr(commit_stream, "EXPIRY_SECONDS", 0.0)
    with pytest.raises(DeadlineExceeded) as caught:
        await stream.commit(commit_of("slow"))
    assert caught.value.metadata["outcome"] == "unknown"


async def test_one_commit_more_than_may_wait_for_a_target_is_refused_at_once(
    stream: CommitStream, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_stream, "PENDING_MAX", 2)
    waiting = [stream.commit(commit_of(name)) for name in ("a", "b")]
    with pytest.raises(TooBusy):
        await stream.commit(commit_of("c"))
    await eventually(lambda: sum(map(len, target.messages)) == 2)
    target.answer_all()
    await asyncio.gather(*waiting)


async def test_the_target_is_told_of_reads_once(
    target: Target, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_stream, "TELL_SECONDS", 0.01)
    async with connected(target, socket_folder) as stream:
        stream.reads.add(70)
        stream.reads.add(7)
        await eventually(lambda: target.reads == [(2, 77)])
        committing = stream.commit(commit_of("a"))
        stream.reads.add(1)
        await eventually(lambda: target.messages == [["a"]] and target.reads == [(2, 77), (1, 1)])
        target.answer_all()
        await committing


async def test_without_a_connection_a_commit_is_refused_at_once(socket_folder: Path) -> None:
    async with grpc.aio.insecure_channel(f"unix:{socket_folder}/nobody.sock") as channel:
        with pytest.raises(OwnerUnreachable):
            await CommitStream(channel, target="t1").commit(commit_of("a"))


async def test_a_target_that_accepts_and_says_nothing_is_not_waited_for_long(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_stream, "CONNECT_SECONDS_MAX", 0.1)
    path = socket_folder / "t.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            stream = CommitStream(channel, target="t1")
            stream.start()
            await stream.wait_first_connection()
            with pytest.raises(OwnerUnreachable):
                stream.require_connected()
            await stream.close()
