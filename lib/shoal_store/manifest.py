"""Manifests: the record of an object of several chunks, or of an upload, in a file beside its first chunk, from which
an index is rebuilt. A copy that links the chunks of another object has one too, by which they are known as its own.

A chunk file says by itself whose it is, but not which other chunks complete the object, nor, when it was born as a
part of an upload, whether the upload was ever completed. The manifest,
`data/xx/<first chunk>.manifest`, is magic ‖ key length (u32, big-endian) ‖ key ‖ sealed record, with version, sequence
and time as they were before the commit (empty and 0, unless an object was rechunked): it proves what was written, not
that it was committed.

Of a linked copy these bytes are, in URL-safe base64, what a symbolic link says, if the filesystem takes so long a one.
That is made in one step and safe with its name, where a file takes a sync more (docs/decisions/0020). It leads nowhere.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from shoal_core.errors import DataCorrupt
from shoal_store.chunkfile import chunk_path
from shoal_store.chunkwriter import abandon, create, put_in_place, write_all
from shoal_store.durability import storage_error
from shoal_store.record import Record, decode_record, encode_record

MAGIC = b"SHOALmf1"
HEAD = struct.Struct(">8sI")
NO_SUCH_LINKS = frozenset({errno.ENAMETOOLONG, errno.EPERM, errno.EOPNOTSUPP})
"""The filesystem knows no symbolic links, or none that say so much."""


def manifest_path(first_chunk: Path) -> Path:
    return first_chunk.with_name(f"{first_chunk.name}.manifest")


def has_manifest(record: Record) -> bool:
    """Where the parts of an upload begin, no chunk file tells, even if all of them are in one now; nor whose a linked
    one is."""
    return len(record.chunks) > 1 or bool(record.upload) or bool(record.parts) or record.linked


def encode_manifest(key: bytes, record: Record) -> bytes:
    return HEAD.pack(MAGIC, len(key)) + key + encode_record(key, record)


def write_manifest(path: Path, temporary: Path, key: bytes, record: Record, *, synced: bool) -> None:
    """Under `temporary`, then in place of what may be at `path`. Blocks. Raises OutOfSpace and Unavailable."""
    file = create(temporary)
    try:
        write_all(file, memoryview(encode_manifest(key, record)))
        put_in_place(file, temporary, path, what="manifest", synced=synced)
    except BaseException:
        abandon(file, temporary)
        raise


def link_manifest(path: Path, key: bytes, record: Record) -> bool:
    """As a symbolic link, where nothing is yet. False when the filesystem takes none. Blocks. Raises OutOfSpace and
    Unavailable. The caller syncs the folder."""
    try:
        os.symlink(base64.urlsafe_b64encode(encode_manifest(key, record)), path)
    except OSError as error:
        if error.errno in NO_SUCH_LINKS:
            return False
        raise storage_error(error, f"cannot make {path}") from error
    return True


def read_manifest(path: Path) -> tuple[bytes, Record]:
    """As `decode_manifest`, in whichever form it is. Blocks. Raises OSError too."""
    try:
        said = os.readlink(os.fsencode(path))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return decode_manifest(path.read_bytes())
    try:
        return decode_manifest(base64.b64decode(said, altchars=b"-_", validate=True))
    except binascii.Error as error:
        raise DataCorrupt("a manifest is damaged: run `shoal fsck`") from error


def decode_manifest(content: bytes) -> tuple[bytes, Record]:
    """Key and record. Raises DataCorrupt for anything that `encode_manifest` did not make."""
    if len(content) < HEAD.size:
        raise DataCorrupt("a manifest is truncated: run `shoal fsck`")
    magic, length = HEAD.unpack_from(content)
    key, value = content[HEAD.size : HEAD.size + length], content[HEAD.size + length :]
    if magic != MAGIC or len(key) != length:
        raise DataCorrupt("a manifest is damaged: run `shoal fsck`")
    return key, decode_record(key, value)


def files_of(record: Record, mountpath: Callable[[str], Path]) -> Iterable[Path]:
    """Everything that goes from the disks when a version goes. The manifest first: it names the others."""
    paths = [chunk_path(mountpath(chunk.mountpath), chunk.file_id) for chunk in record.chunks]
    return [manifest_path(paths[0]), *paths] if has_manifest(record) else paths
