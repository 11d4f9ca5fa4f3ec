"""What AIStore's clients ask of a cluster: its map, its health, its nodes.

To them the gateway is every node: all addresses in the map are the address that the client itself used, so
that `direct=True`, `get_primary_url` and `is_ready` come back here, whatever names and ports lie between.
"""

from __future__ import annotations

import asyncio
import shutil
from importlib.metadata import version
from urllib.parse import urlsplit

import xxhash
from fastapi import APIRouter, Response

from shoal_core.cluster_map import ClusterMap, Member, MemberRole, MemberState
from shoal_core.errors import InvalidArgument, MemberNotFound, Unavailable
from shoal_core.telemetry import METRICS_CONTENT_TYPE, render_metrics
from shoal_gateway.call import Call
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import CLUSTER, DAEMON, HEALTH, METRICS, REVERSE
from shoal_gateway.rest.actions import ActionMessage
from shoal_gateway.rest.bucket_properties import Json, shown_properties
from shoal_gateway.rest.dispatch import action_of_query, add_route, json_answer

DIGEST_SEED = 1103515245
SERVED_API_VERSION = "5.0"
"""The version of AIStore whose API this is; the official CLI refuses to talk to another major version."""

STATE_FLAGS = {MemberState.MAINTENANCE: 1 << 2, MemberState.DECOMMISSION: 1 << 3}


def add_cluster_routes(router: APIRouter, parts: Parts) -> None:
    routes = ClusterRoutes(parts)
    daemon = {"smap": routes.cluster_map, "snode": routes.own_node, "bmd": routes.bucket_map}
    cluster = {"cluster_config": routes.configuration, "target_ips": routes.target_addresses}
    reverse = {"snode": routes.node, "node_status": routes.node_status}
    add_route(router, "GET", DAEMON, handlers=daemon, action_of=action_of_query)
    add_route(router, "GET", CLUSTER, handlers=cluster, action_of=action_of_query)
    add_route(router, "GET", REVERSE, handlers=reverse, action_of=action_of_query)
    add_route(router, "GET", HEALTH, handlers={"": routes.health})
    add_route(router, "GET", METRICS, handlers={"": routes.metrics})


