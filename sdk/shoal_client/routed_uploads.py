"""`RoutedUploads`: multipart uploads of the whole cluster; `RoutedObjectStore` adds whole objects to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from shoal_client.replay import ReplayableBody
from shoal_client.routing import CurrentMap, all_of
from shoal_core.multipart import Completion, PartInfo, UploadInfo, UploadPage, UploadQuery
from shoal_core.objects import Bucket, ObjectInfo, PutRequest


class RoutedUploads(CurrentMap):
    async def begin_upload(self, bucket: Bucket, request: PutRequest) -> UploadInfo:
        return await self._with_current_map(
            lambda: self._owner(bucket, request.name).begin_upload(bucket, request)
        )

    async def put_part(
        self, bucket: Bucket, upload_id: str, number: int, request: PutRequest, body: AsyncIterator[bytes]
    ) -> PartInfo:
        replay = ReplayableBody(body)

        async def attempt() -> PartInfo:
            owner = self._owner(bucket, request.name)
            return await owner.put_part(bucket, upload_id, number, request, replay.chunks())

        return await self._with_current_map(attempt, repeatable=lambda: replay.replayable)

    async def complete_upload(
        self, bucket: Bucket, name: str, upload_id: str, completion: Completion
    ) -> ObjectInfo:
        return await self._with_current_map(
            lambda: self._owner(bucket, name).complete_upload(bucket, name, upload_id, completion)
        )

    async def abort_upload(self, bucket: Bucket, name: str, upload_id: str) -> None:
        return await self._with_current_map(
            lambda: self._owner(bucket, name).abort_upload(bucket, name, upload_id)
        )

    async def list_uploads(self, bucket: Bucket, query: UploadQuery) -> UploadPage:
        """One page over all targets; any target that does not answer fails it, so it never comes short."""

        async def attempt() -> UploadPage:
            calls = [self._store_of(target).list_uploads(bucket, query) for target in self._targets()]
            return merged_uploads(await all_of(calls), query.limit)

        return await self._with_current_map(attempt)

    async def list_parts(
        self, bucket: Bucket, name: str, upload_id: str
    ) -> tuple[UploadInfo, tuple[PartInfo, ...]]:
        return await self._with_current_map(
            lambda: self._owner(bucket, name).list_parts(bucket, name, upload_id)
        )


def merged_uploads(pages: Sequence[UploadPage], limit: int) -> UploadPage:
    """The first uploads of all pages; none beyond the end of a page that goes on, which may lack one in between."""
    horizons = [place(page.uploads[-1]) for page in pages if page.more]
    found = sorted((upload for page in pages for upload in page.uploads), key=place)
    shown = [upload for upload in found if not horizons or place(upload) <= min(horizons)]
    more = bool(horizons) or len(shown) > limit
    return UploadPage(tuple(shown[:limit]), more)


def place(upload: UploadInfo) -> tuple[str, str]:
    return upload.name, upload.id
