"""The marks of AIStore's REST API: copies inside the cluster, and what the official SDK reads and lists.

python -m shoal_bench.sdk_rows [--names 1000000] [--gib 1 4] [--folder DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aistore import Client
from aistore.sdk.bucket import Bucket as SdkBucket

from shoal_bench.listing_engine import WRITES_AT_ONCE, Unfenced
from shoal_bench.load import BenchFailed
from shoal_bench.report import machine
from shoal_bench.systems import Running, shoal
from shoal_core.objects import Bucket, BucketId, BucketProperties, BucketReference, PutRequest
from shoal_store.engine import open_engine

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LISTED = "names"
SHARED_PREFIX = 10_000
"""So many names lie in a folder."""
BODY_PIECE = 8 * MIB
ROUNDS = 3
GETS = 2000


@dataclass(frozen=True)
class Row:
    """Of so many operations; times of the clock, and CPU of client and server."""

    name: str
    operations: int
    seconds: float
    client_seconds: float
    server_seconds: float

    def __str__(self) -> str:
        each = 1e6 / self.operations
        return (
            f"| {self.name} | {self.operations / self.seconds:,.0f} | {self.seconds / self.operations * 1e3:,.3f} | "
            f"{self.client_seconds * each:,.1f} | {self.server_seconds * each:,.1f} |"
        )


def main() -> None:
    arguments = parsed()
    with tempfile.TemporaryDirectory(prefix="shoal-bench-", dir=arguments.folder) as temporary:
        data = Path(temporary) / "shoal"
        fill(data, arguments.names)
        with shoal(data) as system:
            show_rows(system, arguments)


def show_rows(system: Running, arguments: argparse.Namespace) -> None:
    client = Client(system.signer.endpoint)
    bucket = client.bucket("bench").create(exist_ok=True)
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}\n")
    print("| what | per second | ms each | client's CPU µs | server's CPU µs |\n|---|---|---|---|---|")
    for row in rows(system, client, bucket, names=arguments.names, gib=arguments.gib):
        print(row, flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shoal_bench.sdk_rows", description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000, help="to list")
    parser.add_argument("--gib", type=int, nargs="*", default=[1, 4], help="sizes of large objects to copy")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    return parser.parse_args()


def rows(system: Running, client: Client, bucket: SdkBucket, *, names: int, gib: list[int]) -> Iterator[Row]:
    yield from plain_rows(system, bucket)
    yield from copy_rows(system, bucket, gib)
    bucket.object("small").get_writer().put_content(os.urandom(10 * KIB))
    yield measured("SDK GET 10 KiB", system, GETS, lambda _: bucket.object("small").get_reader().read_all())
    yield measured("job of one object", system, 10, lambda number: one_job(client, bucket, number))
    listed = client.bucket(LISTED)
    pages = pages_of(system.signer.endpoint, listed.name)
    yield listing(f"SDK list_all_objects, {names:,} names", system, listed, names)
    with canned(pages) as endpoint:
        yield listing("the same of canned pages", system, Client(endpoint).bucket(listed.name), names)


def plain_rows(system: Running, bucket: SdkBucket) -> Iterator[Row]:
    """What the SDK itself takes left out. A PUT of as many bytes tells how fast the disk is at this moment."""
    connection = http.client.HTTPConnection(urlsplit(system.signer.endpoint).netloc, timeout=60)
    body, folder = os.urandom(64 * KIB), f"/v1/objects/{bucket.name}"

    def ask(path: str, content: bytes = b"") -> None:
        connection.request("PUT", f"{folder}/{path}", content)
        answer = connection.getresponse()
        if answer.status != 200:
            raise BenchFailed(f"PUT {path} was answered {answer.status}: {answer.read()[:300]!r}")
        answer.read()

    ask("plain", body)
    yield measured("PUT 64 KiB by HTTP", system, 400, lambda number: ask(f"plain-{number}", body))
    uname = f"{bucket.provider.value}/%40%23/{bucket.name}"
    yield measured(
        "copy 64 KiB by HTTP",
        system,
        400,
        lambda number: ask(f"plain?object_to={uname}/copy-{number}"),
    )


def copy_rows(system: Running, bucket: SdkBucket, gib: list[int]) -> Iterator[Row]:
    """Each within a bucket of one target, so that no byte has to move."""
    sizes = {"64 KiB": (64 * KIB, 200), "16 MiB": (16 * MIB, 20), **{f"{n} GiB": (n * GIB, 5) for n in gib}}
    for label, (size, times) in sizes.items():
        source = bucket.object(f"source {label}")
        put(system.signer.endpoint, bucket.name, source.name, size)
        yield measured(
            f"copy {label}",
            system,
            times,
            lambda number, source=source: source.copy(bucket.object(f"copy {number}")),  # type: ignore[misc]
        )
        if size == 16 * MIB:
            yield measured(
                f"copy {label} by the client", system, times, lambda number: by_client(bucket, number)
            )


def by_client(bucket: SdkBucket, number: int) -> None:
    content = bucket.object("source 16 MiB").get_reader().read_all()
    bucket.object(f"by client {number}").get_writer().put_content(content)


def measured(name: str, system: Running, times: int, operation: Callable[[int], object]) -> Row:
    """The median of single operations is what a user waits; CPU is the mean."""
    operation(0)
    took, client, server = [], time.process_time(), system.cpu()
    for number in range(1, times + 1):
        began = time.perf_counter()
        operation(number)
        took.append(time.perf_counter() - began)
    seconds = statistics.median(took) * times
    return Row(name, times, seconds, time.process_time() - client, system.cpu() - server)


def listing(name: str, system: Running, bucket: SdkBucket, names: int) -> Row:
    found = []
    for _ in range(ROUNDS):
        client, server, began = time.process_time(), system.cpu(), time.perf_counter()
        count = len(bucket.list_all_objects())
        seconds = time.perf_counter() - began
        assert count == names, f"{count} names are listed instead of {names}"
        found.append(Row(name, names, seconds, time.process_time() - client, system.cpu() - server))
    return sorted(found, key=lambda row: row.seconds)[ROUNDS // 2]


def one_job(client: Client, bucket: SdkBucket, number: int) -> None:
    """From the call to its end; asked for without a pause, as the SDK's own wait would not be."""
    (job_id,) = bucket.objects(obj_names=["small"]).copy(client.bucket("jobs"), prepend=f"{number}-")
    while not client.job(job_id).status().end_time:
        time.sleep(0.005)


