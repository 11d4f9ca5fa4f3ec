"""`MemoryUploads`: multipart uploads in a dictionary, proved by the same contract suite as the real ones."""

from __future__ import annotations

import secrets
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise

from shoal_core.errors import InvalidArgument, InvalidPart, UploadNotFound
from shoal_core.multipart import PARTS_MAX, Completion, PartInfo, UploadInfo, UploadPage, UploadQuery
from shoal_core.objects import Bucket, BucketId, ObjectInfo, PutRequest
from shoal_core.part_runs import PartRun, runs_of
from support.memory_content import check_content, content_etag


@dataclass
class MemoryUpload:
    info: UploadInfo
    parts: dict[int, tuple[PartInfo, bytes]] = field(default_factory=dict)


class MemoryUploads:
    def __init__(self) -> None:
        self._uploads: dict[tuple[BucketId, str], MemoryUpload] = {}
        self._made_by: dict[tuple[BucketId, str], tuple[str, ObjectInfo]] = {}

    @abstractmethod
    async def put(self, bucket: Bucket, request: PutRequest, body: AsyncIterator[bytes]) -> ObjectInfo: ...

    @abstractmethod
    def check_name(self, name: str) -> None: ...

    @abstractmethod
    def with_parts(self, bucket: Bucket, info: ObjectInfo, parts: tuple[PartRun, ...]) -> ObjectInfo:
        """Keeps them with the current version."""

    @abstractmethod
    def is_current(self, bucket: Bucket, info: ObjectInfo) -> bool: ...

    async def begin_upload(self, bucket: Bucket, request: PutRequest) -> UploadInfo:
        self.check_name(request.name)
        id = secrets.token_hex(16)
        info = UploadInfo(
            id,
            request.name,
            time.time_ns(),
            request.content_type,
            dict(request.metadata),
            dict(request.headers),
        )
        self._uploads[bucket.id, id] = MemoryUpload(info)
        return info

    async def put_part(
        self, bucket: Bucket, upload_id: str, number: int, request: PutRequest, body: AsyncIterator[bytes]
    ) -> PartInfo:
        if not 1 <= number <= PARTS_MAX:
            raise InvalidArgument(f"part number {number}")
        self._upload(bucket, request.name, upload_id)
        data = b"".join([piece async for piece in body])
        check_content(request, data)
        headers = {**request.headers, **request.late_headers()}
        part = PartInfo(number, len(data), content_etag(request, data), time.time_ns(), headers)
        self._upload(bucket, request.name, upload_id).parts[number] = part, data
        return part

    async def complete_upload(
        self, bucket: Bucket, name: str, upload_id: str, completion: Completion
    ) -> ObjectInfo:
        made_by, info = self._made_by.get((bucket.id, name), ("", None))
        if made_by == upload_id and info is not None and self.is_current(bucket, info):
            return info
        upload = self._upload(bucket, name, upload_id)
        data = chosen_bytes(upload, completion)
        began = upload.info
        request = PutRequest(
            name,
            content_type=began.content_type,
            metadata=began.metadata,
            headers={**began.headers, **completion.headers},
            etag=completion.etag,
            preconditions=completion.preconditions,
        )
        sizes = [(choice.number, len(upload.parts[choice.number][1])) for choice in completion.parts]
        info = self.with_parts(bucket, await self.put(bucket, request, in_one_piece(data)), runs_of(sizes))
        self._made_by[bucket.id, name] = upload_id, info
        del self._uploads[bucket.id, upload_id]
        return info

    async def abort_upload(self, bucket: Bucket, name: str, upload_id: str) -> None:
        self._upload(bucket, name, upload_id)
        del self._uploads[bucket.id, upload_id]

    async def list_uploads(self, bucket: Bucket, query: UploadQuery) -> UploadPage:
        if query.limit < 1:
            raise InvalidArgument(f"limit {query.limit}")
        after = (query.after_name, query.after_id or "~")
        found = sorted(
            (
                upload.info
                for (bucket_id, _), upload in self._uploads.items()
                if bucket_id == bucket.id
                and upload.info.name.startswith(query.prefix)
                and (upload.info.name, upload.info.id) > after
            ),
            key=lambda info: (info.name, info.id),
        )
        return UploadPage(tuple(found[: query.limit]), len(found) > query.limit)

    async def list_parts(
        self, bucket: Bucket, name: str, upload_id: str
    ) -> tuple[UploadInfo, tuple[PartInfo, ...]]:
        upload = self._upload(bucket, name, upload_id)
        return upload.info, tuple(part for _, (part, _) in sorted(upload.parts.items()))

    def _upload(self, bucket: Bucket, name: str, upload_id: str) -> MemoryUpload:
        self.check_name(name)
        upload = self._uploads.get((bucket.id, upload_id))
        if upload is None or upload.info.name != name:
            raise UploadNotFound(f"upload {upload_id} of {name} does not exist")
        return upload


def chosen_bytes(upload: MemoryUpload, completion: Completion) -> bytes:
    numbers = [choice.number for choice in completion.parts]
    if not numbers:
        raise InvalidPart("no part was named")
    if any(one >= following for one, following in pairwise(numbers)):
        raise InvalidArgument("the parts are not in order")
    data = b""
    for choice in completion.parts:
        part, content = upload.parts.get(choice.number, (None, b""))
        if part is None or part.etag != choice.etag:
            raise InvalidPart(f"part {choice.number}", part=str(choice.number))
        data += content
    return data


async def in_one_piece(data: bytes) -> AsyncIterator[bytes]:
    yield data
