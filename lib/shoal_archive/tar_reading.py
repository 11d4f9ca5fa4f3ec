"""Tar, read member by member from a source that can skip: ustar, GNU and pax headers. Nothing is trusted.

Python's `tarfile` wants a file it can block on, and believes the sizes of extended headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from shoal_archive.tar_blocks import BLOCK_BYTES
from shoal_core.errors import InvalidArgument

EXTENDED_BYTES_MAX = 64 << 10
"""Of a pax header or a GNU long name: paths are shorter, and whoever sends more wants our memory."""
_EMPTY = bytes(BLOCK_BYTES)
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,8}) ")
_REGULAR = frozenset(b"0\x007")
_WITHOUT_DATA = frozenset(b"123456")


class Source(Protocol):
    """Bytes in order."""

    position: int

    async def read(self, count: int) -> bytes:
        """Fewer only at the end."""
        ...

    async def skip(self, count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive. Bytes of names that are no UTF-8 are surrogate escapes."""

    name: str
    size: int
    offset: int
    """Of its first byte in the (uncompressed) tar, or of its local header in a zip."""
    packed_bytes: int = -1
    """As it lies there, when it is compressed on its own (zip); else -1."""
    modified_seconds: int = 0


class NotAnArchive(InvalidArgument):
    """The object is no archive of the format it is read as, or is damaged."""


class TarReader:
    """`next` gives one regular file after the other; its bytes are read from the source, or skipped, by the caller."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._end = 0
        """Of the last member's data, with padding."""

    async def next(self) -> Member | None:
        """None at the end. Raises NotAnArchive."""
        extended: Mapping[str, str] = {}
        while True:
            await self._source.skip(self._end - self._source.position)
            block = await self._source.read(BLOCK_BYTES)
            if not block or block == _EMPTY:
                return None
            header = parsed(block)
            data = self._source.position
            if header.kind in b"xgLK":
                read = await self._extended(header)
                self._end = data + padded(header.size)
                if header.kind != ord("g") and header.kind != ord("K"):
                    extended = {**extended, **read}
                continue
            size = size_of(header, extended)
            self._end = data + (0 if header.kind in _WITHOUT_DATA else padded(size))
            if header.kind in _REGULAR:
                name = extended.get("path", header.name)
                if not name.endswith("/"):
                    return Member(name, size, data, modified_seconds=header.modified_seconds)
            extended = {}

    @property
    def end(self) -> int:
        """Where the next member's header would go."""
        return self._end

    async def _extended(self, header: Header) -> Mapping[str, str]:
        if header.size > EXTENDED_BYTES_MAX:
            raise NotAnArchive(
                f"a header of {header.size} bytes: more than {EXTENDED_BYTES_MAX} are not read"
            )
        content = await self._source.read(header.size)
        if len(content) != header.size:
            raise NotAnArchive("the tar archive ends within a header")
        if header.kind == ord("L"):
            return {"path": text(content.rstrip(b"\x00"))}
        return pax_records(content) if header.kind == ord("x") else {}


@dataclass(frozen=True, slots=True)
class Header:
    """Of one block, as it stands there."""

    name: str
    size: int
    kind: int
    modified_seconds: int


def parsed(block: bytes) -> Header:
    if len(block) != BLOCK_BYTES:
        raise NotAnArchive("the tar archive ends within a header")
    expected = number(block[148:156])
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != expected:
        raise NotAnArchive("this is no tar archive, or a damaged one: the checksum of a header differs")
    name = block[:100].split(b"\x00", 1)[0]
    if block[257:263] == b"ustar\x00" and (prefix := block[345:500].split(b"\x00", 1)[0]):
        name = prefix + b"/" + name
    if block[156] == ord("S"):
        raise NotAnArchive("sparse members of GNU tar are not supported: write the archive without --sparse")
    return Header(text(name), number(block[124:136]), block[156], number(block[136:148]))


def size_of(header: Header, extended: Mapping[str, str]) -> int:
    if "GNU.sparse.major" in extended or "GNU.sparse.size" in extended:
        raise NotAnArchive("sparse members of GNU tar are not supported: write the archive without --sparse")
    given = extended.get("size")
    if given is None:
        return header.size
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise NotAnArchive(f"a pax header says that a member has {given[:30]!r} bytes")
    return int(given)


def number(field: bytes) -> int:
    """Octal, or GNU's base 256. Never negative."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise NotAnArchive("a number of a tar header is negative or too large")
        return int.from_bytes(field[1:])
    digits = field.strip(b" \x00")
    try:
        return int(digits or b"0", 8) if digits.isdigit() or not digits else invalid(field)
    except ValueError:
        return invalid(field)


def invalid(field: bytes) -> int:
    raise NotAnArchive(f"this is no tar archive, or a damaged one: {field!r} is no octal number")


def pax_records(content: bytes) -> Mapping[str, str]:
    records, position = dict[str, str](), 0
    while position < len(content) and content[position]:
        found = _PAX_LENGTH.match(content, position)
        end = position + int(found[1]) if found else 0
        if found is None or end > len(content) or end <= found.end() or content[end - 1 : end] != b"\n":
            raise NotAnArchive("a pax header is damaged")
        key, _, value = content[found.end() : end - 1].partition(b"=")
        records[text(key)] = text(value)
        position = end
    return records


def padded(size: int) -> int:
    return size + -size % BLOCK_BYTES


def text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")
