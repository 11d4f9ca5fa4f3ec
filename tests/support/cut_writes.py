"""Writes of every kind that stop at a byte of their choice, so that processes can be killed or stopped just then."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from xml.etree import ElementTree

from model.doors import SECONDS_MAX, NotSent, Unanswered, answered, connect
from shoal_client.client import ShoalClient
from shoal_core.errors import DeadlineExceeded, Unavailable
from shoal_core.multipart import Completion, PartChoice
from shoal_core.objects import Bucket, BucketReference, PutRequest
from support.cluster import Cluster
from support.raw_s3 import RawS3, Sent

PIECE_BYTES = 64 << 10
PART_BYTES = 5 << 20
"""S3 takes no smaller part, unless it is the last."""
GATE_SECONDS_MAX = 60.0
SIZES = (1, 100, 32_768, 32_769, 200_000, 1_100_000, 3 << 20)


class WentAway(Exception):
    """The writer broke off in the middle of its body."""


class Gate:
    """Where a writer waits: after `share` of its body, or right before what makes its write happen."""

    def __init__(self, share: float, *, before_end: bool, goes_away: bool) -> None:
        self._share = share
        self.before_end = before_end
        self._goes_away = goes_away and not before_end
        self.reached = threading.Event()
        self.opened = threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        assert self.opened.wait(GATE_SECONDS_MAX), "nobody opened the gate"
        if self._goes_away:
            raise WentAway

    def pieces(self, body: bytes) -> Iterator[bytes]:
        place = len(body) - 1 if self.before_end else int(len(body) * self._share)
        yield from in_pieces(body[:place])
        self.pass_through()
        yield from in_pieces(body[place:])


@dataclass
class Attempt:
    """One write, and what it may have left."""

    bucket: str
    name: str
    old: bytes | None
    new: bytes | None
    gate: Gate
    sent_whole: bool = False
    """Nothing more is needed for it to happen."""
    acknowledged: bool = False
    failure: BaseException | None = None

    @property
    def url(self) -> str:
        return f"/v1/objects/{self.bucket}/{self.name}"

    def allowed(self) -> list[bytes | None]:
        if self.acknowledged:
            return [self.new]
        return [self.old, self.new] if self.sent_whole else [self.old]

    def gated(self, body: bytes, *, decisive: bool = True) -> Iterator[bytes]:
        sent = 0
        for piece in self.gate.pieces(body):
            sent += len(piece)
            self.sent_whole |= decisive and sent == len(body)
            yield piece

    def ready_to_end(self) -> None:
        """Before the request that completes a write in several."""
        if self.gate.before_end:
            self.gate.pass_through()
        self.sent_whole = True

    def part(self, body: bytes) -> Iterator[bytes]:
        """Of a write in several requests: the gate is here, unless it is at the end."""
        return in_pieces(body) if self.gate.before_end else self.gated(body, decisive=False)


def in_pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


Kind: TypeAlias = Callable[["Writer", Attempt], None]


@dataclass
class Writer:
    """Runs attempts, each in a thread of its own."""

    cluster: Cluster
    source: bytes
    """Of the object `source` in each bucket, which copies copy."""
    threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, kind: Kind, attempt: Attempt) -> None:
        thread = threading.Thread(
            target=self._run, args=(kind, attempt), name=f"{kind.__name__}-{attempt.name}"
        )
        self.threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(GATE_SECONDS_MAX)
            assert not thread.is_alive(), f"{thread.name} got no answer"
        self.threads.clear()

    def _run(self, kind: Kind, attempt: Attempt) -> None:
        try:
            kind(self, attempt)
            attempt.acknowledged = True
        except (NotSent, Unanswered, WentAway):
            """What it may have left is known."""
        except BaseException as error:
            attempt.failure = error
        finally:
            attempt.gate.reached.set()

    def ask(
        self,
        method: str,
        path: str,
        body: Iterator[bytes],
        length: int,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[bytes, http.client.HTTPMessage]:
        place = urlsplit(self.cluster.endpoint)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=SECONDS_MAX)
        try:
            connect(connection)
            connection.request(method, path, body, {**(headers or {}), "Content-Length": str(length)})
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(repr(error)) from error
        finally:
            connection.close()
        return answered(status, content), answer.headers

    def tell(self, method: str, path: str, message: object) -> bytes:
        """A request of JSON, as AIStore's actions are."""
        body = json.dumps(message).encode()
        headers = {"Content-Type": "application/json"}
        return self.ask(method, path, iter([body]), len(body), headers)[0]

    def s3(self, attempt: Attempt) -> RawS3:
        return RawS3(self.cluster, attempt.bucket)

    def send(self, sent: Sent, body: Iterator[bytes], length: int) -> bytes:
        return self.ask(sent.method, sent.target, body, length, sent.headers)[0]


