"""What operators see of this target's mountpaths, and change."""

from __future__ import annotations

from collections.abc import Sequence

from shoal.cluster.v1 import mountpath_pb2
from shoal.cluster.v1.mountpath_pb2 import MountpathState as StateNumber
from shoal.node.v1.node_pb2 import MountpathStatus
from shoal_core.errors import InvalidArgument
from shoal_core.node_vitals import DiskUse, disk_uses
from shoal_core.telemetry import get_logger
from shoal_store.engine import Engine
from shoal_store.mountpath_states import MountpathState

NUMBERS: dict[MountpathState, StateNumber.ValueType] = {
    MountpathState.AVAILABLE: mountpath_pb2.MOUNTPATH_STATE_AVAILABLE,
    MountpathState.DISABLED: mountpath_pb2.MOUNTPATH_STATE_DISABLED,
    MountpathState.FAILED: mountpath_pb2.MOUNTPATH_STATE_FAILED,
}


class EngineDisks:
    """`NodeDisks`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def statuses(self) -> Sequence[MountpathStatus]:
        """Blocks. The disk of one that is not available is not looked at."""
        mountpaths = self._engine.mountpaths
        uses = {use.path: use for use in disk_uses(folder.path for folder in mountpaths.available())}
        return [
            self._status(folder.id, uses.get(folder.path, DiskUse(folder.path, 0, 0, "", "")))
            for folder in mountpaths.all
        ]

    async def set_state(self, mountpath: str, state: StateNumber.ValueType) -> None:
        if state == mountpath_pb2.MOUNTPATH_STATE_AVAILABLE:
            await self._engine.enable(mountpath)
            get_logger().info("mountpath-enabled", mountpath=mountpath)
        elif state == mountpath_pb2.MOUNTPATH_STATE_DISABLED:
            await self._engine.disable(mountpath)
            get_logger().warning("mountpath-disabled", mountpath=mountpath)
        else:
            raise InvalidArgument("a mountpath can be made available or disabled, nothing else")

    def _status(self, mountpath: str, use: DiskUse) -> MountpathStatus:
        kept = self._engine.states.of(mountpath)
        return MountpathStatus(
            path=str(use.path),
            used_bytes=use.used_bytes,
            available_bytes=use.available_bytes,
            device=use.device,
            filesystem=use.filesystem,
            id=mountpath,
            state=NUMBERS[kept.state],
            reason=kept.reason,
            since_ns=kept.since_ns,
        )
