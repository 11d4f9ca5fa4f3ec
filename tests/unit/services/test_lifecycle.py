"""Nodes that start, stop, die, lose etcd, or are configured wrongly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest

from shoal.chunk.v1.chunk_pb2_grpc import ChunkServiceStub
from shoal.cluster.v1.cluster_pb2 import GetClusterMapRequest, WatchClusterMapRequest
from shoal.cluster.v1.cluster_pb2_grpc import ClusterServiceStub
from shoal.common.v1.common_pb2 import BucketReference
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from shoal_store.chunkfile import BLOCK_BYTES
from support.buckets import create_bucket, delete_bucket, finished
from support.node import NodeProcess, Nodes
from support.uploads import frame, get, put, reason, specification

pytestmark = pytest.mark.slow

BUCKET = BucketReference(name="b")
LARGE = bytes(200_000)


async def make_bucket(nodes: Nodes) -> None:
    async with nodes.channel("p1") as channel:
        await create_bucket(channel, BUCKET)


async def eventually_refused(objects: ObjectServiceStub) -> str:
    """The reason with which writes are refused in the end."""
    async with asyncio.timeout(20):
        while True:
            if refusal := await refusal_of_put(objects):
                return refusal
            await asyncio.sleep(0.1)


async def refusal_of_put(objects: ObjectServiceStub) -> str:
    """The reason with which a write is refused; "" when it is not."""
    try:
        await put(objects, BUCKET, "probe", data=b"x")
    except grpc.aio.AioRpcError as error:
        return reason(error)
    return ""


async def test_a_watch_shows_a_target_that_joins(own_nodes: Nodes) -> None:
    own_nodes.proxy().start()
    async with own_nodes.channel("p1") as channel, asyncio.timeout(20):
        watch = ClusterServiceStub(channel).WatchClusterMap(WatchClusterMapRequest())
        own_nodes.target("t1").launch()
        async for answer in watch:
            targets = [member for member in answer.cluster_map.members if member.id == "t1"]
            if targets and targets[0].alive and answer.cluster_map.placement_epoch:
                break
        watch.cancel()


async def test_everything_acknowledged_is_there_after_a_kill(own_nodes: Nodes) -> None:
    target, _ = own_nodes.target().start(), own_nodes.proxy().start()
    await make_bucket(own_nodes)
    async with own_nodes.channel("t1") as channel:
        for number in range(20):
            await put(ObjectServiceStub(channel), BUCKET, f"n{number}", data=LARGE[: number * 5000])
    target.kill()
    target.start()
    async with own_nodes.channel("t1") as channel:
        for number in range(20):
            expected = LARGE[: number * 5000]
            assert await get(ObjectServiceStub(channel), BUCKET, f"n{number}") == expected


async def test_without_etcd_reads_go_on_and_writes_stop_when_the_lease_has_run_out(own_nodes: Nodes) -> None:
    own_nodes.target().start()
    own_nodes.proxy().start()
    await make_bucket(own_nodes)
    async with own_nodes.channel("t1") as channel:
        objects = ObjectServiceStub(channel)
        await put(objects, BUCKET, "kept", data=b"kept")
        own_nodes.etcd.kill()
        assert await eventually_refused(objects) == "LEASE_LOST"
        assert await get(objects, BUCKET, "kept") == b"kept"
        own_nodes.etcd.start()
        async with asyncio.timeout(20):
            while refusal := await refusal_of_put(objects):
                assert refusal == "LEASE_LOST"
                await asyncio.sleep(0.1)


async def test_nodes_that_start_without_etcd_serve_reads_from_their_caches(own_nodes: Nodes) -> None:
    target, proxy = own_nodes.target().start(), own_nodes.proxy().start()
    await make_bucket(own_nodes)
    async with own_nodes.channel("p1") as channel:
        await put(ObjectServiceStub(channel), BUCKET, "kept", data=LARGE)
    own_nodes.etcd.kill()
    proxy.kill()
    target.kill()
    proxy.start()
    target.start()
    async with own_nodes.channel("t1") as channel:
        objects = ObjectServiceStub(channel)
        assert await get(objects, BUCKET, "kept") == LARGE
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await put(objects, BUCKET, "new", data=b"x")
        assert reason(refusal.value) == "LEASE_LOST"


async def test_a_purge_goes_on_after_a_restart_of_the_target(own_nodes: Nodes) -> None:
    target = own_nodes.target().start()
    own_nodes.proxy().start()
    await make_bucket(own_nodes)
    async with own_nodes.channel("p1") as channel:
        for number in range(5):
            await put(ObjectServiceStub(channel), BUCKET, f"n{number}", data=LARGE)
        target.kill()
        job_id = await delete_bucket(channel, BUCKET)
        assert len(own_nodes.chunk_files()) == 5
        target.start()
        await finished(channel, job_id)
    assert own_nodes.chunk_files() == []


async def test_a_client_that_vanishes_in_the_middle_of_an_upload_leaves_nothing(own_nodes: Nodes) -> None:
    own_nodes.target().start()
    own_nodes.proxy().start()
    await make_bucket(own_nodes)
    temporary = own_nodes.folder / "t1"
    async with own_nodes.channel("t1") as channel:
        await put(ObjectServiceStub(channel), BUCKET, "v", data=b"old")
        call = ObjectServiceStub(channel).PutObject()
        await call.write(specification(BUCKET, "v"))
        # A full block: less than that waits in memory.
        await call.write(frame(0, bytes(BLOCK_BYTES)))
        await until(lambda: unfinished(temporary) != [])
        call.cancel()
        await until(lambda: unfinished(temporary) == [])
        assert await get(ObjectServiceStub(channel), BUCKET, "v") == b"old"
    assert own_nodes.chunk_files() == []


async def until(holds: Callable[[], bool]) -> None:
    """Watch a folder; nothing else tells."""
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.glob("mp*/tmp/*/**/*") if path.is_file() and path.name != "lock"]


def test_a_stop_is_clean_and_takes_the_member_out_of_the_living(own_nodes: Nodes) -> None:
    target, proxy = own_nodes.target().start(), own_nodes.proxy().start()
    ready_files = [own_nodes.folder / "run" / f"{name}.ready" for name in ("t1", "p1")]
    assert all(path.exists() for path in ready_files)
    assert (target.stop(), proxy.stop()) == (0, 0)
    assert not any(path.exists() for path in ready_files)


async def test_a_stop_does_not_wait_for_watches(own_nodes: Nodes) -> None:
    proxy = own_nodes.proxy().start()
    async with own_nodes.channel("p1") as channel:
        watch = ClusterServiceStub(channel).WatchClusterMap(WatchClusterMapRequest())
        await watch.read()
        async with asyncio.timeout(4):
            assert await asyncio.to_thread(proxy.stop) == 0


async def test_a_stop_does_not_wait_for_gateways(own_nodes: Nodes) -> None:
    target = own_nodes.target().start()
    async with grpc.aio.insecure_channel(f"unix:{target.ready['unix_socket']}") as channel:
        await ChunkServiceStub(channel).Commit().wait_for_connection()
        async with asyncio.timeout(4):
            assert await asyncio.to_thread(target.stop) == 0


async def test_changes_of_buckets_without_etcd_say_that_it_is_away(own_nodes: Nodes) -> None:
    own_nodes.proxy().start()
    own_nodes.etcd.kill()
    async with own_nodes.channel("p1") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await create_bucket(channel, BUCKET)
    assert reason(refusal.value) == "CONTROL_PLANE_DOWN"


async def test_dead_members_stay_in_the_map_but_are_not_alive(own_nodes: Nodes) -> None:
    target = own_nodes.target().start()
    own_nodes.proxy().start()
    target.stop()
    async with own_nodes.channel("p1") as channel, asyncio.timeout(20):
        stub = ClusterServiceStub(channel)
        while True:
            answer = await stub.GetClusterMap(GetClusterMapRequest(), timeout=10)
            members = {member.id: member.alive for member in answer.cluster_map.members}
            if members == {"p1": True, "t1": False}:
                break
            await asyncio.sleep(0.05)


def refusal_of(node: NodeProcess) -> str:
    """The sentence of a node that does not start."""
    node.launch()
    assert node.exit_code() == 2
    (line,) = [line for line in node.log().splitlines() if not line.startswith("{")]
    return line


def test_a_taken_port_is_one_sentence(own_nodes: Nodes) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refusal_of(own_nodes.target("t1", public_address=address))
        assert address in refusal_of(own_nodes.proxy("p1", public_address=address))


def test_a_disk_of_another_target_is_one_sentence(own_nodes: Nodes) -> None:
    own_nodes.target("t1").start().stop()
    disk = [{"id": "mp1", "path": str(own_nodes.folder / "t1" / "mp1")}]
    assert "t1" in refusal_of(own_nodes.target("t2", mountpaths=disk))


def test_a_disk_of_an_unknown_format_is_one_sentence(own_nodes: Nodes) -> None:
    target = own_nodes.target("t1")
    (own_nodes.folder / "t1" / "mp1" / "shoal.json").write_text('{"format": 99}')
    assert "99" in refusal_of(target)


def test_a_second_process_on_the_same_disks_is_one_sentence(own_nodes: Nodes) -> None:
    own_nodes.target("t1").start()
    config = own_nodes.folder / "run" / "t1.toml"
    second = NodeProcess("shoal_target", config, config.with_suffix(".other"), config.with_suffix(".second"))
    assert "mp1" in refusal_of(second)


def test_an_unknown_setting_is_one_sentence(own_nodes: Nodes) -> None:
    assert "lease_second" in refusal_of(own_nodes.target("t1", lease_second=5))


def test_the_certificate_of_another_node_is_one_sentence(own_nodes: Nodes) -> None:
    own_nodes.tls("target", "t1")
    certificates = str(own_nodes.folder / "certificates" / "t1")
    assert "t1" in refusal_of(own_nodes.target("t2", certificate_folder=certificates))


def test_a_first_start_without_etcd_is_one_sentence(own_nodes: Nodes) -> None:
    own_nodes.etcd.kill()
    assert "etcd" in refusal_of(own_nodes.proxy())


def test_a_port_that_is_no_address_of_this_host_is_one_sentence(own_nodes: Nodes) -> None:
    assert "192.0.2.1" in refusal_of(own_nodes.proxy(internal_address="192.0.2.1:0"))
