"""One page of a bucket in AIStore's forms: MessagePack with one-letter keys, or JSON with names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from shoal_archive.archives import Archives
from shoal_core.errors import InvalidArgument, NotImplementedYet
from shoal_core.objects import Bucket, ListPage, ListQuery, ObjectInfo, ObjectStore
from shoal_gateway.rest.archive_listing import Lister
from shoal_gateway.rest.time_layouts import time_writer

MSGPACK = "application/msgpack"
PAGE_NAMES_MAX = 10_000
EMPTY_PAGES_MAX = 1000

DECIMAL = re.compile("[0-9]{1,20}")
LIST_CACHED = 1 << 0
LIST_ARCHIVES = 1 << 3
LIST_NAME_ONLY = 1 << 4
LIST_NAME_SIZE = 1 << 5
LIST_NOT_CACHED = 1 << 9
LIST_NO_RECURSION = 1 << 11
LIST_DIFFERENCES = 1 << 12
LIST_NO_FOLDERS = 1 << 13
LIST_INVENTORY = 1 << 15

REMOTE_FLAGS = LIST_NOT_CACHED | LIST_DIFFERENCES

PROPS_OF_CACHED = "name,size,checksum,atime"

ENTRY_CACHED = 1 << 6
ENTRY_IN_ARCHIVE = 1 << 7
ENTRY_FOLDER = 1 << 8
ENTRY_ARCHIVE = 1 << 9
ENTRY_CHUNKED = 1 << 13


class ListMessage(msgspec.Struct, frozen=True):
    """The value of action `list`."""

    prefix: str = ""
    """Only names that begin so."""
    pagesize: int = 0
    """Names in a page, at most 10,000; 0: as many as possible."""
    uuid: str = ""
    """Of the page before; comes back."""
    props: str = ""
    """With commas between: `name`, `size`, `version`, `checksum`, `atime`, `location`, `copies`, `custom`,
    `chunked`; empty: name and size."""
    continuation_token: str = ""
    """Of the page before; empty for the first."""
    flags: str | int = 0
    """Bits, as a decimal number."""
    target: str = ""
    """Only the objects of this target."""
    start_after: str = ""
    """Only names behind this one."""
    time_format: str = ""
    """How times are written, as Go's reference time would be, such as "2006-01-02T15:04:05Z07:00"; in UTC. Empty:
    "02 Jan 06 15:04 MST"."""

    @property
    def flag_bits(self) -> int:
        """Raises InvalidArgument."""
        if (match := DECIMAL.fullmatch(str(self.flags or 0))) is None:
            raise InvalidArgument(f"list flags are {str(self.flags)[:40]!r}: send a decimal number")
        return int(match[0])


class PackedEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One name, as the SDK decodes it."""

    n: str
    cs: str = ""
    a: str = ""
    v: str = ""
    t: str = ""
    m: str = ""
    s: int = 0
    c: int = 0
    f: int = 0


class PackedPage(msgspec.Struct):
    """A page, as the SDK decodes it; all keys are always there."""

    UUID: str
    ContinuationToken: str
    Flags: int
    Entries: list[PackedEntry]


class NamedEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One name in JSON; AIStore writes 64-bit numbers as strings."""

    name: str
    checksum: str = ""
    atime: str = ""
    version: str = ""
    location: str = ""
    custom_md: str = msgspec.field(default="", name="custom-md")
    size: str = ""
    copies: int = 0
    flags: int = 0


class NamedPage(msgspec.Struct):
    """A page in JSON."""

    entries: list[NamedEntry]
    uuid: str
    continuation_token: str
    flags: int


async def list_page(
    store: ObjectStore, archives: Archives, bucket: Bucket, message: ListMessage, *, uuid: str
) -> PackedPage:
    """The page after the message's token. An empty page never has a token: it would cost a round trip."""
    flags = message.flag_bits
    check_flags(message, flags)
    if flags & LIST_ARCHIVES:
        return await list_archives(store, archives, bucket, message, uuid=uuid)
    after = message.continuation_token or message.start_after
    for _ in range(EMPTY_PAGES_MAX):
        page = await store.list(bucket, list_query(message, flags, after))
        entries = page_entries(page, message, flags)
        after = page.next_after
        if entries or not after:
            return PackedPage(message.uuid or uuid, after, 0, entries)
    raise NotImplementedYet("this listing finds too few names among too many folders: list with folders")


async def list_archives(
    store: ObjectStore, archives: Archives, bucket: Bucket, message: ListMessage, *, uuid: str
) -> PackedPage:
    """As `list_page`, with the files of each archive behind it."""
    flags, entries = message.flag_bits, list[PackedEntry]()
    fill = entry_maker(message, flags)
    query = list_query(message, flags, message.continuation_token or message.start_after)

    def show(info: ObjectInfo, is_archive: bool) -> None:
        entry = fill(info)
        entry.f |= ENTRY_ARCHIVE if is_archive else 0
        entries.append(entry)

    def show_member(info: ObjectInfo, name: str, size: int) -> None:
        shown = 0 if flags & LIST_NAME_ONLY else size
        entries.append(PackedEntry(n=f"{info.name}/{name}", s=shown, f=ENTRY_CACHED | ENTRY_IN_ARCHIVE))

    def show_folder(prefix: str) -> None:
        if not flags & LIST_NO_FOLDERS:
            entries.append(PackedEntry(n=prefix, f=ENTRY_FOLDER))

    lister = Lister(store, archives, bucket, entries_max=query.limit)
    token = await lister.page(query, show=show, show_member=show_member, show_folder=show_folder)
    return PackedPage(message.uuid or uuid, token, 0, entries)


