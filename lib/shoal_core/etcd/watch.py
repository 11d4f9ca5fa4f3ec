"""`Watch`: every change of a key or prefix, in order, whatever happens to the connection or to etcd.

The rules of resuming, on which everything rests:
* the next revision to ask for is the last delivered one + 1, and moves only after a whole response;
* the answer "created" says nothing of progress; a response without events does;
* history that was compacted away is replaced by a fresh `Snapshot`, never skipped in silence;
* a store that has gone back in time (restored, emptied) is listed again, too.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from shoal.etcd.v1 import etcd_pb2
from shoal_core.errors import ShoalError
from shoal_core.etcd.calls import Backoff, Stream
from shoal_core.etcd.messages import watch_event
from shoal_core.etcd.values import KeyRange, Snapshot, WatchBatch, WatchEvent
from shoal_core.telemetry import get_logger

if TYPE_CHECKING:
    from shoal_core.etcd.client import EtcdClient

EVENTS_OF_ONE_RESPONSE_MAX = 1_000_000

WatchStream = Stream[etcd_pb2.WatchRequest, etcd_pb2.WatchResponse]


class Watch:
    """An endless iterator for one consumer; it reconnects for ever and raises nothing of the network.

    Without `start_revision` it begins with a Snapshot, so list and watch are one. With it, it begins with the
    first change at or after that revision. A Snapshot later on replaces all that came before it.
    """

    def __init__(self, client: EtcdClient, keys: KeyRange, *, start_revision: int | None = None) -> None:
        self.connected = False
        """Whether etcd is delivering right now; when False, what was delivered may be old."""
        self._client = client
        self._keys = keys
        self._method = client.connection.stream(
            "/etcdserverpb.Watch/Watch", etcd_pb2.WatchRequest, etcd_pb2.WatchResponse
        )
        self._next_revision = start_revision
        self._cluster_id = 0
        self._stream: WatchStream | None = None
        self._fragments: list[WatchEvent] = []
        self._backoff = Backoff()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch | Snapshot:
        while True:
            try:
                if self._next_revision is None:
                    return await self._list()
                stream = self._stream or await self._open(self._next_revision)
                if stream is None:
                    continue
                response = await stream.receive(timeout_seconds=None)
            except ShoalError as error:
                self._disconnect(error)
                await self._backoff.pause()
                continue
            if delivery := self._take(response):
                return delivery

    def close(self) -> None:
        """End the stream; the iterator must not be used any more."""
        self.connected = False
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None

    async def _list(self) -> Snapshot:
        snapshot = await self._client.get_range(self._keys)
        self._next_revision = snapshot.revision + 1
        return snapshot

    async def _open(self, start_revision: int) -> WatchStream | None:
        """A stream that delivers from the revision; None when the keys must be listed first."""
        create = etcd_pb2.WatchCreateRequest(
            key=self._keys.start,
            range_end=self._keys.end,
            start_revision=start_revision,
            progress_notify=True,
            fragment=True,
        )
        request = etcd_pb2.WatchRequest(create_request=create)
        self._stream = stream = await self._method.open(request, self._client.timeout_seconds)
        created = await stream.receive(self._client.timeout_seconds)
        if created.canceled:
            await self._backoff.pause()
            self._end(created)
            return None
        if await self._is_other_history(created.header):
            get_logger().warning(
                "etcd-history-replaced", keys=str(self._keys), expected_revision=start_revision
            )
            self._list_anew()
            return None
        assert created.created
        self._cluster_id = created.header.cluster_id
        self.connected = True
        self._backoff.reset()
        return stream

    async def _is_other_history(self, header: etcd_pb2.ResponseHeader) -> bool:
        """Whether the store is not the one whose revisions we have followed."""
        assert self._next_revision is not None
        if self._cluster_id not in (0, header.cluster_id):
            return True
        # One member may lag behind; only when the quorum itself is behind us has history been replaced.
        delivered = self._next_revision - 1
        return header.revision < delivered and await self._client.revision() < delivered

    def _take(self, response: etcd_pb2.WatchResponse) -> WatchBatch | None:
        if response.canceled:
            self._end(response)
            return None
        self._fragments.extend(watch_event(event) for event in response.events)
        assert len(self._fragments) <= EVENTS_OF_ONE_RESPONSE_MAX
        if response.fragment:
            return None
        return self._whole_response(response.header.revision)

    def _whole_response(self, store_revision: int) -> WatchBatch | None:
        events, self._fragments = tuple(self._fragments), []
        # The store may be ahead of what this response holds, so events alone say how far delivery has come.
        revision = events[-1].mod_revision if events else store_revision
        assert self._next_revision is not None
        if revision < self._next_revision:
            return None
        self._next_revision = revision + 1
        return WatchBatch(revision, events)

    def _end(self, response: etcd_pb2.WatchResponse) -> None:
        get_logger().warning(
            "etcd-watch-canceled",
            keys=str(self._keys),
            reason=response.cancel_reason,
            compact_revision=response.compact_revision,
        )
        if response.compact_revision:
            self._list_anew()
        else:
            self._disconnect_quietly()

    def _list_anew(self) -> None:
        self._next_revision = None
        self._cluster_id = 0
        self._disconnect_quietly()

    def _disconnect(self, error: ShoalError) -> None:
        if self.connected:
            get_logger().warning("etcd-watch-interrupted", keys=str(self._keys), reason=error.message)
        self._disconnect_quietly()

    def _disconnect_quietly(self) -> None:
        self.close()
        self._fragments.clear()
