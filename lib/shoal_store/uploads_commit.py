"""What commits of multipart uploads do to an index: inside the committer's transaction, checked before written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import lmdb
import msgspec

from shoal_core.errors import InvalidArgument, InvalidPart, UploadNotFound
from shoal_core.multipart import PARTS_MAX
from shoal_core.objects import BucketId, Checksum, ObjectInfo, Version
from shoal_store.chunkfile import chunk_path
from shoal_store.commit import Commit, UploadStep
from shoal_store.index import Index
from shoal_store.manifest import manifest_path
from shoal_store.record import Record
from shoal_store.uploads import (
    UPLOAD_ID_BYTES,
    Part,
    Upload,
    decode_part,
    decode_upload,
    encode_upload,
    is_part,
    number_of,
    part_key,
    upload_key,
)


class UploadCommits:
    """The rows of `uploads` in one index. What a method returns as paths is unlinked after the transaction."""

    def __init__(self, index: Index, folders: Mapping[str, Path]) -> None:
        self._index = index
        self._folders = folders

    def begin(self, transaction: lmdb.Transaction, commit: Commit) -> ObjectInfo:
        step = step_of(commit)
        assert step.begins is not None, "checked by check_upload"
        key = upload_key(commit.bucket, step.id)
        upload = msgspec.structs.replace(step.begins, created_ns=time.time_ns())
        self._index.put_row(transaction, "uploads", key=key, value=encode_upload(key, upload))
        return info_of_begun(upload)

    def put_part(self, transaction: lmdb.Transaction, commit: Commit) -> tuple[ObjectInfo, list[Path]]:
        step = step_of(commit)
        assert step.part is not None, "checked by check_upload"
        upload = self._find(transaction, commit)
        key = part_key(commit.bucket, step.id, number=step.number)
        replaced = transaction.get(key, db=self._index.uploads)
        files = [] if replaced is None else self._files(decode_part(key, replaced))
        part = msgspec.structs.replace(step.part, modified_ns=time.time_ns())
        self._index.put_row(transaction, "uploads", key=key, value=encode_upload(key, part))
        return info_of_part(upload, part), files

    def check_completion(self, transaction: lmdb.Transaction, commit: Commit) -> None:
        """That the parts are still those that the record was made of. Raises UploadNotFound, InvalidPart."""
        step = step_of(commit)
        assert commit.record is not None, "checked by check_upload"
        self._find(transaction, commit)
        chunks, position = commit.record.chunks, 0
        for number in step.numbers:
            key = part_key(commit.bucket, step.id, number=number)
            value = transaction.get(key, db=self._index.uploads)
            part = None if value is None else decode_part(key, value)
            if part is None or chunks[position : position + len(part.chunks)] != part.chunks:
                raise InvalidPart(
                    f"part {number} of the upload was written again meanwhile: complete it with the new etag",
                    part=str(number),
                )
            position += len(part.chunks)
        if position != len(chunks):
            raise InvalidArgument("a completion whose record has more chunks than its parts")

    def remove_completed(self, transaction: lmdb.Transaction, commit: Commit) -> list[Path]:
        """Removes the rows. The paths are those of parts that were not chosen, and the manifests that earlier
        attempts to complete may have left beside other parts than the first one."""
        step, files = step_of(commit), list[Path]()
        for number, part in self._remove(transaction, commit.bucket, step.id):
            if number not in step.numbers:
                files += self._files(part)
            elif number != step.numbers[0]:
                files.append(self._manifest(part))
        return files

    def abort(self, transaction: lmdb.Transaction, commit: Commit) -> tuple[ObjectInfo, list[Path]]:
        upload, files = self._find(transaction, commit), list[Path]()
        for _, part in self._remove(transaction, commit.bucket, step_of(commit).id):
            files += self._files(part)
        return info_of_begun(upload), files

    def _find(self, transaction: lmdb.Transaction, commit: Commit) -> Upload:
        key = upload_key(commit.bucket, step_of(commit).id)
        value = transaction.get(key, db=self._index.uploads)
        upload = None if value is None else decode_upload(key, value)
        if upload is None or upload.name != commit.name:
            raise upload_not_found(step_of(commit).id.hex())
        return upload

    def _remove(
        self, transaction: lmdb.Transaction, bucket_id: BucketId, upload_id: bytes
    ) -> list[tuple[int, Part]]:
        """The parts of the upload, all decoded before the first row goes."""
        rows = list(rows_of(transaction, self._index, bucket_id, upload_id))
        parts = [(number_of(key), decode_part(key, value)) for key, value in rows if is_part(key)]
        for key, _ in rows:
            self._index.delete_row(transaction, "uploads", key=key)
        return parts

    def _files(self, part: Part) -> list[Path]:
        return part_files(part, self._folders.__getitem__)

    def _manifest(self, part: Part) -> Path:
        return self._files(part)[0]


def rows_of(
    transaction: lmdb.Transaction, index: Index, bucket_id: BucketId, upload_id: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """The row of the upload, if it is there, and those of its parts by number."""
    start = upload_key(bucket_id, upload_id)
    with transaction.cursor(db=index.uploads) as cursor:
        more = cursor.set_range(start)
        while more and (key := bytes(cursor.key())).startswith(start):
            yield key, bytes(cursor.value())
            more = cursor.next()


def part_files(part: Part, mountpath: Callable[[str], Path]) -> list[Path]:
    """Everything that goes with a part: first the manifest that an attempt to complete may have left beside it."""
    paths = [chunk_path(mountpath(chunk.mountpath), chunk.file_id) for chunk in part.chunks]
    return [manifest_path(paths[0]), *paths]


def step_of(commit: Commit) -> UploadStep:
    assert commit.upload is not None, "checked by check_upload"
    return commit.upload


def upload_not_found(upload_id: str) -> UploadNotFound:
    return UploadNotFound(
        f"upload {upload_id[:64]!r} of this object is not under way: it was completed or aborted, or never began",
        upload=upload_id[:64],
    )


def is_repeated(commit: Commit, current: Record | None) -> bool:
    """Whether the current object is what this very completion has made before."""
    return current is not None and current.upload == step_of(commit).id.hex()


def info_of_begun(upload: Upload) -> ObjectInfo:
    """The outcome of a commit is an ObjectInfo, whatever the commit did; here its time is what counts."""
    return ObjectInfo(
        name=upload.name,
        size=0,
        version=Version(b""),
        sequence=0,
        etag="",
        checksum=None,
        modified_ns=upload.created_ns,
        content_type=upload.content_type,
        metadata=upload.metadata,
        headers=upload.headers,
    )


def info_of_part(upload: Upload, part: Part) -> ObjectInfo:
    return ObjectInfo(
        name=upload.name,
        size=part.size,
        version=Version(b""),
        sequence=0,
        etag=part.etag,
        checksum=Checksum(part.checksum_type, part.checksum_value) if part.checksum_value else None,
        modified_ns=part.modified_ns,
        content_type=upload.content_type,
        metadata={},
        headers=part.headers,
    )


def check_upload(commit: Commit) -> None:
    """Gateways send commits as bytes: one that makes no sense must not disturb the others of its group."""
    step = commit.upload
    if step is None or len(step.id) != UPLOAD_ID_BYTES:
        raise InvalidArgument(f"a {commit.kind} without an upload id of {UPLOAD_ID_BYTES} bytes")
    match commit.kind:
        case "begin-upload":
            sensible = step.begins is not None and step.begins.name == commit.name
        case "put-part":
            sensible = 1 <= step.number <= PARTS_MAX and step.part is not None and bool(step.part.chunks)
        case "complete-upload":
            sensible = (
                bool(step.numbers)
                and all(1 <= number <= PARTS_MAX for number in step.numbers)
                and all(one < next for one, next in pairwise(step.numbers))
                and commit.record is not None
                and not commit.record.delete_marker
                and bool(commit.record.chunks)
                and commit.record.upload == step.id.hex()
            )
        case _:
            sensible = True
    if not sensible:
        raise InvalidArgument(f"a {commit.kind} that contradicts itself")
