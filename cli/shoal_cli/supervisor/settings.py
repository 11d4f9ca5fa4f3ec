"""The certificates and TOML files that `shoal up` hands to the services it starts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from shoal_cli.supervisor.folder import DataFolder
from shoal_cli.supervisor.layout import Layout, write_atomically
from shoal_core.certificates import ClusterAuthority, needs_renewal
from shoal_core.errors import ConfigurationError
from shoal_core.s3_keys import random_key

Table = Mapping[str, object]


def settle_certificates(folder: DataFolder, layout: Layout, members: Mapping[str, str]) -> None:
    """A certificate for each member (name -> role), made or renewed where needed."""
    exists = (folder.authority / "ca.key").exists()
    if exists:
        authority = ClusterAuthority.load(folder.authority)
    else:
        authority = ClusterAuthority.create(folder.authority, layout.cluster_id)
    if authority.cluster_id != layout.cluster_id:
        raise ConfigurationError(
            f"{folder.authority} belongs to cluster {authority.cluster_id}, but {folder.layout_file} to "
            f"{layout.cluster_id}; put the files of one cluster back together, or choose another --data"
        )
    for name, role in members.items():
        place = folder.certificates(name)
        foreign = not exists or read_bytes(place / "ca.pem") != read_bytes(folder.ca)
        if foreign or needs_renewal(place):
            authority.issue(place, role, name)


def write_proxy_settings(folder: DataFolder, layout: Layout, name: str) -> None:
    table = common(folder, layout, name) | {
        "public_address": f"127.0.0.1:{layout.ports['proxy']}",
        "internal_address": f"127.0.0.1:{layout.ports['proxy-internal']}",
    }
    write_atomically(folder.settings_file(name), toml(table))


def write_target_settings(folder: DataFolder, layout: Layout, name: str) -> None:
    mountpaths = layout.mountpaths_of(folder, name)
    for path in mountpaths.values():
        make_mountpath(path)
    table = common(folder, layout, name) | {
        "public_address": f"127.0.0.1:{layout.ports[f'{name}-public']}",
        "internal_address": f"127.0.0.1:{layout.ports[f'{name}-internal']}",
        "unix_socket": str(Path(layout.socket_folder) / f"{name}.sock"),
        # All targets of a local cluster share its disks; the same weight spreads objects evenly.
        "weight": 1.0,
    }
    tables = [{"id": mountpath, "path": str(path)} for mountpath, path in mountpaths.items()]
    write_atomically(folder.settings_file(name), toml(table, mountpaths=tables))


def make_mountpath(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make mountpath {path}: {error.strerror}; is its disk mounted, and yours to write to?"
        ) from error


def settle_s3_key(folder: DataFolder) -> None:
    """The administrator's key for S3, at random, made once."""
    if folder.s3_key.exists():
        return
    descriptor = os.open(folder.s3_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(random_key()))


def write_gateway_settings(folder: DataFolder, layout: Layout, name: str, *, local_reads: bool) -> None:
    table = common(folder, layout, name) | {
        "address": f"127.0.0.1:{layout.ports['gateway']}",
        "local_reads": local_reads,
        "s3_key_file": str(folder.s3_key),
    }
    write_atomically(folder.settings_file(name), toml(table))


def common(folder: DataFolder, layout: Layout, name: str) -> dict[str, object]:
    folder.state(name).mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        "id": name,
        "cluster_id": layout.cluster_id,
        "etcd_endpoints": [f"127.0.0.1:{layout.ports['etcd-client']}"],
        "certificate_folder": str(folder.certificates(name)),
        "state_folder": str(folder.state(name)),
        "ready_file": str(folder.ready_file(name)),
    }


def toml(table: Table, **tables: Sequence[Table]) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's as well."""
    lines = ["# Written by `shoal up` at every start; changes here are lost."]
    lines += [f"{key} = {text(value)}" for key, value in table.items()]
    for name, rows in tables.items():
        for row in rows:
            lines += ["", f"[[{name}]]", *(f"{key} = {text(value)}" for key, value in row.items())]
    return "\n".join(lines) + "\n"


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def text(value: object) -> str:
    # TOML has no surrogate pairs, so characters are written as they are.
    return json.dumps(value, ensure_ascii=False)
