"""Whose mountpath a folder is: `shoal.json`, written once, checked at every start."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from shoal_core.errors import ConfigurationError
from shoal_store.durability import sync_data, sync_directory

FORMAT = 1
FOLDERS = ("index", "tmp", "data")


class Format(msgspec.Struct, frozen=True):
    format: int


class Identity(msgspec.Struct, frozen=True):
    format: int
    cluster: str
    target: str
    mountpath: str
    created_ns: int


def prepare_mountpath(path: Path, *, cluster: str, target: str, mountpath: str) -> Identity:
    """Make a new mountpath of an empty folder, or check that a used one is ours; raises ConfigurationError."""
    file = path / "shoal.json"
    if file.exists():
        found = read_identity(path)
        if (found.cluster, found.target, found.mountpath) != (cluster, target, mountpath):
            raise ConfigurationError(
                f"{path} belongs to mountpath {found.mountpath} of target {found.target} in cluster {found.cluster}, "
                f"not to {mountpath} of {target} in {cluster}: start that cluster on it or choose another folder"
            )
        return found
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()) and not (path / ".shoal-unfinished").exists():
        raise ConfigurationError(f"{path} holds files that are not Shoal's: choose an empty folder")
    return _initialise(path, Identity(FORMAT, cluster, target, mountpath, time.time_ns()))


def read_identity(path: Path) -> Identity:
    try:
        content = (path / "shoal.json").read_bytes()
        # The format first: another one may have other fields.
        if (format := msgspec.json.decode(content, type=Format).format) != FORMAT:
            raise ConfigurationError(
                f"{path} has storage format {format}, this Shoal knows {FORMAT}: use the Shoal that wrote it"
            )
        return msgspec.json.decode(content, type=Identity)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{path}/shoal.json cannot be read ({error}): restore it or choose another folder"
        ) from error


def _initialise(path: Path, identity: Identity) -> Identity:
    (path / ".shoal-unfinished").touch()
    for folder in FOLDERS:
        (path / folder).mkdir(exist_ok=True)
    for number in range(256):
        (path / "data" / f"{number:02x}").mkdir(exist_ok=True)
    sync_directory(path / "data", "data folders")
    temporary = path / "shoal.json.new"
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(identity))
        file.flush()
        sync_data(file.fileno(), "identity")
    os.rename(temporary, path / "shoal.json")
    (path / ".shoal-unfinished").unlink()
    sync_directory(path, "identity")
    return identity
