"""GetBatch, `GET /v1/ml/moss[/{bucket}]`: many objects, members of shards and ranges as one archive, in order.

AIStore's proxy answers with a redirect to the target that assembles; here the gateway that was asked assembles.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, closing

import msgspec

from shoal_archive.archives import Archives
from shoal_archive.batch import BatchReader, BegunBatch, Item
from shoal_archive.formats import format_of_mime
from shoal_core.errors import InvalidArgument
from shoal_core.freed_memory import FreedMemory
from shoal_core.load import Places
from shoal_core.names import PROVIDERS, checked_namespace, checked_object_name
from shoal_core.objects import BodyBytes, Bucket, BucketReference
from shoal_gateway.call import Call, decode_once
from shoal_gateway.exchange import Exchange
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import BATCH, Route, permission_of
from shoal_gateway.rest.batch_answers import (
    MISSING,
    Batch,
    BatchMessage,
    Outcome,
    Packing,
    Wanted,
    send_parts,
)
from shoal_gateway.rest.documented import Documentation
from shoal_gateway.rest.errors import MethodNotAllowed, TooManyBatches
from shoal_gateway.rest.names import provider_of
from shoal_store.at_hand import ItemsAtHand

PREFIX = b"/v1/ml/moss"
MESSAGE_BYTES_MAX = 16 << 20
ITEMS_MAX = 100_000
BATCHES_MAX = 32
"""At the same time in a worker; each may hold some 10 MiB."""
COLOCATION_MAX = 2
SPOOLED_BYTES_MAX = 16 << 20
"""Of an archive that is finished before its answer begins, what stays in memory; the rest goes into a nameless file."""


BATCH_DOCUMENTATION = Documentation(
    "Read many objects, members of archives and ranges as one archive, in order (GetBatch).",
    text="The body is the message itself. The bucket of entries that name none may follow in the path, as "
    "`/v1/ml/moss/{bucket}`. With `strm` the archive alone is answered as it grows, else multipart/mixed: "
    "metadata, then the archive. Members are `bucket/object[/archpath]`, with `onob` without the bucket; with `coer` "
    "up to 8 entries (the gateway's `batch_missing_max`) may be missing, and come as empty members under "
    f"`{MISSING}/`.",
    value=BatchMessage,
    answer="An archive.",
    body=bytes,
    example={
        "in": [{"objname": "p-2"}, {"objname": "p-3", "start": 0, "length": 1}],
        "mime": ".tar",
        "strm": True,
    },
    example_path=f"{BATCH}/{{bucket}}",
)

_decoder = msgspec.json.Decoder(BatchMessage)


class BatchRoutes:
    """One for each worker."""

    def __init__(self, parts: Parts, archives: Archives) -> None:
        self._parts = parts
        self._places = Places("batches", BATCHES_MAX, load=parts.load, kind=TooManyBatches)
        self._memory = FreedMemory()
        at_hand = ItemsAtHand(parts.local_stores, archives.indexes)
        self._reader = BatchReader(
            parts.objects,
            archives,
            at_hand=at_hand.batch,
            elsewhere=parts.batches_elsewhere,
            ahead=parts.load.ahead,
        )

    async def __call__(self, call: Call, exchange: Exchange) -> None:
        if call.method != "GET":
            raise MethodNotAllowed(f"{call.method} is not a method of batches; use GET", allow="GET")
        self._places.take(what="batches of this gateway worker")
        try:
            with self._memory.in_use():
                await self._answer(call, exchange)
        finally:
            self._places.give_back()

    async def _answer(self, call: Call, exchange: Exchange) -> None:
        batch = await self._understood(call, await message_of(exchange))
        begun = self._reader.begin(batch.items)
        if not batch.message.coer:
            # It fails as a whole, and before anything was answered.
            await begun.require()
        answer = stream if batch.message.strm else answer_in_parts
        await answer(batch, begun, exchange)

    async def _understood(self, call: Call, message: BatchMessage) -> Batch:
        check(call, message)
        named = decode_once(call.raw_path[len(PREFIX) :].strip(b"/"))
        default = provider_of(call), call.query.get("namespace", ""), named
        buckets: dict[tuple[str, str, str], tuple[Bucket, str]] = {}
        items, names = [], []
        for wanted in message.wanted:
            key, name = place_of(wanted, default)
            if (known := buckets.get(key)) is None:
                bucket = await self._resolve(call, *key)
                known = buckets[key] = bucket, "" if message.onob else f"{bucket.reference.name}/"
            bucket, folder = known
            member = wanted.archpath
            items.append(Item(bucket, checked_object_name(name), member, wanted.start, wanted.length))
            names.append(f"{folder}{name}/{member}" if member else folder + name)
        format = format_of_mime(message.mime)
        return Batch(message, format, items, names, self._parts.batch_missing_max)

    async def _resolve(self, call: Call, provider: str, namespace: str, name: str) -> Bucket:
        if not name:
            raise InvalidArgument("an entry of the batch names no bucket, and neither does the path")
        if provider not in PROVIDERS:
            raise InvalidArgument(f"provider {provider[:40]!r} is not known")
        reference = BucketReference(name, PROVIDERS[provider], checked_namespace(namespace))
        call.bucket = reference
        permission = permission_of(Route("GET", BATCH))
        return await self._parts.buckets.resolve(reference, permission=permission, principal=call.principal)


async def stream(batch: Batch, begun: BegunBatch, exchange: Exchange) -> None:
    """The status goes out with the first piece, so that what fails before it is an error as any other."""
    packing = Packing(batch, None)
    async with aclosing(archive_of(begun, packing)) as pieces:
        first = await anext(pieces)
        await exchange.start(200, [(b"content-type", batch.format.media_type.encode())])
        await exchange.write_pieces(first)
        async for piece in pieces:
            await exchange.write_pieces(piece)
    await exchange.write(b"", more=False)


async def answer_in_parts(batch: Batch, begun: BegunBatch, exchange: Exchange) -> None:
    """Metadata first, so the archive must be whole before."""
    outcomes: list[Outcome] = []
    packing = Packing(batch, outcomes)
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES_MAX) as archive:
        size = 0
        async with aclosing(archive_of(begun, packing)) as pieces:
            async for some in pieces:
                piece = b"".join(some)
                size += len(piece)
                await asyncio.to_thread(archive.write, piece)
        await send_parts(batch, outcomes, archive, size, exchange)


async def archive_of(begun: BegunBatch, packing: Packing) -> AsyncGenerator[Sequence[BodyBytes], None]:
    """About PIECE_BYTES at a time, in the pieces of which they are put together."""
    with closing(packing):
        async with aclosing(begun.entries()) as groups:
            async for entries in groups:
                for entry in entries:
                    if entry.body is None:
                        packing.add(entry)
                    else:
                        async for pieces in packing.add_large(entry):
                            yield pieces
                if packing.is_full:
                    yield await packing.taken()
        yield await packing.end()


async def message_of(exchange: Exchange) -> BatchMessage:
    body = bytearray()
    async for piece in exchange.body():
        body += piece
        if len(body) > MESSAGE_BYTES_MAX:
            raise InvalidArgument(f"the batch's message is longer than {MESSAGE_BYTES_MAX} bytes: split it")
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the batch's message cannot be read: {error}") from error


def check(call: Call, message: BatchMessage) -> None:
    if not message.wanted:
        raise InvalidArgument(
            'the batch is empty: `in` lists what is wanted, such as {"in":[{"objname":"a"}]}'
        )
    if len(message.wanted) > ITEMS_MAX:
        raise InvalidArgument(f"a batch has at most {ITEMS_MAX} entries, this one {len(message.wanted)}")
    given = call.query.get("coloc") or str(message.coloc)
    if not given.isdigit() or int(given) > COLOCATION_MAX:
        raise InvalidArgument(f"coloc is {given[:20]!r}: send 0, 1 or 2")


def place_of(wanted: Wanted, default: tuple[str, str, str]) -> tuple[tuple[str, str, str], str]:
    """(provider, namespace, bucket), and the object's name. `uname` has all: `ais/@uuid#space/bucket/name`. An entry
    that names a bucket, but no `uname`, means one of the global namespace."""
    if not wanted.uname:
        provider, namespace, bucket = default
        if wanted.bucket:
            namespace, bucket = "", wanted.bucket
        return (wanted.provider or provider, namespace, bucket), wanted.objname
    named, _, rest = wanted.uname.partition("/")
    namespace, _, rest = rest.partition("/")
    bucket, _, name = rest.partition("/")
    if not namespace.startswith("@"):
        raise InvalidArgument(f"uname {wanted.uname[:100]!r} is none: write provider/@#/bucket/object")
    return (named, namespace, bucket), wanted.objname or name
