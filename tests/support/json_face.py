"""The JSON face alone, as the gateway calls it, and the server of a `Mirror` that it may have behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from starlette.types import ASGIApp, Receive, Scope, Send

from shoal_core.access import LOCAL_ADMINISTRATOR, Principal
from shoal_core.certificates import ClusterAuthority
from shoal_core.rpc import Listener, add_listener, build_server
from shoal_gateway.call import Call
from shoal_gateway.exchange import Exchange
from shoal_gateway.transcode.face import JsonFace, json_failure
from support.mirror import Mirror


def json_application(face: JsonFace, principal: Principal = LOCAL_ADMINISTRATOR) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        call = Call.of(scope, node="g1")
        call.principal = principal
        exchange = Exchange(call, receive, send, idle_timeout_seconds=5)
        try:
            await face(call, scope, exchange)
        except Exception as error:
            if exchange.started:
                raise
            await exchange.answer(*json_failure(error, call))

    return serve


@asynccontextmanager
async def mirror_behind(folder: Path, mirror: Mirror) -> AsyncIterator[tuple[grpc.aio.Channel, str, Path]]:
    """A channel to the mirror's server, its address, and the authority of its certificate."""
    authority = ClusterAuthority.create(folder / "ca", "test-cluster")
    tls = authority.issue(folder / "p1", "proxy", "p1")
    server = build_server(
        node="p1", cluster_id="test-cluster", mode=Listener.PUBLIC, services=[mirror.add_to]
    )
    address = add_listener(server, "127.0.0.1:0", tls=tls, mode=Listener.PUBLIC)
    await server.start()
    credentials = grpc.ssl_channel_credentials(tls.ca.read_bytes())
    try:
        async with grpc.aio.secure_channel(address, credentials) as channel:
            yield channel, address, tls.ca
    finally:
        await server.stop(None)
