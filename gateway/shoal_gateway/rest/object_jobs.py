"""Jobs over many objects, as AIStore's clients start them by an action on a bucket. Each answers with the job's id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import grpc.aio
import msgspec
from fastapi import Response

from shoal.bucket.v1.bucket_pb2 import RenameBucketRequest
from shoal.bucket.v1.bucket_pb2_grpc import BucketServiceStub
from shoal.common.v1 import common_pb2
from shoal.job.v1 import job_pb2
from shoal.job.v1.job_pb2_grpc import JobServiceStub
from shoal_core import messages
from shoal_core.errors import InvalidArgument
from shoal_core.names import PROVIDERS, checked_reference
from shoal_core.objects import BucketReference
from shoal_core.rpc import call as call_proxy
from shoal_gateway.call import Call
from shoal_gateway.control import CHANGE_SECONDS_MAX, explained
from shoal_gateway.parts import Parts
from shoal_gateway.rest.actions import ActionMessage, decode_value
from shoal_gateway.rest.dispatch import Handler
from shoal_gateway.rest.documented import Documentation, documented

INT32_MAX = (1 << 31) - 1

Request = TypeVar("Request")
Answer = TypeVar("Answer")
MethodOf: TypeAlias = Callable[[JobServiceStub], grpc.aio.UnaryUnaryMultiCallable[Request, Answer]]


class Namespace(msgspec.Struct, frozen=True):
    """As AIStore's clients send it beside a bucket's name."""

    uuid: str = ""
    """Of the cluster; empty: this one."""
    name: str = ""
    """Of the namespace; empty: the global one."""


class NamedBucket(msgspec.Struct, frozen=True):
    """A bucket within a message."""

    name: str = ""
    """Of the bucket."""
    provider: str = ""
    """`ais` if empty."""
    namespace: Namespace | str | None = None
    """As an object, or as `@uuid#name`."""

    def reference(self) -> BucketReference:
        """Raises InvalidName."""
        space = self.namespace
        if isinstance(space, Namespace):
            space = f"@{space.uuid}#{space.name}"
        return checked_reference(self.name, provider=known_provider(self.provider), namespace=space or "")


class ObjectsMessage(msgspec.Struct, frozen=True, rename="kebab"):
    """The values of `delete-listrange`, `copy-listrange`, `copy-bck` and `archive`; each uses a part of it."""

    objnames: list[str] = msgspec.field(default_factory=list)
    """Which objects, by name; or by `template`."""
    template: str = ""
    """Such as `shard-{000..999..2}.tar`: first, last, step."""
    prefix: str = ""
    """For `copy-bck`: only names that begin so."""
    prepend: str = ""
    """Put before the name of each copy."""
    ext: dict[str, str] | None = None
    """Extensions of names, and what becomes of them in the copies."""
    dry_run: bool = msgspec.field(name="dry_run", default=False)
    """Count only."""
    coer: bool = False
    """Go on after an error."""
    num_workers: int = 0
    """Objects at the same time on each target; 0: the target decides, -1: one."""
    tobck: NamedBucket | None = None
    """The destination of `copy-listrange` and `archive`."""
    archname: str = ""
    """Name of the archive."""
    mime: str = ""
    """Format of the archive; empty: as its name says."""
    isbn: bool = False
    """Members are named with their bucket before them."""
    aate: bool = False
    """Append to the archive if it exists."""

    def selection(self) -> job_pb2.ObjectSelection:
        """An empty list selects nothing, which no client means."""
        return job_pb2.ObjectSelection(names=self.objnames, template=self.template)


class ObjectJobRoutes:
    """One method for each action. `call.bucket` is the source."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def handlers(self) -> Mapping[str, Mapping[str, Handler]]:
        """By method and action."""
        return {
            "POST": {
                "copy-listrange": self.copy_objects,
                "copy-bck": self.copy_bucket,
                "move-bck": self.rename,
            },
            "PUT": {"archive": self.archive},
            "DELETE": {"delete-listrange": self.delete},
        }

    @documented(
        Documentation(
            "Remove many objects, by list or template.",
            text="A job. A listed name without an object is an error, and ends the job unless `coer` is set; a "
            "template's is not.",
            value=ObjectsMessage,
            answer="The job's id, as text.",
            body=str,
            example={"template": "p-{0..1}"},
        )
    )
    async def delete(self, call: Call, message: ActionMessage) -> Response:
        value = selecting(message)
        request = job_pb2.StartDeleteRequest(
            bucket=source(call), selection=value.selection(), keep_going=value.coer, workers=workers(value)
        )
        return started((await self._ask(lambda jobs: jobs.StartDelete, request)).job.id)

    @documented(
        Documentation(
            "Copy many objects, by list or template.",
            text="A job. The destination `tobck` is made if it is not there.",
            value=ObjectsMessage,
            answer="The job's id, as text.",
            body=str,
            example={
                "objnames": ["p-2"],
                "tobck": {"name": "{other}", "provider": "ais"},
                "prepend": "copy-of-",
            },
        )
    )
    async def copy_objects(self, call: Call, message: ActionMessage) -> Response:
        value = selecting(message)
        if value.tobck is None:
            raise InvalidArgument('the copy has no destination: send "tobck":{"name":...,"provider":"ais"}')
        return await self._copy(call, value, value.selection(), value.tobck.reference())

    @documented(
        Documentation(
            "Copy a bucket, or all whose names begin with a prefix.",
            text="A job. The destination is made if it is not there.",
            value=ObjectsMessage,
            query={"bck_to": "The destination, such as `ais/@#/copies/`; for copy-bck and move-bck."},
            answer="The job's id, as text.",
            body=str,
            example={"prefix": "p-"},
            example_query="bck_to=ais/@%23/{other}/",
        )
    )
    async def copy_bucket(self, call: Call, message: ActionMessage) -> Response:
        value = decode_value(message, ObjectsMessage) or ObjectsMessage()
        selection = job_pb2.ObjectSelection(prefix=value.prefix)
        return await self._copy(call, value, selection, destination(call))

    async def _copy(
        self, call: Call, value: ObjectsMessage, selection: job_pb2.ObjectSelection, to: BucketReference
    ) -> Response:
        request = job_pb2.StartCopyRequest(
            bucket=source(call),
            selection=selection,
            to_bucket=messages.bucket_reference_to_message(to),
            prepend=value.prepend,
            extensions={old.lstrip("."): new.lstrip(".") for old, new in (value.ext or {}).items()},
            keep_going=value.coer,
            dry_run=value.dry_run,
            workers=workers(value),
        )
        return started((await self._ask(lambda jobs: jobs.StartCopy, request)).job.id)

    @documented(
        Documentation(
            "Put many objects into one archive.",
            text="A job. `archname`'s extension, or `mime`, says the format; `aate` goes on with an archive that "
            "is there.",
            value=ObjectsMessage,
            answer="The job's id, as text.",
            body=str,
            example={"objnames": ["p-2", "p-3"], "archname": "both.tar"},
        )
    )
    async def archive(self, call: Call, message: ActionMessage) -> Response:
        value = selecting(message)
        if not value.archname:
            raise InvalidArgument('the archive has no name: send "archname"')
        request = job_pb2.StartArchiveRequest(
            bucket=source(call),
            selection=value.selection(),
            archive=value.archname,
            format=value.mime,
            with_bucket=value.isbn,
            append=value.aate,
            keep_going=value.coer,
        )
        if value.tobck is not None and value.tobck.name:
            request.to_bucket.CopyFrom(messages.bucket_reference_to_message(value.tobck.reference()))
        return started((await self._ask(lambda jobs: jobs.StartArchive, request)).job.id)

    @documented(
        Documentation(
            "Give a bucket another name.",
            text="Nothing is copied, so it is done when this answers.",
            answer="The id of a job that is over, as text.",
            body=str,
            example_query="bck_to=ais/@%23/{other}/",
        )
    )
    async def rename(self, call: Call, _message: ActionMessage) -> Response:
        to = messages.bucket_reference_to_message(destination(call))
        channel, peer = self._parts.proxy()
        with explained(peer):
            response = await call_proxy(
                BucketServiceStub(channel).RenameBucket,
                RenameBucketRequest(bucket=source(call), to_bucket=to),
                timeout_seconds=CHANGE_SECONDS_MAX,
                peer=peer,
            )
        return started(response.job_id)

    async def _ask(self, method_of: MethodOf[Request, Answer], request: Request) -> Answer:
        """Not repeated when the answer is lost: there would be two jobs."""
        channel, peer = self._parts.proxy()
        with explained(peer):
            method = method_of(JobServiceStub(channel))
            return await call_proxy(method, request, timeout_seconds=CHANGE_SECONDS_MAX, peer=peer)


