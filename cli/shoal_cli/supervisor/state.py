"""`run/supervisor.json`: what the running supervisor says of itself to `shoal status`, `env` and `down`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from shoal_cli.supervisor.folder import DataFolder, is_owned
from shoal_cli.supervisor.layout import write_atomically
from shoal_core.errors import ConfigurationError


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    PAUSING = "pausing"
    """Ended by itself; started again after a pause."""
    HELD = "held"
    """Not started again while its file lies in `run/held`."""
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ChildState:
    name: str
    phase: Phase
    pid: int
    """0 while no process runs."""
    restarts: int
    started_at: float
    """Seconds since the epoch, of the process that runs or ran last."""
    log: str


@dataclass(frozen=True, slots=True)
class ClusterState:
    pid: int
    """Of the supervisor."""
    phase: Phase
    started_at: float
    data: str
    cluster_id: str
    endpoint: str
    """AIStore REST."""
    grpc_address: str
    ca: str
    children: tuple[ChildState, ...] = field(default=())


def write_state(folder: DataFolder, state: ClusterState) -> None:
    write_atomically(folder.state_file, msgspec.json.format(msgspec.json.encode(state)).decode() + "\n")


def read_state(path: Path) -> ClusterState | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def running_state(folder: DataFolder) -> ClusterState:
    """Of a cluster that runs. Raises ConfigurationError when none does."""
    state = read_state(folder.state_file) if is_owned(folder) else None
    if state is None:
        raise ConfigurationError(
            f"no cluster runs on {folder.root}; start it with `shoal up`, or name its folder with --data"
        )
    return state
