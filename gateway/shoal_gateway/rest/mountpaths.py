"""What AIStore's clients order of one disk of a target: to leave it alone, or to use it again."""

from __future__ import annotations

from fastapi import APIRouter, Response

from shoal.cluster.v1.mountpath_pb2 import (
    MOUNTPATH_STATE_AVAILABLE,
    MOUNTPATH_STATE_DISABLED,
    MountpathState,
)
from shoal.node.v1.node_pb2 import SetNodeMountpathStateRequest
from shoal.node.v1.node_pb2_grpc import NodeServiceStub
from shoal_core.errors import InvalidArgument, MemberNotFound, NotFound
from shoal_core.rpc import call as call_node
from shoal_gateway.call import Call
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import MOUNTPATHS
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.dispatch import action_of_body, add_route
from shoal_gateway.rest.documented import Documentation, documented

WHICH = {"Ais-Node-Id": "Which target."}
CHANGE_SECONDS_MAX = 60.0
"""A disk that fails may take long to say so."""


def add_mountpath_routes(router: APIRouter, parts: Parts) -> None:
    routes = MountpathRoutes(parts)
    handlers = {"enable-mp": routes.enable, "disable-mp": routes.disable}
    add_route(router, "POST", MOUNTPATHS, handlers=handlers, action_of=action_of_body)


class MountpathRoutes:
    """One method for each action, whose value is the mountpath's folder."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @documented(
        Documentation(
            "Try a mountpath of a target, and use it again.",
            text="The value is its folder. 503 when a small file cannot be written, synced and read there.",
            value=str,
            headers=WHICH,
            example="{mountpath}",
        )
    )
    async def enable(self, call: Call, message: ActionMessage) -> Response:
        return await self._set(call, message, MOUNTPATH_STATE_AVAILABLE)

    @documented(
        Documentation(
            "Stop reading and writing a mountpath of a target.",
            text="The value is its folder. What lies there is answered 503 until it is enabled; all else is served.",
            value=str,
            headers=WHICH,
            example="{mountpath}",
        )
    )
    async def disable(self, call: Call, message: ActionMessage) -> Response:
        return await self._set(call, message, MOUNTPATH_STATE_DISABLED)

    async def _set(self, call: Call, message: ActionMessage, state: MountpathState.ValueType) -> Response:
        path = decode_value(message, str) or ""
        if not path:
            raise InvalidArgument("name the mountpath: its folder is the value of the action")
        name = call.headers.get("ais-node-id", "")
        member = next((each for each in self._parts.cluster_map().targets if each.id == name), None)
        if member is None:
            raise MemberNotFound(f"there is no target {name[:64]!r} in this cluster: name it in Ais-Node-Id")
        mountpath = next((each for each in member.mountpaths if each.path == path), None)
        if mountpath is None:
            raise NotFound(f"target {name} has no mountpath in {path[:256]!r}")
        await call_node(
            NodeServiceStub(self._parts.member_channel(member)).SetNodeMountpathState,
            SetNodeMountpathStateRequest(mountpath=mountpath.id, state=state),
            timeout_seconds=CHANGE_SECONDS_MAX,
            peer=member.id,
        )
        return Response()
