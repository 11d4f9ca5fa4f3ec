"""The data folder of a local cluster: where everything lies in it, and the lock that makes it one owner's."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shoal_core.errors import ConfigurationError

FREE_BYTES_MIN = 64 << 20


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths under `--data`; `root` is absolute."""

    root: Path

    @staticmethod
    def at(path: Path) -> DataFolder:
        return DataFolder(path.expanduser().absolute())

    @property
    def layout_file(self) -> Path:
        return self.root / "shoal.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    @property
    def run(self) -> Path:
        """What is true only while the cluster runs, and the settings of its processes."""
        return self.root / "run"

    @property
    def state_file(self) -> Path:
        return self.run / "supervisor.json"

    @property
    def held(self) -> Path:
        """A file with a process's name in this folder keeps the supervisor from starting that process again."""
        return self.run / "held"

    @property
    def metrics(self) -> Path:
        return self.run / "metrics"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def authority(self) -> Path:
        return self.root / "certificates" / "authority"

    @property
    def ca(self) -> Path:
        return self.authority / "ca.pem"

    @property
    def s3_key(self) -> Path:
        """The administrator's key for S3."""
        return self.root / "certificates" / "s3-administrator.json"

    @property
    def etcd(self) -> Path:
        return self.root / "etcd"

    def certificates(self, name: str) -> Path:
        return self.root / "certificates" / name

    def state(self, name: str) -> Path:
        return self.root / "state" / name

    def settings_file(self, name: str) -> Path:
        return self.run / f"{name}.toml"

    def ready_file(self, name: str) -> Path:
        return self.run / f"{name}.ready"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def mountpath(self, target: str, name: str) -> Path:
        return self.root / "targets" / target / name


@contextmanager
def owned(folder: DataFolder) -> Iterator[None]:
    """Make the folder if need be and hold its lock. Raises ConfigurationError with one sentence.

    When the block fails before anything was laid out, what was made here is taken away again.
    """
    made = not folder.root.exists()
    try:
        folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not made:
            require_ours(folder)
        lock = os.open(folder.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"cannot use data folder {folder.root}: {error.strerror}; choose another with --data"
        ) from error
    try:
        take(lock, folder)
        require_space(folder)
        yield
    finally:
        os.close(lock)
        if made and not folder.layout_file.exists():
            shutil.rmtree(folder.root, ignore_errors=True)


def is_owned(folder: DataFolder) -> bool:
    """Whether a supervisor runs on this folder. The lock knows better than any file with a process id."""
    try:
        lock = os.open(folder.lock_file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)


def take(lock: int, folder: DataFolder) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"a cluster runs on {folder.root} already; see `shoal status`, or stop it with `shoal down`"
        ) from error


def require_ours(folder: DataFolder) -> None:
    """Never spread files over a folder that holds something else."""
    others = [entry.name for entry in folder.root.iterdir() if entry.name != folder.lock_file.name]
    if others and not folder.layout_file.exists():
        raise ConfigurationError(
            f"{folder.root} holds other things ({sorted(others)[0]}) and no Shoal cluster; "
            "choose an empty or new folder with --data"
        )


def require_space(folder: DataFolder) -> None:
    free = shutil.disk_usage(folder.root).free
    if free < FREE_BYTES_MIN:
        raise ConfigurationError(
            f"the disk of {folder.root} has {free >> 20} MiB free and {FREE_BYTES_MIN >> 20} MiB are needed to "
            "start; free some space or choose another disk with --data"
        )
