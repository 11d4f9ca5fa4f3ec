"""The machine with uploads in parts: parts replaced and dropped, completed twice, aborted, appended to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from model.agreement import agree, assert_shows
from model.bodies import in_pieces
from model.choices import (
    buckets,
    conditions,
    content,
    edges,
    faults,
    limits,
    names,
    preconditions_for,
    request_for,
    seeds,
    sizes,
)
from model.machine import ObjectRules
from shoal_core.multipart import Completion, PartChoice, UploadInfo, UploadQuery
from shoal_core.objects import NO_PRECONDITIONS, Bucket, Preconditions, PutRequest

REMEMBERED_MAX = 6
"""Uploads that rules still speak of, among them ended ones."""
numbers = st.sampled_from([1, 2, 3, 7, 10_000, 0])
which = st.integers(0, REMEMBERED_MAX - 1)


@dataclass(frozen=True)
class Begun:
    bucket: Bucket
    name: str
    id: str


class StoreMachine(ObjectRules):
    def __init__(self) -> None:
        super().__init__()
        self._begun: list[Begun] = []

    @rule(bucket=buckets, name=names, seed=seeds)
    def begin_upload(self, bucket: int, name: str, seed: int) -> None:
        request = request_for(name, b"", seed, "none", NO_PRECONDITIONS)
        self.run(self._begin(self.buckets[bucket], request))

    @precondition(lambda machine: machine.known)
    @rule(index=which, number=numbers, size=sizes, seed=seeds, fault=faults)
    def put_part(self, index: int, number: int, size: int, seed: int, fault: str) -> None:
        begun = self._at(index)
        body = content(seed, size)
        request = request_for(begun.name, body, seed, fault, NO_PRECONDITIONS)
        if fault == "cut":
            broken = in_pieces(body, cut=True)
            self.breaks_off(self.store.put_part(begun.bucket, begun.id, number, request, broken))
        else:
            self.attempt(self._put_part(begun, number, request, body))

    @precondition(lambda machine: machine.known)
    @rule(
        index=which,
        condition=conditions,
        spoiled=st.sampled_from(["no"] * 6 + ["etag", "order", "empty"]),
        every=st.integers(1, 2),
    )
    def complete(self, index: int, condition: str, spoiled: str, every: int) -> None:
        begun = self._at(index)
        held = preconditions_for(condition, self.model.current(begun.bucket, begun.name))
        choices = spoil(self._choices(begun, every), spoiled)
        self.attempt(self._complete(begun, Completion(choices, "", {"x": "y"}, held)))

    @precondition(lambda machine: machine.known)
    @rule(index=which)
    def abort(self, index: int) -> None:
        begun = self._at(index)
        asked = agree(
            lambda: self.model.abort(begun.bucket, begun.name, begun.id),
            lambda: self.store.abort_upload(begun.bucket, begun.name, begun.id),
        )
        self.attempt(asked)

    @precondition(lambda machine: machine.known)
    @rule(index=which)
    def list_parts(self, index: int) -> None:
        self.attempt(self._compare_parts(self._at(index)))

    @rule(bucket=buckets, prefix=edges, after=names, limit=limits)
    def list_uploads(self, bucket: int, prefix: str, after: str, limit: int) -> None:
        query = UploadQuery(prefix, after if limit % 2 else "", "", limit)
        self.run(self._compare_uploads(self.buckets[bucket], query))

    @rule(bucket=buckets, name=names, size=sizes, seed=seeds)
    def append(self, bucket: int, name: str, size: int, seed: int) -> None:
        """As gateways append: an upload whose first part is what the object holds, if nobody has changed it."""
        self.attempt(self._append(self.buckets[bucket], name, content(seed, size)))

    def compare_everything(self) -> None:
        super().compare_everything()
        for bucket in self.buckets:
            self.run(self._compare_uploads(bucket, UploadQuery()))

    @property
    def known(self) -> list[Begun]:
        """Uploads of buckets that are still there."""
        return [begun for begun in self._begun if begun.bucket in self.buckets]

    def _at(self, index: int) -> Begun:
        return self.known[index % len(self.known)]

    async def _begin(self, bucket: Bucket, request: PutRequest) -> Begun:
        info: UploadInfo = await self.store.begin_upload(bucket, request)
        assert (info.name, info.content_type) == (request.name, request.content_type)
        assert (info.metadata, info.headers) == (request.metadata, request.headers)
        self.model.begin_upload(bucket, request, info.id)
        begun = Begun(bucket, request.name, info.id)
        self._begun = [*self._begun, begun][-REMEMBERED_MAX:]
        return begun

    async def _put_part(self, begun: Begun, number: int, request: PutRequest, body: bytes) -> None:
        _, part = await agree(
            lambda: self.model.put_part(begun.bucket, begun.id, number, request, body),
            lambda: self.store.put_part(begun.bucket, begun.id, number, request, in_pieces(body)),
        )
        assert (part.number, part.size, dict(part.headers)) == (number, len(body), dict(request.headers))
        self.model.learn_part(begun.bucket, begun.id, part, body)

    async def _complete(self, begun: Begun, completion: Completion) -> None:
        before = self.model.current(begun.bucket, begun.name)
        expected, info = await agree(
            lambda: self.model.complete(begun.bucket, begun.name, begun.id, completion),
            lambda: self.store.complete_upload(begun.bucket, begun.name, begun.id, completion),
        )
        if expected is before:
            assert_shows(info, begun.name, expected)
        else:
            assert info.etag == completion.etag
            self.written(begun.bucket, begun.name, expected, info)

    async def _compare_parts(self, begun: Begun) -> None:
        upload, (info, parts) = await agree(
            lambda: self.model.upload_of(begun.bucket, begun.name, begun.id),
            lambda: self.store.list_parts(begun.bucket, begun.name, begun.id),
        )
        assert (info.id, info.name) == (begun.id, begun.name)
        known = [(number, etag, len(body)) for number, (etag, body) in sorted(upload.parts.items())]
        assert [(part.number, part.etag, part.size) for part in parts] == known

    async def _compare_uploads(self, bucket: Bucket, query: UploadQuery) -> None:
        expected, more = self.model.list_uploads(bucket, query)
        page = await self.store.list_uploads(bucket, query)
        assert ([(info.name, info.id) for info in page.uploads], page.more) == (expected, more)

    async def _append(self, bucket: Bucket, name: str, more: bytes) -> None:
        info, held = await self.compare_read(bucket, name, None, NO_PRECONDITIONS)
        request = PutRequest(
            name, content_type=info.content_type, metadata=info.metadata, headers=info.headers
        )
        begun = await self._begin(bucket, request)
        for number, body in enumerate((held, more), 1):
            await self._put_part(begun, number, PutRequest(name, size=len(body)), body)
        unchanged = Preconditions(if_version=info.version)
        await self._complete(begun, Completion(self._choices(begun, 1), preconditions=unchanged))

    def _choices(self, begun: Begun, every: int) -> list[PartChoice]:
        """All parts, or every second one; some part that is not there when the upload has none or has ended."""
        upload = self.model.upload(begun.bucket, begun.id)
        parts = sorted(upload.parts.items()) if upload else []
        return [PartChoice(number, etag) for number, (etag, _) in parts][::every] or [PartChoice(1, "none")]


def spoil(choices: list[PartChoice], how: str) -> list[PartChoice]:
    match how:
        case "etag":
            return [*choices[:-1], replace(choices[-1], etag="wrong")]
        case "order":
            return choices[::-1] + choices[:1]
        case "empty":
            return []
    return choices
