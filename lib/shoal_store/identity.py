"""Whose mountpath a folder is: `shoal.json`, written once, checked at every start."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import ConfigurationError
from shoal_store.disk_faults import FAULTS
from shoal_store.durability import sync_data, sync_directory
from shoal_store.index import Index

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
        (path / ".shoal-unfinished").unlink(missing_ok=True)
        if (found.cluster, found.target, found.mountpath) != (cluster, target, mountpath):
            raise ConfigurationError(
                f"{path} belongs to mountpath {found.mountpath} of target {found.target} in cluster {found.cluster}, "
                f"not to {mountpath} of {target} in {cluster}: start that cluster on it or choose another folder"
            )
        return found
    make_folders(path)
    if any(path.iterdir()) and not (path / ".shoal-unfinished").exists():
        raise ConfigurationError(f"{path} holds files that are not Shoal's: choose an empty folder")
    return _initialise(path, Identity(FORMAT, cluster, target, mountpath, time.time_ns()))


def read_identity(path: Path) -> Identity:
    """Raises ConfigurationError, and OSError for a disk that fails."""
    try:
        content = (path / "shoal.json").read_bytes()
        # The format first: another one may have other fields.
        if (format := msgspec.json.decode(content, type=Format).format) != FORMAT:
            raise ConfigurationError(
                f"{path} has storage format {format}, this Shoal knows {FORMAT}: use the Shoal that wrote it"
            )
        return msgspec.json.decode(content, type=Identity)
    except (OSError, *UNDECODABLE) as error:
        if isinstance(error, OSError) and error.errno in FAULTS:
            raise  # it says nothing of what the file holds
        raise ConfigurationError(
            f"{path}/shoal.json cannot be read ({error}): restore it or choose another folder"
        ) from error


def _initialise(path: Path, identity: Identity) -> Identity:
    # Every step is durable before the next, so that an interrupted beginning is recognised and begun again.
    (path / ".shoal-unfinished").touch()
    sync_directory(path, "unfinished")
    # LMDB cannot open a file whose first pages a power loss has torn, so a half-made one is made anew.
    shutil.rmtree(path / "index", ignore_errors=True)
    for folder in FOLDERS:
        (path / folder).mkdir(exist_ok=True)
    for number in range(256):
        (path / "data" / f"{number:02x}").mkdir(exist_ok=True)
    sync_directory(path / "data", "data folders")
    Index(identity.mountpath, path, writable=True).close()
    sync_directory(path, "folders")
    temporary = path / "shoal.json.new"
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(identity))
        file.flush()
        sync_data(file.fileno(), "identity")
    os.rename(temporary, path / "shoal.json")
    sync_directory(path, "identity")
    (path / ".shoal-unfinished").unlink()
    return identity


def make_folders(path: Path) -> None:
    """The mountpath and the folders above it, each name durable."""
    if not path.is_dir():
        make_folders(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent, "mountpath")
