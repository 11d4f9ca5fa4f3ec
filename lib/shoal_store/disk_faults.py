"""When a disk is given up: after so many I/O errors within a while, its mountpath becomes failed."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter

from shoal_core.errors import Unavailable
from shoal_core.telemetry import get_logger
from shoal_store.mountpath_states import MountpathState, StateBoard

FAULTS = frozenset(
    {
        errno.EIO,
        errno.EROFS,
        errno.ENODEV,
        errno.ENXIO,
        errno.EUCLEAN,
        errno.EBADMSG,
        errno.ESTALE,
        errno.EREMOTEIO,
    }
)
"""What a disk or its filesystem does when it breaks. A full disk, a missing file and a lack of descriptors are none."""

FAULTS_MET = Counter("shoal_store_disk_faults_total", "I/O errors of disks", ["mountpath"])
FAILURES = Counter("shoal_store_mountpaths_failed_total", "Mountpaths given up after errors", ["mountpath"])


@dataclass(frozen=True, slots=True)
class FaultLimits:
    faults_max: int = 3
    """With so many, the mountpath becomes failed."""
    window_seconds: float = 60.0
    """Within this time."""


class DiskFaults:
    """Of one process. Its methods may be called from any thread."""

    def __init__(
        self,
        board: StateBoard,
        *,
        limits: FaultLimits | None = None,
        failed: Callable[[str, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`failed` hears of a mountpath that is given up, and why; without it, the board alone does."""
        self._board = board
        self._limits = limits or FaultLimits()
        self._failed = failed
        self._clock = clock
        self._met: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def watching(self, mountpath_id: str) -> Watching:
        return Watching(self, mountpath_id)

    def met(self, mountpath_id: str, reason: str) -> None:
        """An I/O error on this mountpath. Blocks when it is the last one that is borne."""
        FAULTS_MET.labels(mountpath_id).inc()
        if not self._is_too_many(mountpath_id):
            return
        reason = (
            f"{self._limits.faults_max} I/O errors within {self._limits.window_seconds:g} s, last: {reason}"
        )
        self._board.set(mountpath_id, MountpathState.FAILED)
        FAILURES.labels(mountpath_id).inc()
        get_logger().error("mountpath-failed", mountpath=mountpath_id, reason=reason)
        if self._failed is not None:
            self._failed(mountpath_id, reason)

    def _is_too_many(self, mountpath_id: str) -> bool:
        with self._lock:
            if not self._board.is_available(mountpath_id):
                return False
            times = self._met.setdefault(mountpath_id, deque(maxlen=self._limits.faults_max))
            times.append(self._clock())
            if len(times) < self._limits.faults_max or times[-1] - times[0] > self._limits.window_seconds:
                return False
            times.clear()
            return True


class Watching:
    """Counts what a block raises, if it is a fault of the disk. A class, as it is entered for every piece of a body."""

    __slots__ = ("_faults", "_mountpath_id")

    def __init__(self, faults: DiskFaults, mountpath_id: str) -> None:
        self._faults = faults
        self._mountpath_id = mountpath_id

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        cause = error.__cause__ if isinstance(error, Unavailable) else error
        if isinstance(cause, OSError) and cause.errno in FAULTS:
            self._faults.met(self._mountpath_id, str(error))
