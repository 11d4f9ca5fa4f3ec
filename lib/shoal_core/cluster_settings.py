"""Settings of the whole cluster that users may change: so far, which properties a new bucket has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from shoal_core.errors import Conflict, DataCorrupt
from shoal_core.etcd.client import EtcdClient
from shoal_core.etcd.values import ABSENT
from shoal_core.membership import ROOT
from shoal_core.objects import BucketProperties

SETTINGS_KEY = f"{ROOT}settings"
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """JSON in etcd: fields are only ever added, with defaults."""

    bucket_defaults: BucketProperties = field(default_factory=BucketProperties)


class SettingsRegistry:
    """Read from etcd's quorum, changed by compare-and-swap."""

    def __init__(self, etcd: EtcdClient) -> None:
        self._etcd = etcd

    async def get(self) -> ClusterSettings:
        return (await self._found())[0]

    async def change(self, change: Callable[[ClusterSettings], ClusterSettings]) -> ClusterSettings:
        """What `change` makes of the current ones; it may be called several times. Raises Conflict."""
        for attempts_left in reversed(range(ATTEMPTS)):
            current, revision = await self._found()
            changed = change(current)
            try:
                await self._etcd.put_if(
                    SETTINGS_KEY, msgspec.json.encode(changed), expected_mod_revision=revision
                )
            except Conflict:
                if not attempts_left:
                    raise
            else:
                return changed
        raise AssertionError("the last attempt returns or raises")

    async def _found(self) -> tuple[ClusterSettings, int]:
        item = await self._etcd.get(SETTINGS_KEY)
        if item is None:
            return ClusterSettings(), ABSENT
        try:
            return msgspec.json.decode(item.value, type=ClusterSettings), item.mod_revision
        except msgspec.DecodeError as error:
            raise DataCorrupt(f"etcd key {SETTINGS_KEY} cannot be read: {error}") from error
