"""What AIStore's clients order of a whole cluster: maintenance of its nodes, their logs, and its settings."""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter, Response

from shoal.cluster.v1.cluster_pb2 import SetMemberStateRequest
from shoal.cluster.v1.cluster_pb2_grpc import ClusterServiceStub
from shoal.node.v1.node_pb2 import ResetNodeCountersRequest, RotateNodeLogRequest
from shoal.node.v1.node_pb2_grpc import NodeServiceStub
from shoal_core.cluster_map import Member, MemberRole, MemberState
from shoal_core.errors import InvalidArgument, NotImplementedYet
from shoal_core.messages import STATES
from shoal_core.objects import BucketProperties
from shoal_core.rpc import call as call_node
from shoal_gateway.call import Call
from shoal_gateway.control import CHANGE_SECONDS_MAX
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import CLUSTER, DAEMON, REVERSE, SET_CONFIG
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.bucket_properties import BucketSettings, changed_properties
from shoal_gateway.rest.dispatch import action_of_body, add_route
from shoal_gateway.rest.documented import Documentation, documented
from shoal_gateway.rest.nodes import WHICH, asked_for, node_named
from shoal_gateway.rest.xactions import XactionRoutes

TRANSIENT = "transient"


class NodeMessage(msgspec.Struct, frozen=True):
    """The value of actions on one node."""

    sid: str = ""
    """The node's id."""
    skip_rebalance: bool = False
    """Objects stay where they are. Needed for targets, since they do not move yet."""


def add_administration_routes(router: APIRouter, parts: Parts) -> None:
    routes, jobs = AdministrationRoutes(parts), XactionRoutes(parts)
    handlers = {
        "start-maintenance": routes.start_maintenance,
        "stop-maintenance": routes.stop_maintenance,
        "rotate-logs": routes.rotate_logs,
        "reset-stats": routes.reset_counters,
        "set-config": routes.set_configuration,
        "reset-config": routes.reset_configuration,
        "start": jobs.start,
        "stop": jobs.stop,
    }
    add_route(router, "PUT", CLUSTER, handlers=handlers, action_of=action_of_body)
    of_node = {"rotate-logs": routes.rotate_log, "reset-stats": routes.reset_counters_of_node}
    for template in (DAEMON, REVERSE):
        add_route(router, "PUT", template, handlers=of_node, action_of=action_of_body)
    add_route(router, "PUT", SET_CONFIG, handlers={"": routes.set_fields})


