"""`shoal archive ls|get|put` and `shoal batch`: members of stored archives, and many objects as one archive."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from shoal_archive.appending import Appending
from shoal_archive.archives import Archives
from shoal_archive.formats import KNOWN, ArchiveFormat, format_of_name
from shoal_archive.packing import packer_of
from shoal_archive.selecting import printable as member_name
from shoal_cli.connection import DEFAULT_ADDRESS, EXIT_FAILED, CaOption, GrpcOption, run
from shoal_cli.location import Location
from shoal_cli.objects import ObjectArgument
from shoal_cli.output import Format, OutputOption, complain, print_json, print_line, printable, size_text
from shoal_cli.progress import TransferProgress
from shoal_client.batch import BatchItem
from shoal_client.client import ShoalClient
from shoal_core.objects import FRAME_BYTES, PutRequest

MIME_HELP = f"Read it as this, whatever its name says: one of {KNOWN}."
MimeOption = Annotated[str, typer.Option("--format", help=MIME_HELP)]
OutputFile = Annotated[
    Path | None, typer.Option("--to", "-t", help="Write to this file; without it to stdout.")
]


class ManifestLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a manifest, when it is JSON."""

    object: str
    member: str = ""
    start: int = 0
    length: int = 0


def register(app: typer.Typer) -> None:
    archive = typer.Typer(
        name="archive", help="Look into tar and zip archives, and add to them.", no_args_is_help=True
    )
    archive.command("ls")(archive_ls)
    archive.command("get")(archive_get)
    archive.command("put")(archive_put)
    app.add_typer(archive)
    app.command("batch")(batch)


def archive_ls(
    location: ObjectArgument,
    long: Annotated[bool, typer.Option("--long", "-l", help="With sizes.")] = False,
    mime: MimeOption = "",
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """List the files in an archive, in the order in which they are stored."""

    async def action(client: ShoalClient) -> None:
        bucket = await client.resolve(location.bucket)
        _, members = await Archives(client.objects).members(bucket, location.name, mime=mime)
        for member in members:
            name = member_name(member.name)
            if output is Format.json:
                print_json({"name": name, "size": member.size})
            else:
                print_line(f"{size_text(member.size):>10}  {printable(name)}" if long else printable(name))

    run(action, grpc=grpc, ca=ca)


def archive_get(
    location: ObjectArgument,
    member: Annotated[str, typer.Argument(help="Path of the file in the archive.")],
    to: OutputFile = None,
    mime: MimeOption = "",
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Read one file out of an archive: `shoal archive get ais://shards/a.tar images/1.jpg --to 1.jpg`."""

    async def action(client: ShoalClient) -> None:
        bucket = await client.resolve(location.bucket)
        body = await Archives(client.objects).open_member(bucket, location.name, member, mime=mime)
        try:
            with destination(to) as file, TransferProgress("get") as progress:
                progress.expect(body.size)
                async for piece in body.chunks():
                    file.write(piece)
                    progress.moved(len(piece))
        finally:
            await body.close()

    run(action, grpc=grpc, ca=ca)


def archive_put(
    location: ObjectArgument,
    member: Annotated[str, typer.Argument(help="Path of the file in the archive.")],
    source: Annotated[Path, typer.Argument(help="The file to add.", exists=True, dir_okay=False)],
    only_append: Annotated[
        bool, typer.Option("--only-append", help="Fail when there is no such archive yet.")
    ] = False,
    mime: MimeOption = "",
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Add a file to an archive, which is made if need be. The archive is written anew: large ones take their time."""

    async def action(client: ShoalClient) -> None:
        bucket, store = await client.resolve(location.bucket), client.objects
        request = PutRequest(name=location.name, size=source.stat().st_size)
        appending = Appending(store, Archives(store))
        with source.open("rb") as file:
            await appending.append(
                bucket, request, member, pieces_of(file), mime=mime, create=not only_append
            )

    run(action, grpc=grpc, ca=ca)


def batch(
    manifest: Annotated[
        Path,
        typer.Argument(help="A file with a line for each item (`-`: stdin); see above.", allow_dash=True),
    ],
    to: Annotated[Path, typer.Option("--to", "-t", help="The archive to write; its extension says how.")],
    missing_ok: Annotated[
        bool, typer.Option("--missing-ok", help="Leave out what cannot be read, and say so; exit code 1.")
    ] = False,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Read many objects at once into a local archive, in the order of the manifest.

    A line is an object, `ais://photos/cat.jpg`, or JSON: {"object": "ais://shards/a.tar", "member": "images/1.jpg",
    "start": 0, "length": 100}, where all but the object may be left out.
    """
    format = format_of_name(to.name)
    if format is None:
        raise typer.BadParameter(f"{to.name!r} ends in none of {KNOWN}")
    items = read_manifest(manifest)

    async def action(client: ShoalClient) -> int | None:
        return await write_batch(client, items, to, format, missing_ok=missing_ok)

    run(action, grpc=grpc, ca=ca)


async def write_batch(
    client: ShoalClient, items: Sequence[BatchItem], to: Path, format: ArchiveFormat, *, missing_ok: bool
) -> int | None:
    packer, compressor = packer_of(format, modified_seconds=int(time.time()))
    missing, number = 0, 0
    with closing(packer), destination(to) as file, TransferProgress("batch") as progress:

        def write(data: bytes) -> None:
            file.write(compressor.compress(data) if compressor else data)

        async for result in client.read_batch(items):
            name, number = member_path(items[number]), number + 1
            if result.error is not None:
                if not missing_ok:
                    raise result.error
                missing += 1
                complain(f"{name}: {result.error.message}")
                continue
            progress.expect(len(result.data))
            write(b"".join(packer.whole(name, result.data)))
            progress.moved(len(result.data))
            progress.finished()
        write(packer.end())
        file.write(compressor.finish() if compressor else b"")
    return EXIT_FAILED if missing else None


def read_manifest(manifest: Path) -> list[BatchItem]:
    text = sys.stdin.read() if str(manifest) == "-" else manifest.read_text()
    items = [item_of(line, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not items:
        raise typer.BadParameter(f"{manifest} names nothing")
    return items


def item_of(line: str, number: int) -> BatchItem:
    is_json = line.lstrip().startswith("{")
    try:
        given = msgspec.json.decode(line, type=ManifestLine) if is_json else ManifestLine(line)
        location = Location.parse_object(given.object)
    except (msgspec.DecodeError, typer.BadParameter) as error:
        raise typer.BadParameter(f"line {number} of the manifest: {error}") from error
    return BatchItem(location.bucket, location.name, given.member, given.start, given.length)


def member_path(item: BatchItem) -> str:
    bucket = item.bucket if isinstance(item.bucket, str) else item.bucket.name
    return "/".join(part for part in (bucket, item.name, item.member) if part)


@contextmanager
def destination(path: Path | None) -> Iterator[IO[bytes]]:
    """The file appears, or is replaced, only when all of it is there."""
    if path is None:
        yield sys.stdout.buffer
        return
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


async def pieces_of(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := file.read(FRAME_BYTES):
        yield piece
