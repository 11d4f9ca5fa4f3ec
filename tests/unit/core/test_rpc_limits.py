"""What a listener takes at a time, what it says past that, and what it gives back."""

from __future__ import annotations

import asyncio
import gc

import grpc
import grpc.aio
import pytest

from shoal.chunk.v1 import chunk_pb2, chunk_pb2_grpc
from shoal.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from shoal_core import errors, rpc_gate
from shoal_core.load import Load
from shoal_core.machine import MachineReading
from shoal_core.rpc import MESSAGE_BYTES_MAX, Channels, call, translate_errors
from support.rpc_servers import REQUEST, ClusterServicer, OneCommit, Raw, Start, get_map
from support.waiting import eventually


async def test_call_over_the_limit_is_told_to_come_later(start: Start, node_channels: Channels) -> None:
    release = asyncio.Event()
    entered = asyncio.Event()

    async def hold() -> None:
        entered.set()
        await release.wait()

    address = await start(ClusterServicer(hold), concurrent_calls_max=1)
    first = asyncio.create_task(call(get_map(node_channels, address), REQUEST, timeout_seconds=10))
    await entered.wait()
    with pytest.raises(errors.TooBusy):
        await call(get_map(node_channels, address), REQUEST, timeout_seconds=10)
    release.set()
    await first
    await call(get_map(node_channels, address), REQUEST, timeout_seconds=10)


async def test_a_watch_over_the_limit_is_told_to_come_later_and_shuts_no_call_out(
    start: Start, node_channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_gate, "CONCURRENT_WATCHES_MAX", 1)
    address = await start(ClusterServicer())
    stub = cluster_pb2_grpc.ClusterServiceStub(node_channels.get(address))
    first = stub.WatchClusterMap(cluster_pb2.WatchClusterMapRequest(), timeout=10)
    await first.read()
    with pytest.raises(errors.TooBusy), translate_errors("t1"):
        await stub.WatchClusterMap(cluster_pb2.WatchClusterMapRequest(), timeout=10).read()
    await call(stub.GetClusterMap, REQUEST, timeout_seconds=10)
    first.cancel()


async def test_short_of_memory_calls_are_told_to_come_later_but_watches_are_served(
    start: Start, node_channels: Channels
) -> None:
    load = Load(lambda: MachineReading(1 << 30, 0, processor_waiting=0.0, disk_waiting=0.0))
    load.take(MachineReading(1 << 30, 0, processor_waiting=0.0, disk_waiting=0.0))
    address = await start(ClusterServicer(), load=load)
    stub = cluster_pb2_grpc.ClusterServiceStub(node_channels.get(address))
    with pytest.raises(errors.TooBusy, match="memory"):
        await call(stub.GetClusterMap, REQUEST, timeout_seconds=10)
    watch = stub.WatchClusterMap(cluster_pb2.WatchClusterMapRequest(), timeout=10)
    assert await watch.read()
    watch.cancel()


async def test_calls_that_hold_all_the_memory_they_may_leave_none_for_another(
    start: Start, node_channels: Channels
) -> None:
    load, release, entered = Load(), asyncio.Event(), asyncio.Event()
    load.share_bytes = 1

    async def hold() -> None:
        entered.set()
        await release.wait()

    address = await start(ClusterServicer(hold), load=load)
    first = asyncio.create_task(call(get_map(node_channels, address), REQUEST, timeout_seconds=10))
    await entered.wait()
    with pytest.raises(errors.TooBusy, match="memory"):
        await call(get_map(node_channels, address), REQUEST, timeout_seconds=10)
    release.set()
    await first


async def test_a_message_that_is_too_long_is_refused_unread(start: Start, node_channels: Channels) -> None:
    servicer = ClusterServicer()
    address = await start(servicer)
    method: Raw = node_channels.get(address).unary_unary("/shoal.cluster.v1.ClusterService/GetClusterMap")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(bytes(MESSAGE_BYTES_MAX + 1), timeout=10)
    assert (caught.value.code(), servicer.calls) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 0)


async def test_a_call_whose_messages_were_not_all_read_is_freed_at_its_end(
    start: Start, node_channels: Channels
) -> None:
    stub = chunk_pb2_grpc.ChunkServiceStub(
        node_channels.get(await start(ClusterServicer(), chunks=OneCommit()))
    )
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            stream = stub.Commit(timeout=10)
            await stream.write(chunk_pb2.CommitRequest())
            assert [await stream.read() for _ in range(2)][1] is grpc.aio.EOF
        await eventually(lambda: not calls_held())
    finally:
        gc.enable()


def calls_held() -> int:
    """Of this process's servers, in memory."""
    return sum(type(each).__name__ == "_ServicerContext" for each in gc.get_objects())
