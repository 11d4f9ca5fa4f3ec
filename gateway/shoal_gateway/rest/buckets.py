"""Buckets: list, create, destroy, properties, and the listing of their objects."""

from __future__ import annotations

import secrets

import msgspec
from fastapi import APIRouter, Request, Response

from shoal_core.access import Permission
from shoal_core.errors import InvalidArgument, NotImplementedYet
from shoal_core.objects import BucketProperties, BucketReference
from shoal_gateway.call import Call, decode_once
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import BUCKET, BUCKETS
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.bucket_properties import changed_properties, shown_properties
from shoal_gateway.rest.dispatch import action_of_body, add_route, json_answer, json_header
from shoal_gateway.rest.jobs import RechunkMessage, start_rechunk
from shoal_gateway.rest.listing import MSGPACK, ListMessage, list_page, named_page
from shoal_gateway.rest.names import new_reference_of, provider_of, reference_of

BUCKET_PREFIX = b"/v1/buckets/"


def add_bucket_routes(router: APIRouter, parts: Parts) -> None:
    routes = BucketRoutes(parts)
    add_route(router, "GET", BUCKETS, handlers={"list": routes.list_buckets}, action_of=action_of_body)
    add_route(router, "HEAD", BUCKET, handlers={"": routes.head}, bucket_of=name_bucket)
    for method, handlers in (
        ("GET", {"list": routes.list_objects}),
        ("POST", {"create-bck": routes.create, "rechunk": routes.rechunk}),
        ("PUT", {}),
        ("DELETE", {"destroy-bck": routes.destroy}),
        ("PATCH", {"set-bprops": routes.set_properties, "reset-bprops": routes.reset_properties}),
    ):
        add_route(router, method, BUCKET, handlers=handlers, action_of=action_of_body, bucket_of=name_bucket)


class BucketRoutes:
    """One method for each action."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def list_buckets(self, call: Call, _message: ActionMessage) -> Response:
        buckets = self._parts.buckets.list(provider_of(call) if call.query.get("provider") else "")
        return json_answer([shown_reference(bucket.reference) for bucket in buckets])

    async def head(self, call: Call, _message: ActionMessage) -> Response:
        if call.query.get("bsumm_remote") or call.query.get("uuid"):
            raise NotImplementedYet("bucket summaries are not built yet in this version of Shoal")
        bucket = await self._parts.buckets.resolve(
            named(call), permission=Permission.HEAD_BUCKET, principal=call.principal
        )
        shown = shown_properties(bucket)
        headers = {"Ais-Bucket-Props": json_header(shown), "Ais-Provider": bucket.reference.provider}
        headers["Ais-Versioning-Enabled"] = str(bucket.properties.versioning).lower()
        return Response(status_code=200, headers=headers)

    async def list_objects(self, call: Call, message: ActionMessage) -> Response:
        if "ais-inv-name" in call.headers or "ais-bucket-inventory" in call.headers:
            raise NotImplementedYet("bucket inventories are not built yet in this version of Shoal")
        bucket = await self._parts.buckets.resolve(
            named(call), permission=Permission.LIST_OBJECTS, principal=call.principal
        )
        value = decode_value(message, ListMessage) or ListMessage(prefix=call.query.get("prefix", ""))
        page = await list_page(self._parts.objects, bucket, value, uuid=secrets.token_hex(5))
        if MSGPACK in call.headers.get("accept", ""):
            # The SDK compares the whole header, so there must be no charset.
            return Response(msgspec.msgpack.encode(page), headers={"content-type": MSGPACK})
        return json_answer(named_page(page))

    async def create(self, call: Call, message: ActionMessage) -> Response:
        reference = named(call)
        if reference.provider != "ais":
            raise NotImplementedYet(f"buckets with the backend {reference.provider!r} are not built yet")
        value = decode_value(message, dict[str, msgspec.Raw])
        await self._parts.control.create(reference, changed_properties(BucketProperties(), value))
        return Response(status_code=200)

    async def rechunk(self, call: Call, message: ActionMessage) -> Response:
        value = decode_value(message, RechunkMessage)
        job_id = await start_rechunk(self._parts.proxy, named(call), value)
        # AIStore's clients take the body as it is for the id.
        return Response(job_id, media_type="text/plain")

    async def destroy(self, call: Call, _message: ActionMessage) -> Response:
        await self._parts.control.delete(named(call))
        return Response(status_code=200)

    async def set_properties(self, call: Call, message: ActionMessage) -> Response:
        bucket = await self._parts.buckets.resolve(
            named(call), permission=Permission.PATCH, principal=call.principal
        )
        value = decode_value(message, dict[str, msgspec.Raw])
        await self._parts.control.update(bucket.reference, changed_properties(bucket.properties, value))
        return Response(status_code=200)

    async def reset_properties(self, call: Call, _message: ActionMessage) -> Response:
        await self._parts.control.update(named(call), BucketProperties())
        return Response(status_code=200)


def name_bucket(call: Call, request: Request, action: str) -> None:
    """Fill in the bucket of `/v1/buckets/{bucket}`; names that no bucket can have do not exist."""
    raw = call.raw_path[len(BUCKET_PREFIX) :]
    name = decode_once(raw)
    if action == "create-bck":
        call.bucket = new_reference_of(call, name)
        return
    if request.method in ("HEAD", "GET"):
        name = name.removesuffix("/")
    call.bucket = reference_of(call, name)


def named(call: Call) -> BucketReference:
    if call.bucket is None:
        raise InvalidArgument("the path names no bucket: use /v1/buckets/{bucket}")
    return call.bucket


def shown_reference(reference: BucketReference) -> dict[str, object]:
    uuid, _, name = reference.namespace.removeprefix("@").partition("#")
    return {
        "name": reference.name,
        "provider": reference.provider,
        "namespace": {"uuid": uuid, "name": name},
    }
