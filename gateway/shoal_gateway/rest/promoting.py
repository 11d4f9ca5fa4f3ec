"""AIStore's promote: files that lie on this gateway's host become objects, the bytes read here.

Only below the folder that the operator allows, and through no symbolic link: each step of the path is opened relative
to the one before, so nothing that is moved meanwhile leads elsewhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from shoal_core.errors import InvalidArgument, NotImplementedYet, PreconditionFailed
from shoal_core.names import checked_object_name
from shoal_core.objects import FRAME_BYTES, NO_PRECONDITIONS, Bucket, Preconditions, PutRequest
from shoal_gateway.parts import Parts
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.documented import Documentation
from shoal_store.threads import in_thread

PROMOTE = "promote"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PromoteMessage(msgspec.Struct, frozen=True):
    """The value of action `promote`."""

    tid: str = ""
    """Target whose host has the files; empty: the gateway's host."""
    src: str = ""
    """Path of the file or folder; without it the message's `name`."""
    obj: str = ""
    """Name of the object, or what the names of a folder's objects begin with."""
    rcr: bool = False
    """Folders within the folder, too."""
    ovw: bool = False
    """Replace objects that are there."""
    dls: bool = False
    """Remove files that were stored."""
    notshr: bool = False
    """AIStore's hint that the folder is no share; changes nothing here."""


PROMOTE_DOCUMENTATION = Documentation(
    "Make objects of files that lie on the gateway's host.",
    "Only below `promote_folder` of the gateway's settings, through no symbolic links. `obj` names the object, or "
    "begins the names of a folder's files; `rcr` takes folders within too, `ovw` replaces objects that are there, "
    "`dls` removes files that were stored.",
    value=PromoteMessage,
    answer="Nothing, once everything is stored.",
    example={"src": "{promote}", "obj": "promoted", "rcr": True},
    example_name="{promote}",
)


@dataclass(frozen=True, slots=True)
class Found:
    """A file to promote: a descriptor of its folder, to be used before the next one is asked for."""

    folder: int
    file: str
    name: str
    """Of the object."""


class PromoteRoutes:
    """What follows once the bucket is resolved and the caller may promote."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, bucket: Bucket, message: ActionMessage) -> None:
        """Ends when everything is stored. An object that is there stays as it is, unless it is to be replaced."""
        wish = decode_value(message, PromoteMessage) or PromoteMessage()
        path = self._allowed(wish.src or message.name)
        self._require_here(wish.tid)
        assert self._parts.promote_folder is not None, "checked by _allowed"
        found = files_at(self._parts.promote_folder, path, wish)
        try:
            while (file := await in_thread(next, found, None)) is not None:
                await self._promote(bucket, file, wish)
        except OSError as error:
            raise not_promoted(path, error) from error
        finally:
            found.close()

    def _allowed(self, given: str) -> PurePosixPath:
        """The path below the folder that the operator allows. Raises InvalidArgument."""
        root, path = self._parts.promote_folder, PurePosixPath(given)
        if root is None:
            raise NotImplementedYet("this gateway promotes no files: set promote_folder in its configuration")
        if ".." in path.parts or "\0" in given or not path.is_relative_to(root):
            raise InvalidArgument(f"{given[:200]!r} is not below {root}, where files may be promoted from")
        return path.relative_to(root)

    def _require_here(self, target: str) -> None:
        hosts = {each.id: each.host_id for each in self._parts.cluster_map().targets}
        if target and hosts.get(target) != self._parts.host_id:
            raise InvalidArgument(
                f"target {target[:60]!r} is not on this gateway's host: ask a gateway beside it"
            )

    async def _promote(self, bucket: Bucket, file: Found, wish: PromoteMessage) -> None:
        status = await in_thread(os.stat, file.file, dir_fd=file.folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return
        descriptor = await in_thread(os.open, file.file, FILE, dir_fd=file.folder)
        try:
            status = os.fstat(descriptor)
            only_new = NO_PRECONDITIONS if wish.ovw else Preconditions(if_none_match=("*",))
            if not stat.S_ISREG(status.st_mode):
                return
            request = PutRequest(checked_object_name(file.name), status.st_size, preconditions=only_new)
            await self._parts.objects.put(bucket, request, pieces_of(descriptor))
        except PreconditionFailed:
            return
        finally:
            os.close(descriptor)
        if wish.dls:
            await in_thread(os.unlink, file.file, dir_fd=file.folder)


def files_at(root: Path, path: PurePosixPath, wish: PromoteMessage) -> Generator[Found]:
    """The file, or those in the folder, as descriptors that no rename leads astray. Blocks. Raises OSError."""
    with ExitStack() as opened:

        def step(name: str | Path, flags: int, folder: int | None) -> int:
            descriptor = os.open(name, flags, dir_fd=folder)
            opened.callback(os.close, descriptor)
            return descriptor

        folder = step(root, FOLDER & ~os.O_NOFOLLOW, None)
        for part in path.parts[:-1]:
            folder = step(part, FOLDER, folder)
        last = path.name or "."
        mode = os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            yield Found(folder, last, wish.obj or last)
            return
        prefix = f"{wish.obj.rstrip('/')}/" if wish.obj else ""
        for below, folders, files, descriptor in os.fwalk(".", dir_fd=step(last, FOLDER, folder)):
            folders.sort()
            for name in sorted(files):
                yield Found(descriptor, name, prefix + str(PurePosixPath(below, name)))
            if not wish.rcr:
                return


async def pieces_of(descriptor: int) -> AsyncIterator[bytes]:
    while piece := await in_thread(os.read, descriptor, FRAME_BYTES):
        yield piece


def not_promoted(path: PurePosixPath, error: OSError) -> InvalidArgument:
    return InvalidArgument(f"cannot promote {str(path)[:200]!r}: {error.strerror}")
