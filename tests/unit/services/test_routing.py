"""Three targets: a proxy that finds the owner, and targets that refuse what they do not own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import grpc.aio
import pytest

from shoal.bucket.v1.bucket_pb2 import Bucket
from shoal.cluster.v1.cluster_pb2 import GetClusterMapRequest
from shoal.cluster.v1.cluster_pb2_grpc import ClusterServiceStub
from shoal.common.v1.common_pb2 import BucketReference
from shoal.job.v1 import job_pb2
from shoal.object.v1.object_pb2 import HeadObjectRequest, ListObjectsRequest, Routing
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub
from shoal_core import messages
from shoal_core.cluster_map import ClusterMap
from shoal_core.objects import BucketId
from support.buckets import create_bucket, delete_bucket, finished
from support.node import Nodes
from support.uploads import get, put, reason

pytestmark = pytest.mark.slow

BUCKET = BucketReference(name="spread")
NAMES = [f"n{number:02}" for number in range(40)]
LARGE = bytes(40_000)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(tmp_path_factory.mktemp("three")) as nodes:
        nodes.etcd.start()
        for name in ("t1", "t2", "t3"):
            nodes.target(name).start()
        nodes.proxy().start()
        yield nodes


@pytest.fixture
async def channel(nodes: Nodes) -> AsyncIterator[grpc.aio.Channel]:
    async with nodes.channel("p1") as channel:
        yield channel


@pytest.fixture
async def cluster_map(channel: grpc.aio.Channel) -> ClusterMap:
    answer = await ClusterServiceStub(channel).GetClusterMap(GetClusterMapRequest(), timeout=10)
    return messages.cluster_map_from_message(answer.cluster_map)


@pytest.fixture
async def bucket(channel: grpc.aio.Channel) -> AsyncIterator[Bucket]:
    yield await create_bucket(channel, BUCKET)
    await finished(channel, await delete_bucket(channel, BUCKET))


async def test_objects_are_spread_and_listed_as_one_bucket(
    nodes: Nodes, channel: grpc.aio.Channel, bucket: Bucket
) -> None:
    objects = ObjectServiceStub(channel)
    locations = {(await put(objects, BUCKET, name, data=LARGE)).location[:5] for name in NAMES}
    assert locations == {"t[t1]", "t[t2]", "t[t3]"}
    listed: list[str] = []
    token = ""
    while not listed or token:
        request = ListObjectsRequest(bucket=BUCKET, page_size=7, page_token=token)
        page = await objects.ListObjects(request, timeout=10)
        listed += [each.name for each in page.objects]
        token = page.next_page_token
    assert listed == NAMES
    assert await get(objects, BUCKET, NAMES[5]) == LARGE


async def test_a_purge_frees_every_target(nodes: Nodes, channel: grpc.aio.Channel) -> None:
    reference = BucketReference(name="purged")
    await create_bucket(channel, reference)
    before = {target: len(nodes.chunk_files(target)) for target in ("t1", "t2", "t3")}
    for name in NAMES:
        await put(ObjectServiceStub(channel), reference, name, data=LARGE)
    job = await finished(channel, await delete_bucket(channel, reference))
    assert job.state == job_pb2.JOB_STATE_FINISHED
    assert sum(progress.objects for progress in job.progress) == len(NAMES)
    assert {target: len(nodes.chunk_files(target)) for target in before} == before


async def test_a_target_refuses_objects_of_others(
    nodes: Nodes, cluster_map: ClusterMap, channel: grpc.aio.Channel, bucket: Bucket
) -> None:
    name = next(each for each in NAMES if cluster_map.target_of(bucket_id(bucket), each).id == "t1")
    async with nodes.channel_to(cluster_map.member("t2").public_address) as other:
        for call in (
            put(ObjectServiceStub(other), BUCKET, name, data=b"x"),
            get(ObjectServiceStub(other), BUCKET, name),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call
            assert reason(refusal.value) == "STALE_EPOCH"


@pytest.mark.parametrize("change", ["older placement", "newer placement", "another bucket"])
async def test_a_caller_with_another_view_is_refused(
    nodes: Nodes, cluster_map: ClusterMap, bucket: Bucket, change: str
) -> None:
    routing = Routing(
        placement_epoch=cluster_map.placement_epoch
        + {"older placement": -1, "newer placement": 1}.get(change, 0),
        bucket_id=bytes(8) if change == "another bucket" else bucket.id,
        bucket_generation=bucket.generation,
    )
    owner = cluster_map.target_of(bucket_id(bucket), "x")
    async with nodes.channel_to(owner.public_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await ObjectServiceStub(channel).HeadObject(
                HeadObjectRequest(bucket=BUCKET, name="x", routing=routing), timeout=10
            )
    assert reason(refusal.value) == "STALE_EPOCH"


async def test_an_owner_that_is_down_is_unreachable_and_no_listing_comes_short(
    nodes: Nodes, cluster_map: ClusterMap, channel: grpc.aio.Channel, bucket: Bucket
) -> None:
    objects = ObjectServiceStub(channel)
    owners = {name: cluster_map.target_of(bucket_id(bucket), name).id for name in NAMES}
    for name in NAMES:
        await put(objects, BUCKET, name, data=name.encode())
    nodes.processes["t3"].kill()
    try:
        reached = {name for name in NAMES if await is_reachable(objects, name)}
        assert reached == {name for name, owner in owners.items() if owner != "t3"}
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await objects.ListObjects(ListObjectsRequest(bucket=BUCKET), timeout=30)
        assert reason(refusal.value) == "OWNER_UNREACHABLE"
    finally:
        nodes.processes["t3"].start()


async def is_reachable(objects: ObjectServiceStub, name: str) -> bool:
    try:
        return await get(objects, BUCKET, name) == name.encode()
    except grpc.aio.AioRpcError as error:
        assert reason(error) == "OWNER_UNREACHABLE"  # noqa: PT017  # any other reason is a failure
        return False


async def test_a_new_target_may_not_join_once_there_are_buckets(nodes: Nodes, bucket: Bucket) -> None:
    late = nodes.target("t4")
    late.launch()
    assert late.exit_code() == 2
    assert "not built yet" in late.log()


def bucket_id(bucket: Bucket) -> BucketId:
    return BucketId(bucket.id)
