"""Where the members of archives lie, remembered: the second read of a shard looks nothing up in the shard."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shoal_archive.formats import ArchiveFormat
from shoal_archive.sources import RangeSource, StoredArchive
from shoal_archive.tar_reading import Member, NotAnArchive, TarReader
from shoal_archive.zip_reading import zip_members
from shoal_core.objects import BucketId, Version

MEMBERS_MAX = 1_000_000
"""Of one archive that is indexed; about 300 bytes of memory each."""
REMEMBERED_MEMBERS_MAX = 1_000_000
"""Of all indexes that a process keeps."""


@dataclass(frozen=True, slots=True)
class ArchiveIndex:
    """Of one version of an uncompressed tar, or of a zip."""

    format: ArchiveFormat
    version: Version
    members: Sequence[Member]
    """In stored order."""
    end: int = 0
    """Of a tar: where the next member's header would go."""
    by_name: Mapping[str, Member] = field(default_factory=dict)
    """The first of a name, as in archives that can only be read forward."""

    @staticmethod
    def of(
        format: ArchiveFormat, version: Version, members: Sequence[Member], *, end: int = 0
    ) -> ArchiveIndex:
        return ArchiveIndex(
            format, version, members, end, {plain(each.name): each for each in reversed(members)}
        )


def plain(name: str) -> str:
    """`./a/b`, `/a/b` and `a/b` are one member."""
    while name.startswith(("/", "./")):
        name = name[1:] if name[0] == "/" else name[2:]
    return name


class IndexCache:
    """The indexes that were used last, of the current versions only."""

    def __init__(self, *, members_max: int = REMEMBERED_MEMBERS_MAX) -> None:
        self._members_max = members_max
        self._members = 0
        self._indexes = OrderedDict[tuple[BucketId, str], ArchiveIndex]()

    def get(self, bucket_id: BucketId, name: str, version: Version | None = None) -> ArchiveIndex | None:
        """Of `version`; without one, of whichever version it was."""
        found = self._indexes.get((bucket_id, name))
        if found is None or (version is not None and found.version != version):
            return None
        self._indexes.move_to_end((bucket_id, name))
        return found

    def put(self, bucket_id: BucketId, name: str, index: ArchiveIndex) -> None:
        self._drop((bucket_id, name))
        self._indexes[bucket_id, name] = index
        self._members += weight(index)
        while self._members > self._members_max and len(self._indexes) > 1:
            self._drop(next(iter(self._indexes)))

    def _drop(self, key: tuple[BucketId, str]) -> None:
        if (index := self._indexes.pop(key, None)) is not None:
            self._members -= weight(index)


def weight(index: ArchiveIndex) -> int:
    """Indexes without a member weigh something too."""
    return 16 + len(index.members)


async def read_index(archive: StoredArchive, format: ArchiveFormat) -> ArchiveIndex:
    """Raises NotAnArchive."""
    size, version = archive.info.size, archive.info.version
    if format is ArchiveFormat.ZIP:
        members = await zip_members(archive.read, size)
        return ArchiveIndex.of(format, version, members)
    reader, members = TarReader(RangeSource(archive.read, size)), []
    while (member := await reader.next()) is not None:
        if member.offset + member.size > size:
            raise NotAnArchive(f"the tar archive ends within its member {member.name[:100]!r}")
        members.append(member)
        if len(members) > MEMBERS_MAX:
            raise NotAnArchive(f"the archive has more than {MEMBERS_MAX} members: it is not read further")
    return ArchiveIndex.of(format, version, members, end=reader.end)
