"""Everything that is written to the disks comes back, and one changed, missing or foreign byte is always found out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from shoal_core.errors import DataCorrupt, InvalidName
from shoal_core.objects import BucketId, Version
from shoal_store import record as records
from shoal_store.chunkfile import Birth, ChunkReader, Footer, encode_footer, read_footer
from shoal_store.chunkwriter import ChunkWriter
from shoal_store.keys import encode_name, is_hashed, key_of
from shoal_store.manifest import decode_manifest, encode_manifest
from shoal_store.mountpaths import MountpathFolder
from shoal_store.record import ChunkPlace, Record, decode_record, delete_marker, encode_record
from shoal_store.sealed import seal, unseal
from shoal_store.slots import OwnedSlots
from shoal_store.tombstones import Tombstone, decode_tombstone, encode_tombstone
from shoal_store.uploads import (
    Part,
    Upload,
    decode_part,
    decode_upload,
    encode_upload,
    is_part,
    new_upload_id,
    number_of,
    part_key,
    upload_key,
)
from shoal_store.versions import VersionClock, inverted, version_key

BUCKET = BucketId(b"bucket-1")
KEY = BUCKET + b"name"
CHUNKS = (ChunkPlace("mp1", b"f" * 16, 7, 1 << 63), ChunkPlace("mp2", b"g" * 16, 0, 0))
RECORD = Record(
    7,
    "etag",
    "md5",
    "00",
    "text/x",
    {"k": "é"},
    CHUNKS,
    5,
    "name",
    "ab" * 16,
    Version(b"v" * 12),
    3,
    4,
    False,
    {"h": "v"},
)
BIRTH = Birth(BUCKET, "é", "text/x", {"k": "v"}, "etag", "md5", "00", 1)

CODECS: dict[str, tuple[object, Callable[[], bytes], Callable[[bytes], object]]] = {
    "record": (RECORD, lambda: encode_record(KEY, RECORD), lambda value: decode_record(KEY, value)),
    "marker": (
        delete_marker("x"),
        lambda: encode_record(KEY, delete_marker("x")),
        lambda v: decode_record(KEY, v),
    ),
    "manifest": ((KEY, RECORD), lambda: encode_manifest(KEY, RECORD), decode_manifest),
    "upload": (
        Upload("é", "text/x", {"k": "v"}, 5, {"h": "v"}),
        lambda: encode_upload(KEY, Upload("é", "text/x", {"k": "v"}, 5, {"h": "v"})),
        lambda value: decode_upload(KEY, value),
    ),
    "part": (
        Part(7, "etag", "md5", "00", 5, CHUNKS),
        lambda: encode_upload(KEY, Part(7, "etag", "md5", "00", 5, CHUNKS)),
        lambda value: decode_part(KEY, value),
    ),
    "tombstone": (
        Tombstone(b"v" * 12, 5, "n"),
        lambda: encode_tombstone(KEY, Tombstone(b"v" * 12, 5, "n")),
        lambda value: decode_tombstone(KEY, value),
    ),
}


@pytest.fixture(params=CODECS, ids=str)
def codec(request: pytest.FixtureRequest) -> tuple[object, Callable[[], bytes], Callable[[bytes], object]]:
    return CODECS[str(request.param)]


Codec = tuple[object, Callable[[], bytes], Callable[[bytes], object]]


def test_what_was_written_comes_back(codec: Codec) -> None:
    value, encode, decode = codec
    assert decode(encode()) == value


def test_a_changed_byte_is_found_wherever_it_is(codec: Codec) -> None:
    _, encode, decode = codec
    encoded = encode()
    for position in range(len(encoded)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(encoded)
            changed[position] ^= flip
            with pytest.raises(DataCorrupt):
                decode(bytes(changed))


def test_a_missing_byte_is_found_wherever_it_is(codec: Codec) -> None:
    _, encode, decode = codec
    encoded = encode()
    for length in range(len(encoded)):
        with pytest.raises(DataCorrupt):
            decode(encoded[:length])
    with pytest.raises(DataCorrupt):
        decode(encoded + b"\0")


def test_a_value_under_another_key_is_found() -> None:
    with pytest.raises(DataCorrupt):
        decode_record(KEY + b"x", encode_record(KEY, RECORD))


@pytest.mark.parametrize("decode", [decode_record, decode_upload, decode_part, decode_tombstone])
def test_another_format_is_named(decode: Callable[[bytes, bytes], object]) -> None:
    with pytest.raises(DataCorrupt, match=r"^an? \w+ of the index has format 2; this Shoal knows 1$"):
        decode(KEY, seal(KEY, b"whatever it has", format=2))


def test_the_largest_values_come_back() -> None:
    name = "猫" * 341 + "x"
    key, metadata = key_of(BUCKET, encode_name(name)), {f"key-{n}": "é" * 1000 for n in range(20)}
    record = Record(
        1 << 62, "e" * 128, "sha512", "f" * 128, "t" * 255, metadata, CHUNKS * 5000, (1 << 64) - 1, name
    )
    assert decode_record(key, encode_record(key, record)) == record
    assert decode_manifest(encode_manifest(key, record)) == (key, record)
    empty = Record(0, "", "", "", "", {})
    assert decode_record(key, encode_record(key, empty)) == empty


def test_what_is_sealed_and_makes_no_sense_is_found() -> None:
    foreign_text = b"\x96\x07\xa1\xff" + b"\xa1\xff" * 4
    nested = msgspec.msgpack.encode([7] + [""] * 4)[:-1] + b"\x91" * 100_000
    for body in (
        b"",
        b"\xc1",
        b"\x92\x01\x02",
        b"\x81\xa1a\x01",
        foreign_text,
        b"\x95" + b"\xa1\xff" * 5,
        nested,
    ):
        for decode in (decode_record, decode_upload, decode_part, decode_tombstone):
            with pytest.raises(DataCorrupt):
                decode(KEY, seal(KEY, body, format=1))


def test_a_record_of_an_older_shoal_lacks_fields_at_its_end() -> None:
    older = msgspec.msgpack.decode(msgspec.msgpack.encode(RECORD))[:7]
    found = decode_record(KEY, seal(KEY, msgspec.msgpack.encode(older), format=records.FORMAT))
    assert (found.chunks, found.name, found.headers) == (CHUNKS, "", {})


@given(key=st.binary(max_size=500), body=st.binary(max_size=200))
def test_any_bytes_can_be_sealed(key: bytes, body: bytes) -> None:
    assert unseal(key, seal(key, body, format=9), format=9, what="a value") == body


# Keys


@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=2))
def test_keys_are_in_the_order_of_names(names: list[str]) -> None:
    one, other = [name.replace("\0", "0").encode("utf-8", "replace") for name in names]
    assert (key_of(BUCKET, one) < key_of(BUCKET, other)) == (one < other)


@given(st.lists(st.text("aé猫", min_size=140, max_size=341), min_size=2, max_size=4))
def test_keys_of_long_names_are_in_order_up_to_their_440th_byte(names: list[str]) -> None:
    encoded = [encode_name(f"x{name}") for name in names if len(name.encode()) < 1024]
    keys = sorted(key_of(BUCKET, name) for name in encoded)
    assert [key[8:448] for key in keys] == sorted(name[:440] for name in encoded)
    assert all(len(version_key(key, b"v" * 12)) <= 511 for key in keys)


def test_a_name_is_hashed_from_its_441st_byte_on() -> None:
    assert key_of(BUCKET, b"x" * 440) == BUCKET + b"x" * 440
    longer = key_of(BUCKET, b"x" * 441)
    assert (len(longer), longer[:448]) == (464, BUCKET + b"x" * 440)
    assert is_hashed(longer)
    assert not is_hashed(key_of(BUCKET, b"x" * 440))
    assert key_of(BUCKET, b"x" * 441) != key_of(BUCKET, b"x" * 442)


@pytest.mark.parametrize("name", ["", "a\0", "x" * 1025, "é" * 513, "\ud800"])
def test_a_name_that_cannot_be_kept_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        encode_name(name)


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=12, max_size=12))
def test_versions_lie_newest_first_behind_their_record(one: bytes, other: bytes) -> None:
    assert inverted(inverted(one)) == one
    assert (version_key(KEY, one) < version_key(KEY, other)) == (one > other)
    assert KEY < version_key(KEY, one) < BUCKET + b"name\x01"


def test_an_upload_and_its_parts_lie_together_in_order() -> None:
    first, second = sorted([new_upload_id(), new_upload_id()])
    keys = [upload_key(BUCKET, first), *(part_key(BUCKET, first, number=n) for n in (1, 2, 256, 10_000))]
    keys.append(upload_key(BUCKET, second))
    assert keys == sorted(keys)
    assert [number_of(key) for key in keys if is_part(key)] == [1, 2, 256, 10_000]


# Versions and slots


def test_versions_only_grow_whatever_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, last = VersionClock("t1"), b""
    for now in (5_000, 5_000, 4_000, 0, 6_000):
        monkeypatch.setattr("time.time_ns", lambda now=now: now * 1_000_000)
        version = clock.after(b"")
        assert version > last
        last = version
    ahead = (1 << 62).to_bytes(8) + b"\xff" * 4
    assert clock.after(ahead) > ahead
    restarted = VersionClock("t1")
    restarted.raise_to(clock.last)
    assert restarted.after(b"") > clock.last


def test_slots_are_the_bits_of_the_map() -> None:
    bitmap = bytearray(8192)
    bitmap[1] = 0b100
    owned = OwnedSlots.at(7, bytes(bitmap))
    assert owned.epoch == 7
    assert [slot for slot in range(65_536) if owned.holds(slot)] == [10]
    assert not any(OwnedSlots.of(None).holds(slot) for slot in range(65_536))


@pytest.mark.parametrize("length", [0, 7, 8, 8199, 8201])
def test_slots_of_another_length_are_found(length: int) -> None:
    with pytest.raises(DataCorrupt, match=f"has {length} bytes"):
        OwnedSlots.of(bytes(length))


# Chunk files


def chunk_file(folder: Path, size: int) -> tuple[Path, ChunkPlace, bytes]:
    (folder / "tmp").mkdir(exist_ok=True)
    for number in range(256):
        (folder / "data" / f"{number:02x}").mkdir(parents=True, exist_ok=True)
    writer = ChunkWriter(MountpathFolder("mp1", folder), folder / "tmp")
    data = os.urandom(size)
    writer.write(data)
    place = writer.finish(BIRTH, synced=False)
    return writer.path, place, data


def test_a_changed_byte_of_a_small_chunk_file_is_found_wherever_it_is(tmp_path: Path) -> None:
    path, place, data = chunk_file(tmp_path, 100)
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(DataCorrupt):
            ChunkReader(path, blocks_checksum=place.blocks_checksum).read(0, 100)
    path.write_bytes(whole)
    assert ChunkReader(path, blocks_checksum=place.blocks_checksum).read(0, 100) == data


def test_a_truncated_chunk_file_is_found_at_every_length(tmp_path: Path) -> None:
    path, place, _ = chunk_file(tmp_path, 50)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataCorrupt):
            ChunkReader(path, blocks_checksum=place.blocks_checksum)


def test_the_chunk_of_another_record_is_found(tmp_path: Path) -> None:
    path, place, _ = chunk_file(tmp_path, 50)
    with pytest.raises(DataCorrupt, match="not the one that its record names"):
        ChunkReader(path, blocks_checksum=place.blocks_checksum ^ 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"length": 99},
        {"block_bytes": 0},
        {"block_bytes": 1 << 30},
        {"block_checksums": b"x" * 7},
        {"block_checksums": b""},
    ],
    ids=str,
)
def test_a_footer_that_does_not_fit_its_file_is_found(tmp_path: Path, changes: dict[str, object]) -> None:
    footer = Footer(1, b"f" * 16, "", 0, 100, 1 << 20, b"x" * 8, BIRTH)
    path = tmp_path / "chunk"
    path.write_bytes(bytes(100) + encode_footer(msgspec.structs.replace(footer, **changes)))
    with path.open("rb") as file, pytest.raises(DataCorrupt):
        read_footer(file.fileno())
