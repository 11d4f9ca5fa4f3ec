"""What a machine drives beside the model, and the first of it: an engine on mountpaths of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from shoal_core.multipart import MultipartStore
from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference
from shoal_store.engine import Engine
from shoal_store.fsck import verify
from shoal_store.rechunk import Step, rechunk
from support.engines import Fence, mountpath_folders, stored, unstarted_engine

BUCKETS = 3
FORMS = 4


class Subject(Protocol):
    """`shut` and `remove` it whatever happens."""

    shapes: Sequence[BucketProperties]
    """Of the BUCKETS buckets."""
    forms: Sequence[BucketProperties]
    """That a rechunk may ask for; FORMS of them."""

    @property
    def store(self) -> MultipartStore: ...

    async def open(self) -> None: ...

    async def restart(self) -> None:
        """Of what serves the objects; none may get lost."""

    async def add_bucket(self, number: int, properties: BucketProperties) -> Bucket: ...

    async def remove_bucket(self, bucket: Bucket) -> None: ...

    async def rechunk(self, bucket: Bucket, properties: BucketProperties) -> None: ...

    async def compare_elsewhere(self, bucket: Bucket, name: str, body: bytes) -> None:
        """Reads the object by other ways than `store`, if there are any."""

    async def shut(self) -> None: ...

    def assert_sound(self) -> None:
        """Once it is shut: what lies on the disks."""

    def remove(self) -> None: ...


def memory_backed_folder() -> Path:
    """On a filesystem whose syncs cost nothing, where there is one: the calls are made all the same."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="shoal-model-", dir=memory if memory.is_dir() else None))


class EngineSubject:
    # The interface to users asks for chunks of a MiB at least; the engine takes any.
    shapes: Sequence[BucketProperties] = (
        BucketProperties(),
        BucketProperties(chunk_above_bytes=40_000, chunk_bytes=10_000, checksum_type="sha256"),
        BucketProperties(versioning=True, checksum_type="none", verify="always"),
    )
    forms: Sequence[BucketProperties] = (
        BucketProperties(),
        BucketProperties(chunk_above_bytes=40_000, chunk_bytes=10_000),
        BucketProperties(chunk_above_bytes=1, chunk_bytes=30_000),
        BucketProperties(chunk_above_bytes=1 << 20, chunk_bytes=1 << 20),
    )

    def __init__(self, mountpaths: int) -> None:
        self.folder = memory_backed_folder()
        self._mountpaths = mountpath_folders(self.folder, mountpaths)
        self._fence = Fence()
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        assert self._engine is not None
        return self._engine

    @property
    def store(self) -> MultipartStore:
        return self.engine.store

    async def open(self) -> None:
        self._engine = unstarted_engine(self._mountpaths, fence=self._fence)
        await self._engine.start()

    async def restart(self) -> None:
        await self.shut()
        self.assert_sound()
        await self.open()

    async def shut(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.stop()

    async def add_bucket(self, number: int, properties: BucketProperties) -> Bucket:
        return Bucket(BucketReference(f"model-{number}"), BucketId(secrets.token_bytes(8)), 1, 0, properties)

    async def remove_bucket(self, bucket: Bucket) -> None:
        self._fence.removed.add(bucket.id)
        async for _ in self.engine.purge_bucket(bucket.id):
            pass

    async def rechunk(self, bucket: Bucket, properties: BucketProperties) -> None:
        await rechunk(self.engine, replace(bucket, properties=properties), "", no_failure)

    async def compare_elsewhere(self, bucket: Bucket, name: str, body: bytes) -> None:
        """There is one way only."""

    def assert_sound(self) -> None:
        """Of a closed engine: fsck finds neither damage nor orphan, nothing is unfinished, no descriptor is left."""
        report = verify(self._mountpaths)
        assert (report.findings, report.damages, report.orphans) == ([], 0, 0)
        assert [path for path in stored(self.folder) if "tmp" in path.parts] == []
        assert descriptors_below(self.folder) == []

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


async def no_failure(step: Step) -> None:
    assert not step.failure


def descriptors_below(folder: Path) -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the one that lists the folder
        if link.startswith(str(folder)):
            found.append(link)
    return found
