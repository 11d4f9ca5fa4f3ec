"""Buckets: list, create, destroy, properties, summaries, and the listing of their objects."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec
from fastapi import APIRouter, Request, Response

from shoal_archive.archives import Archives
from shoal_core.access import Permission
from shoal_core.errors import InvalidArgument, NotImplementedYet
from shoal_core.names import checked_namespace
from shoal_core.objects import Bucket, BucketReference
from shoal_gateway.call import Call, decode_once
from shoal_gateway.parts import Parts
from shoal_gateway.permissions import BUCKET, BUCKETS
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.answers import BucketName, BucketSummary
from shoal_gateway.rest.bucket_properties import BucketSettings, changed_properties, shown_properties
from shoal_gateway.rest.dispatch import action_of_body, add_route, json_answer, json_header
from shoal_gateway.rest.documented import Documentation, documented
from shoal_gateway.rest.jobs import RechunkMessage, start_rechunk
from shoal_gateway.rest.listing import MSGPACK, ListMessage, NamedPage, list_page, named_page
from shoal_gateway.rest.names import new_reference_of, provider_of, reference_of, shown_reference
from shoal_gateway.rest.object_jobs import ObjectJobRoutes
from shoal_gateway.rest.summary import Summaries, SummaryMessage

BUCKET_PREFIX = b"/v1/buckets/"


def add_bucket_routes(router: APIRouter, parts: Parts, archives: Archives) -> None:
    routes = BucketRoutes(parts, archives)
    of_many = {"list": routes.list_buckets, "summary-bck": routes.summarize_many}
    add_route(router, "GET", BUCKETS, handlers=of_many, action_of=action_of_body)
    add_route(router, "HEAD", BUCKET, handlers={"": routes.head}, bucket_of=name_bucket)
    jobs = ObjectJobRoutes(parts).handlers
    for method, handlers in (
        ("GET", {"list": routes.list_objects, "summary-bck": routes.summarize}),
        ("POST", {"create-bck": routes.create, "rechunk": routes.rechunk}),
        ("PUT", {}),
        ("DELETE", {"destroy-bck": routes.destroy}),
        ("PATCH", {"set-bprops": routes.set_properties, "reset-bprops": routes.reset_properties}),
    ):
        actions = {**handlers, **jobs.get(method, {})}
        add_route(router, method, BUCKET, handlers=actions, action_of=action_of_body, bucket_of=name_bucket)


class BucketRoutes:
    """One method for each action."""

    def __init__(self, parts: Parts, archives: Archives) -> None:
        self._parts = parts
        self._summaries = Summaries(parts)
        self._archives = archives

    @documented(
        Documentation(
            "List all buckets, or those of a provider.",
            answer="A list of bucket references.",
            body=list[BucketName],
        )
    )
    async def list_buckets(self, call: Call, _message: ActionMessage) -> Response:
        return json_answer([shown_reference(bucket.reference) for bucket in self._queried(call)])

    @documented(
        Documentation(
            "Count what every bucket holds.",
            text="The first answer is 202 with the id of a job; asked again with it as `uuid`, 202 while it runs,"
            " then 200.",
            value=SummaryMessage,
            answer="A list of counts and sizes, a bucket each; at first the job's id.",
            body=list[BucketSummary],
            statuses=(200, 202),
            example={},
        )
    )
    async def summarize_many(self, call: Call, message: ActionMessage) -> Response:
        return await self._summaries.of_buckets(call, message, self._queried(call))

    @documented(
        Documentation(
            "Count what a bucket holds.",
            text="As for all buckets.",
            value=SummaryMessage,
            answer="A list with one bucket's counts and sizes; at first the job's id.",
            body=list[BucketSummary],
            statuses=(200, 202),
            example={"prefix": ""},
        )
    )
    async def summarize(self, call: Call, message: ActionMessage) -> Response:
        if call.bucket is None:
            return await self.summarize_many(call, message)
        bucket = await self._resolved(call, Permission.LIST_OBJECTS)
        return await self._summaries.of_buckets(call, message, [bucket])

    @documented(
        Documentation(
            "Tell a bucket's properties.",
            text="With `bsumm_remote` or `uuid` also what it holds, by way of a job (202 at first).",
            query={"bsumm_remote": "Begin to count what it holds.", "uuid": "The job that counts."},
            answer="Properties as JSON in the header `Ais-Bucket-Props`; counts in `Ais-Bucket-Summ`.",
            statuses=(200, 202),
        )
    )
    async def head(self, call: Call, _message: ActionMessage) -> Response:
        bucket = await self._resolved(call, Permission.HEAD_BUCKET)
        if call.query.get("bsumm_remote") or call.query.get("uuid"):
            return await self._summaries.of_head(call, bucket, prefix_of(call))
        shown = shown_properties(bucket)
        headers = {"Ais-Bucket-Props": json_header(shown), "Ais-Provider": bucket.reference.provider}
        headers["Ais-Versioning-Enabled"] = str(bucket.properties.versioning).lower()
        return Response(status_code=200, headers=headers)

    @documented(
        Documentation(
            "List a page of objects.",
            text="With `Accept: application/msgpack` in MessagePack with short keys, as the official SDK reads "
            "it, else in JSON. `flags` is a decimal number of bits: 3 looks into archives, 4 names only, 5 "
            "names and sizes, 11 does not descend into folders, 13 leaves folders out.",
            value=ListMessage,
            answer="Entries, and the token of the next page; an empty one on the last.",
            body=NamedPage,
            example={"prefix": "", "pagesize": 100, "props": "name,size"},
        )
    )
    async def list_objects(self, call: Call, message: ActionMessage) -> Response:
        if "ais-inv-name" in call.headers or "ais-bucket-inventory" in call.headers:
            raise NotImplementedYet("bucket inventories are not built yet in this version of Shoal")
        bucket = await self._resolved(call, Permission.LIST_OBJECTS)
        value = decode_value(message, ListMessage) or ListMessage(prefix=call.query.get("prefix", ""))
        store, uuid = self._parts.objects, secrets.token_hex(5)
        page = await list_page(store, self._archives, bucket, value, uuid=uuid)
        if MSGPACK in call.headers.get("accept", ""):
            # The SDK compares the whole header, so there must be no charset.
            return Response(msgspec.msgpack.encode(page), headers={"content-type": MSGPACK})
        return json_answer(named_page(page))

    @documented(
        Documentation(
            "Make a bucket.",
            text="The value holds properties that differ from the defaults, as `set-bprops` takes them.",
            value=BucketSettings,
            answer="Nothing.",
            example={},
        )
    )
    async def create(self, call: Call, message: ActionMessage) -> Response:
        reference = named(call)
        if reference.provider != "ais":
            raise NotImplementedYet(f"buckets with the backend {reference.provider!r} are not built yet")
        value = decode_value(message, dict[str, msgspec.Raw])
        if value:
            defaults = await self._parts.control.defaults()
            await self._parts.control.create(reference, changed_properties(defaults, value))
        else:
            await self._parts.control.create(reference)
        return Response(status_code=200)

    @documented(
        Documentation(
            "Rewrite the objects of a bucket into chunks of another size.",
            text="A job; contents, etags and versions stay.",
            value=RechunkMessage,
            answer="The job's id, as text.",
            body=str,
            example={"objsize-limit": 1048576, "chunk-size": 1048576},
        )
    )
    async def rechunk(self, call: Call, message: ActionMessage) -> Response:
        value = decode_value(message, RechunkMessage)
        job_id = await start_rechunk(self._parts.proxy, named(call), value)
        # AIStore's clients take the body as it is for the id.
        return Response(job_id, media_type="text/plain")

    @documented(
        Documentation("Remove a bucket with everything in it.", answer="Nothing. A job frees the space.")
    )
    async def destroy(self, call: Call, _message: ActionMessage) -> Response:
        await self._parts.control.delete(named(call))
        return Response(status_code=200)

    @documented(
        Documentation(
            "Change properties of a bucket.",
            text="AIStore's sections; our own are under `shoal`.",
            value=BucketSettings,
            answer="Nothing.",
            example={"chunks": {"objsize_limit": "64MiB", "chunk_size": "16MiB"}},
        )
    )
    async def set_properties(self, call: Call, message: ActionMessage) -> Response:
        bucket = await self._resolved(call, Permission.PATCH)
        value = decode_value(message, dict[str, msgspec.Raw])
        await self._parts.control.update(bucket.reference, changed_properties(bucket.properties, value))
        return Response(status_code=200)

    @documented(Documentation("Give all properties of a bucket their defaults.", answer="Nothing."))
    async def reset_properties(self, call: Call, _message: ActionMessage) -> Response:
        await self._parts.control.update(named(call), await self._parts.control.defaults())
        return Response(status_code=200)

    async def _resolved(self, call: Call, permission: Permission) -> Bucket:
        return await self._parts.buckets.resolve(named(call), permission=permission, principal=call.principal)

    def _queried(self, call: Call) -> Sequence[Bucket]:
        """Those of the provider and the namespace that the query names; where it names none, of all."""
        provider = provider_of(call) if call.query.get("provider") else ""
        found = self._parts.buckets.list(provider)
        namespace = checked_namespace(call.query.get("namespace", ""))
        return [bucket for bucket in found if namespace in ("", bucket.reference.namespace)]


def name_bucket(call: Call, request: Request, action: str) -> None:
    """Fill in the bucket of `/v1/buckets/{bucket}`; names that no bucket can have do not exist."""
    name = decode_once(call.raw_path[len(BUCKET_PREFIX) :])
    if action == "create-bck":
        call.bucket = new_reference_of(call, name)
        return
    if request.method == "HEAD":
        name = name.partition("/")[0]
    elif request.method == "GET":
        name = name.removesuffix("/")
        if action == "summary-bck" and not name:
            return  # of many buckets, as the Go client writes it
    call.bucket = reference_of(call, name)


def prefix_of(call: Call) -> str:
    """What follows the bucket in the path of a HEAD: only objects whose names begin so are counted."""
    return decode_once(call.raw_path[len(BUCKET_PREFIX) :].partition(b"/")[2])


def named(call: Call) -> BucketReference:
    if call.bucket is None:
        raise InvalidArgument("the path names no bucket: use /v1/buckets/{bucket}")
    return call.bucket
