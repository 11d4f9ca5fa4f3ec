"""The settings of one gateway worker."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shoal_core.config import load_configuration
from shoal_core.errors import ConfigurationError
from shoal_core.s3_keys import DEFAULT_REGION

ENVIRONMENT_PREFIX = "SHOAL_GATEWAY"
WILDCARDS = ("0.0.0.0", "[::]")
"""Addresses to listen at, but not to connect to."""


@dataclass(frozen=True, slots=True)
class GatewayConfiguration:
    """Read from the TOML file of `--config`; `SHOAL_GATEWAY_<FIELD>` in the environment overrides a value."""

    id: str
    """Name of this worker, unique in the cluster, for example `g1`."""
    cluster_id: str
    """The cluster that this process belongs to; it starts in no other."""
    etcd_endpoints: tuple[str, ...]
    """`host:port` of each member of etcd."""
    certificate_folder: Path
    """Holds ca.pem, node.pem and node.key, for etcd and other nodes."""
    state_folder: Path
    """Where the last known map and buckets are kept, for a start without etcd; of this worker alone."""
    ready_file: Path
    """Written once this process serves, removed when it stops."""
    address: str = "127.0.0.1:51080"
    """Where HTTP is served; the workers of a host share it."""
    local_reads: bool = True
    """Read objects of targets on this host from their disks; false sends everything over gRPC."""
    fast_lane: bool = True
    """Answer plain reads at the socket; false sends every request through the whole application."""
    redirect_clients: bool = False
    """Send AIStore clients on to the gateway beside an object's owner; they must reach every one at its `http_url`."""
    s3_key_file: Path | None = None
    """The administrator's S3 key, as JSON; without it S3 answers nobody."""
    s3_region: str = DEFAULT_REGION
    """The region that S3 clients sign for."""
    hosts: tuple[str, ...] = ()
    """Names, with or without port, under which clients reach this gateway, beside the loopback ones."""
    insecure_anonymous: bool = False
    """Listen beyond loopback although there is no AuthN, so that whoever reaches the port is an administrator."""
    promote_folder: Path | None = None
    """Absolute; AIStore's promote may take files of this host from below it. Without it, from nowhere."""
    batch_missing_max: int = 8
    """Entries of a batch that may be missing where the client goes on; AIStore's `get_batch.max_soft_errs`."""
    requests_max: int = 512
    """Requests that this worker serves at a time; more are answered 503."""
    request_bytes_max: int = 0
    """Memory that these requests may hold together; 0 is a sixteenth of the machine's, within 64 MiB and 2 GiB."""
    connections_max: int = 10_000
    """Connections that this worker keeps, if it may have two descriptors for each; past it, idle ones are closed."""
    idle_timeout_seconds: float = 60.0
    """In so many seconds of waiting, a client must send or take 64 KiB (or all that is left), or it is cut off."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    def __post_init__(self) -> None:
        if self.redirect_clients and self.address.rpartition(":")[0] in WILDCARDS:
            raise ConfigurationError(
                f"redirect_clients sends clients to this gateway at {self.address}, which no client can reach: "
                "set address to a name that clients resolve"
            )

    @staticmethod
    def load(path: Path) -> GatewayConfiguration:
        return load_configuration(
            GatewayConfiguration, path=path, environment=os.environ, prefix=ENVIRONMENT_PREFIX
        )