def put(endpoint: str, bucket: str, name: str, size: int) -> None:
    """Random bytes, without having them all."""
    piece = os.urandom(min(size, BODY_PIECE))
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=600)
    headers = {"Content-Length": str(size)}
    body = (piece for _ in range(size // len(piece)))
    connection.request("PUT", f"/v1/objects/{bucket}/{name.replace(' ', '%20')}", body=body, headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def fill(data: Path, names: int) -> None:
    """By the engine, while no target runs: a million take half a minute."""
    with shoal(data) as system:
        made = Client(system.signer.endpoint).bucket(LISTED).create()
        bucket_id = int(json.loads(made.head()["Ais-Bucket-Props"])["bid"]).to_bytes(8)
    bucket = Bucket(BucketReference(LISTED), BucketId(bucket_id), 1, 0, BucketProperties(durability="os"))
    target = tomllib.loads((data / "run" / "t1.toml").read_text())
    asyncio.run(put_all(target, bucket, iter(range(names))))


async def put_all(target: Mapping[str, Any], bucket: Bucket, numbers: Iterator[int]) -> None:
    folders = {mountpath["id"]: Path(mountpath["path"]) for mountpath in target["mountpaths"]}
    engine = open_engine(folders, cluster=target["cluster_id"], target=target["id"], authority=Unfenced())
    await engine.start()

    async def put_some() -> None:
        for number in numbers:
            name = f"images/{number // SHARED_PREFIX:05}/{number:09x}.jpg"
            await engine.store.put_inline(bucket, PutRequest(name, 1), b"x")

    try:
        await asyncio.gather(*(put_some() for _ in range(WRITES_AT_ONCE)))
    finally:
        await engine.stop()


def pages_of(endpoint: str, bucket: str) -> Mapping[str, bytes]:
    """Bodies by continuation token, exactly as a gateway sends them."""
    found, token = dict[str, bytes](), ""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=60)
    while True:
        message = {"action": "list", "value": {"continuation_token": token}}
        headers = {"Accept": "application/msgpack"}
        connection.request("GET", f"/v1/buckets/{bucket}", body=json.dumps(message), headers=headers)
        found[token] = connection.getresponse().read()
        token = msgspec.msgpack.decode(found[token])["ContinuationToken"]
        if not token:
            return found


@contextmanager
def canned(pages: Mapping[str, bytes]) -> Iterator[str]:
    """A server in a process of its own that has every page ready: as fast as the SDK can be."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(pages, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def serve(pages: Mapping[str, bytes], started: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = pages[asked["value"]["continuation_token"]]
            self.send_response(200)
            self.send_header("Content-Type", "application/msgpack")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    started.send(server.server_address[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
