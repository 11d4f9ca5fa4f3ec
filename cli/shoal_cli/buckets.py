"""`shoal bucket create|ls|set|rechunk|rm`."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from shoal_cli.connection import DEFAULT_ADDRESS, EXIT_FAILED, EXIT_USAGE, CaOption, GrpcOption, run
from shoal_cli.jobs import WaitOption, print_job
from shoal_cli.location import Location
from shoal_cli.output import (
    Format,
    OutputOption,
    bucket_document,
    complain,
    print_json,
    print_line,
    timestamp,
)
from shoal_client.client import ShoalClient
from shoal_core.errors import BucketAlreadyExists
from shoal_core.jobs import JobState
from shoal_core.objects import Bucket, BucketProperties, BucketReference, ListQuery

BucketArgument = Annotated[
    BucketReference,
    typer.Argument(parser=Location.parse_bucket, metavar="BUCKET", help="`ais://name` or just `name`."),
]


class Durability(StrEnum):
    fsync = "fsync"
    os = "os"


class Verification(StrEnum):
    window = "window"
    always = "always"


class ChecksumType(StrEnum):
    xxhash2 = "xxhash2"
    crc32c = "crc32c"
    md5 = "md5"
    sha256 = "sha256"
    sha512 = "sha512"
    none = "none"


class S3Etag(StrEnum):
    md5 = "md5"
    fast = "fast"


SIZE = re.compile(r"([0-9]{1,15})([KMGT]iB)?")
SIZE_UNITS = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_size(text: str) -> int:
    """Raises typer.BadParameter."""
    if (match := SIZE.fullmatch(text)) is None:
        raise typer.BadParameter(f"{text!r} is no size: give bytes, or a number with KiB, MiB, GiB or TiB")
    return int(match[1]) * SIZE_UNITS[match[2]]


DurabilityOption = Annotated[
    Durability | None, typer.Option(help="`fsync`: acknowledged bytes survive power loss. `os`: faster.")
]
VerifyOption = Annotated[
    Verification | None, typer.Option(help="Check stored bytes once a day (`window`) or on every read.")
]
ChecksumOption = Annotated[ChecksumType | None, typer.Option(help="The checksum kept with every object.")]
S3EtagOption = Annotated[
    S3Etag | None,
    typer.Option(help="Etag of what comes through S3. `fast`: XXH3, which is no MD5 and costs far less."),
]
ChunkAboveOption = Annotated[
    int | None,
    typer.Option(parser=parse_size, metavar="SIZE", help="Larger objects are stored in chunks; 0: none."),
]
ChunkSizeOption = Annotated[
    int | None, typer.Option(parser=parse_size, metavar="SIZE", help="Of each chunk, 1MiB to 5GiB.")
]


def register(app: typer.Typer) -> None:
    """Add `bucket` with its commands."""
    commands = typer.Typer(no_args_is_help=True, help="Make, list and remove buckets.")
    commands.command("create")(create)
    commands.command("ls")(ls)
    commands.command("set")(set_properties)
    commands.command("rechunk")(rechunk)
    commands.command("rm")(rm)
    app.add_typer(commands, name="bucket")


def create(
    bucket: BucketArgument,
    durability: DurabilityOption = None,
    verify: VerifyOption = None,
    checksum: ChecksumOption = None,
    s3_etag: S3EtagOption = None,
    chunk_above: ChunkAboveOption = None,
    chunk_size: ChunkSizeOption = None,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="An existing bucket is no error; it is left as it is.")
    ] = False,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Make a bucket."""
    given = properties_given(durability, verify, checksum, s3_etag, chunk_above, chunk_size)
    properties = BucketProperties(**given) if given else None

    async def action(client: ShoalClient) -> None:
        try:
            made = await client.create_bucket(bucket, properties=properties)
        except BucketAlreadyExists:
            if not if_missing:
                raise
            made = await client.resolve(bucket, fresh=True)
        if output is Format.json:
            print_json(bucket_document(made))
        else:
            print_line(str(made.reference))

    run(action, grpc=grpc, ca=ca)