# The kinds, each as its protocol has it.


def body_of(attempt: Attempt) -> bytes:
    assert attempt.new is not None
    return attempt.new


def rest_put(writer: Writer, attempt: Attempt) -> None:
    body = body_of(attempt)
    writer.ask("PUT", attempt.url, attempt.gated(body), len(body))


def rest_delete(writer: Writer, attempt: Attempt) -> None:
    attempt.gate.pass_through()
    attempt.sent_whole = True
    writer.ask("DELETE", attempt.url, iter(()), 0)


def rest_upload(writer: Writer, attempt: Attempt) -> None:
    body = body_of(attempt)
    upload = writer.tell("POST", attempt.url, {"action": "mpt-upload"}).decode()
    half = len(body) // 2 + 1
    parts = [part for part in (body[:half], body[half:]) if part]
    for number, part in enumerate(parts, 1):
        pieces = attempt.part(part) if number == len(parts) else in_pieces(part)
        writer.ask("PUT", f"{attempt.url}?uploadId={upload}&partNumber={number}", pieces, len(part))
    attempt.ready_to_end()
    value = [{"part-number": number, "etag": ""} for number in range(1, len(parts) + 1)]
    writer.tell("POST", f"{attempt.url}?uploadId={upload}", {"action": "mpt-complete", "value": value})


def rest_append(writer: Writer, attempt: Attempt) -> None:
    more = body_of(attempt)[len(attempt.old or b"") :]
    _, headers = writer.ask(
        "PUT", f"{attempt.url}?append_type=append&append_handle=", attempt.part(more), len(more)
    )
    attempt.ready_to_end()
    writer.ask(
        "PUT", f"{attempt.url}?append_type=flush&append_handle={headers['ais-append-handle']}", iter(()), 0
    )


def rest_copy(writer: Writer, attempt: Attempt) -> None:
    attempt.gate.pass_through()
    attempt.sent_whole = True
    target = f"ais/@%23/{attempt.bucket}/{attempt.name}"
    writer.ask("PUT", f"/v1/objects/{attempt.bucket}/source?object_to={target}", iter(()), 0)


def s3_put(writer: Writer, attempt: Attempt) -> None:
    body = body_of(attempt)
    sent = writer.s3(attempt).signed("PUT", f"/{attempt.name}", body=body)
    writer.send(sent, attempt.gated(body), len(body))


def s3_streaming_put(writer: Writer, attempt: Attempt) -> None:
    body = body_of(attempt)
    sent, signer = writer.s3(attempt).chunked(
        f"/{attempt.name}", length=len(body), payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    )
    wire = signer.body(list(in_pieces(body)))
    writer.send(sent, attempt.gated(wire), len(wire))


