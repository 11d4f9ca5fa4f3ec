"""Which mountpaths may be used: kept by their target over restarts, and shared with the gateways beside it."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import ConfigurationError
from shoal_core.telemetry import get_logger
from shoal_store.durability import sync_data, sync_directory


class MountpathState(StrEnum):
    AVAILABLE = "available"
    DISABLED = "disabled"
    """By an operator."""
    FAILED = "failed"
    """By errors, or missing at the start."""


STATES = tuple(MountpathState)


class StateBoard:
    """A byte for each mountpath, in the order of their ids, in memory that processes may share through a file: a look
    costs no system call, and what one writes all of them see at once. A gateway writes nothing but FAILED."""

    def __init__(self, mountpath_ids: Collection[str], memory: mmap.mmap) -> None:
        self._places = {each: place for place, each in enumerate(sorted(mountpath_ids))}
        self._memory = memory

    @classmethod
    def private(cls, mountpath_ids: Collection[str]) -> StateBoard:
        return cls(mountpath_ids, mmap.mmap(-1, len(mountpath_ids)))

    @classmethod
    def made(cls, mountpath_ids: Collection[str], path: Path) -> StateBoard:
        """For the target. One that is there is written in place, since gateways may have it open. Raises OSError."""
        if path.exists() and path.stat().st_size != len(mountpath_ids):
            path.unlink()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, len(mountpath_ids))
            return cls(mountpath_ids, mmap.mmap(descriptor, len(mountpath_ids)))
        finally:
            os.close(descriptor)

    @classmethod
    def shared(cls, mountpath_ids: Collection[str], path: Path) -> StateBoard:
        """For a gateway. Raises ConfigurationError where the target has made none for these mountpaths."""
        try:
            with path.open("r+b") as file:
                if os.fstat(file.fileno()).st_size == len(mountpath_ids):
                    return cls(mountpath_ids, mmap.mmap(file.fileno(), len(mountpath_ids)))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read ({error}): start the target first") from error
        raise ConfigurationError(f"{path} is of other mountpaths: start the target first")

    def of(self, mountpath_id: str) -> MountpathState:
        return STATES[self._memory[self._places[mountpath_id]]]

    def is_available(self, mountpath_id: str) -> bool:
        return not self._memory[self._places[mountpath_id]]

    def set(self, mountpath_id: str, state: MountpathState) -> None:
        self._memory[self._places[mountpath_id]] = STATES.index(state)


def states_file_of(unix_socket: Path) -> Path:
    """Beside the socket, so whoever cannot reach the target cannot see it either."""
    return unix_socket.with_suffix(".disks")


class KeptState(msgspec.Struct, frozen=True):
    state: MountpathState
    reason: str = ""
    """Empty for an available one."""
    since_ns: int = 0


class MountpathStates:
    """The target's own: the board, why each mountpath is not available, and the file that survives restarts."""

    def __init__(
        self, mountpath_ids: Collection[str], *, file: Path | None = None, board: Path | None = None
    ) -> None:
        """Raises ConfigurationError for a file that cannot be read, OSError for a board that cannot be made."""
        made = StateBoard.private(mountpath_ids) if board is None else StateBoard.made(mountpath_ids, board)
        self.board = made
        self._file = file
        self._lock = threading.Lock()
        self._kept = read_kept(file)
        self._now = {
            each: self._kept.get(each, KeptState(MountpathState.AVAILABLE)) for each in mountpath_ids
        }
        for each, kept in self._now.items():
            made.set(each, kept.state)

    def knows(self, mountpath_id: str) -> bool:
        """Whether it was made before, so that an empty folder in its place is another disk, or none."""
        return mountpath_id in self._kept

    def of(self, mountpath_id: str) -> KeptState:
        return self._now[mountpath_id]

    def set(self, mountpath_id: str, state: MountpathState, reason: str = "", *, kept: bool = True) -> None:
        """In force at once. Blocks. Raises OSError when it cannot be kept; `kept` False is for what every start
        finds out again."""
        with self._lock:
            self._now[mountpath_id] = KeptState(state, reason, time.time_ns())
            self.board.set(mountpath_id, state)
            if kept:
                self._kept[mountpath_id] = self._now[mountpath_id]
                write_kept(self._file, self._kept)

    def fail(self, mountpath_id: str, reason: str) -> None:
        """As `set`, in the middle of a request, which has its own error to tell. Blocks."""
        try:
            self.set(mountpath_id, MountpathState.FAILED, reason)
        except OSError as error:
            get_logger().error("mountpath-states-not-kept", file=str(self._file), reason=str(error))

    def take_from_board(self) -> None:
        """What gateways of this host have found failed. Blocks."""
        for mountpath_id, known in list(self._now.items()):
            is_news = known.state is MountpathState.AVAILABLE
            if is_news and self.board.of(mountpath_id) is MountpathState.FAILED:
                self.fail(mountpath_id, "I/O errors in a gateway of this host, whose log has them")

    def keep_new(self) -> None:
        """Remember those that are there for the first time. Blocks. Raises OSError."""
        new = {
            each: state
            for each, state in self._now.items()
            if each not in self._kept and state.state is MountpathState.AVAILABLE
        }
        if new:
            self._kept.update(new)
            write_kept(self._file, self._kept)


def read_kept(file: Path | None) -> dict[str, KeptState]:
    try:
        return {} if file is None else msgspec.json.decode(file.read_bytes(), type=dict[str, KeptState])
    except FileNotFoundError:
        return {}
    except (OSError, *UNDECODABLE) as error:
        raise ConfigurationError(f"{file} cannot be read ({error}): restore it, or remove it") from error


def write_kept(file: Path | None, kept: Mapping[str, KeptState]) -> None:
    if file is None:
        return
    temporary = file.with_name(f"{file.name}.new")
    with temporary.open("wb") as new:
        new.write(msgspec.json.encode(kept))
        new.flush()
        sync_data(new.fileno(), "states data")
    temporary.replace(file)
    sync_directory(file.parent, "states name")
