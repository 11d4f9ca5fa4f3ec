"""The services of a target: objects for everybody, commits for the gateways of its host."""

from __future__ import annotations

import asyncio

import grpc.aio

from shoal.batch.v1.batch_pb2_grpc import add_BatchServiceServicer_to_server
from shoal.chunk.v1.chunk_pb2_grpc import add_ChunkServiceServicer_to_server
from shoal.object.v1.object_pb2_grpc import add_ObjectServiceServicer_to_server
from shoal.object.v1.upload_pb2_grpc import add_UploadServiceServicer_to_server
from shoal_archive.archives import Archives
from shoal_archive.batch import BatchReader
from shoal_archive.batch_service import BatchServicer
from shoal_core.buckets import BucketDirectory
from shoal_core.load import Load
from shoal_core.object_service import ObjectServicer
from shoal_core.serving import AddService
from shoal_core.upload_service import UploadServicer
from shoal_store.at_hand import ItemsAtHand
from shoal_store.engine import Engine
from shoal_target.chunk_service import ChunkServicer
from shoal_target.ownership import Ownership


def object_service(
    engine: Engine, buckets: BucketDirectory, ownership: Ownership, *, load: Load
) -> AddService:
    """Objects, as a whole, in parts and in batches."""
    objects = ObjectServicer(engine.store, buckets, admit=ownership.admit)
    uploads = UploadServicer(engine.store, buckets, admit=ownership.admit)
    archives = Archives(engine.store)
    at_hand = ItemsAtHand(lambda: lambda _name: engine.store, archives.indexes)
    reader = BatchReader(engine.store, archives, at_hand=at_hand.batch, ahead=load.ahead)
    batches = BatchServicer(reader, buckets, admit=ownership.admit)

    def add(server: grpc.aio.Server) -> None:
        add_ObjectServiceServicer_to_server(objects, server)
        add_UploadServiceServicer_to_server(uploads, server)
        add_BatchServiceServicer_to_server(batches, server)

    return add


def chunk_service(engine: Engine, *, node: str, stopping: asyncio.Event) -> AddService:
    servicer = ChunkServicer(engine, node=node, stopping=stopping, counts=engine.reader.counts)

    def add(server: grpc.aio.Server) -> None:
        add_ChunkServiceServicer_to_server(servicer, server)

    return add
