"""Archives through `/v1/objects`: a member by `archpath`, several as one tar by `archregx` and `archmode`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from shoal_archive.appending import Appending
from shoal_archive.archives import Archives
from shoal_archive.formats import ArchiveFormat
from shoal_archive.selecting import selector
from shoal_core.errors import InvalidArgument, NotImplementedYet
from shoal_core.objects import Bucket, Checksum, ObjectInfo, ObjectStore, PutRequest
from shoal_gateway.call import Call
from shoal_gateway.exchange import Exchange
from shoal_store.hashing import ContentHashes

PATH = "archpath"
PATTERN = "archregx"
MODE = "archmode"
MIME = "archmime"
APPEND_HEADER = "ais-pine"
APPEND_OR_CREATE = "1"
APPEND_ONLY = "2"


def is_of_archive(call: Call) -> bool:
    """Sent empty, the fields mean nothing."""
    return bool(call.query.get(PATH) or call.query.get(PATTERN))


class ArchiveRoutes:
    """The bucket has been resolved, and the caller may do to it what the method does."""

    def __init__(self, store: ObjectStore, archives: Archives) -> None:
        self._archives = archives
        self._appending = Appending(store, archives)

    async def put(
        self, bucket: Bucket, call: Call, request: PutRequest, body: AsyncIterator[bytes]
    ) -> ObjectInfo:
        """Add a member, to a new archive if need be, unless the header says not to.

        The checksums that the client sent are the member's, and are verified.
        """
        how = call.headers.get(APPEND_HEADER, APPEND_OR_CREATE)
        if how not in (APPEND_OR_CREATE, APPEND_ONLY):
            raise InvalidArgument(f"Ais-Pine is {how[:20]!r}: send 1 (create if absent) or 2 (append only)")
        if not call.query.get(PATH):
            raise InvalidArgument(
                "the header Ais-Pine appends to an archive: send archpath, the member's path"
            )
        mime, path = call.query.get(MIME, ""), call.query[PATH]
        create = how == APPEND_OR_CREATE
        body = verified(body, request.checksums)
        return await self._appending.append(bucket, request, path, body, mime=mime, create=create)

    async def get(self, bucket: Bucket, call: Call, exchange: Exchange) -> None:
        if "range" in call.headers:
            raise NotImplementedYet("ranges of members of archives are not built; GetBatch has them")
        path, pattern = call.query.get(PATH, ""), call.query.get(PATTERN, "")
        if path and pattern:
            raise InvalidArgument("archpath asks for one member, archregx for several: send one of them")
        if path:
            await self._member(bucket, call, exchange, path)
        else:
            await self._selected(bucket, call, exchange, pattern)

    async def _member(self, bucket: Bucket, call: Call, exchange: Exchange, path: str) -> None:
        mime = call.query.get(MIME, "")
        body = await self._archives.open_member(bucket, call.object_name, path, mime=mime)
        try:
            chunks = body.chunks()
            piece, left = await anext(chunks, b""), body.size
            headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % left)]
            await exchange.start(200, headers)
            while True:
                left -= len(piece)
                await exchange.write(piece, more=left > 0)
                if left <= 0:
                    return
                piece = await anext(chunks)
        finally:
            await body.close()

    async def _selected(self, bucket: Bucket, call: Call, exchange: Exchange, pattern: str) -> None:
        wanted = selector(pattern, call.query.get(MODE, ""))
        found = self._archives.selected(bucket, call.object_name, wanted, mime=call.query.get(MIME, ""))
        async with aclosing(found) as pieces:
            first = await anext(pieces)
            await exchange.start(200, [(b"content-type", ArchiveFormat.TAR.media_type.encode())])
            await exchange.write(first, more=True)
            async for piece in pieces:
                await exchange.write(piece, more=True)
        await exchange.write(b"", more=False)


async def verified(body: AsyncIterator[bytes], checksums: Sequence[Checksum]) -> AsyncIterator[bytes]:
    """Raises ChecksumMismatch instead of ending."""
    hashes = ContentHashes("none", checksums)
    async for piece in body:
        hashes.update(piece)
        yield piece
    hashes.check()
