"""A bucket's properties in AIStore's JSON: what we have, filled in; what we do not have, switched off."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, TypeVar

import msgspec

from shoal_core.decoding import UNDECODABLE
from shoal_core.errors import InvalidArgument, NotImplementedYet
from shoal_core.objects import CHUNK_BYTES_DEFAULT, Bucket, BucketProperties

EVERY_PERMISSION = "18446744073709551615"
SIZE = re.compile(r"([0-9]{1,16}) ?(b?|[kmgt]i?b?)", re.IGNORECASE)
UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
CHECKSUM_TYPES = ("xxhash2", "crc32c", "md5", "sha256", "sha512", "none")

T = TypeVar("T", bound=msgspec.Struct)

Json = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


def shown_properties(bucket: Bucket) -> dict[str, Json]:
    """`Bprops` as AIStore's clients decode it: every section is there, integers of 64 bits are strings."""
    return {
        **shown_sections(bucket.properties),
        "provider": bucket.reference.provider,
        "bid": str(int.from_bytes(bucket.id, "big")),
        "created": str(bucket.created_ns),
    }


def shown_sections(properties: BucketProperties) -> dict[str, Json]:
    """What can be set on a bucket, or could be in AIStore."""
    return {
        "backend_bck": {"name": "", "provider": "", "namespace": {"uuid": "", "name": ""}},
        "write_policy": {"data": "", "md": ""},
        "checksum": {
            "type": properties.checksum_type,
            "validate_cold_get": False,
            # Every byte is verified before it is served, whatever a client sets here.
            "validate_warm_get": True,
            "validate_obj_move": True,
            "enable_read_range": False,
        },
        "extra": {},
        "rate_limit": {"backend": rate_limit(), "frontend": rate_limit()},
        "ec": {
            "objsize_limit": 262144,
            "compression": "never",
            "bundle_multiplier": 2,
            "data_slices": 1,
            "parity_slices": 1,
            "enabled": False,
            "disk_only": False,
        },
        "chunks": {
            "objsize_limit": shown_size(properties.chunk_above_bytes),
            "max_monolithic_size": shown_size(0),
            "chunk_size": shown_size(properties.chunk_bytes or CHUNK_BYTES_DEFAULT),
            "checkpoint_every": 0,
            "flags": 0,
        },
        "mirror": {"copies": 1, "burst_buffer": 0, "enabled": False},
        "lru": {"dont_evict_time": "0s", "capacity_upd_time": "0s", "batch_size": 0, "enabled": False},
        "access": EVERY_PERMISSION,
        "features": "0",
        "versioning": {"enabled": properties.versioning, "validate_warm_get": False, "synchronize": False},
        "Renamed": "",
        # Ours; AIStore's clients pass over what they do not know.
        "shoal": {
            "durability": properties.durability,
            "verify": properties.verify,
            "s3_etag": properties.s3_etag,
        },
    }


def shown_size(size: int) -> str:
    """Text, because the Go clients decode no number here; in the largest unit that keeps every byte."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % UNITS[unit[0].lower()] == 0:
            return f"{size // UNITS[unit[0].lower()]}{unit}"
    return f"{size}B"


def rate_limit() -> Json:
    return {
        "num_retries": 0,
        "burst_size": 0,
        "interval": "0s",
        "max_tokens": 0,
        "enabled": False,
        "per_op_max_tokens": "",
    }


class ChecksumSetting(msgspec.Struct, frozen=True):
    """`checksum` of BpropsToSet."""

    type: str | None = None
    """`xxhash2`, `crc32c`, `md5`, `sha256`, `sha512` or `none`."""


class VersioningSetting(msgspec.Struct, frozen=True):
    """`versioning` of BpropsToSet."""

    enabled: bool | None = None
    """Keep old versions."""


class ChunksSetting(msgspec.Struct, frozen=True):
    """`chunks` of BpropsToSet: bytes, or text such as "64MiB"."""

    objsize_limit: int | str | None = None
    """Bytes. Larger objects are stored in chunks; 0: only those that came in parts."""
    chunk_size: int | str | None = None
    """Bytes of each chunk, 1 MiB to 5 GiB."""


class ShoalSetting(msgspec.Struct, frozen=True):
    """`shoal`: what AIStore has no name for."""

    durability: Literal["fsync", "os"] | None = None
    """`fsync`: what is acknowledged survives a loss of power; `os`: not always."""
    verify: Literal["window", "always"] | None = None
    """`window`: a chunk that was verified in the last 24 hours is not read again for that; `always`: each time."""
    s3_etag: Literal["md5", "fast"] | None = None
    """`md5`: S3's etags are MD5 sums; `fast`: of a faster checksum."""