class AdministrationRoutes:
    """One method for each action."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @documented(
        Documentation(
            "Take a target or proxy out of its work for a while.",
            text="A target goes on serving what it has, and takes nothing new. 409 for the last one of its role.",
            value=NodeMessage,
            answer="Nothing.",
            example={"sid": "t1", "skip_rebalance": True},
        )
    )
    async def start_maintenance(self, _call: Call, message: ActionMessage) -> Response:
        value = decode_value(message, NodeMessage) or NodeMessage()
        member = self._node(value.sid)
        if member.role is MemberRole.TARGET and not value.skip_rebalance:
            raise NotImplementedYet(
                f"objects do not move off a target yet: with skip_rebalance (--no-rebalance) {member.id} goes on "
                "serving what it has, and writes of what belongs to it answer 503 until it is back"
            )
        return await self._set(member, MemberState.MAINTENANCE)

    @documented(
        Documentation(
            "Put a target or proxy back to work.",
            value=NodeMessage,
            answer="Nothing.",
            example={"sid": "t1"},
        )
    )
    async def stop_maintenance(self, _call: Call, message: ActionMessage) -> Response:
        value = decode_value(message, NodeMessage) or NodeMessage()
        return await self._set(self._node(value.sid), MemberState.ACTIVE)

    @documented(
        Documentation(
            "Begin new log files.",
        )
    )
    async def rotate_logs(self, _call: Call, _message: ActionMessage) -> Response:
        await asyncio.gather(*map(self._rotate, self._living_nodes()))
        return Response()

    @documented(
        Documentation(
            "Begin a new log file at one node.",
            headers=WHICH,
        )
    )
    async def rotate_log(self, call: Call, _message: ActionMessage) -> Response:
        await self._rotate(asked_for(self._parts.cluster_map(), call))
        return Response()

    @documented(
        Documentation(
            "Count from zero again, at every node.",
            text="With `true` as value only errors, which are not counted.",
            value=bool,
            answer="Nothing.",
            example=False,
        )
    )
    async def reset_counters(self, _call: Call, message: ActionMessage) -> Response:
        if not decode_value(message, bool):
            await asyncio.gather(*map(self._reset, self._living_nodes()))
        return Response()

    @documented(
        Documentation(
            "Count from zero again, at one node.",
            text="With `true` as value only errors, which are not counted.",
            headers=WHICH,
            value=bool,
            answer="Nothing.",
            example=False,
        )
    )
    async def reset_counters_of_node(self, call: Call, message: ActionMessage) -> Response:
        member = asked_for(self._parts.cluster_map(), call)
        if not decode_value(message, bool):
            await self._reset(member)
        return Response()

    @documented(
        Documentation(
            "Set what new buckets have.",
            text="Sections as `set-bprops` takes them.",
            value=BucketSettings,
            example={"checksum": {"type": "xxhash2"}},
        )
    )
    async def set_configuration(self, call: Call, message: ActionMessage) -> Response:
        await self._set_defaults(call, decode_value(message, dict[str, msgspec.Raw]) or {})
        return Response()

    @documented(
        Documentation(
            "Set what new buckets have, by fields of the query.",
            text="Each is `section.field=value`.",
            example_query="checksum.type=xxhash2",
        )
    )
    async def set_fields(self, call: Call, _message: ActionMessage) -> Response:
        """`?checksum.type=md5&versioning.enabled=true`."""
        sections: dict[str, dict[str, str]] = {}
        for name, value in call.query.items():
            if name != TRANSIENT:
                section, _, field = name.partition(".")
                sections.setdefault(section, {})[field] = value
        fields = {name: msgspec.Raw(msgspec.json.encode(section)) for name, section in sections.items()}
        await self._set_defaults(call, fields)
        return Response()

    @documented(
        Documentation(
            "Give new buckets what those of a new cluster have.",
        )
    )
    async def reset_configuration(self, _call: Call, _message: ActionMessage) -> Response:
        await self._parts.control.set_defaults(BucketProperties())
        return Response()

    async def _set_defaults(self, call: Call, value: dict[str, msgspec.Raw]) -> None:
        if call.flag(TRANSIENT):
            raise NotImplementedYet(
                "settings that are forgotten at a restart are not built yet: leave transient out"
            )
        if not value:
            raise InvalidArgument("nothing to set: name a setting, such as checksum.type")
        current = await self._parts.control.defaults()
        await self._parts.control.set_defaults(changed_properties(current, value))

    async def _set(self, member: Member, state: MemberState) -> Response:
        """AIStore answers with the id of the rebalance that this starts: there is none."""
        channel, peer = self._parts.proxy()
        request = SetMemberStateRequest(id=member.id, state=STATES[state])
        await call_node(
            ClusterServiceStub(channel).SetMemberState,
            request,
            timeout_seconds=CHANGE_SECONDS_MAX,
            idempotent=True,
            peer=peer,
        )
        return Response(media_type="text/plain")

    async def _rotate(self, member: Member) -> None:
        stub = NodeServiceStub(self._parts.member_channel(member))
        await call_node(
            stub.RotateNodeLog, RotateNodeLogRequest(), timeout_seconds=CHANGE_SECONDS_MAX, peer=member.id
        )

    async def _reset(self, member: Member) -> None:
        stub = NodeServiceStub(self._parts.member_channel(member))
        request = ResetNodeCountersRequest()
        await call_node(
            stub.ResetNodeCounters,
            request,
            timeout_seconds=CHANGE_SECONDS_MAX,
            idempotent=True,
            peer=member.id,
        )

    def _living_nodes(self) -> list[Member]:
        members = self._parts.cluster_map().members
        return [member for member in members if member.role is not MemberRole.GATEWAY and member.alive]

    def _node(self, member_id: str) -> Member:
        return node_named(self._parts.cluster_map(), member_id)
