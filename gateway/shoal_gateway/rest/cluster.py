"""What AIStore's clients ask of a whole cluster: its map, its health, its buckets and settings."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from shoal_core.cluster_map import ClusterMap, MemberRole
from shoal_core.errors import Unavailable
from shoal_core.telemetry import METRICS_CONTENT_TYPE, render_metrics
from shoal_gateway.call import Call
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import HEALTH, METRICS
from shoal_gateway.rest.actions import ActionMessage
from shoal_gateway.rest.answers import Anything, BucketMap, NodeMap
from shoal_gateway.rest.bucket_properties import Json, shown_properties, shown_sections
from shoal_gateway.rest.dispatch import add_route, json_answer
from shoal_gateway.rest.documented import Documentation, documented
from shoal_gateway.rest.shown_nodes import primary_of, shown_node, snode


def add_cluster_routes(router: APIRouter, parts: Parts) -> None:
    routes = ClusterRoutes(parts)
    add_route(router, "GET", HEALTH, handlers={"": routes.health})
    add_route(router, "GET", METRICS, handlers={"": routes.metrics})


class ClusterRoutes:
    """One method for each question."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @documented(
        Documentation(
            "Tell whether objects can be found.",
            query={"prr": "Demand that every target is alive."},
            answer="Nothing.",
        )
    )
    async def health(self, call: Call, _message: ActionMessage) -> Response:
        """200 once objects can be found; with `prr` only while every target is alive."""
        targets = self._known().targets
        if not targets:
            raise Unavailable("the cluster is starting: no target has joined it yet")
        if call.flag("prr") and not all(target.alive for target in targets):
            away = ", ".join(target.id for target in targets if not target.alive)
            raise Unavailable(f"not every target is alive: {away}")
        return Response(status_code=200)

    @documented(Documentation("Return this worker's metrics.", answer="Prometheus' text format.", body=str))
    async def metrics(self, _call: Call, _message: ActionMessage) -> Response:
        text = await asyncio.to_thread(render_metrics)
        return Response(text, headers={"content-type": METRICS_CONTENT_TYPE})

    @documented(
        Documentation("Return the map of proxies and targets.", answer="JSON (AIStore's smap).", body=NodeMap)
    )
    async def cluster_map(self, call: Call, _message: ActionMessage) -> Response:
        current = self._known()
        proxies = [member for member in current.members if member.role is MemberRole.PROXY]
        shown_proxies = {member.id: shown_node(member, call) for member in proxies}
        primary = primary_of(current)
        me = snode(self._parts.node_id, "proxy", call)
        return json_answer(
            {
                "pmap": shown_proxies,
                "tmap": {member.id: shown_node(member, call) for member in current.targets},
                "proxy_si": shown_node(primary, call) if primary else me,
                "uuid": current.cluster_id,
                "creation_time": str(current.created_ns),
                "version": str(current.revision),
                "ext": None,
            }
        )

    @documented(
        Documentation(
            "Return all buckets with their properties.", answer="JSON (AIStore's bmd).", body=BucketMap
        )
    )
    async def bucket_map(self, _call: Call, _message: ActionMessage) -> Response:
        providers: dict[str, dict[str, dict[str, Json]]] = {"ais": {}}
        for bucket in self._parts.buckets.list(""):
            spaces = providers.setdefault(bucket.reference.provider, {})
            names = spaces.setdefault(in_full(bucket.reference.namespace), {})
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

    @documented(Documentation("Return what clients decide by.", answer="JSON.", body=Anything))
    async def configuration(self, _call: Call, _message: ActionMessage) -> Response:
        """What clients decide by, and what new buckets have; nothing of how this cluster is set up."""
        current = self._known()
        settings: dict[str, Json] = {
            **shown_sections(await self._parts.control.defaults()),
            "auth": {"enabled": False, "intra_cluster": {"enabled": True}},
            "uuid": current.cluster_id,
            "config_version": "1",
            "lastupdate_time": "",
        }
        return json_answer(settings)

    @documented(
        Documentation("Return the hosts of the targets.", answer="Text, with commas between.", body=str)
    )
    async def target_addresses(self, _call: Call, _message: ActionMessage) -> Response:
        hosts = {member.public_address.rpartition(":")[0] for member in self._known().targets}
        return Response(",".join(sorted(hosts)), media_type="text/plain")

    @documented(Documentation("List remote backends.", answer="JSON: none yet.", body=list[str]))
    async def backends(self, _call: Call, _message: ActionMessage) -> Response:
        return json_answer([])

    @documented(Documentation("List remote clusters.", answer="JSON: none yet.", body=dict[str, list[str]]))
    async def remote_clusters(self, _call: Call, _message: ActionMessage) -> Response:
        return json_answer({"a": []})

    def _known(self) -> ClusterMap:
        current = self._parts.cluster_map()
        if not current.cluster_id:
            raise Unavailable("this gateway has not learned of its cluster yet: etcd does not answer")
        return current


def in_full(namespace: str) -> str:
    """As AIStore keys its map of buckets: the global namespace is "", all others have both signs."""
    uuid, _, name = namespace.removeprefix("@").partition("#")
    return f"@{uuid}#{name}" if namespace else ""
