"""What chunk files and manifests prove of the objects of one index, for its rebuild.

A chunk file that is a whole object says everything of it but its version; a manifest says everything of its object but
whether it was committed. What is only a piece of an object, or of an upload, proves nothing alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from shoal_core.errors import DataCorrupt, InvalidName
from shoal_core.objects import BucketId
from shoal_store.chunkfile import Footer, chunk_path, read_footer
from shoal_store.fsck import stored_files
from shoal_store.keys import BUCKET_ID_BYTES, encode_name, is_hashed, key_of
from shoal_store.manifest import read_manifest
from shoal_store.mountpaths import MountpathFolder, Mountpaths
from shoal_store.record import ChunkPlace, Record

Place = tuple[str, bytes]
"""Mountpath and file id."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that a rebuild could not prove."""

    kind: str
    """`footer-only`, `manifest-only`: restored from files alone, perhaps never acknowledged, or deleted since;
    `gone`: in the copy, but its files are not there, so deleted or overwritten since, or lost; `superseded`: an older
    or unfinished version, left in its files; `left-over`: files that no row of the copy names although they are older;
    `incomplete`: a manifest whose files are not all there; `upload-lost`: parts of an upload that the copy does not
    know; `damaged-row`: of the copy; `unreadable`: a file that says nothing any more."""
    what: str
    """Bucket id in hexadecimal and name; for a file, mountpath and file name."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version of an object as files have it."""

    key: bytes
    record: Record
    """Without version and sequence, unless a rechunk knew them."""
    written_ns: int
    kind: str
    """The doubt that it is restored with."""


@dataclass(slots=True)
class Evidence:
    candidates: dict[bytes, list[Candidate]] = field(default_factory=dict)
    """By object key, newest first."""
    doubts: list[Doubt] = field(default_factory=list)


