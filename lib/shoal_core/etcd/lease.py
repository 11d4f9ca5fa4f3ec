"""`Lease`: the right to be thought alive, kept in the background, with a deadline fit for fencing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from shoal.etcd.v1 import etcd_pb2
from shoal_core.errors import ControlPlaneDown, LeaseLost, ShoalError
from shoal_core.etcd.calls import Backoff, Stream
from shoal_core.etcd.values import LeaseId
from shoal_core.telemetry import get_logger

if TYPE_CHECKING:
    from shoal_core.etcd.client import EtcdClient

# Two keepalives may get lost before the lease is in danger.
KEEPALIVES_PER_TTL = 3

KeepAliveStream = Stream[etcd_pb2.LeaseKeepAliveRequest, etcd_pb2.LeaseKeepAliveResponse]


def boot_time() -> float:
    """Seconds on the clock of deadlines, which goes on counting while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """A lease of at least `ttl_seconds`, granted by `start` (or `async with`, which revokes at the end).

    It outlives an etcd restart that is shorter than its time to live. Once `lost` is set it stays lost:
    granting another is the caller's business.
    """

    def __init__(self, client: EtcdClient, ttl_seconds: int) -> None:
        self.lost = asyncio.Event()
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._id: LeaseId | None = None
        self._deadline = 0.0
        self._task: asyncio.Task[None] | None = None
        self._stream: KeepAliveStream | None = None
        connection = client.connection
        self._grant = connection.unary(
            "/etcdserverpb.Lease/LeaseGrant", etcd_pb2.LeaseGrantRequest, etcd_pb2.LeaseGrantResponse
        )
        self._revoke = connection.unary(
            "/etcdserverpb.Lease/LeaseRevoke", etcd_pb2.LeaseRevokeRequest, etcd_pb2.LeaseRevokeResponse
        )
        self._keepalive = connection.stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            etcd_pb2.LeaseKeepAliveRequest,
            etcd_pb2.LeaseKeepAliveResponse,
        )

    @property
    def id(self) -> LeaseId:
        assert self._id is not None, "start the lease first"
        return self._id

    @property
    def ttl_seconds(self) -> int:
        """What etcd granted; may be more than was asked for."""
        return self._ttl_seconds

    def deadline(self) -> float:
        """Until then, on `boot_time`, etcd certainly keeps the lease; after `revoke` or loss it is 0.

        Counted from the moment before the last answered keepalive was sent, so that no delay on the way, no
        pause of this process and no suspended machine can make it too late.
        """
        return self._deadline

    def is_held(self) -> bool:
        """The fencing check; does not depend on the event loop having run."""
        return boot_time() < self._deadline

    async def start(self) -> Self:
        assert self._task is None, "a lease is started once"
        sent = boot_time()
        # Granted twice after a lost answer, the first one simply runs out: no key hangs on it.
        response = await self._grant.repeatable(
            etcd_pb2.LeaseGrantRequest(ttl_seconds=self._ttl_seconds), self._client.timeout_seconds
        )
        if response.error:
            raise ControlPlaneDown(f"etcd {self._client.connection.name} grants no lease: {response.error}")
        self._id = LeaseId(response.lease_id)
        self._ttl_seconds = response.ttl_seconds
        self._deadline = sent + response.ttl_seconds
        self._task = asyncio.create_task(self._keep_alive(), name=f"etcd-lease-{self._id:x}")
        return self

    async def revoke(self) -> None:
        """Give the lease back: its keys vanish at once, if etcd answers, else when the time has run out."""
        await self.close()
        request = etcd_pb2.LeaseRevokeRequest(lease_id=self.id)
        with contextlib.suppress(LeaseLost):
            await self._revoke.repeatable(request, self._client.timeout_seconds)

    async def close(self) -> None:
        """Stop keeping it alive, without a word to etcd."""
        self._deadline = 0.0
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.lost.set()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            await self.revoke()
        except ControlPlaneDown as error:
            get_logger().warning("etcd-lease-not-revoked", lease=self.id, reason=error.message)

    async def _keep_alive(self) -> None:
        backoff = Backoff()
        interval_seconds = self._ttl_seconds / KEEPALIVES_PER_TTL
        try:
            while self.is_held():
                try:
                    await self._renew(interval_seconds)
                except ControlPlaneDown:
                    self._drop_stream()
                    await backoff.pause()
                else:
                    backoff.reset()
                    await asyncio.sleep(interval_seconds)
            get_logger().warning("etcd-lease-lost", lease=self.id, reason="no keepalive was answered in time")
        except ShoalError as error:
            get_logger().warning("etcd-lease-lost", lease=self.id, reason=error.message)
        finally:
            self._drop_stream()
            self._deadline = 0.0
            self.lost.set()

    async def _renew(self, timeout_seconds: float) -> None:
        request = etcd_pb2.LeaseKeepAliveRequest(lease_id=self.id)
        sent = boot_time()
        if self._stream is None:
            self._stream = await self._keepalive.open(request, timeout_seconds)
        else:
            await self._stream.send(request, timeout_seconds)
        response = await self._stream.receive(timeout_seconds)
        if response.ttl_seconds <= 0:
            raise LeaseLost(f"etcd has ended lease {self.id:x}")
        if self.is_held():
            # Not after it has run out: others may have acted on that already.
            self._deadline = sent + response.ttl_seconds

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None
