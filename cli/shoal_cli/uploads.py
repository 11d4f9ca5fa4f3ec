"""`shoal put`: files, folders and standard input into a bucket."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from shoal_cli.connection import DEFAULT_ADDRESS, CaOption, GrpcOption, run
from shoal_cli.crew import each
from shoal_cli.failures import Failures, once, persistently
from shoal_cli.location import Location
from shoal_cli.output import Format, OutputOption, complain, object_document, print_json
from shoal_cli.progress import TransferProgress
from shoal_client.client import ShoalClient
from shoal_core.objects import FRAME_BYTES

UPLOADS_AT_ONCE = 8
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file (None: standard input) and the object's name that it gets."""

    path: Path | None
    name: str
    size: int


def register(app: typer.Typer) -> None:
    app.command("put")(put)


def put(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... BUCKET[/NAME]", help="Files, folders (with -r) or `-`; last the destination."
        ),
    ],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Take folders with all the files in them.")
    ] = False,
    content_type: Annotated[
        str, typer.Option(help="Media type of all objects; guessed from each name if not given.")
    ] = "",
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Write files as objects: `shoal put cat.jpg ais://photos`, `shoal put -r folder ais://photos/2026/`.

    One file goes to the name given, or under it when that is empty or ends in `/`. Several files and the
    contents of folders go under it. Each object is verified by checksum, and visible only when all of it is
    durable.
    """
    if len(arguments) < 2:
        raise typer.BadParameter("give at least one source, and last the destination")
    *sources, last = arguments
    destination = Location.parse(last)
    uploads = planned(sources, destination.name, recursive=recursive)

    async def action(client: ShoalClient) -> int | None:
        return await send(client, destination, uploads, content_type=content_type, output=output)

    run(action, grpc=grpc, ca=ca)


async def send(
    client: ShoalClient,
    destination: Location,
    uploads: Sequence[Upload],
    *,
    content_type: str,
    output: Format,
) -> int | None:
    failures, bucket = Failures(), client.bucket(destination.bucket)
    # Without this each of a thousand files would be told that the bucket does not exist.
    await client.resolve(destination.bucket, fresh=True)
    with TransferProgress("put") as progress:
        for upload in uploads:
            progress.expect(upload.size)

        async def send_one(upload: Upload) -> None:
            content = upload.path or standard_input()
            media_type = content_type or guessed_type(upload.name)
            info = await bucket.put(upload.name, content, content_type=media_type, progress=progress.moved)
            progress.finished()
            if output is Format.json:
                print_json({"bucket": str(destination.bucket), **object_document(info)})

        async def send_guarded(upload: Upload) -> None:
            # Standard input is gone once it was read, so only files are sent again after a failure.
            attempt = once if upload.path is None else persistently
            what = str(upload.path or "standard input")
            await failures.guard(what, lambda: attempt(lambda: send_one(upload)))

        await each(in_turn(uploads), send_guarded, at_once=UPLOADS_AT_ONCE)
    return failures.exit_code


def planned(sources: Sequence[str], name: str, *, recursive: bool) -> list[Upload]:
    """Every file with its object's name. Usage errors come here, before anything is sent."""
    paths = [None if source == STANDARD_INPUT else Path(source) for source in sources]
    if None in paths:
        if len(paths) > 1 or not name or name.endswith("/"):
            raise typer.BadParameter("standard input becomes one object: shoal put - ais://bucket/name")
        return [Upload(None, name, 0)]
    files = [path for path in paths if path is not None]
    folders = [path for path in files if path.is_dir()]
    if folders and not recursive:
        raise typer.BadParameter(f"{folders[0]} is a folder; --recursive takes it with all files in it")
    if len(files) == 1 and not folders and name and not name.endswith("/"):
        return [Upload(files[0], name, regular_size(files[0]))]
    prefix = f"{name}/" if name and not name.endswith("/") else name
    uploads = [upload for path in files for upload in planned_source(path, prefix)]
    refuse_doubles(uploads)
    return uploads


def planned_source(path: Path, prefix: str) -> Iterator[Upload]:
    if not path.is_dir():
        yield Upload(path, object_name(prefix, path.name), regular_size(path))
        return
    for found, folders, names in os.walk(path, onerror=raise_it):
        # Sorted, so that a transfer that stopped stopped at a name that says how far it came.
        folders.sort()
        for name in sorted(names):
            file = Path(found, name)
            if not stat.S_ISREG(file.stat().st_mode):
                complain(f"{file} is not a file and was left out")
                continue
            yield Upload(file, object_name(prefix, file.relative_to(path).as_posix()), file.stat().st_size)


def raise_it(error: OSError) -> None:
    raise error


def regular_size(path: Path) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from error
    return status.st_size


def object_name(prefix: str, relative: str) -> str:
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter(
            f"the file name {os.fsencode(relative)!r} is not UTF-8, as names of objects are; rename it"
        ) from error
    return prefix + relative


def refuse_doubles(uploads: Sequence[Upload]) -> None:
    seen: dict[str, Path | None] = {}
    for upload in uploads:
        if upload.name in seen:
            raise typer.BadParameter(
                f"{seen[upload.name]} and {upload.path} would both become {upload.name!r}; put one elsewhere"
            )
        seen[upload.name] = upload.path


def guessed_type(name: str) -> str:
    return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"


async def in_turn(uploads: Sequence[Upload]) -> AsyncIterator[Upload]:
    for upload in uploads:
        yield upload


async def standard_input() -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(sys.stdin.buffer.read, FRAME_BYTES):
        yield piece
