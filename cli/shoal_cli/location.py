"""Where things are: `ais://bucket/name` on the command line, and safe local paths for objects' names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from shoal_core.errors import InvalidName
from shoal_core.objects import BucketReference

SCHEME_SEPARATOR = "://"
SCHEMES = {"ais": "ais"}


@dataclass(frozen=True, slots=True)
class Location:
    """A bucket, and a name or prefix in it, byte for byte as typed: no decoding, no normalisation."""

    bucket: BucketReference
    name: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.name}"

    @staticmethod
    def parse(text: str) -> Location:
        """`ais://bucket[/name]`, `ais://@uuid#namespace/bucket[/name]` or `bucket[/name]`."""
        scheme, separator, path = text.partition(SCHEME_SEPARATOR)
        if not separator or "/" in scheme:
            scheme, path = "ais", text
        if scheme not in SCHEMES:
            raise typer.BadParameter(
                f"{text!r} begins with {scheme}{SCHEME_SEPARATOR}, but buckets are at ais://; other "
                "backends are not built yet"
            )
        namespace = ""
        if path.startswith(("@", "#")):
            namespace, _, path = path.partition("/")
        bucket, _, name = path.partition("/")
        if not bucket:
            raise typer.BadParameter(f"{text!r} names no bucket; write ais://bucket or ais://bucket/name")
        return Location(BucketReference(bucket, SCHEMES[scheme], namespace), name)

    @staticmethod
    def parse_bucket(text: str) -> BucketReference:
        location = Location.parse(text)
        if location.name:
            raise typer.BadParameter(
                f"{text!r} names an object; a bucket is meant here, as in {location.bucket}"
            )
        return location.bucket

    @staticmethod
    def parse_object(text: str) -> Location:
        location = Location.parse(text)
        if not location.name:
            raise typer.BadParameter(f"{text!r} names a bucket; an object is meant here, as in {text}/name")
        return location


def local_path(folder: Path, relative_name: str) -> Path:
    """Where a downloaded object goes. Raises InvalidName for names that would leave `folder` or share a file.

    Names are not paths: `a/../b`, `/a` and `a//b` are legal names of objects.
    """
    parts = relative_name.split("/")
    if "\0" in relative_name or any(part in ("", ".", "..") for part in parts):
        raise InvalidName(
            f"object {relative_name!r} has no safe file name under {folder}; fetch it by itself, to a name "
            "of your choice"
        )
    return folder.joinpath(*parts)


def relative_to_prefix(name: str, prefix: str) -> str:
    """The name without the folders of the prefix: with `a/b` as with `a/`, `a/bc/d` becomes `bc/d`."""
    return name[prefix.rfind("/") + 1 :]
