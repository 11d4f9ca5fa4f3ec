"""Sequences of every operation, chosen by Hypothesis, against the model and a real store; restarts in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from model.agreement import Refused, agree, assert_shows, digest
from model.bodies import Cut, in_pieces, read_whole
from model.choices import (
    buckets,
    conditions,
    content,
    delimiters,
    edges,
    faults,
    forms,
    limits,
    names,
    preconditions_for,
    ranges,
    request_for,
    seeds,
    sizes,
)
from model.reference import Kept, Reference
from model.subject import EngineSubject, Subject
from model.tally import Tally
from shoal_core.errors import ShoalError
from shoal_core.multipart import MultipartStore
from shoal_core.objects import (
    NO_PRECONDITIONS,
    Bucket,
    BucketProperties,
    ListQuery,
    ObjectInfo,
    Preconditions,
    PutRequest,
    RangeRequest,
)

Result = TypeVar("Result")


class ObjectRules(RuleBasedStateMachine):
    """Whole objects; `UploadRules` adds those that come in parts."""

    tally: Tally
    """Set by `walk`, in a class of its own for each."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Reference()
        self.buckets: list[Bucket] = []
        self._buckets_made = 0
        self._versions: dict[tuple[bytes, str], bytes] = {}
        self._runner = asyncio.Runner()
        self._subject: Subject | None = None

    @initialize(mountpaths=st.integers(1, 4))
    def begin(self, mountpaths: int) -> None:
        self._subject = self.new_subject(mountpaths)
        self.run(self.subject.open())
        self.buckets = [self.made_bucket(properties) for properties in self.subject.shapes]

    def new_subject(self, mountpaths: int) -> Subject:
        return EngineSubject(mountpaths)

    @invariant()
    def count_step(self) -> None:
        self.tally.steps += 1

    def teardown(self) -> None:
        self.tally.steps -= 1  # the invariant is also looked at before the first step
        if self._subject is None:
            self._runner.close()
            return
        try:
            if self.buckets:
                self.compare_everything()
            self.run(self.subject.shut())
            self.subject.assert_sound()
        finally:
            self.run(self.subject.shut())
            self._runner.close()
            self.subject.remove()

    @rule(bucket=buckets, name=names, size=sizes, seed=seeds, condition=conditions, fault=faults)
    def put(self, bucket: int, name: str, size: int, seed: int, condition: str, fault: str) -> None:
        where, body = self.buckets[bucket], content(seed, size)
        held = preconditions_for(condition, self.model.current(where, name))
        request = request_for(name, body, seed, fault, held)
        if fault == "cut":
            self.breaks_off(self.store.put(where, request, in_pieces(body, cut=True)))
        else:
            self.attempt(self.write(where, request, body))

    @rule(bucket=buckets, chosen=st.sets(names, min_size=2), size=sizes, seed=seeds)
    def put_at_once(self, bucket: int, chosen: set[str], size: int, seed: int) -> None:
        """They share commit groups; each must come out as if it were alone."""
        where, body = self.buckets[bucket], content(seed, min(size, 40_000))
        self.run(self.write_all(where, [PutRequest(name, size=len(body)) for name in sorted(chosen)], body))

    @rule(bucket=buckets, name=names, wanted=ranges, condition=conditions)
    def get(self, bucket: int, name: str, wanted: RangeRequest | None, condition: str) -> None:
        where = self.buckets[bucket]
        held = preconditions_for(condition, self.model.current(where, name))
        self.attempt(self.compare_read(where, name, wanted, held))

    @rule(bucket=buckets, name=names, condition=conditions)
    def head(self, bucket: int, name: str, condition: str) -> None:
        where = self.buckets[bucket]
        held = preconditions_for(condition, self.model.current(where, name))
        asked = agree(
            lambda: self.model.head(where, name, held),
            lambda: self.store.head(where, name, preconditions=held),
        )
        self.attempt(self.compare_shown(name, asked))

    @rule(bucket=buckets, name=names, condition=conditions)
    def delete(self, bucket: int, name: str, condition: str) -> None:
        where = self.buckets[bucket]
        held = preconditions_for(condition, self.model.current(where, name))
        asked = agree(
            lambda: self.model.delete(where, name, held),
            lambda: self.store.delete(where, name, preconditions=held),
        )
        self.attempt(self.compare_shown(name, asked))

    @rule(source=buckets, destination=buckets, name=names, copy=names)
    def copy(self, source: int, destination: int, name: str, copy: str) -> None:
        self.attempt(self.copy_object(self.buckets[source], name, self.buckets[destination], copy))

    @rule(bucket=buckets, prefix=edges, after=edges, delimiter=delimiters, limit=limits)
    def list_page(self, bucket: int, prefix: str, after: str, delimiter: str, limit: int) -> None:
        self.run(self.compare_page(self.buckets[bucket], ListQuery(prefix, delimiter, after, limit)))

    @rule(bucket=buckets, form=forms)
    def rechunk(self, bucket: int, form: int) -> None:
        properties = self.subject.forms[form]
        self.model.rechunk(self.buckets[bucket], properties)
        self.run(self.subject.rechunk(self.buckets[bucket], properties))

    @rule(bucket=buckets)
    def remove_bucket(self, bucket: int) -> None:
        """With all that it holds, uploads too; one of the same form comes in its place."""
        old = self.buckets[bucket]
        self.model.remove_bucket(old)
        self.run(self.subject.remove_bucket(old))
        self.buckets[bucket] = self.made_bucket(old.properties)

    @rule()
    def restart(self) -> None:
        self.run(self.subject.restart())
        self.compare_everything()

    # What the rules are made of

    @property
    def subject(self) -> Subject:
        assert self._subject is not None
        return self._subject

    @property
    def store(self) -> MultipartStore:
        return self.subject.store

    def run(self, work: Awaitable[Result]) -> Result:
        async def awaited() -> Result:
            return await work

        return self._runner.run(awaited())

    def attempt(self, work: Awaitable[object]) -> None:
        """Of an operation that may be refused, as long as model and store agree on it."""

        async def refused_or_not() -> None:
            try:
                await work
            except Refused:
                self.tally.refusals += 1

        self._runner.run(refused_or_not())

    def made_bucket(self, properties: BucketProperties) -> Bucket:
        self._buckets_made += 1
        bucket = self.run(self.subject.add_bucket(self._buckets_made, properties))
        self.model.add_bucket(bucket)
        return bucket

    async def write(self, bucket: Bucket, request: PutRequest, body: bytes) -> None:
        expected, info = await agree(
            lambda: self.model.put(bucket, request, body),
            lambda: self.store.put(bucket, request, in_pieces(body)),
        )
        self.written(bucket, request.name, expected, info)

    async def write_all(self, bucket: Bucket, requests: list[PutRequest], body: bytes) -> None:
        await asyncio.gather(*(self.write(bucket, request, body) for request in requests))

    async def copy_object(self, bucket: Bucket, name: str, destination: Bucket, copy: str) -> None:
        """As gateways copy: what the source says of itself goes with its bytes."""
        info, body = await self.compare_read(bucket, name, None, NO_PRECONDITIONS)
        request = PutRequest(copy, len(body), info.content_type, info.metadata, headers=info.headers)
        await self.write(destination, request, body)

    def written(self, bucket: Bucket, name: str, expected: Kept, info: ObjectInfo) -> None:
        """Versions of a name grow for ever, also over deletes and restarts."""
        assert_shows(info, name, expected)
        assert info.version > self._versions.get((bucket.id, name), b"")
        self._versions[bucket.id, name] = info.version
        self.model.learn(bucket, name, info)

    def breaks_off(self, writing: Awaitable[object]) -> None:
        """Nothing may be stored: the model is not told. A write may be refused before its body is taken."""
        try:
            self.run(writing)
        except (Cut, ShoalError):
            return
        raise AssertionError("a body that broke off was stored")

    async def compare_read(
        self, bucket: Bucket, name: str, wanted: RangeRequest | None, held: Preconditions
    ) -> tuple[ObjectInfo, bytes]:
        (kept, body), (info, received) = await agree(
            lambda: self.model.read(bucket, name, wanted, held),
            lambda: read_whole(self.store, bucket, name, wanted, held),
        )
        assert_shows(info, name, kept)
        assert digest(received) == digest(body)
        return info, received

    async def compare_shown(self, name: str, asked: Awaitable[tuple[Kept, ObjectInfo]]) -> None:
        kept, info = await asked
        assert_shows(info, name, kept)

    async def compare_page(self, bucket: Bucket, query: ListQuery) -> str:
        """Says where the next page begins."""
        shown, prefixes, more = self.model.page(bucket, query)
        page = await self.store.list(bucket, query)
        assert [info.name for info in page.entries] == shown
        assert (list(page.prefixes), bool(page.next_after)) == (prefixes, more)
        for info in page.entries:
            assert_shows(info, info.name, self.model.head(bucket, info.name), in_listing=True)
        return page.next_after

    async def compare_bucket(self, bucket: Bucket) -> None:
        after = await self.compare_page(bucket, ListQuery(limit=5))
        while after:
            after = await self.compare_page(bucket, ListQuery(start_after=after, limit=5))
        for name in self.model.names(bucket):
            _, body = await self.compare_read(bucket, name, None, NO_PRECONDITIONS)
            await self.subject.compare_elsewhere(bucket, name, body)

    def compare_everything(self) -> None:
        for bucket in self.buckets:
            self.run(self.compare_bucket(bucket))
