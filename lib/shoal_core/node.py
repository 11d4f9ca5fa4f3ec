"""What every member of a cluster has: etcd, its view of the members, the buckets, and its own membership.

A node that was a member before starts without etcd too, from what it kept on disk: it serves reads, and joins
again as soon as etcd answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal_core.buckets import BucketDirectory
from shoal_core.certificates import NodeIdentity, TlsFiles, read_certificate, uris
from shoal_core.cluster_map import Member
from shoal_core.errors import ConfigurationError, ControlPlaneDown
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.connection import TlsFiles as EtcdTlsFiles
from shoal_core.freshness import Freshness
from shoal_core.membership import CatchUp, ClusterView, Membership, nothing_to_learn
from shoal_core.process import make_folder
from shoal_core.telemetry import get_logger

LEASE_SECONDS_DEFAULT = 10
JOIN_SECONDS_MAX = 15.0
REJOIN_SECONDS_MAX = 0.5
SETTLE_SECONDS_MAX = 5.0
REPORT_SECONDS = 60.0
CATCH_UP_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Node:
    """Open it with `open_node`."""

    cluster_id: str
    etcd: EtcdClient
    view: ClusterView
    buckets: BucketDirectory
    freshness: Freshness

    @asynccontextmanager
    async def member(
        self,
        member: Member,
        *,
        lease_seconds: int = LEASE_SECONDS_DEFAULT,
        apply: CatchUp = nothing_to_learn,
    ) -> AsyncIterator[Membership]:
        """Be a member while the block runs, and leave at its end. `apply` puts the map as it is known here in force.

        Raises ConfigurationError when this process does not belong here, ControlPlaneDown when etcd is away and
        this process has never been a member.
        """

        async def catch_up() -> None:
            await self.catch_up()
            await apply()

        membership = Membership(
            self.etcd, self.cluster_id, member, lease_ttl_seconds=lease_seconds, catch_up=catch_up
        )
        joined = await self._joined(membership, member)
        membership.observed(self.buckets.revision)
        membership.start()
        try:
            if joined:
                await self._settle(membership, member)
            yield membership
        finally:
            await membership.close()

    async def catch_up(self) -> None:
        """Until all that was decided before is known here. Raises ControlPlaneDown."""
        await asyncio.gather(
            self.view.catch_up(CATCH_UP_SECONDS_MAX), self.buckets.catch_up(CATCH_UP_SECONDS_MAX)
        )

    async def report(self, membership: Membership) -> None:
        """Tell, for ever, which changes of buckets are in force in this process. Run it as a task."""
        while True:
            membership.observed(self.buckets.revision)
            with suppress(ControlPlaneDown):
                await self.buckets.wait_for_revision(self.buckets.revision + 1, REPORT_SECONDS)

    async def _settle(self, membership: Membership, member: Member) -> None:
        """Wait until this member may write and sees itself, which a process that says it is ready should."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS_MAX):
                await membership.leased.wait()
                while member.id not in {each.id for each in self.view.current.members}:
                    await self.view.changed()

    async def _joined(self, membership: Membership, member: Member) -> bool:
        known = member.id in {each.id for each in self.view.current.members}
        # The view has waited for etcd before; a member that it knew then need not wait again.
        away = known and not self.view.connected
        try:
            async with asyncio.timeout(REJOIN_SECONDS_MAX if away else JOIN_SECONDS_MAX):
                await membership.join()
        except (ControlPlaneDown, TimeoutError) as error:
            if not known:
                raise ControlPlaneDown(
                    f"etcd does not answer, and {member.id} has never been a member of cluster "
                    f"{self.cluster_id}: start etcd, then start it again"
                ) from error
            get_logger().warning("start-without-etcd", member=member.id)
            return False
        return True


@asynccontextmanager
async def open_node(
    *, cluster_id: str, etcd_endpoints: Sequence[str], tls: TlsFiles, state_folder: Path
) -> AsyncIterator[Node]:
    """Takes at most a few seconds, with etcd or without."""
    make_folder(state_folder, purpose="state_folder")
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(EtcdClient(etcd_endpoints, tls=etcd_tls(tls)))
        view = ClusterView(etcd, state_folder / "cluster.cache", cluster_id=cluster_id)
        stack.push_async_callback(view.close)
        freshness = Freshness(lambda: node.catch_up())
        buckets = BucketDirectory(etcd, state_folder / "buckets.cache", is_fresh=freshness.holds)
        stack.push_async_callback(buckets.close)
        node = Node(cluster_id, etcd, view, buckets, freshness)
        await asyncio.gather(view.start(), buckets.start())
        async with background(freshness.keep()):
            yield node


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless work beside the block. Whatever fails there ends the block with its error."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def require_certificate(tls: TlsFiles, expected: NodeIdentity) -> None:
    """Raises ConfigurationError for the certificate of another node, as which this one must not speak."""
    assert tls.certificate is not None, "a node has a certificate"
    found = uris(read_certificate(tls.certificate))
    if expected.uri not in found:
        raise ConfigurationError(
            f"{tls.certificate} is the certificate of {', '.join(found) or 'nobody'}, not of {expected.uri}: "
            "set certificate_folder to this node's own"
        )


def etcd_tls(tls: TlsFiles) -> EtcdTlsFiles:
    assert tls.certificate is not None, "a node has a certificate"
    assert tls.key is not None, "a node has a key"
    return EtcdTlsFiles(tls.ca, tls.certificate, tls.key)
