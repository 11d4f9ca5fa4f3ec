"""What a node says of itself."""

from __future__ import annotations

import grpc.aio
import pytest

from shoal.node.v1.node_pb2 import GetNodeStatusRequest, ResetNodeCountersRequest
from shoal.node.v1.node_pb2_grpc import NodeServiceStub
from shoal_core.cluster_map import MemberState
from shoal_core.node_service import node_service


@pytest.fixture
def counted() -> dict[str, int]:
    return {"get.n": 5, "put.n": 2}


async def test_counters_start_at_zero_again_when_they_are_reset(counted: dict[str, int]) -> None:
    server = grpc.aio.server()
    node_service(lambda: MemberState.ACTIVE, counters=lambda: counted)(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = NodeServiceStub(channel)

        async def counters() -> dict[str, int]:
            answer = await stub.GetNodeStatus(GetNodeStatusRequest(), timeout=10)
            return dict(answer.status.counters)

        assert await counters() == counted
        await stub.ResetNodeCounters(ResetNodeCountersRequest(), timeout=10)
        assert await counters() == {"get.n": 0, "put.n": 0}
        counted["get.n"] += 3
        assert await counters() == {"get.n": 3, "put.n": 0}
    await server.stop(None)