class ClusterRoutes:
    """One method for each question."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def health(self, call: Call, _message: ActionMessage) -> Response:
        """200 once objects can be found; with `prr` only while every target is alive."""
        targets = self._known().targets
        if not targets:
            raise Unavailable("the cluster is starting: no target has joined it yet")
        if call.flag("prr") and not all(target.alive for target in targets):
            away = ", ".join(target.id for target in targets if not target.alive)
            raise Unavailable(f"not every target is alive: {away}")
        return Response(status_code=200)

    async def metrics(self, _call: Call, _message: ActionMessage) -> Response:
        text = await asyncio.to_thread(render_metrics)
        return Response(text, headers={"content-type": METRICS_CONTENT_TYPE})

    async def cluster_map(self, call: Call, _message: ActionMessage) -> Response:
        current = self._known()
        proxies = [member for member in current.members if member.role is MemberRole.PROXY]
        shown_proxies = {member.id: shown_node(member, call) for member in proxies}
        primary = min(proxies, key=lambda member: (not member.alive, member.id), default=None)
        return json_answer(
            {
                "pmap": shown_proxies,
                "tmap": {member.id: shown_node(member, call) for member in current.targets},
                "proxy_si": shown_node(primary, call) if primary else own_node(self._parts.node_id, call),
                "uuid": current.cluster_id,
                "creation_time": str(current.created_ns),
                "version": str(current.revision),
                "ext": None,
            }
        )

    async def own_node(self, call: Call, _message: ActionMessage) -> Response:
        return json_answer(own_node(self._parts.node_id, call))

    async def bucket_map(self, _call: Call, _message: ActionMessage) -> Response:
        providers: dict[str, dict[str, dict[str, Json]]] = {"ais": {}}
        for bucket in self._parts.buckets.list(""):
            spaces = providers.setdefault(bucket.reference.provider, {})
            names = spaces.setdefault(bucket.reference.namespace, {})
            names[bucket.reference.name] = shown_properties(bucket)
        current = self._parts.cluster_map()
        generations = [bucket.generation for bucket in self._parts.buckets.list("")]
        return json_answer(
            {
                "version": str(max(generations, default=0)),
                "uuid": current.cluster_id,
                "ext": None,
                "providers": providers,
            }
        )

    async def configuration(self, _call: Call, _message: ActionMessage) -> Response:
        """What clients decide by, and nothing of how this cluster is set up."""
        return json_answer(
            {
                "auth": {"enabled": False, "intra_cluster": {"enabled": True}},
                "checksum": {"type": "xxhash2", "validate_warm_get": True},
                "versioning": {"enabled": False},
            }
        )

    async def target_addresses(self, _call: Call, _message: ActionMessage) -> Response:
        hosts = {member.public_address.rpartition(":")[0] for member in self._known().targets}
        return Response(",".join(sorted(hosts)), media_type="text/plain")

    async def node(self, call: Call, _message: ActionMessage) -> Response:
        return json_answer(shown_node(self._asked_for(call), call))

    async def node_status(self, call: Call, _message: ActionMessage) -> Response:
        member = self._asked_for(call)
        current = self._known()
        is_local = member.host_id == self._parts.host_id
        capacity = await asyncio.to_thread(shown_capacity, member, is_local=is_local)
        status: dict[str, Json] = {
            "snode": shown_node(member, call),
            "tracker": {},
            "capacity": capacity,
            "status": "online" if member.alive else "offline",
            "deployment": "shoal",
            "ais_version": f"{SERVED_API_VERSION}.shoal-{version('shoal')}",
            "build_time": "",
            "k8s_pod_name": "",
            "cluster": {
                "smap": {"uuid": current.cluster_id, "version": str(current.revision)},
                "flags": "0",
            },
            "sys_info": {"mem": {}, "cpu": {}},
            "smap_version": str(current.revision),
        }
        return json_answer(status)

    def _known(self) -> ClusterMap:
        current = self._parts.cluster_map()
        if not current.cluster_id:
            raise Unavailable("this gateway has not learned of its cluster yet: etcd does not answer")
        return current

    def _asked_for(self, call: Call) -> Member:
        """The node that the header `Ais-Node-Id` names."""
        name = call.headers.get("ais-node-id", "")
        if not name:
            raise InvalidArgument("the header Ais-Node-Id is missing: say which node you mean")
        for member in self._known().members:
            if member.id == name:
                return member
        raise MemberNotFound(f"there is no node {name[:64]!r} in this cluster")


def shown_node(member: Member, call: Call) -> dict[str, Json]:
    kind = "target" if member.role is MemberRole.TARGET else "proxy"
    return snode(member.id, kind, call, flags=STATE_FLAGS.get(member.state, 0))


def own_node(node_id: str, call: Call) -> dict[str, Json]:
    return snode(node_id, "proxy", call, flags=0)


def snode(node_id: str, kind: str, call: Call, *, flags: int) -> dict[str, Json]:
    url = f"http://{call.headers.get('host', '')}"
    parts = urlsplit(url)
    network: dict[str, Json] = {
        "node_ip_addr": parts.hostname or "",
        "daemon_port": str(parts.port or 80),
        "direct_url": url,
    }
    return {
        "daemon_id": node_id,
        "daemon_type": kind,
        "public_net": network,
        "intra_control_net": network,
        "intra_data_net": network,
        "flags": flags,
        "id_digest": xxhash.xxh64_intdigest(node_id.encode(), DIGEST_SEED),
    }


def shown_capacity(member: Member, *, is_local: bool) -> dict[str, Json]:
    """Use of each mountpath; only its size when it is on another host."""
    paths: dict[str, Json] = {}
    percents = [0]
    for mountpath in member.mountpaths:
        used, available = 0, mountpath.capacity_bytes
        if is_local:
            usage = shutil.disk_usage(mountpath.path)
            used, available = usage.used, usage.free
        percents.append(used * 100 // max(used + available, 1))
        paths[str(mountpath.path)] = {
            "used": str(used),
            "avail": str(available),
            "pct_used": percents[-1],
            "fs": "",
            "disks": [],
        }
    average = sum(percents) // max(len(percents) - 1, 1)
    return {
        "mountpaths": paths,
        "pct_max": max(percents),
        "pct_avg": average,
        "pct_min": min(percents[1:], default=0),
        "cs_err": "",
    }