def selecting(message: ActionMessage) -> ObjectsMessage:
    value = decode_value(message, ObjectsMessage)
    if value is None or not (value.objnames or value.template):
        raise InvalidArgument(
            f'{message.action} selects nothing: send "objnames":[...] or "template":"shard-{{0..99}}.tar"'
        )
    return value


def source(call: Call) -> common_pb2.BucketReference:
    assert call.bucket is not None
    return messages.bucket_reference_to_message(call.bucket)


def destination(call: Call) -> BucketReference:
    """From the query's `bck_to`, such as `ais/@#/new/`."""
    given = call.query.get("bck_to", "")
    provider, _, rest = given.partition("/")
    namespace, _, name = rest.rstrip("/").partition("/")
    if not name or not namespace.startswith("@"):
        raise InvalidArgument(f"bck_to is {given[:100]!r}: send provider/@#/name/")
    return checked_reference(name, provider=known_provider(provider), namespace=namespace)


def known_provider(given: str) -> str:
    if given not in PROVIDERS:
        raise InvalidArgument(f"provider {given[:40]!r} is not known: use one of ais, aws, gcp, azure, oci")
    return PROVIDERS[given]


def workers(value: ObjectsMessage) -> int:
    return max(-1, min(value.num_workers, INT32_MAX))


def started(job_id: str) -> Response:
    return Response(job_id, media_type="text/plain")
