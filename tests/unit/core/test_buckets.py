"""Buckets are changed by compare-and-swap and seen everywhere, on a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal_core.access import ANONYMOUS, LOCAL_ADMINISTRATOR, READ_ONLY, Permission, Principal
from shoal_core.buckets import BUCKETS_PREFIX, BucketDirectory, BucketRegistry
from shoal_core.cache import load_snapshot
from shoal_core.cluster_map import Member, MemberRole
from shoal_core.errors import (
    BucketAlreadyExists,
    BucketNotFound,
    Conflict,
    ControlPlaneDown,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.mirror import Mirror
from shoal_core.jobs import specification_key
from shoal_core.membership import Membership
from shoal_core.objects import Bucket, BucketProperties, BucketReference
from support.cutting_proxy import CuttingProxy
from support.etcd import EtcdServer, free_ports
from support.waiting import eventually

PHOTOS = BucketReference("photos")
PROPERTIES = BucketProperties()
PATIENCE_SECONDS = 15.0


@pytest.fixture
async def registry(etcd: EtcdClient) -> BucketRegistry:
    await Membership(etcd, "c1", Member("t1", MemberRole.TARGET, weight=1.0)).join()
    return BucketRegistry(etcd)


@pytest.fixture
async def directory(
    etcd: EtcdClient, registry: BucketRegistry, tmp_path: Path
) -> AsyncIterator[BucketDirectory]:
    directory = BucketDirectory(etcd, tmp_path / "buckets.cache")
    await directory.start()
    yield directory
    await directory.close()


class DeafRegistry(BucketRegistry):
    """Hears no answer to its change."""

    def __init__(self, etcd: EtcdClient, proxy: CuttingProxy) -> None:
        super().__init__(etcd)
        self._proxy = proxy

    async def _targets(self) -> tuple[str, ...]:
        targets = await super()._targets()
        self._proxy.swallow_answers()
        return targets


async def resolve(directory: BucketDirectory, reference: BucketReference = PHOTOS) -> Bucket:
    return await directory.resolve(reference, permission=Permission.GET, principal=LOCAL_ADMINISTRATOR)


async def test_bucket_needs_a_target(etcd: EtcdClient) -> None:
    with pytest.raises(Unavailable, match="no target has joined"):
        await BucketRegistry(etcd).create(PHOTOS, PROPERTIES)


async def test_created_bucket_is_found_as_it_was_created(registry: BucketRegistry) -> None:
    created = await registry.create(PHOTOS, BucketProperties(versioning=True, checksum_type="md5"))
    assert await registry.get(PHOTOS) == created
    assert len(created.id) == 8


async def test_bucket_exists_once_however_many_create_it(registry: BucketRegistry) -> None:
    results = await asyncio.gather(
        *(registry.create(PHOTOS, PROPERTIES) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, Bucket) for result in results) == 1
    assert sum(isinstance(result, BucketAlreadyExists) for result in results) == 4


async def test_same_name_in_another_namespace_is_another_bucket(registry: BucketRegistry) -> None:
    first = await registry.create(PHOTOS, PROPERTIES)
    second = await registry.create(BucketReference("photos", "ais", "#team"), PROPERTIES)
    assert first.id != second.id
    assert await registry.get(second.reference) == second


async def test_bucket_created_anew_has_another_id(registry: BucketRegistry) -> None:
    first = await registry.create(PHOTOS, PROPERTIES)
    await registry.delete(PHOTOS)
    assert (await registry.create(PHOTOS, PROPERTIES)).id != first.id


async def test_update_of_an_old_generation_conflicts(registry: BucketRegistry) -> None:
    created = await registry.create(PHOTOS, PROPERTIES)
    versioned = BucketProperties(versioning=True)
    updated = await registry.update(PHOTOS, versioned, expected_generation=created.generation)
    assert updated.generation > created.generation
    assert updated.id == created.id
    with pytest.raises(Conflict, match="look at it and repeat"):
        await registry.update(PHOTOS, PROPERTIES, expected_generation=created.generation)
    assert await registry.get(PHOTOS) == updated


async def test_deleting_orders_the_purge_of_exactly_that_bucket(
    etcd: EtcdClient, registry: BucketRegistry
) -> None:
    created = await registry.create(PHOTOS, PROPERTIES)
    job_id, revision = await registry.delete(PHOTOS)
    order = await etcd.get(specification_key(job_id))
    assert order is not None
    assert order.mod_revision == revision
    assert b'"t1"' in order.value
    with pytest.raises(BucketNotFound, match='"ais://photos" does not exist'):
        await registry.delete(PHOTOS)
    assert created.generation < revision


async def test_delete_whose_answer_is_lost_is_one_delete(
    shared_etcd: EtcdServer, etcd: EtcdClient, registry: BucketRegistry
) -> None:
    created = await registry.create(PHOTOS, PROPERTIES)
    async with (
        CuttingProxy(shared_etcd.endpoint) as proxy,
        EtcdClient([proxy.endpoint], tls=None, timeout_seconds=3) as client,
    ):
        deleting = asyncio.create_task(DeafRegistry(client, proxy).delete(PHOTOS))
        async with Mirror(etcd, BUCKETS_PREFIX) as mirror:
            await mirror.wait_until_filled(PATIENCE_SECONDS)
            await eventually(lambda: not mirror.items)
        proxy.cut()
        job_id, revision = await deleting
    assert job_id.startswith("j-")
    assert revision > created.generation


async def test_directory_follows_every_change(registry: BucketRegistry, directory: BucketDirectory) -> None:
    created = await registry.create(PHOTOS, PROPERTIES)
    await directory.wait_for_revision(created.generation, PATIENCE_SECONDS)
    assert directory.list() == [created]
    assert directory.by_id(created.id) == created
    assert directory.is_current(created.id)
    _, revision = await registry.delete(PHOTOS)
    await directory.wait_for_revision(revision, PATIENCE_SECONDS)
    assert directory.list() == []
    assert not directory.is_current(created.id)


async def test_bucket_made_anew_is_not_current_under_its_old_id(
    registry: BucketRegistry, directory: BucketDirectory
) -> None:
    old = await registry.create(PHOTOS, PROPERTIES)
    await registry.delete(PHOTOS)
    new = await registry.create(PHOTOS, PROPERTIES)
    await directory.wait_for_revision(new.generation, PATIENCE_SECONDS)
    assert not directory.is_current(old.id, old.generation)
    assert await resolve(directory) == new


async def test_bucket_is_usable_before_the_watch_has_brought_it(
    etcd: EtcdClient, registry: BucketRegistry, tmp_path: Path
) -> None:
    never_started = BucketDirectory(etcd, tmp_path / "cache")
    created = await registry.create(PHOTOS, PROPERTIES)
    assert await resolve(never_started) == created
    await never_started.close()


async def test_missing_bucket_is_not_found(directory: BucketDirectory) -> None:
    with pytest.raises(BucketNotFound, match='bucket "ais://nothing" does not exist'):
        await resolve(directory, BucketReference("nothing"))


async def test_permission_comes_before_existence(directory: BucketDirectory) -> None:
    reader = Principal("reader", "user", "", READ_ONLY)
    with pytest.raises(PermissionDenied):
        await directory.resolve(PHOTOS, permission=Permission.PUT, principal=reader)
    with pytest.raises(Unauthenticated):
        await directory.resolve(PHOTOS, permission=Permission.GET, principal=ANONYMOUS)


async def test_listing_is_sorted_and_by_provider(
    registry: BucketRegistry, directory: BucketDirectory
) -> None:
    references = [BucketReference("b"), BucketReference("a"), BucketReference("c", "aws")]
    for reference in references:
        last = await registry.create(reference, PROPERTIES)
    await directory.wait_for_revision(last.generation, PATIENCE_SECONDS)
    assert [bucket.reference.name for bucket in directory.list("ais")] == ["a", "b"]
    assert len(directory.list()) == 3


async def test_record_of_a_later_release_is_left_out_and_the_rest_followed(
    etcd: EtcdClient, registry: BucketRegistry, directory: BucketDirectory
) -> None:
    await etcd.put(f"{BUCKETS_PREFIX}ais/@/strange", b'{"id":5}')
    await etcd.put(f"{BUCKETS_PREFIX}ais/too/many/parts", b"{}")
    created = await registry.create(PHOTOS, PROPERTIES)
    await directory.wait_for_revision(created.generation, PATIENCE_SECONDS)
    assert directory.list() == [created]


async def test_changed_wakes_with_the_next_change(
    registry: BucketRegistry, directory: BucketDirectory
) -> None:
    waiting = asyncio.create_task(directory.changed())
    await asyncio.sleep(0)
    created = await registry.create(PHOTOS, PROPERTIES)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await waiting == created.generation


async def test_revision_that_does_not_come_is_not_waited_for_long(directory: BucketDirectory) -> None:
    with pytest.raises(ControlPlaneDown, match="known here only up to revision"):
        await directory.wait_for_revision(directory.revision + 1000, 0.05)


async def test_directory_started_without_etcd_goes_by_its_cache(
    registry: BucketRegistry, directory: BucketDirectory, tmp_path: Path
) -> None:
    created = await registry.create(PHOTOS, PROPERTIES)
    path = tmp_path / "buckets.cache"
    await eventually(lambda: load_snapshot(path) is not None)
    async with EtcdClient([f"127.0.0.1:{free_ports(1)[0]}"], tls=None, timeout_seconds=0.2) as dead:
        offline = BucketDirectory(dead, path)
        assert await resolve(offline) == created
        with pytest.raises(ControlPlaneDown, match="nothing is not known here"):
            await resolve(offline, BucketReference("nothing"))
        await offline.close()
