"""What AIStore's clients ask of one node: of the primary proxy under `/v1/daemon`, of any under `/v1/reverse/daemon`.

Proxies and targets answer for themselves by gRPC (`shoal_core.node_service`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fastapi import APIRouter, Response

from shoal.node.v1.node_pb2 import GetNodeStatusRequest, NodeStatus, ReadNodeLogRequest
from shoal.node.v1.node_pb2_grpc import NodeServiceStub
from shoal_core.cluster_map import ClusterMap, Member, MemberRole
from shoal_core.errors import DeadlineExceeded, InvalidArgument, MemberNotFound, Unavailable
from shoal_core.rpc import call as call_node, stream_metadata, translate_errors
from shoal_gateway.call import Call
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import CLUSTER, DAEMON, REVERSE
from shoal_gateway.rest.actions import ActionMessage
from shoal_gateway.rest.answers import (
    AllMachines,
    AllMountpaths,
    AllStats,
    Anything,
    Mountpaths,
    Node,
    NodeState,
    NodeStats,
    SoftwareVersion,
)
from shoal_gateway.rest.cluster import ClusterRoutes
from shoal_gateway.rest.dispatch import Handler, action_of_query, add_route, json_answer
from shoal_gateway.rest.documented import Documentation, documented
from shoal_gateway.rest.shown_nodes import (
    COUNTER_KINDS,
    primary_of,
    shown_machine,
    shown_mountpaths,
    shown_node,
    shown_stats,
    shown_status,
    shown_target_machine,
    snode,
    software_version,
)
from shoal_gateway.rest.xactions import XactionRoutes

WHICH = {"Ais-Node-Id": "Which node."}
STATUS_SECONDS_MAX = 5.0
LOG_SECONDS_MAX = 15.0
GZIP = "application/x-tgz"


def add_node_routes(router: APIRouter, parts: Parts) -> None:
    cluster, nodes, jobs = ClusterRoutes(parts), NodeRoutes(parts), XactionRoutes(parts)
    of_node: dict[str, Handler] = {
        "smap": cluster.cluster_map,
        "bmd": cluster.bucket_map,
        "snode": nodes.node,
        "config": nodes.configuration,
        "sysinfo": nodes.machine,
        "node_status": nodes.status,
        "node_stats": nodes.stats,
        "mountpaths": nodes.mountpaths,
        "metrics": nodes.metric_names,
        "disk": nodes.disk_stats,
        "log": nodes.log,
        "software_version": nodes.version,
    }
    of_all: dict[str, Handler] = {
        "cluster_config": cluster.configuration,
        "target_ips": cluster.target_addresses,
        "sysinfo": nodes.all_machines,
        "node_stats": nodes.all_stats,
        "mountpaths": nodes.all_mountpaths,
        "backends": cluster.backends,
        "remote": cluster.remote_clusters,
        "status": jobs.status,
        "qryxstats": jobs.snapshots,
        "getxstats": jobs.snapshots_of_one,
        "status_all": jobs.all_status,
        "running_all": jobs.all_running,
    }
    of_us = of_node | {"snode": nodes.own_node}
    for template, handlers in ((DAEMON, of_us), (REVERSE, of_node), (CLUSTER, of_all)):
        add_route(router, "GET", template, handlers=handlers, action_of=action_of_query)


class NodeRoutes:
    """One method for each question."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @documented(Documentation("Tell who answers.", answer="JSON (a node of the smap).", body=Node))
    async def own_node(self, call: Call, _message: ActionMessage) -> Response:
        """This gateway, which `shoal-health` looks for among those that share a port."""
        return json_answer(snode(self._parts.node_id, "proxy", call))

    @documented(
        Documentation("Tell of a node.", headers=WHICH, answer="JSON (a node of the smap).", body=Node)
    )
    async def node(self, call: Call, _message: ActionMessage) -> Response:
        return json_answer(shown_node(self._asked_for(call), call))

    @documented(
        Documentation(
            "Tell state, capacity and use of a node.", headers=WHICH, answer="JSON.", body=NodeState
        )
    )
    async def status(self, call: Call, _message: ActionMessage) -> Response:
        member = self._asked_for(call)
        generations = (bucket.generation for bucket in self._parts.buckets.list(""))
        status = await self._status_of(member)
        current = self._parts.cluster_map()
        return json_answer(shown_status(member, status, call, current, max(generations, default=0)))

    @documented(
        Documentation("Return a node's counters and capacity.", headers=WHICH, answer="JSON.", body=NodeStats)
    )
    async def stats(self, call: Call, _message: ActionMessage) -> Response:
        member = self._asked_for(call)
        return json_answer(shown_stats(member, await self._status_of(member), call))

    @documented(
        Documentation(
            "Tell memory and processor of a node, and the disks of a target.",
            headers=WHICH,
            answer="JSON.",
            body=Anything,
        )
    )
    async def machine(self, call: Call, _message: ActionMessage) -> Response:
        member = self._asked_for(call)
        status = await self._status_of(member)
        is_target = member.role is MemberRole.TARGET
        return json_answer(shown_target_machine(member, status) if is_target else shown_machine(status))

    @documented(
        Documentation("List the mountpaths of a target.", headers=WHICH, answer="JSON.", body=Mountpaths)
    )
    async def mountpaths(self, call: Call, _message: ActionMessage) -> Response:
        member = self._asked_for(call)
        return json_answer(shown_mountpaths(member, await self._status_of(member)))

    @documented(
        Documentation(
            "List the names of counters.", headers=WHICH, answer="JSON: kinds by name.", body=dict[str, str]
        )
    )
    async def metric_names(self, call: Call, _message: ActionMessage) -> Response:
        self._asked_for(call)
        return json_answer(COUNTER_KINDS)

    @documented(
        Documentation(
            "Tell what each disk does: not counted here.",
            headers=WHICH,
            answer="JSON: nothing.",
            body=Anything,
        )
    )
    async def disk_stats(self, call: Call, _message: ActionMessage) -> Response:
        """None: what each disk reads and writes is the machine's to tell."""
        self._asked_for(call)
        return json_answer({})

    @documented(Documentation("Tell the version.", headers=WHICH, answer="JSON.", body=SoftwareVersion))
    async def version(self, call: Call, _message: ActionMessage) -> Response:
        self._asked_for(call)
        return json_answer({"version": software_version(), "build_time": ""})

    @documented(Documentation("Return the settings.", headers=WHICH, answer="JSON.", body=Anything))
    async def configuration(self, call: Call, message: ActionMessage) -> Response:
        self._asked_for(call)
        return await ClusterRoutes(self._parts).configuration(call, message)

    @documented(
        Documentation(
            "Return a node's log.",
            headers=WHICH,
            query={
                "severity": "Only lines of `warning` or `error` and above.",
                "all": "All files, as an archive.",
                "offset": "Bytes to pass over.",
            },
            answer="Text, or a gzipped tar.",
            body=str,
        )
    )
    async def log(self, call: Call, _message: ActionMessage) -> Response:
        """The end of the current file as text; with `all`, a gzipped tar of all files."""
        member, archive = self._asked_for(call), call.flag("all")
        offset = call.query.get("offset", "0")
        if not offset.isascii() or not offset.isdigit():
            raise InvalidArgument(f"offset {offset[:20]!r} is not a number of bytes")
        request = ReadNodeLogRequest(
            level=call.query.get("severity", ""), offset=min(int(offset), (1 << 63) - 1), archive=archive
        )
        data = bytearray()
        with translate_errors(member.id):
            pieces = NodeServiceStub(self._parts.member_channel(member)).ReadNodeLog(
                request, timeout=LOG_SECONDS_MAX, metadata=stream_metadata()
            )
            async for piece in pieces:
                data += piece.data
        return Response(bytes(data), media_type=GZIP if archive else "text/plain")

    @documented(
        Documentation(
            "Tell memory and processor of every node.", answer="JSON, by role and node.", body=AllMachines
        )
    )
    async def all_machines(self, _call: Call, _message: ActionMessage) -> Response:
        proxies, targets = await self._proxies(), await self._targets()
        return json_answer(
            {
                "proxy": {member.id: shown_machine(status) for member, status in proxies},
                "target": {member.id: shown_target_machine(member, status) for member, status in targets},
            }
        )

    @documented(
        Documentation(
            "Return counters and capacity of every target.", answer="JSON, by role and node.", body=AllStats
        )
    )
    async def all_stats(self, call: Call, _message: ActionMessage) -> Response:
        primary = primary_of(self._parts.cluster_map())
        of_primary = shown_stats(primary, await self._status_of(primary), call) if primary else None
        targets = await self._targets()
        of_targets = {member.id: shown_stats(member, status, call) for member, status in targets}
        return json_answer({"proxy": of_primary, "target": of_targets})

    @documented(
        Documentation("List the mountpaths of every target.", answer="JSON, by target.", body=AllMountpaths)
    )
    async def all_mountpaths(self, _call: Call, _message: ActionMessage) -> Response:
        targets = await self._targets()
        return json_answer(
            {"targets": {member.id: shown_mountpaths(member, status) for member, status in targets}}
        )

    async def _proxies(self) -> list[tuple[Member, NodeStatus | None]]:
        members = self._parts.cluster_map().members
        return await self._statuses(member for member in members if member.role is MemberRole.PROXY)

    async def _targets(self) -> list[tuple[Member, NodeStatus | None]]:
        return await self._statuses(self._parts.cluster_map().targets)

    async def _statuses(self, members: Iterable[Member]) -> list[tuple[Member, NodeStatus | None]]:
        asked = list(members)
        return list(zip(asked, await asyncio.gather(*map(self._status_of, asked)), strict=True))

    async def _status_of(self, member: Member) -> NodeStatus | None:
        """None when it does not answer."""
        if not member.alive:
            return None
        try:
            answer = await call_node(
                NodeServiceStub(self._parts.member_channel(member)).GetNodeStatus,
                GetNodeStatusRequest(),
                timeout_seconds=STATUS_SECONDS_MAX,
                idempotent=True,
                peer=member.id,
            )
        except (Unavailable, DeadlineExceeded):
            return None
        return answer.status

    def _asked_for(self, call: Call) -> Member:
        return asked_for(self._parts.cluster_map(), call)


def asked_for(current: ClusterMap, call: Call) -> Member:
    """The node that the header `Ais-Node-Id` names; `/v1/daemon` is the primary proxy."""
    if call.url_path.startswith(DAEMON):
        if (primary := primary_of(current)) is None:
            raise Unavailable("no proxy has joined the cluster yet: repeat shortly")
        return primary
    name = call.headers.get("ais-node-id", "")
    if not name:
        raise InvalidArgument("the header Ais-Node-Id is missing: say which node you mean")
    return node_named(current, name)


def node_named(current: ClusterMap, name: str) -> Member:
    """A proxy or a target. Raises MemberNotFound."""
    for member in current.members:
        if member.id == name and member.role is not MemberRole.GATEWAY:
            return member
    raise MemberNotFound(f"there is no node {name[:64]!r} in this cluster")