class FileEvidence:
    """Of all mountpaths of a target, about the names that one of them keeps. Blocks, for as long as it takes to open
    every file that no row names. A manifest beside a part is looked at: the upload may have been completed since."""

    def __init__(
        self, folders: Mapping[str, Path], mountpath_id: str, *, of_objects: set[Place], of_parts: set[Place]
    ) -> None:
        self._folders = folders
        self._mountpath_id = mountpath_id
        self._of_objects = of_objects
        self._named = of_objects | of_parts
        self._places = Mountpaths(MountpathFolder(*each) for each in folders.items())
        self._found = Evidence()
        self._by_manifest: set[Place] = set()
        self._uploads: dict[tuple[str, str], int] = {}

    def gathered(self) -> Evidence:
        files = [(name, path) for name, folder in self._folders.items() for path in stored_files(folder)]
        for name, path in files:
            if path.suffix and (name, bytes.fromhex(path.stem)) not in self._of_objects:
                self._look_at_manifest(name, path)
        for name, path in files:
            place = (name, bytes.fromhex(path.stem))
            if not path.suffix and place not in self._named and place not in self._by_manifest:
                self._look_at_chunk(name, path)
        for (what, upload), count in self._uploads.items():
            detail = f"{count} files of upload {upload}: it has to be begun again"
            self._found.doubts.append(Doubt("upload-lost", what, detail))
        for candidates in self._found.candidates.values():
            candidates.sort(key=lambda candidate: candidate.written_ns, reverse=True)
        return self._found

    def _look_at_manifest(self, mountpath: str, path: Path) -> None:
        try:
            key, record = read_manifest(path)
            name = record.name.encode() if is_hashed(key) else key[BUCKET_ID_BYTES:]
        except (OSError, DataCorrupt) as error:
            self._doubt("unreadable", f"{mountpath}/{path.name}", str(error))
            return
        if not self._is_kept_here(key, name) or not record.chunks:
            return
        places = {(chunk.mountpath, chunk.file_id) for chunk in record.chunks}
        footers = [self._footer_of(chunk) for chunk in record.chunks]
        if None in footers:
            missing = sum(footer is None for footer in footers)
            self._doubt(
                "incomplete", shown(key), f"{missing} of its {len(footers)} files are missing or damaged"
            )
            return
        self._by_manifest |= places
        births = [f.birth.written_ns for f in footers if f is not None and not record.linked and not f.upload]
        told = 0 if record.version else record.modified_ns
        written_ns = max([told, *births]) or path.lstat().st_mtime_ns
        self._add(Candidate(key, record, written_ns, "manifest-only"))

    def _look_at_chunk(self, mountpath: str, path: Path) -> None:
        try:
            footer = footer_of(path)
        except (OSError, DataCorrupt) as error:
            self._doubt("unreadable", f"{mountpath}/{path.name}", str(error))
            return
        birth = footer.birth
        with suppress(InvalidName):
            name = encode_name(birth.name)
            key = key_of(BucketId(birth.bucket_id), name)
            # A link's footer speaks of the object that its bytes were written for.
            if footer.chunk_id != bytes.fromhex(path.name) or not self._is_kept_here(key, name):
                return
            if footer.upload:
                of = (shown(key), footer.upload)
                self._uploads[of] = self._uploads.get(of, 0) + 1
            elif footer.position or not birth.checksum_type:
                self._doubt(
                    "left-over", shown(key), f"a piece of an object that has no manifest: {path.name}"
                )
            else:
                self._add(Candidate(key, record_of(mountpath, footer), birth.written_ns, "footer-only"))

    def _is_kept_here(self, key: bytes, name: bytes) -> bool:
        bucket_id = BucketId(key[:BUCKET_ID_BYTES])
        if len(bucket_id) != BUCKET_ID_BYTES or not name or key_of(bucket_id, name) != key:
            return False
        return self._places.of_name(bucket_id, name) == self._mountpath_id

    def _footer_of(self, chunk: ChunkPlace) -> Footer | None:
        """None when the file is not there, or not that chunk."""
        if (folder := self._folders.get(chunk.mountpath)) is None:
            return None
        try:
            footer = footer_of(chunk_path(folder, chunk.file_id))
        except (OSError, DataCorrupt):
            return None
        same = (footer.length, footer.blocks_checksum) == (chunk.length, chunk.blocks_checksum)
        return footer if same else None

    def _add(self, candidate: Candidate) -> None:
        self._found.candidates.setdefault(candidate.key, []).append(candidate)

    def _doubt(self, kind: str, what: str, detail: str) -> None:
        self._found.doubts.append(Doubt(kind, what, detail))


def footer_of(path: Path) -> Footer:
    """Raises OSError, DataCorrupt."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return read_footer(descriptor)
    finally:
        os.close(descriptor)


def record_of(mountpath: str, footer: Footer) -> Record:
    """Of an object that is one chunk file."""
    birth = footer.birth
    name = birth.name if is_hashed(key_of(BucketId(birth.bucket_id), birth.name.encode())) else ""
    return Record(
        size=footer.length,
        etag=birth.etag,
        checksum_type=birth.checksum_type,
        checksum_value=birth.checksum_value,
        content_type=birth.content_type,
        metadata=birth.metadata,
        chunks=(ChunkPlace(mountpath, footer.chunk_id, footer.length, footer.blocks_checksum),),
        name=name,
        headers=birth.headers,
    )


def same_content(record: Record, other: Record) -> bool:
    """As far as sizes and checksums tell."""
    return (record.size, record.etag, record.checksum_type, record.checksum_value) == (
        other.size,
        other.etag,
        other.checksum_type,
        other.checksum_value,
    )


def moved(record: Record, found: Record) -> Record:
    """The record with the files of another, as a rechunk leaves it."""
    return msgspec.structs.replace(record, chunks=found.chunks, upload=found.upload, linked=found.linked)


def shown(key: bytes) -> str:
    return f"{key[:BUCKET_ID_BYTES].hex()}/{key[BUCKET_ID_BYTES:].decode(errors='replace')}"
