"""Settings of a target."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shoal_core.config import load_configuration
from shoal_core.errors import ConfigurationError

ENVIRONMENT_PREFIX = "SHOAL_TARGET"


@dataclass(frozen=True, slots=True)
class MountpathConfiguration:
    """One disk."""

    id: str
    """Unique within the target and never changed, for example `mp1`."""
    path: Path
    """Folder on that disk, of this target alone."""


@dataclass(frozen=True, slots=True)
class TargetConfiguration:
    """Read from the TOML file of `--config`; `SHOAL_TARGET_<FIELD>` in the environment overrides a value."""

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
    public_address: str
    """gRPC for users who route by themselves."""
    unix_socket: Path
    """gRPC for gateways of this host; at most 107 bytes, in a folder of this user alone."""
    mountpaths: tuple[MountpathConfiguration, ...]
    """The disks."""
    internal_address: str = "127.0.0.1:0"
    """gRPC for nodes; port 0 lets the kernel choose."""
    failure_domain: str = ""
    """What fails together with this target, for example a rack; empty means the target alone."""
    weight: float = 0.0
    """Share of objects relative to other targets; 0 takes the capacity in GiB. Read at the first start."""
    lease_seconds: int = 10
    """How long after its last sign of life this target is still thought to be there, and may write."""
    scrub_bytes_per_second: int = 64 << 20
    """How fast a scrub reads objects at most."""
    scrub_rows_per_second: int = 20_000
    """How many rows of the indexes a scrub verifies at most in a second."""
    rechunk_bytes_per_second: int = 64 << 20
    """How fast a rechunk rewrites objects at most."""
    index_copy_interval_seconds: int = 900
    """How often each index that has changed is copied to another mountpath, for `shoal fsck --rebuild-index`; 0: never.
    What was written to a lost index since then, and is not in files, is lost."""
    index_copy_bytes_per_second: int = 64 << 20
    """How fast an index is copied at most."""
    cleanup_interval_seconds: int = 86_400
    """How often files that nothing names are collected without being asked; 0: only by the job `cleanup-store`."""
    cleanup_age_seconds: int = 7200
    """Files that are younger are left alone by that, as by AIStore's `dont_cleanup_time`."""
    disk_faults_max: int = 3
    """After so many I/O errors of a disk within `disk_faults_window_seconds`, it is left alone until it is enabled."""
    disk_faults_window_seconds: int = 60
    """How long an I/O error of a disk counts."""
    insecure_anonymous: bool = False
    """Serve users beyond loopback although there is no AuthN: whoever reaches `public_address` is an administrator."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    def __post_init__(self) -> None:
        if not self.mountpaths:
            raise ConfigurationError("mountpaths is empty: a target needs at least one [[mountpaths]] table")
        if len({mountpath.id for mountpath in self.mountpaths}) != len(self.mountpaths):
            raise ConfigurationError("two mountpaths have the same id: give each its own")
        if len({mountpath.path.resolve() for mountpath in self.mountpaths}) != len(self.mountpaths):
            raise ConfigurationError("two mountpaths have the same path: give each its own folder")
        if self.weight < 0:
            raise ConfigurationError(f"weight is {self.weight:g}: it must not be negative")
        for name in (
            "scrub_bytes_per_second",
            "scrub_rows_per_second",
            "rechunk_bytes_per_second",
            "index_copy_bytes_per_second",
            "disk_faults_max",
            "disk_faults_window_seconds",
        ):
            if (rate := getattr(self, name)) <= 0:
                raise ConfigurationError(f"{name} is {rate}: it must be positive")
        for name in ("index_copy_interval_seconds", "cleanup_interval_seconds", "cleanup_age_seconds"):
            if (seconds := getattr(self, name)) < 0:
                raise ConfigurationError(f"{name} is {seconds}: it must not be negative")
        if not 3 <= self.lease_seconds <= 600:
            raise ConfigurationError(f"lease_seconds is {self.lease_seconds}: use 3 to 600")

    @classmethod
    def load(cls, path: Path) -> TargetConfiguration:
        return load_configuration(cls, path=path, environment=os.environ, prefix=ENVIRONMENT_PREFIX)
