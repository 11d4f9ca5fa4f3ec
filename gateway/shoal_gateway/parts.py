"""What the HTTP handlers work with. `__main__` builds it once; tests build it around a store in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import grpc.aio

from shoal_archive.batch import Elsewhere, nobody_else
from shoal_core.access import Permission, Principal
from shoal_core.cluster_map import ClusterMap, Member
from shoal_core.errors import OwnerUnreachable
from shoal_core.load import Load
from shoal_core.multipart import MultipartStore
from shoal_core.objects import Bucket, BucketProperties, BucketReference
from shoal_store.at_hand import LocalStore, LocalStores
from shoal_store.keys import PlacedName

ProxyChannel: TypeAlias = Callable[[], tuple[grpc.aio.Channel, str]]
"""Gives the connection to a proxy that is alive if any is, and its name in errors. Raises ControlPlaneDown."""


class Buckets(Protocol):
    """Buckets as this process knows them, and the only way from a user's words to a bucket."""

    async def resolve(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket:
        """Raises PermissionDenied, BucketNotFound (confirmed with etcd), ControlPlaneDown."""
        ...

    def known(
        self, reference: BucketReference, *, permission: Permission, principal: Principal
    ) -> Bucket | None:
        """The bucket if this process knows it, without asking anybody. Raises PermissionDenied."""
        ...

    def state(self) -> object | None:
        """The same object for as long as `known` gives the same answers; None while it has to be asked each time."""
        ...

    def list(self, provider: str = "") -> Sequence[Bucket]: ...


class BucketControl(Protocol):
    """Changes of buckets, made by the control plane."""

    async def create(self, reference: BucketReference, properties: BucketProperties | None = None) -> Bucket:
        """`properties`: None for the cluster's defaults."""
        ...

    async def defaults(self) -> BucketProperties:
        """What a new bucket has."""
        ...

    async def set_defaults(self, properties: BucketProperties) -> None: ...

    async def update(self, reference: BucketReference, properties: BucketProperties) -> Bucket: ...

    async def delete(self, reference: BucketReference) -> None: ...


def no_store(_name: PlacedName) -> None:
    """Of a gateway without disks."""


MemberChannel: TypeAlias = Callable[[Member], grpc.aio.Channel]
"""The connection to a member's internal listener."""


def no_channel(member: Member) -> grpc.aio.Channel:
    """Of a gateway that reaches no member."""
    raise OwnerUnreachable(f"{member.id} cannot be reached from here")


@dataclass(frozen=True, slots=True)
class Parts:
    """The collaborators of the handlers."""

    objects: MultipartStore
    buckets: Buckets
    control: BucketControl
    cluster_map: Callable[[], ClusterMap]
    node_id: str
    """Id of this gateway, as errors name it."""
    host_id: str
    proxy: ProxyChannel
    local_store: LocalStore = no_store
    """The disks that hold an object, if they are this host's and its target runs."""
    local_stores: LocalStores = lambda: no_store
    """The same, for many objects."""
    batches_elsewhere: Elsewhere = nobody_else
    """Streams of the items of a batch that other hosts have."""
    member_channel: MemberChannel = no_channel
    load: Load = field(default_factory=Load)
    """What this process may take on."""
    batch_missing_max: int = 8
    """As in `GatewayConfiguration`."""
    promote_folder: Path | None = None
    """As in `GatewayConfiguration`."""
