"""Clients that stop in the middle: the call ends in time and gives back what it held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from contract.object_store_contract import BUCKET
from shoal.object.v1.object_pb2 import GetObjectRequest, GetObjectResponse
from shoal.object.v1.object_pb2_grpc import ObjectServiceStub, add_ObjectServiceServicer_to_server
from shoal_core import messages, rpc_gate
from shoal_core.certificates import ClusterAuthority
from shoal_core.object_service import PAGE_BYTES_MAX, ObjectServicer, page_message
from shoal_core.objects import ListPage, ObjectInfo, Version
from shoal_core.rpc import Listener
from shoal_core.serving import Servers
from support.memory_store import MemoryObjectStore
from support.stores import KnownBuckets
from support.uploads import finish, frame, put, reason, specification

REFERENCE = messages.bucket_reference_to_message(BUCKET.reference)
PATIENCE_SECONDS = 0.3


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore()


@pytest.fixture
async def objects(
    store: MemoryObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObjectServiceStub]:
    """A server with little patience."""
    monkeypatch.setattr(rpc_gate, "WRITE_SECONDS_MAX", PATIENCE_SECONDS)
    authority = ClusterAuthority.create(tmp_path / "ca", "c")
    servers = Servers(node="t1", cluster_id="c", tls=authority.issue(tmp_path / "t1", "target", "t1"))
    servicer = ObjectServicer(store, KnownBuckets(BUCKET), idle_seconds=PATIENCE_SECONDS)
    address = servers.listen(
        Listener.PUBLIC,
        "127.0.0.1:0",
        [lambda server: add_ObjectServiceServicer_to_server(servicer, server)],
    )
    await servers.start()
    credentials = grpc.ssl_channel_credentials((tmp_path / "ca" / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield ObjectServiceStub(channel)
    await servers.stop(0)


async def test_an_upload_that_sends_nothing_more_is_given_up(
    objects: ObjectServiceStub, store: MemoryObjectStore
) -> None:
    call = objects.PutObject()
    await call.write(specification(REFERENCE, "slow"))
    await call.write(frame(0, b"x"))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await asyncio.wait_for(call, 10)
    assert reason(refusal.value) == "DEADLINE_EXCEEDED"
    assert store.names == []


async def test_a_download_that_nobody_reads_is_given_up(objects: ObjectServiceStub) -> None:
    await put(objects, REFERENCE, "large", data=bytes(20 << 20))
    call = objects.GetObject(GetObjectRequest(bucket=REFERENCE, name="large"))
    await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await asyncio.wait_for(ended_unread(call), 10)
    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def ended_unread(call: grpc.aio.UnaryStreamCall[GetObjectRequest, GetObjectResponse]) -> None:
    """Wait twice as long as the server does, then read what is left."""
    await asyncio.sleep(2 * PATIENCE_SECONDS)
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_an_upload_that_stays_open_after_its_finish_is_answered(objects: ObjectServiceStub) -> None:
    call = objects.PutObject()
    for message in (specification(REFERENCE, "open"), frame(0, b"x"), finish(1)):
        await call.write(message)
    assert (await asyncio.wait_for(call, 10)).object.size == 1


def test_a_page_too_large_for_one_message_is_cut_and_goes_on_where_it_was_cut() -> None:
    metadata = {"k": "v" * 8000}
    infos = tuple(
        ObjectInfo(f"n{number:04}", 1, Version(bytes(12)), 1, "e", None, 0, "", metadata)
        for number in range(1000)
    )
    cut = page_message(ListPage(infos, ("p/",), "later"))
    assert cut.ByteSize() < PAGE_BYTES_MAX + 20_000
    assert cut.next_page_token == cut.objects[-1].name
    rest = infos[len(cut.objects) :]
    assert rest[0].name > cut.next_page_token
    assert page_message(ListPage(rest[-3:], ("p/",), "later")).next_page_token == "later"