class BucketSettings(msgspec.Struct, frozen=True):
    """BpropsToSet, as far as it can be set; all else may be sent as it is."""

    checksum: ChecksumSetting | None = None
    """Which checksum is kept of each object."""
    versioning: VersioningSetting | None = None
    """Of the versions of an object."""
    chunks: ChunksSetting | None = None
    """How large objects are stored."""
    shoal: ShoalSetting | None = None
    """What AIStore has no name for."""


def changed_properties(current: BucketProperties, value: dict[str, msgspec.Raw] | None) -> BucketProperties:
    """`current` with AIStore's BpropsToSet applied. Raises for what a bucket cannot do yet; whoever asks for what it
    is already, as clients do that send back what they have read, may."""
    properties, shown = current, shown_sections(current)
    for name, raw in (value or {}).items():
        if (
            name == "force"
            or bytes(raw) == b'""'
            or says_nothing_new(msgspec.json.decode(raw), shown.get(name, {}))
        ):
            continue
        if name == "checksum":
            properties = with_checksum(properties, section(name, raw, ChecksumSetting).type)
        elif name == "versioning":
            enabled = section(name, raw, VersioningSetting).enabled
            properties = properties if enabled is None else replace(properties, versioning=enabled)
        elif name == "chunks":
            chunks = section(name, raw, ChunksSetting)
            properties = replace(
                properties,
                chunk_above_bytes=size_of(chunks.objsize_limit, properties.chunk_above_bytes),
                chunk_bytes=size_of(chunks.chunk_size, properties.chunk_bytes),
            )
        elif name == "shoal":
            ours = msgspec.structs.asdict(section(name, raw, ShoalSetting))
            properties = replace(
                properties, **{field: value for field, value in ours.items() if value is not None}
            )
        else:
            raise NotImplementedYet(
                f"bucket property {name!r} cannot be set yet; checksum.type, versioning.enabled, "
                "chunks.objsize_limit, chunks.chunk_size and those of `shoal` (durability, verify, s3_etag) can"
            )
    return properties


def says_nothing_new(given: object, shown: Json) -> bool:
    if isinstance(given, dict) and isinstance(shown, dict):
        return all(says_nothing_new(value, shown.get(name)) for name, value in given.items())
    return given is None or given == shown


def size_of(given: int | str | None, current: int) -> int:
    """Bytes. Raises InvalidArgument."""
    if given is None:
        return current
    match = SIZE.fullmatch(str(given))
    if match is None:
        raise InvalidArgument(f"{str(given)[:40]!r} is no size: send bytes, or text such as 64MiB")
    return int(match[1]) * UNITS[match[2].lower()[:1]]


def with_checksum(properties: BucketProperties, kind: str | None) -> BucketProperties:
    if kind is None:
        return properties
    if kind not in CHECKSUM_TYPES:
        raise InvalidArgument(
            f"there is no checksum type {kind[:50]!r}; types are {', '.join(CHECKSUM_TYPES)}"
        )
    return replace(properties, checksum_type=kind)


def section(name: str, raw: msgspec.Raw, kind: type[T]) -> T:
    try:
        # Not strictly, because in a query everything is text.
        return msgspec.json.decode(raw, type=kind, strict=False)
    except UNDECODABLE as error:
        raise InvalidArgument(f"bucket property {name!r} cannot be read: {error}") from error
