"""The indexes of a target's mountpaths, each opened once it is available, refused by name while it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from shoal_core.errors import MountpathUnavailable, OutOfSpace
from shoal_store.durability import storage_error
from shoal_store.index import Index
from shoal_store.mountpaths import MountpathFolder, Mountpaths


class Indexes(Mapping[str, Index]):
    """Has all mountpaths. Looking one up, and so walking over all values, raises MountpathUnavailable for one that
    may not be used: what needs all of them must not come short unnoticed."""

    def __init__(self, mountpaths: Mountpaths, open_index: Callable[[MountpathFolder], Index]) -> None:
        self._mountpaths = mountpaths
        self._open_index = open_index
        self._opened: dict[str, Index] = {}
        self._opening = threading.Lock()
        self._only = mountpaths.all[0].id if len(mountpaths.all) == 1 else ""

    def of_hash(self, hashed: bytes) -> Index:
        """That which keeps the names of this hash. Raises MountpathUnavailable."""
        mountpath_id = self._only or self._mountpaths.of_hash(hashed)
        if not self._mountpaths.is_available(mountpath_id):
            self._mountpaths.require(mountpath_id)
        return self._opened.get(mountpath_id) or self.opened(mountpath_id)

    def __getitem__(self, mountpath_id: str) -> Index:
        if not self._mountpaths.is_available(mountpath_id):
            self._mountpaths.require(mountpath_id)
        return self._opened.get(mountpath_id) or self.opened(mountpath_id)

    def __contains__(self, mountpath_id: object) -> bool:
        return any(folder.id == mountpath_id for folder in self._mountpaths.all)

    def __iter__(self) -> Iterator[str]:
        return (folder.id for folder in self._mountpaths.all)

    def __len__(self) -> int:
        return len(self._mountpaths.all)

    def available(self) -> list[Index]:
        return [self[folder.id] for folder in self._mountpaths.available()]

    def opened(self, mountpath_id: str) -> Index:
        """Whatever its state. One that was disabled stays open: readers may be in the middle of a look."""
        with self._opening:
            if mountpath_id not in self._opened:
                self._opened[mountpath_id] = self._made(self._mountpaths.folder(mountpath_id))
            return self._opened[mountpath_id]

    def _made(self, folder: MountpathFolder) -> Index:
        try:
            return self._open_index(folder)
        except OSError as error:
            if isinstance(
                full := storage_error(error, f"cannot open the index of {folder.path}"), OutOfSpace
            ):
                raise full from error
            raise MountpathUnavailable(
                f"the index of mountpath {folder.id} ({folder.path}) cannot be opened: {error.strerror}; look at the "
                "disk",
                mountpath=folder.id,
            ) from error

    def close(self) -> None:
        for index in self._opened.values():
            index.close()
