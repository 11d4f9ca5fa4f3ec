"""Looking uploads up: one with its parts, or a page of those of a bucket. Any process of the host may."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import lmdb

from shoal_core.errors import InvalidArgument
from shoal_core.multipart import PartInfo, UploadInfo, UploadPage, UploadQuery
from shoal_core.objects import Bucket, ObjectInfo
from shoal_core.placement import slot_of
from shoal_store.index import Index
from shoal_store.keys import encode_name, key_of
from shoal_store.mountpaths import Mountpaths
from shoal_store.record import decode_record
from shoal_store.uploads import (
    UPLOAD_ID_BYTES,
    UPLOAD_KEY_BYTES,
    Part,
    Upload,
    decode_part,
    decode_upload,
    is_part,
    number_of,
)
from shoal_store.uploads_commit import rows_of, upload_not_found

BEHIND_PARTS = b"\xff\xff\xff"
"""After an upload's key: behind all of its parts, before the next upload."""
BEHIND_IDS = "~"
"""Sorts behind every upload id."""


@dataclass(frozen=True, slots=True)
class FoundUpload:
    id: bytes
    upload: Upload
    parts: Mapping[int, Part]
    """By number, ascending."""


class UploadReader:
    def __init__(self, mountpaths: Mountpaths, indexes: Mapping[str, Index], *, target: str) -> None:
        self._mountpaths = mountpaths
        self._indexes = indexes
        self._target = target

    def find(self, bucket: Bucket, name: str, upload_id: str) -> FoundUpload:
        """Raises UploadNotFound, StaleEpoch."""
        index, id = self.index_of(bucket, name), id_of(upload_id)
        with index.read() as transaction:
            index.check_owner(transaction, slot_of(bucket.id, name))
            rows = list(rows_of(transaction, index, bucket.id, id))
        if not rows or is_part(rows[0][0]):
            raise upload_not_found(upload_id)
        upload = decode_upload(*rows[0])
        if upload.name != name:
            raise upload_not_found(upload_id)
        return FoundUpload(id, upload, {number_of(key): decode_part(key, value) for key, value in rows[1:]})

    def completed(self, bucket: Bucket, name: str, upload_id: str) -> ObjectInfo | None:
        """The current object, if this upload made it."""
        index = self.index_of(bucket, name)
        key = key_of(bucket.id, encode_name(name))
        with index.read() as transaction:
            index.check_owner(transaction, slot_of(bucket.id, name))
            value = transaction.get(key, db=index.records)
            record = None if value is None else decode_record(key, value)
        if record is None or record.upload != upload_id:
            return None
        return record.info(name, f"t[{self._target}]:{index.mountpath_id}")

    def page(self, bucket: Bucket, query: UploadQuery) -> UploadPage:
        """Blocks while it reads: call it in a thread."""
        if query.limit < 1:
            raise InvalidArgument(f"a page of {query.limit} uploads cannot be listed: ask for 1 or more")
        found: list[tuple[bytes, str, Upload]] = []
        for index in self._indexes.values():
            with index.read() as transaction:
                found += heapq.nsmallest(query.limit + 1, wanted(transaction, index, bucket, query))
        first = heapq.nsmallest(query.limit + 1, found)
        return UploadPage(
            tuple(upload_info(id, upload) for _, id, upload in first[: query.limit]),
            more=len(first) > query.limit,
        )

    def index_of(self, bucket: Bucket, name: str) -> Index:
        return self._indexes[self._mountpaths.of_name(bucket.id, encode_name(name))]


def wanted(
    transaction: lmdb.Transaction, index: Index, bucket: Bucket, query: UploadQuery
) -> Iterator[tuple[bytes, str, Upload]]:
    """Name, id and upload of all that the query asks for and this index owns; no two have the same id."""
    prefix, after = query.prefix.encode(), place_after(query)
    owned = index.owned(transaction)
    with transaction.cursor(db=index.uploads) as cursor:
        more = cursor.set_range(bucket.id)
        while more and (key := bytes(cursor.key())).startswith(bucket.id):
            if not is_part(key):
                upload, id = decode_upload(key, cursor.value()), key[len(bucket.id) :].hex()
                name = upload.name.encode()
                if (
                    name.startswith(prefix)
                    and (name, id) > after
                    and owned.holds(slot_of(bucket.id, upload.name))
                ):
                    yield name, id, upload
            more = cursor.set_range(key[:UPLOAD_KEY_BYTES] + BEHIND_PARTS)


def place_after(query: UploadQuery) -> tuple[bytes, str]:
    """Uploads of the page are strictly behind this."""
    try:
        name = query.after_name.encode()
        query.prefix.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("prefix and start of a listing must be valid UTF-8") from error
    return name, query.after_id or BEHIND_IDS


def id_of(upload_id: str) -> bytes:
    try:
        id = bytes.fromhex(upload_id)
    except ValueError:
        id = b""
    if len(id) != UPLOAD_ID_BYTES or id.hex() != upload_id:
        raise upload_not_found(upload_id)
    return id


def upload_info(id: str, upload: Upload) -> UploadInfo:
    return UploadInfo(
        id, upload.name, upload.created_ns, upload.content_type, upload.metadata, upload.headers
    )


def part_info(number: int, part: Part) -> PartInfo:
    return PartInfo(number, part.size, part.etag, part.modified_ns, part.headers)