def set_properties(
    bucket: BucketArgument,
    durability: DurabilityOption = None,
    verify: VerifyOption = None,
    checksum: ChecksumOption = None,
    s3_etag: S3EtagOption = None,
    chunk_above: ChunkAboveOption = None,
    chunk_size: ChunkSizeOption = None,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Change a bucket's properties. Objects that are there already stay as they were written: see `rechunk`."""
    changes = properties_given(durability, verify, checksum, s3_etag, chunk_above, chunk_size)
    if not changes:
        complain("nothing to set: give at least one property, see --help")
        raise typer.Exit(EXIT_USAGE)

    async def action(client: ShoalClient) -> None:
        changed = await client.update_bucket(bucket, **changes)
        if output is Format.json:
            print_json(bucket_document(changed))
        else:
            print_line(bucket_line(changed))

    run(action, grpc=grpc, ca=ca)


def rechunk(
    bucket: BucketArgument,
    chunk_above: ChunkAboveOption = None,
    chunk_size: ChunkSizeOption = None,
    prefix: Annotated[str, typer.Option(help="Only objects whose names begin so.")] = "",
    wait: WaitOption = False,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Rewrite the objects that are there, in place, while they are read and written, into the form that the bucket's
    properties, or these options, give to new ones.

    With --wait, exit code 1 when damaged objects had to be left as they are.
    """

    async def action(client: ShoalClient) -> int | None:
        properties = (await client.resolve(bucket, fresh=True)).properties
        job = await client.jobs.start_rechunk(
            bucket,
            chunk_above_bytes=properties.chunk_above_bytes if chunk_above is None else chunk_above,
            chunk_bytes=properties.chunk_bytes if chunk_size is None else chunk_size,
            prefix=prefix,
        )
        if wait:
            job = await client.jobs.ended(job.id)
        print_job(job, output)
        return EXIT_FAILED if job.state is JobState.FAILED else None

    run(action, grpc=grpc, ca=ca)


def properties_given(
    durability: Durability | None,
    verify: Verification | None,
    checksum: ChecksumType | None,
    s3_etag: S3Etag | None,
    chunk_above: int | None,
    chunk_size: int | None,
) -> dict[str, Any]:
    """Fields of BucketProperties, those that were not given left out."""
    given = {
        "durability": durability and durability.value,
        "verify": verify and verify.value,
        "checksum_type": checksum and checksum.value,
        "s3_etag": s3_etag and s3_etag.value,
        "chunk_above_bytes": chunk_above,
        "chunk_bytes": chunk_size,
    }
    return {name: value for name, value in given.items() if value is not None}


def ls(
    output: OutputOption = Format.text,
    long: Annotated[bool, typer.Option("--long", "-l", help="With time and properties.")] = False,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """List all buckets."""
    run(lambda client: show_buckets(client, output=output, long=long), grpc=grpc, ca=ca)


async def show_buckets(client: ShoalClient, *, output: Format, long: bool) -> None:
    for bucket in await client.list_buckets():
        if output is Format.json:
            print_json(bucket_document(bucket))
        elif long:
            print_line(bucket_line(bucket))
        else:
            print_line(str(bucket.reference))


def bucket_line(bucket: Bucket) -> str:
    properties = bucket.properties
    traits = f"{properties.durability} {properties.verify} {properties.checksum_type}"
    return f"{timestamp(bucket.created_ns)}  {traits:<24}  {bucket.reference}"


def rm(
    bucket: BucketArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even if it holds objects.")] = False,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Remove a bucket with everything in it. Asks (or refuses, without a terminal) if it holds objects."""

    async def action(client: ShoalClient) -> int | None:
        if not yes and await holds_objects(client, bucket) and not confirmed(bucket):
            complain(f"{bucket} holds objects and was left as it is; --yes removes it with all of them")
            return EXIT_FAILED
        job = await client.delete_bucket(bucket)
        if output is Format.json:
            print_json({"bucket": str(bucket), "job": job})
        return None

    run(action, grpc=grpc, ca=ca)


async def holds_objects(client: ShoalClient, bucket: BucketReference) -> bool:
    return bool((await client.bucket(bucket).list_page(ListQuery(limit=1))).entries)


def confirmed(what: BucketReference | Location) -> bool:
    """Ask a person; without one the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"Remove {what} and everything in it?", err=True)
