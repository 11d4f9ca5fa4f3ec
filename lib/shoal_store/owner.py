"""Who commits to a mountpath, and so who may read it beside: LMDB's reader table is of one PID namespace and boot."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import ConfigurationError
from shoal_core.host import host_id
from shoal_store.identity import Identity

FILE = "owner.json"


class Owner(msgspec.Struct, frozen=True):
    pid: int
    host_id: str


def write_owner(path: Path) -> None:
    """Written anew at each start of the target; nothing is lost when it is."""
    temporary = path / f"{FILE}.new"
    temporary.write_bytes(msgspec.json.encode(Owner(os.getpid(), host_id())))
    temporary.replace(path / FILE)


def check_owner(path: Path, identity: Identity, *, cluster: str, target: str) -> None:
    if (identity.cluster, identity.target) != (cluster, target):
        raise ConfigurationError(f"{path} belongs to target {identity.target} of cluster {identity.cluster}")
    try:
        owner = msgspec.json.decode((path / FILE).read_bytes(), type=Owner)
    except (OSError, *UNDECODABLE) as error:
        raise ConfigurationError(f"{path} has no owner: start its target first") from error
    if owner.host_id != host_id():
        raise ConfigurationError(
            f"the target of {path} runs in another PID namespace or boot: it can only be reached by RPC"
        )
