"""Settings of a proxy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shoal_core.config import load_configuration

ENVIRONMENT_PREFIX = "SHOAL_PROXY"


@dataclass(frozen=True, slots=True)
class ProxyConfiguration:
    """Read from the TOML file of `--config`; `SHOAL_PROXY_<FIELD>` in the environment overrides a value."""

    id: str
    """Name of this member, unique in the cluster."""
    cluster_id: str
    """The cluster that this process belongs to; it starts in no other."""
    etcd_endpoints: tuple[str, ...]
    """`host:port` of each member of etcd."""
    certificate_folder: Path
    """Holds ca.pem, node.pem and node.key, for etcd, other nodes and users."""
    state_folder: Path
    """Where the last known map and buckets are kept, for a start without etcd."""
    ready_file: Path
    """Written once this process serves, removed when it stops."""
    public_address: str = "127.0.0.1:51081"
    """gRPC for users."""
    internal_address: str = "127.0.0.1:0"
    """gRPC for nodes; port 0 lets the kernel choose."""
    insecure_anonymous: bool = False
    """Serve users beyond loopback although there is no AuthN: whoever reaches `public_address` is an administrator."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    @classmethod
    def load(cls, path: Path) -> ProxyConfiguration:
        return load_configuration(cls, path=path, environment=os.environ, prefix=ENVIRONMENT_PREFIX)
