"""The engine of one target: its mountpaths opened, for reading alone (gateways) or for committing too (the target)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from shoal_core.errors import NotFound, ShoalError, Unavailable
from shoal_core.objects import BucketId, ObjectInfo
from shoal_store.commit import Answer, Commit, Outcome
from shoal_store.commit_thread import CommitThread
from shoal_store.committer import PUTS, Authority, IndexCommitter
from shoal_store.disk_faults import DiskFaults, FaultLimits
from shoal_store.durability import storage_error
from shoal_store.identity import prepare_mountpath, read_identity
from shoal_store.index import Index
from shoal_store.index_copies import IndexCopier
from shoal_store.indexes import Indexes
from shoal_store.keys import encode_name
from shoal_store.local import LocalObjectStore
from shoal_store.mountpath_preparing import (
    Prepare,
    no_more,
    prepare_all,
    probe,
    require_current,
    require_index,
    require_same_disk,
)
from shoal_store.mountpath_states import MountpathState, MountpathStates, StateBoard
from shoal_store.mountpaths import MountpathFolder, Mountpaths, TemporaryFolder, sweep_temporary
from shoal_store.orphans import Step, collect
from shoal_store.owner import check_owner, write_owner
from shoal_store.purge import Purged, purge_some
from shoal_store.reader import StoreReader
from shoal_store.reserve import Reserve
from shoal_store.slots import OwnedSlots
from shoal_store.suspects import Suspects
from shoal_store.writer import BodyWriter

SWEEP_SECONDS = 5.0
DEFAULT_LIMITS = FaultLimits()


class OpenStore:
    """What reading and writing bodies need; closed at the end. `Engine` adds committing."""

    def __init__(
        self,
        folders: Sequence[MountpathFolder],
        *,
        target: str,
        writable: bool,
        board: StateBoard | None = None,
        faults: DiskFaults | None = None,
    ) -> None:
        self.target = target
        self.mountpaths = Mountpaths(folders, target=target, board=board, faults=faults)
        self.indexes = Indexes(
            self.mountpaths,
            lambda folder: Index(
                folder.id, folder.path, writable=writable, met=partial(self.mountpaths.faults.met, folder.id)
            ),
        )
        self.indexes.available()
        self._temporary = TemporaryFolder(self.mountpaths)
        self.reader = StoreReader(self.mountpaths, self.indexes, target=target)
        self.writer = BodyWriter(self.mountpaths, self._temporary)

    def close(self) -> None:
        self._temporary.close()
        self.indexes.close()


class Engine(OpenStore):
    """The one committing process. Use `open_engine`."""

    def __init__(
        self,
        folders: Sequence[MountpathFolder],
        *,
        target: str,
        authority: Authority,
        states: MountpathStates,
        prepare: Prepare,
        limits: FaultLimits,
    ) -> None:
        faults = DiskFaults(states.board, limits=limits, failed=states.fail)
        super().__init__(folders, target=target, writable=True, board=states.board, faults=faults)
        self.states = states
        self.suspects = Suspects()
        self._prepare = prepare
        self._changing = asyncio.Lock()
        self._authority = authority
        self._takes_new = True
        self._owned: OwnedSlots | None = None
        try:
            self._committers = {
                index.mountpath_id: self._committer(index) for index in self.indexes.available()
            }
        except BaseException:
            self.close()
            raise
        self._threads = threads_of(self._committers, self.mountpaths, target=target)
        self.store = LocalObjectStore(self.reader, self.writer, self, epoch=lambda: 0)

    def _committer(self, index: Index) -> IndexCommitter:
        index.bind(list(self.indexes))
        committer = IndexCommitter(
            index,
            target=self.target,
            authority=self._authority,
            mountpaths=self.mountpaths,
            suspects=self.suspects,
        )
        committer.takes_new = self._takes_new
        return committer

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
        """`CommitTaker`: hands the commit to the thread of the disk that keeps the name. Raises InvalidName and
        MountpathUnavailable."""
        mountpath_id = self.mountpaths.of_name(commit.bucket, encode_name(commit.name))
        self.mountpaths.require(mountpath_id)
        self._threads[mountpath_id].submit(self._committers[mountpath_id], commit, answer)

    async def purge_bucket(self, bucket_id: BucketId) -> AsyncIterator[Purged]:
        """Remove what is left of a bucket that no longer exists, a batch at a time."""
        if self._authority.is_current(bucket_id):
            raise Unavailable("the bucket is still known here: its removal has not arrived yet")
        for index in self.indexes.values():
            while True:
                purged = await asyncio.to_thread(purge_some, index, self.mountpaths, bucket_id)
                if purged.nothing:
                    break
                yield purged

    def collect_orphans(self, *, age_seconds_min: float) -> Iterator[Step]:
        """In steps that block; their caller sets the pace. Raises as `collect`."""
        self.writer.in_flight.flush()
        return collect(self.indexes, self.mountpaths, self.suspects, age_seconds_min=age_seconds_min)

    def index_copier(self, *, bytes_per_second: float) -> IndexCopier:
        return IndexCopier(
            self.mountpaths, self._temporary, target=self.target, bytes_per_second=bytes_per_second
        )

    def own(self, epoch: int, bitmap: bytes) -> None:
        """Write the owned slots into every index, synced; those that are not available get them later. Blocks."""
        self._owned = OwnedSlots.at(epoch, bitmap)
        for index in self.indexes.available():
            index.own(self._owned)

    async def disable(self, mountpath_id: str) -> None:
        """At an operator's word: what lies there is refused from now on. Reads that have begun come to their end.
        Raises NotFound."""
        self._require_known(mountpath_id)
        async with self._changing:
            await self._set_state(mountpath_id, MountpathState.DISABLED, "by an operator")

    async def enable(self, mountpath_id: str) -> None:
        """Try the disk, and bring it back. Raises NotFound, and Unavailable or ConfigurationError for a disk that is
        not fit; its state then stays."""
        self._require_known(mountpath_id)
        async with self._changing:
            await asyncio.to_thread(self._make_usable, self.mountpaths.folder(mountpath_id))
            if mountpath_id not in self._threads:
                committer = self._committers[mountpath_id]
                thread = CommitThread([committer], name=f"{self.target}-{mountpath_id}")
                thread.start()
                self._threads[mountpath_id] = thread
            await self._set_state(mountpath_id, MountpathState.AVAILABLE)

    async def _set_state(self, mountpath_id: str, state: MountpathState, reason: str = "") -> None:
        try:
            await asyncio.to_thread(self.states.set, mountpath_id, state, reason)
        except OSError as error:
            what = f"mountpath {mountpath_id} is {state} now, but that cannot be kept for the next start"
            raise storage_error(error, what) from error

    def _make_usable(self, folder: MountpathFolder) -> None:
        """Blocks."""
        try:
            self._prepare(folder)
            probe(folder.path)
        except OSError as error:
            raise storage_error(error, f"mountpath {folder.id} ({folder.path}) is not fit") from error
        index = self.indexes.opened(folder.id)
        # The newest placement, which this index may have missed.
        others = [each for each in self.indexes.available() if each is not index]
        owned = self._owned or (newest_owned(others) if others else None)
        if owned is not None:
            index.own(owned)
        if folder.id not in self._committers:
            self._committers[folder.id] = self._committer(index)

    def _require_known(self, mountpath_id: str) -> None:
        if mountpath_id not in self.indexes:
            known = ", ".join(self.indexes)
            raise NotFound(f"target {self.target} has no mountpath {mountpath_id[:64]!r}; it has {known}")

    def take_new(self, takes_new: bool) -> None:
        """Whether objects and parts may be written, not only deleted and rechunked."""
        self._takes_new = takes_new
        for committer in self._committers.values():
            committer.takes_new = takes_new

    async def sweep(self) -> None:
        """Remove, for ever, what gateways that died in the middle of a write have left, and keep the reserves. Run it
        as a task."""
        while True:
            await asyncio.to_thread(self.states.take_from_board)
            for folder in self.mountpaths.available():
                with suppress(OSError):  # of a disk that fails; its next write or read says so
                    await asyncio.to_thread(sweep_temporary, folder.path)
                    await asyncio.to_thread(Reserve(folder.path).keep)
            await asyncio.sleep(SWEEP_SECONDS)

    def counters(self) -> Mapping[str, int]:
        """What was committed and read since the start, by AIStore's names; reads of gateways a second late."""
        committers = self._committers.values()
        kinds = sum((committer.kinds for committer in committers), Counter[str]())
        read = self.reader.counts
        return {
            "get.n": read.reads,
            "get.size": read.read_bytes,
            "put.n": sum(kinds[kind] for kind in PUTS),
            "put.size": sum(committer.put_bytes for committer in committers),
            "del.n": kinds["delete"],
        }

    def _distinct_threads(self) -> set[CommitThread]:
        return set(self._threads.values())

    @property
    def groups(self) -> tuple[int, int]:
        """Commit groups and commits so far: their ratio is the mean group."""
        committers = self._committers.values()
        return sum(each.groups for each in committers), sum(each.commits for each in committers)


