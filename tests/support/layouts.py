"""An object of every layout that a store knows, its versions, and an upload that has begun: short ways to have them."""

from __future__ import annotations

from shoal_core.multipart import PartChoice
from shoal_core.objects import CopyRequest, PutRequest
from shoal_store.engine import Engine
from support.engines import BUCKET, VERSIONED, in_pieces, put, put_in_chunks, put_in_parts

LONG = "l" * 700
INLINE = b"x"


async def put_every_layout(engine: Engine, data: bytes) -> dict[str, bytes]:
    """What they hold, by name: all but `inline`, which is small, have the data."""
    await put(engine, "inline", INLINE)
    await put(engine, "large", data)
    await put(engine, LONG, data)
    await put_in_chunks(engine, "chunks", data, 30_000)
    await put_in_parts(engine.store, "parts", data)
    await engine.store.copy(BUCKET, CopyRequest(BUCKET, "chunks", "copy"))
    return dict.fromkeys(("large", LONG, "chunks", "parts", "copy"), data) | {"inline": INLINE}


async def put_versions(engine: Engine, name: str, *bodies: bytes) -> None:
    for body in bodies:
        await engine.store.put(VERSIONED, PutRequest(name), in_pieces(body))


async def upload_a_part(engine: Engine, name: str, data: bytes, *, number: int = 1) -> tuple[str, PartChoice]:
    """The id of an upload that goes on, and how its only part is chosen."""
    upload = await engine.store.begin_upload(BUCKET, PutRequest(name))
    part = await engine.store.put_part(BUCKET, upload.id, number, PutRequest(name), in_pieces(data))
    return upload.id, PartChoice(number, part.etag)