def s3_upload(writer: Writer, attempt: Attempt) -> None:
    body, raw, key = body_of(attempt), writer.s3(attempt), f"/{attempt.name}"
    begun = writer.send(raw.signed("POST", f"{key}?uploads"), iter(()), 0)
    upload = ElementTree.fromstring(begun).findtext("{*}UploadId")
    parts = [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]
    etags = []
    for number, part in enumerate(parts, 1):
        pieces = attempt.part(part) if number == len(parts) else in_pieces(part)
        sent = raw.signed("PUT", f"{key}?partNumber={number}&uploadId={upload}", body=part)
        etags.append(writer.ask(sent.method, sent.target, pieces, len(part), sent.headers)[1]["ETag"])
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    completion = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    sent = raw.signed("POST", f"{key}?uploadId={upload}", body=completion)
    attempt.ready_to_end()
    answer = writer.send(sent, iter([completion]), len(completion))
    if b"<Error>" in answer:
        # Completing answers 200 before it knows.
        raise Unanswered(answer[:300].decode())


def s3_copy(writer: Writer, attempt: Attempt) -> None:
    headers = {"x-amz-copy-source": f"{attempt.bucket}/source"}
    sent = writer.s3(attempt).signed("PUT", f"/{attempt.name}", headers=headers)
    attempt.gate.pass_through()
    attempt.sent_whole = True
    answer = writer.send(sent, iter(()), 0)
    if b"<Error>" in answer:
        raise Unanswered(answer[:300].decode())


def grpc_put(writer: Writer, attempt: Attempt) -> None:
    async def put(client: ShoalClient, bucket: Bucket) -> None:
        body = body_of(attempt)
        pieces = in_thread(attempt.gated(body))
        await client.objects.put(bucket, PutRequest(attempt.name, len(body)), pieces)

    with_client(writer, attempt, put)


def grpc_upload(writer: Writer, attempt: Attempt) -> None:
    async def upload(client: ShoalClient, bucket: Bucket) -> None:
        body, request = body_of(attempt), PutRequest(attempt.name)
        begun = await client.objects.begin_upload(bucket, request)
        half, choices = len(body) // 2, list[PartChoice]()
        for number, part in enumerate((body[:half], body[half:]), 1):
            pieces = in_thread(attempt.part(part) if number == 2 else in_pieces(part))
            told = PutRequest(attempt.name, len(part))
            put = await client.objects.put_part(bucket, begun.id, number, told, pieces)
            choices.append(PartChoice(number, put.etag))
        await asyncio.to_thread(attempt.ready_to_end)
        await client.objects.complete_upload(bucket, attempt.name, begun.id, Completion(choices))

    with_client(writer, attempt, upload)


def with_client(
    writer: Writer, attempt: Attempt, work: Callable[[ShoalClient, Bucket], Coroutine[Any, Any, None]]
) -> None:
    async def connected() -> None:
        async with ShoalClient.connect(writer.cluster.grpc_address, ca=writer.cluster.ca) as client:
            await work(client, await client.resolve(BucketReference(attempt.bucket)))

    try:
        asyncio.run(asyncio.wait_for(connected(), GATE_SECONDS_MAX))
    except (Unavailable, DeadlineExceeded, TimeoutError) as error:
        raise Unanswered(repr(error)) from error


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Of an iterator that waits."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


KINDS: Mapping[str, Kind] = {
    kind.__name__: kind
    for kind in (
        rest_put,
        rest_delete,
        rest_upload,
        rest_append,
        rest_copy,
        s3_put,
        s3_streaming_put,
        s3_upload,
        s3_copy,
        grpc_put,
        grpc_upload,
    )
}


def new_body(kind: str, old: bytes | None, *, source: bytes, chance: random.Random) -> bytes | None:
    """What the object holds when such a write has happened."""
    if kind == "rest_delete":
        return None
    if kind.endswith("copy"):
        return source
    body = chance.randbytes(chance.choice(SIZES))
    if kind == "s3_upload" and chance.random() < 0.5:
        body += source[:1000] * (PART_BYTES // 1000 + 1)
    return (old or b"") + body if kind == "rest_append" else body