def check_flags(message: ListMessage, flags: int) -> None:
    """Flag 2 (deleted objects too) changes nothing: what is deleted is gone at once."""
    if flags & LIST_INVENTORY:
        raise NotImplementedYet("bucket inventories are not built yet in this version of Shoal")
    if flags & REMOTE_FLAGS:
        raise InvalidArgument("these list flags are for buckets with a remote backend; this bucket has none")


def list_query(message: ListMessage, flags: int, after: str) -> ListQuery:
    if message.pagesize < 0:
        raise InvalidArgument(f"pagesize is {message.pagesize}: send 0 (as many as possible) or more")
    return ListQuery(
        prefix=message.prefix,
        delimiter="/" if flags & LIST_NO_RECURSION else "",
        start_after=after,
        limit=min(message.pagesize or PAGE_NAMES_MAX, PAGE_NAMES_MAX),
        detail="size" if is_brief(wanted_names(props_of(message, flags)), flags) else "all",
        target=message.target,
    )


def page_entries(page: ListPage, message: ListMessage, flags: int) -> list[PackedEntry]:
    """Objects and, in a listing without recursion, folders; sorted together by the bytes of their names."""
    fill = entry_maker(message, flags)
    entries = [fill(info) for info in page.entries]
    if page.prefixes and not flags & LIST_NO_FOLDERS:
        entries.extend(PackedEntry(n=prefix, f=ENTRY_FOLDER) for prefix in page.prefixes)
        entries.sort(key=lambda entry: entry.n.encode())
    return entries


def props_of(message: ListMessage, flags: int) -> str:
    """Who asks for what is in the cluster, and for nothing else, gets what AIStore tells of such objects."""
    return message.props or (PROPS_OF_CACHED if flags & LIST_CACHED else "")


def entry_maker(message: ListMessage, flags: int) -> Callable[[ObjectInfo], PackedEntry]:
    names = wanted_names(props_of(message, flags))
    if flags & LIST_NAME_ONLY:
        return lambda info: PackedEntry(n=info.name, f=ENTRY_CACHED)
    if is_brief(names, flags):
        has_size = not names or "size" in names or flags & LIST_NAME_SIZE
        return lambda info: PackedEntry(n=info.name, s=info.size if has_size else 0, f=ENTRY_CACHED)
    setters = [setter for name, setter in PROPERTY_SETTERS.items() if name in names]
    if names & TIMES:
        setters.append(time_setter(message.time_format))

    def fill(info: ObjectInfo) -> PackedEntry:
        entry = PackedEntry(n=info.name, f=ENTRY_CACHED)
        for setter in setters:
            setter(entry, info)
        return entry

    return fill


def wanted_names(props: str) -> set[str]:
    return {name.strip() for name in props.split(",")} - {""}


def is_brief(names: set[str], flags: int) -> bool:
    """Whether names and sizes are all that these properties and flags ask for."""
    return bool(flags & (LIST_NAME_ONLY | LIST_NAME_SIZE)) or names <= BRIEF_PROPERTIES


def set_size(entry: PackedEntry, info: ObjectInfo) -> None:
    entry.s = info.size


def set_version(entry: PackedEntry, info: ObjectInfo) -> None:
    entry.v = str(info.sequence)


def set_checksum(entry: PackedEntry, info: ObjectInfo) -> None:
    entry.cs = info.checksum.value if info.checksum else ""


def time_setter(layout: str) -> Callable[[PackedEntry, ObjectInfo], None]:
    write = time_writer(layout) if layout else rfc822

    def set_time(entry: PackedEntry, info: ObjectInfo) -> None:
        entry.a = write(info.modified_ns)

    return set_time


def set_location(entry: PackedEntry, info: ObjectInfo) -> None:
    entry.t = info.location


def set_copies(entry: PackedEntry, _info: ObjectInfo) -> None:
    entry.c = 1


def set_chunked(entry: PackedEntry, info: ObjectInfo) -> None:
    entry.f |= ENTRY_CHUNKED if info.chunk_count else 0


def set_custom(entry: PackedEntry, info: ObjectInfo) -> None:
    pairs = dict(info.metadata)
    pairs["ETag"] = info.etag
    entry.m = ", ".join(f"{name}={value}" for name, value in sorted(pairs.items()))


BRIEF_PROPERTIES = {"name", "size", "cached", "status"}
PROPERTY_SETTERS: Mapping[str, Callable[[PackedEntry, ObjectInfo], None]] = {
    "size": set_size,
    "version": set_version,
    "checksum": set_checksum,
    "location": set_location,
    "copies": set_copies,
    "chunked": set_chunked,
    "custom": set_custom,
    "etag": set_custom,
}
"""Properties that need more than the name; `name`, `cached` and `status` are always there."""

TIMES = {"atime", "last-modified"}


def rfc822(time_ns: int) -> str:
    """It has no seconds."""
    return minute(time_ns // 60_000_000_000)


@lru_cache(4096)
def minute(minutes: int) -> str:
    """Since 1970. Kept, because the names of a listing were often written together."""
    return datetime.fromtimestamp(60 * minutes, UTC).strftime("%d %b %y %H:%M UTC")


def named_page(page: PackedPage) -> NamedPage:
    entries = [
        NamedEntry(
            name=entry.n,
            checksum=entry.cs,
            atime=entry.a,
            version=entry.v,
            location=entry.t,
            custom_md=entry.m,
            size=str(entry.s) if entry.s else "",
            copies=entry.c,
            flags=entry.f,
        )
        for entry in page.Entries
    ]
    return NamedPage(entries, page.UUID, page.ContinuationToken, page.Flags)
