"""The engine of one target: its mountpaths opened, for reading alone (gateways) or for committing too (the target)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from shoal_core.errors import ShoalError, Unavailable
from shoal_core.objects import BucketId, ObjectInfo
from shoal_store.commit import Answer, Commit, Outcome
from shoal_store.commit_thread import CommitThread
from shoal_store.committer import Authority, IndexCommitter
from shoal_store.durability import storage_error
from shoal_store.identity import prepare_mountpath, read_identity
from shoal_store.index import Index
from shoal_store.keys import encode_name
from shoal_store.local import LocalObjectStore
from shoal_store.mountpaths import MountpathFolder, Mountpaths, TemporaryFolder, sweep_temporary
from shoal_store.owner import check_owner, write_owner
from shoal_store.purge import Purged, purge_batch
from shoal_store.reader import StoreReader
from shoal_store.slots import OwnedSlots
from shoal_store.writer import BodyWriter

SWEEP_SECONDS = 5.0


class OpenStore:
    """What reading and writing bodies need; closed at the end. `Engine` adds committing."""

    def __init__(self, folders: Sequence[MountpathFolder], *, target: str, writable: bool) -> None:
        self.target = target
        self.mountpaths = Mountpaths(folders)
        self.indexes: Mapping[str, Index] = {
            folder.id: Index(folder.id, folder.path, writable=writable) for folder in self.mountpaths.all
        }
        self._temporary = TemporaryFolder(self.mountpaths)
        self.reader = StoreReader(self.mountpaths, self.indexes, target=target)
        self.writer = BodyWriter(self.mountpaths, self._temporary)

    def close(self) -> None:
        self._temporary.close()
        for index in self.indexes.values():
            index.close()


class Engine(OpenStore):
    """The one committing process. Use `open_engine`."""

    def __init__(self, folders: Sequence[MountpathFolder], *, target: str, authority: Authority) -> None:
        super().__init__(folders, target=target, writable=True)
        try:
            for index in self.indexes.values():
                index.bind(list(self.indexes))
        except BaseException:
            self.close()
            raise
        self._authority = authority
        paths = {folder.id: folder.path for folder in self.mountpaths.all}
        self._committers = {
            mountpath_id: IndexCommitter(index, target=target, authority=authority, folders=paths)
            for mountpath_id, index in self.indexes.items()
        }
        self._threads = threads_of(self._committers, paths, target=target)
        self.store = LocalObjectStore(self.reader, self.writer, self, epoch=lambda: 0)

    async def start(self) -> None:
        for thread in self._distinct_threads():
            thread.start()

    async def stop(self) -> None:
        """Finishes the commits that are pending, then closes."""
        for thread in self._distinct_threads():
            await thread.stop()
        self.close()

    def commit(self, commit: Commit) -> asyncio.Future[ObjectInfo]:
        """`Committer`. The future has every refusal."""
        future: asyncio.Future[ObjectInfo] = asyncio.get_running_loop().create_future()
        try:
            self.submit(commit, partial(settle, future))
        except ShoalError as error:
            future.set_exception(error)
        return future

    def submit(self, commit: Commit, answer: Answer) -> None:
        """`CommitTaker`: hands the commit to the thread of the disk that keeps the name. Raises InvalidName."""
        mountpath_id = self.mountpaths.of_name(commit.bucket, encode_name(commit.name))
        self._threads[mountpath_id].submit(self._committers[mountpath_id], commit, answer)

    async def purge_bucket(self, bucket_id: BucketId) -> AsyncIterator[Purged]:
        """Remove what is left of a bucket that no longer exists, a batch at a time."""
        if self._authority.is_current(bucket_id):
            raise Unavailable("the bucket is still known here: its removal has not arrived yet")
        for index in self.indexes.values():
            while True:
                purged = await asyncio.to_thread(purge_batch, index, self.mountpaths, bucket_id)
                if purged.nothing:
                    break
                yield purged

    def own(self, epoch: int, bitmap: bytes) -> None:
        """Write the owned slots into every index, synced. Blocks."""
        for index in self.indexes.values():
            index.own(OwnedSlots.at(epoch, bitmap))

    def take_new(self, takes_new: bool) -> None:
        """Whether objects and parts may be written, not only deleted and rechunked."""
        for committer in self._committers.values():
            committer.takes_new = takes_new

    async def sweep(self) -> None:
        """Remove, for ever, what gateways that died in the middle of a write have left. Run it as a task."""
        while True:
            for folder in self.mountpaths.all:
                await asyncio.to_thread(sweep_temporary, folder.path)
            await asyncio.sleep(SWEEP_SECONDS)

    def counters(self) -> Mapping[str, int]:
        """What was committed since the start, by AIStore's names."""
        kinds = sum((committer.kinds for committer in self._committers.values()), Counter[str]())
        return {"put.n": kinds["put"] + kinds["complete-upload"], "del.n": kinds["delete"]}

    def _distinct_threads(self) -> set[CommitThread]:
        return set(self._threads.values())

    @property
    def groups(self) -> tuple[int, int]:
        """Commit groups and commits so far: their ratio is the mean group."""
        committers = self._committers.values()
        return sum(each.groups for each in committers), sum(each.commits for each in committers)


def threads_of(
    committers: Mapping[str, IndexCommitter], paths: Mapping[str, Path], *, target: str
) -> dict[str, CommitThread]:
    """The thread for each mountpath: those on the same filesystem share one."""
    devices = {mountpath_id: path.stat().st_dev for mountpath_id, path in paths.items()}
    threads = {}
    for device in set(devices.values()):
        together = [mountpath_id for mountpath_id in committers if devices[mountpath_id] == device]
        thread = CommitThread([committers[each] for each in together], name=f"{target}-{together[0]}")
        threads.update(dict.fromkeys(together, thread))
    return threads


def settle(future: asyncio.Future[ObjectInfo], outcome: Outcome) -> None:
    if future.done():
        return  # nobody waits any more
    if isinstance(outcome, ShoalError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def open_engine(folders: Mapping[str, Path], *, cluster: str, target: str, authority: Authority) -> Engine:
    """Prepare the mountpaths (made new where empty), sweep what dead processes left, open. Blocks."""
    try:
        for mountpath_id, path in folders.items():
            prepare_mountpath(path, cluster=cluster, target=target, mountpath=mountpath_id)
            sweep_temporary(path)
            write_owner(path)
        return Engine(
            [MountpathFolder(each, path) for each, path in folders.items()],
            target=target,
            authority=authority,
        )
    except OSError as error:
        raise storage_error(error, f"cannot open the mountpaths of {target} ({error.filename})") from error


def open_reader(folders: Mapping[str, Path], *, cluster: str, target: str) -> OpenStore:
    """For a gateway on the target's host. Raises ConfigurationError where LMDB must not be shared. Blocks."""
    for path in folders.values():
        identity = read_identity(path)
        check_owner(path, identity, cluster=cluster, target=target)
    return OpenStore(
        [MountpathFolder(each, path) for each, path in folders.items()], target=target, writable=False
    )
