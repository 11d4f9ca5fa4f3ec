"""`shoal ls|head|rm|cat`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer

from shoal_cli.buckets import confirmed, show_buckets
from shoal_cli.connection import DEFAULT_ADDRESS, EXIT_FAILED, CaOption, GrpcOption, run
from shoal_cli.crew import each
from shoal_cli.failures import Failures
from shoal_cli.location import Location
from shoal_cli.output import (
    Format,
    JsonValue,
    OutputOption,
    complain,
    object_document,
    print_json,
    print_line,
    printable,
    size_text,
    timestamp,
)
from shoal_client.client import ShoalClient
from shoal_core.errors import ObjectNotFound
from shoal_core.objects import ListPage, ListQuery, ObjectInfo

LIST_PAGE = 1000
REMOVALS_AT_ONCE = 8

ObjectArgument = Annotated[
    Location,
    typer.Argument(parser=Location.parse_object, metavar="OBJECT", help="`ais://bucket/name`."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("ls")(ls)
    app.command("head")(head)
    app.command("rm")(rm)
    app.command("cat")(cat)


def ls(
    location: Annotated[
        Location | None,
        typer.Argument(
            parser=Location.parse, metavar="[BUCKET[/PREFIX]]", help="What to list; nothing: all buckets."
        ),
    ] = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="With size, time and etag.")] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="All names, instead of folding them at the next `/`.")
    ] = False,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """List buckets, or the objects of a bucket whose names begin with a prefix, in byte order."""

    async def action(client: ShoalClient) -> None:
        if location is None:
            await show_buckets(client, output=output, long=long)
            return
        async for page in pages(client, location, delimiter="" if recursive else "/"):
            show_page(page, output=output, long=long)

    run(action, grpc=grpc, ca=ca)


async def pages(client: ShoalClient, location: Location, *, delimiter: str) -> AsyncIterator[ListPage]:
    bucket, after = client.bucket(location.bucket), ""
    while True:
        query = ListQuery(prefix=location.name, delimiter=delimiter, start_after=after, limit=LIST_PAGE)
        page = await bucket.list_page(query)
        yield page
        after = page.next_after
        if not after:
            return


def show_page(page: ListPage, *, output: Format, long: bool) -> None:
    entries: dict[str, ObjectInfo | None] = dict.fromkeys(page.prefixes)
    entries |= {info.name: info for info in page.entries}
    for key in sorted(entries):
        info = entries[key]
        if output is Format.json:
            print_json(object_document(info) if info else {"prefix": key})
        elif long:
            print_line(f"{details(info)}  {printable(key)}")
        else:
            print_line(printable(key))


def details(info: ObjectInfo | None) -> str:
    if info is None:
        return f"{'':>10}  {'':24}  {'':16}"
    return f"{size_text(info.size):>10}  {timestamp(info.modified_ns)}  {info.etag:16}"


def head(
    location: ObjectArgument,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Show what is known of an object without reading it."""

    async def action(client: ShoalClient) -> None:
        info = await client.bucket(location.bucket).head(location.name)
        if output is Format.json:
            print_json(object_document(info))
            return
        for key, value in object_document(info).items():
            print_line(f"{key + ':':<14}{printable(plain(value))}")

    run(action, grpc=grpc, ca=ca)


def plain(value: JsonValue) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={plain(inner)}" for key, inner in value.items())
    return "" if value is None else str(value)


def rm(
    locations: Annotated[
        list[Location],
        typer.Argument(parser=Location.parse, metavar="OBJECT...", help="`ais://bucket/name` or a prefix."),
    ],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Remove every object whose name begins so.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Remove objects. With --recursive asks first, or refuses without a terminal unless --yes is given."""
    if not recursive and any(not location.name for location in locations):
        raise typer.BadParameter("a bucket was named; --recursive empties it, `shoal bucket rm` removes it")

    async def action(client: ShoalClient) -> int | None:
        if recursive and not yes and not all(confirmed(location) for location in locations):
            complain("nothing was removed; --yes removes without asking")
            return EXIT_FAILED
        return await remove(client, locations, recursive=recursive, output=output)

    run(action, grpc=grpc, ca=ca)


async def remove(
    client: ShoalClient, locations: Sequence[Location], *, recursive: bool, output: Format
) -> int | None:
    failures = Failures()

    async def remove_one(location: Location) -> None:
        try:
            info = await client.bucket(location.bucket).delete(location.name)
        except ObjectNotFound:
            if recursive:
                return  # another client was faster
            raise
        if output is Format.json:
            print_json({"bucket": str(location.bucket), **object_document(info)})

    async def found() -> AsyncIterator[Location]:
        for location in locations:
            if not recursive:
                yield location
                continue
            async for entry in client.bucket(location.bucket).list(location.name):
                yield Location(location.bucket, entry.name)

    await each(
        found(),
        lambda location: failures.guard(str(location), lambda: remove_one(location)),
        at_once=REMOVALS_AT_ONCE,
    )
    return failures.exit_code


def cat(
    location: ObjectArgument,
    offset: Annotated[int, typer.Option(help="First byte; negative: that many bytes from the end.")] = 0,
    length: Annotated[
        int | None, typer.Option(min=1, help="Number of bytes; all that follow if not given.")
    ] = None,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Write an object's bytes, or a range of them, to standard output."""
    if offset < 0 and length is not None:
        raise typer.BadParameter("a negative --offset takes all bytes up to the end; leave --length out")

    async def action(client: ShoalClient) -> None:
        bucket = client.bucket(location.bucket)
        async with await bucket.open(location.name, offset=offset, length=length) as body:
            async for piece in body.chunks():
                await asyncio.to_thread(sys.stdout.buffer.write, piece)
        sys.stdout.buffer.flush()

    run(action, grpc=grpc, ca=ca)
