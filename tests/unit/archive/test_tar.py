"""Tar as we write it and read it, against Python's `tarfile`; what is damaged is an error, never a crash or a hang."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings, strategies as st

from shoal_archive.sources import RangeSource, StreamSource
from shoal_archive.tar_blocks import END, member_header, padding, pax_record
from shoal_archive.tar_reading import EXTENDED_BYTES_MAX, Member, NotAnArchive, TarReader

NAMES = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=300
).filter(lambda name: not name.endswith("/"))


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def members_by_range(data: bytes, reads: list[int] | None = None) -> list[Member]:
    """`reads` gets the lengths that were read."""

    async def read(offset: int, length: int) -> bytes:
        if reads is not None:
            reads.append(length)
        return data[offset : offset + length]

    reader, members = TarReader(RangeSource(read, len(data))), list[Member]()
    while (member := await reader.next()) is not None:
        members.append(member)
    return members


async def members_by_stream(data: bytes, size: int) -> list[Member]:
    reader, members = TarReader(StreamSource(in_pieces(data, size))), list[Member]()
    while (member := await reader.next()) is not None:
        members.append(member)
    return members


@given(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=8))
@settings(deadline=None)
def test_tarfile_reads_what_we_write(members: dict[str, bytes]) -> None:
    written = [member_header(n.encode(), len(d)) + d + padding(len(d)) for n, d in members.items()]
    with tarfile.open(fileobj=io.BytesIO(b"".join(written) + END)) as archive:
        found = archive.getmembers()
        contents = [file.read() for member in found if (file := archive.extractfile(member))]
    assert [member.name for member in found] == list(members)
    assert contents == list(members.values())


@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=8),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 4000),
)
@settings(deadline=None)
async def test_we_read_what_tarfile_writes(
    members: list[tuple[str, bytes]], dialect: int, piece: int
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=dialect) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    content = packed.getvalue()
    for found in (await members_by_range(content), await members_by_stream(content, piece)):
        assert [(member.name, content[member.offset :][: member.size]) for member in found] == members


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (850, 4000, [128, 256, 512, 1024, 1024, 1024]),  # small members: longer and longer windows
        (4, 1 << 20, [128] * 5),  # large ones: only their headers, in windows that stay short
    ],
)
async def test_windows_grow_among_small_members_alone(count: int, size: int, expected: list[int]) -> None:
    entry = member_header(b"member", size) + bytes(size) + padding(size)
    reads: list[int] = []
    assert len(await members_by_range(entry * count + END, reads)) == count
    assert [length >> 10 for length in reads[:-1]] == expected[: len(reads) - 1]
    assert len(reads) == len(expected)


async def test_sizes_beyond_ustar_are_written_and_read() -> None:
    for size in (8**11 - 1, 8**11, 5 << 40):
        header = member_header(b"large", size)
        with tarfile.open(fileobj=io.BytesIO(header + END), ignore_zeros=True) as archive:
            assert archive.next().size == size  # type: ignore[union-attr]
        member = await TarReader(StreamSource(in_pieces(header + END, 512))).next()
        assert member is not None
        assert member.size == size


def test_a_pax_record_counts_its_own_digits() -> None:
    for length in (*range(1, 120), 990, 991, 992, 993, 9990):
        record = pax_record(b"path", b"x" * length)
        assert int(record.split(b" ")[0]) == len(record)


async def test_headers_that_lie_about_their_size_are_not_believed() -> None:
    huge = bytearray(member_header(b"x" * 101, 1))
    huge[124:136] = b"77777777777\x00"
    total = sum(huge[:512]) - sum(huge[148:156]) + 8 * 32
    huge[148:156] = b"%06o\x00 " % total
    with pytest.raises(NotAnArchive, match=str(EXTENDED_BYTES_MAX)):
        await members_by_range(bytes(huge) + END)


@pytest.mark.parametrize("seed", range(20))
async def test_damaged_archives_end_with_an_error_or_with_members(seed: int) -> None:
    """At the contract's CI count: 20 x 250 archives."""
    choose = random.Random(seed)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=choose.choice([0, 1, 2])) as archive:
        for number in range(6):
            entry = tarfile.TarInfo(f"{'long/' * choose.randrange(19)}{number}")
            entry.size = choose.randrange(2000)
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    whole = packed.getvalue()
    for _ in range(250):
        content = bytearray(whole)
        for _ in range(choose.randrange(1, 12)):
            content[choose.randrange(len(content))] = choose.randrange(256)
        cut = bytes(content[: choose.randrange(len(content))])
        for read in (members_by_range(cut), members_by_stream(cut, 700)):
            try:
                assert all(member.size >= 0 and member.name for member in await read)
            except NotAnArchive:
                """As it should be."""
