"""The settings of one gateway worker, from its TOML file and variables SHOAL_GATEWAY_<FIELD>."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT_PREFIX = "SHOAL_GATEWAY"


@dataclass(frozen=True)
class GatewayConfiguration:
    """`shoal up` writes the file; every worker of a host has an id and a state folder of its own."""

    id: str
    """Unique in the cluster, for example `g1`."""
    cluster_id: str
    etcd_endpoints: tuple[str, ...]
    """`host:port` of each member."""
    certificate_folder: Path
    """Holds ca.pem, node.pem and node.key of this gateway."""
    state_folder: Path
    """Where the last cluster map and buckets are kept for starts without etcd."""
    ready_file: Path | None = None
    """Written (JSON) when requests are served, removed at a clean stop."""
    log_level: str = "info"
    address: str = "127.0.0.1:51080"
    """Where HTTP is served; the workers of a host share it."""
    local_reads: bool = True
    """Read objects of targets on this host from their disks; false: everything over gRPC."""
    hosts: tuple[str, ...] = ()
    """Names, with or without port, under which clients reach this gateway beside the loopback ones."""
    requests_max: int = 512
    """Requests that this worker serves at a time; more are answered 503."""
    idle_timeout_seconds: float = 60.0
    """How long a client may neither send nor take anything within a request."""
