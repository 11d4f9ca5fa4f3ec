"""The ways to the objects of each target: from its disks when it is on this host, over gRPC when it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path

import grpc.aio

from shoal_client.remote import RemoteObjectStore
from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.errors import ConfigurationError, DataCorrupt, StaleEpoch, Unavailable
from shoal_core.frames import commit_socket_of
from shoal_core.freshness import Freshness
from shoal_core.multipart import Completion, MultipartStore, PartInfo, UploadInfo, UploadPage, UploadQuery
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    CopyRequest,
    ListPage,
    ListQuery,
    ObjectBody,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)
from shoal_core.rpc import Channels
from shoal_core.telemetry import get_logger
from shoal_gateway.commit_stream import CommitStream
from shoal_store.at_hand import LocalStore
from shoal_store.engine import OpenStore, open_reader
from shoal_store.keys import PlacedName
from shoal_store.local import LocalObjectStore
from shoal_store.mountpath_states import StateBoard, states_file_of

Epoch = Callable[[], int]

REOPEN_SECONDS = 10.0
"""After disks could not be opened; until then the target is asked over gRPC."""


class MemberStores:
    """One store for each target, kept while the target's entry in the map stays the same."""

    def __init__(
        self,
        channels: Channels,
        *,
        cluster_id: str,
        host_id: str,
        local_reads: bool,
        epoch: Epoch,
        freshness: Freshness,
    ) -> None:
        self._freshness = freshness
        self._channels = channels
        self._cluster_id = cluster_id
        self._host_id = host_id
        self._local_reads = local_reads
        self._epoch = epoch
        self._remote: dict[str, RemoteObjectStore] = {}
        self._local: dict[str, SameHostStore] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def store_of(self, member: Member) -> MultipartStore:
        return self._same_host_store(member) if self._is_here(member) else self._remote_store(member)

    def channel_elsewhere(self, member: Member) -> grpc.aio.Channel | None:
        """To a target whose disks are not this host's."""
        return None if self._is_here(member) else self._channels.get(member.internal_address)

    def _is_here(self, member: Member) -> bool:
        return bool(self._local_reads and member.unix_socket and member.host_id == self._host_id)

    def local_of(self, member: Member) -> LocalObjectStore | None:
        """The disks of a target, if they are open here and it runs: an operation that waits for nothing."""
        store = self._local.get(member.id)
        return None if store is None else store.local_for(member)

    def locals_of(self, cluster_map: ClusterMap) -> LocalStore:
        """As `local_of`, for the names of many objects: each target is looked at once."""
        if not cluster_map.targets:
            return lambda _name: None
        owner_of, known = cluster_map.placement.primary, dict[str, LocalObjectStore | None]()

        def local_store(name: PlacedName) -> LocalObjectStore | None:
            owner = owner_of(name.slot)
            if owner not in known:
                known[owner] = self.local_of(cluster_map.member(owner))
            return known[owner]

        return local_store

    async def close(self) -> None:
        for store in self._local.values():
            await store.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _remote_store(self, member: Member) -> RemoteObjectStore:
        address = member.internal_address
        store = self._remote.get(address)
        if store is None:
            store = RemoteObjectStore(self._channels.get(address), peer=member.id, epoch=self._epoch)
            self._remote[address] = store
        return store

    def _same_host_store(self, member: Member) -> SameHostStore:
        known = self._local.get(member.id)
        if known is not None and known.takes_over(member):
            return known
        channel = self._channels.get(f"unix:{member.unix_socket}")
        frames = commit_socket_of(Path(member.unix_socket))
        stream = CommitStream(channel, target=member.id, socket=frames)
        store = SameHostStore(
            member,
            stream,
            self._remote_store,
            cluster_id=self._cluster_id,
            epoch=self._epoch,
            freshness=self._freshness,
            closed_before=self._closed(known) if known else None,
        )
        stream.start()
        self._local[member.id] = store
        return store

    def _closed(self, store: SameHostStore) -> asyncio.Task[None]:
        task = asyncio.create_task(store.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


class SameHostStore:
    """Reads the target's disks in this process while the target runs, and lets it commit what is written.

    Where the disks cannot be shared (another PID namespace), everything goes over gRPC instead.
    """

    def __init__(
        self,
        member: Member,
        stream: CommitStream,
        remote: Callable[[Member], MultipartStore],
        *,
        cluster_id: str,
        epoch: Epoch,
        freshness: Freshness,
        closed_before: asyncio.Task[None] | None = None,
    ) -> None:
        """`closed_before` lets go of the same disks, which one process can open only once."""
        self._member = member
        self._stream = stream
        self._remote = remote
        self._cluster_id = cluster_id
        self._epoch = epoch
        self._freshness = freshness
        self._closed_before = closed_before
        self._opening = asyncio.Lock()
        self._disks: OpenStore | None = None
        self._local: LocalObjectStore | None = None
        self._no_disks_until = 0.0

    def takes_over(self, member: Member) -> bool:
        """Serve the target's new entry in the map, if its socket and disks are where they were."""
        if place_of(self._member) != place_of(member):
            return False
        # A target that was restarted has another port for gRPC, and the same disks.
        self._member = member
        return True

    def local_for(self, member: Member) -> LocalObjectStore | None:
        """None also for an entry of the map that this store has not taken over yet."""
        usable = member is self._member and self._stream.connected.is_set() and self._freshness.holds()
        return self._local if usable else None

    async def close(self) -> None:
        await self._stream.close()
        if self._disks is not None:
            self._disks.close()

    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo:
        return await (await self._opened()).put(bucket, request, body)

    async def open(
        self,
        bucket: Bucket,
        name: str,
        *,
        range: RangeRequest | None = None,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectBody:
        store = await self._opened()
        return await store.open(bucket, name, range=range, preconditions=preconditions)

    async def head(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return await (await self._opened()).head(bucket, name, preconditions=preconditions)

    async def delete(
        self, bucket: Bucket, name: str, *, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> ObjectInfo:
        return await (await self._opened()).delete(bucket, name, preconditions=preconditions)

    async def list(self, bucket: Bucket, query: ListQuery) -> ListPage:
        return await (await self._opened()).list(bucket, query)

    async def copy(self, bucket: Bucket, request: CopyRequest) -> ObjectInfo:
        return await (await self._opened()).copy(bucket, request)

    async def annotate(
        self,
        bucket: Bucket,
        name: str,
        metadata: Mapping[str, str],
        *,
        replace: bool = False,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> ObjectInfo:
        store = await self._opened()
        return await store.annotate(bucket, name, metadata, replace=replace, preconditions=preconditions)

    async def begin_upload(self, bucket: Bucket, request: PutRequest) -> UploadInfo:
        return await (await self._opened()).begin_upload(bucket, request)

    async def put_part(
        self, bucket: Bucket, upload_id: str, number: int, request: PutRequest, body: AsyncIterator[bytes]
    ) -> PartInfo:
        return await (await self._opened()).put_part(bucket, upload_id, number, request, body)

    async def complete_upload(
        self, bucket: Bucket, name: str, upload_id: str, completion: Completion
    ) -> ObjectInfo:
        return await (await self._opened()).complete_upload(bucket, name, upload_id, completion)

    async def abort_upload(self, bucket: Bucket, name: str, upload_id: str) -> None:
        await (await self._opened()).abort_upload(bucket, name, upload_id)

    async def list_uploads(self, bucket: Bucket, query: UploadQuery) -> UploadPage:
        return await (await self._opened()).list_uploads(bucket, query)

    async def list_parts(
        self, bucket: Bucket, name: str, upload_id: str
    ) -> tuple[UploadInfo, tuple[PartInfo, ...]]:
        return await (await self._opened()).list_parts(bucket, name, upload_id)

    async def _opened(self) -> MultipartStore:
        """The store, as long as the target runs. Raises OwnerUnreachable, and StaleEpoch when this process stood still
        and may have chosen the target by an old map."""
        if await self._freshness.wait():
            raise StaleEpoch("this gateway stood still for a while: repeat")
        await self._stream.wait_first_connection()
        self._stream.require_connected()
        if self._local is not None:
            return self._local
        async with self._opening:
            if self._local is None and time.monotonic() >= self._no_disks_until:
                await self._open_disks()
        return self._local or self._remote(self._member)

    async def _open_disks(self) -> None:
        if self._closed_before is not None:
            await asyncio.wait([self._closed_before])
        folders = {mountpath.id: Path(mountpath.path) for mountpath in self._member.mountpaths}
        target = self._member.id
        try:
            board = StateBoard.shared(folders, states_file_of(Path(self._member.unix_socket)))
            opening = partial(open_reader, folders, cluster=self._cluster_id, target=target, board=board)
            disks = await asyncio.to_thread(opening)
        except (ConfigurationError, DataCorrupt, Unavailable, OSError) as error:
            get_logger().warning("disks-not-shared", target=target, reason=str(error))
            self._no_disks_until = time.monotonic() + REOPEN_SECONDS
            return
        self._disks = disks
        self._stream.reads = disks.reader.counts
        self._local = LocalObjectStore(disks.reader, disks.writer, self._stream, epoch=self._epoch)


def place_of(member: Member) -> tuple[object, ...]:
    folders = tuple((mountpath.id, mountpath.path) for mountpath in member.mountpaths)
    return member.unix_socket, member.host_id, folders
