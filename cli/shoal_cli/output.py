"""What commands print: text for people, JSON for programs, errors as one sentence on stderr."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from shoal_core.objects import Bucket, ObjectInfo

UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")

JsonValue = str | int | float | bool | None | dict[str, "JsonValue"] | list["JsonValue"]


class Format(StrEnum):
    text = "text"
    json = "json"


OutputOption = Annotated[
    Format, typer.Option("--output", "-o", help="`json` prints one JSON object per line, one for each item.")
]


def print_json(value: dict[str, JsonValue]) -> None:
    """One document on one line; ASCII only, so that no terminal or locale can spoil a name."""
    sys.stdout.write(json.dumps(value) + "\n")


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    sys.stderr.write(f"shoal: {printable(text)}\n")


def printable(text: str) -> str:
    """The text with control characters escaped: an object's name must not be able to steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def bucket_document(bucket: Bucket) -> dict[str, JsonValue]:
    properties = bucket.properties
    return {
        "bucket": str(bucket.reference),
        "name": bucket.reference.name,
        "provider": bucket.reference.provider,
        "namespace": bucket.reference.namespace,
        "id": bucket.id.hex(),
        "created": timestamp(bucket.created_ns),
        "durability": properties.durability,
        "verify": properties.verify,
        "checksum_type": properties.checksum_type,
        "versioning": properties.versioning,
        "s3_etag": properties.s3_etag,
        "chunk_above_bytes": properties.chunk_above_bytes,
        "chunk_bytes": properties.chunk_bytes,
    }


def object_document(info: ObjectInfo) -> dict[str, JsonValue]:
    return {
        "name": info.name,
        "size": info.size,
        "etag": info.etag,
        "version": info.version.hex(),
        "sequence": info.sequence,
        "checksum": {"type": info.checksum.type, "value": info.checksum.value} if info.checksum else None,
        "modified": timestamp(info.modified_ns),
        "content_type": info.content_type,
        "metadata": dict(info.metadata),
        "location": info.location,
    }


def timestamp(nanoseconds: int) -> str:
    moment = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size_text(size: int) -> str:
    """Bytes for people: 999 B, 1.5 KiB, 3.0 GiB."""
    if size < 1024:
        return f"{size} B"
    exponent = min((size.bit_length() - 1) // 10, len(UNITS))
    return f"{size / 1024**exponent:.1f} {UNITS[exponent - 1]}"