def newest_owned(indexes: Sequence[Index]) -> OwnedSlots:
    found = []
    for index in indexes:
        with index.read() as transaction:
            found.append(index.owned(transaction))
    return max(found, key=lambda owned: owned.epoch)


def threads_of(
    committers: Mapping[str, IndexCommitter], mountpaths: Mountpaths, *, target: str
) -> dict[str, CommitThread]:
    """The thread for each mountpath: those on the same filesystem share one."""
    devices = {each: mountpaths.folder(each).path.stat().st_dev for each in committers}
    threads: dict[str, CommitThread] = {}
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


def open_engine(
    folders: Mapping[str, Path],
    *,
    cluster: str,
    target: str,
    authority: Authority,
    states: MountpathStates | None = None,
    admit: Prepare | None = None,
    limits: FaultLimits = DEFAULT_LIMITS,
) -> Engine:
    """Prepare the mountpaths that are available (made new where empty), sweep what dead processes left, open. Blocks.

    One whose disk fails is left out as failed, as long as another one is there. Raises ConfigurationError, OutOfSpace
    and Unavailable.
    """
    states = states or MountpathStates(list(folders))

    def prepare(folder: MountpathFolder) -> None:
        require_same_disk(folder, states)
        (admit or no_more)(folder)
        prepare_mountpath(folder.path, cluster=cluster, target=target, mountpath=folder.id)
        require_index(folder)
        sweep_temporary(folder.path)
        with suppress(OSError):  # of a full disk, or one whose next write says so
            Reserve(folder.path).keep()
        write_owner(folder.path)

    def prepare_first(folder: MountpathFolder) -> None:
        prepare(folder)
        require_current(folder)

    ordered = [MountpathFolder(each, path) for each, path in folders.items()]
    prepare_all(ordered, states, prepare_first, target=target)
    try:
        engine = Engine(
            ordered, target=target, authority=authority, states=states, prepare=prepare, limits=limits
        )
        states.keep_new()
        return engine
    except OSError as error:
        raise storage_error(error, f"cannot open the mountpaths of {target} ({error.filename})") from error


def open_reader(
    folders: Mapping[str, Path], *, cluster: str, target: str, board: StateBoard | None = None
) -> OpenStore:
    """For a gateway on the target's host. Raises ConfigurationError where LMDB must not be shared. Blocks."""
    board = board or StateBoard.private(folders)
    for mountpath_id, path in folders.items():
        if board.is_available(mountpath_id):
            check_owner(path, read_identity(path), cluster=cluster, target=target)
    return OpenStore(
        [MountpathFolder(each, path) for each, path in folders.items()],
        target=target,
        writable=False,
        board=board,
    )
