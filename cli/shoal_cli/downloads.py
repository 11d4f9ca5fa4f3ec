"""`shoal get`: objects into files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from shoal_cli.connection import DEFAULT_ADDRESS, CaOption, GrpcOption, run
from shoal_cli.crew import each
from shoal_cli.failures import Failures, persistently
from shoal_cli.location import Location, local_path, relative_to_prefix
from shoal_cli.output import Format, OutputOption, complain, object_document, print_json
from shoal_cli.progress import TransferProgress
from shoal_client.bucket import BucketClient
from shoal_client.client import ShoalClient
from shoal_client.parallel import WORKERS_MAX

DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Download:
    name: str
    size: int
    """As listed; the file gets what is there when it is read."""


def register(app: typer.Typer) -> None:
    app.command("get")(get)


def get(
    location: Annotated[
        Location,
        typer.Argument(parser=Location.parse, metavar="OBJECT|PREFIX", help="`ais://bucket/name`."),
    ],
    destination: Annotated[Path, typer.Argument(help="A file, or a folder.")],
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive", "-r", help="All objects whose names begin so, as files under DESTINATION."
        ),
    ] = False,
    parallel: Annotated[
        int,
        typer.Option(
            min=1,
            max=WORKERS_MAX,
            help="Read the object by so many connections at once, and go on where a killed `get` was.",
        ),
    ] = 1,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Read objects into files: `shoal get ais://photos/cat.jpg .`, `shoal get -r ais://photos/2026/ folder`.

    A file appears, or is replaced, only when all of it is there. With --recursive the folders in the prefix
    are left out of the files' paths; names that would lead out of DESTINATION are refused.
    With --parallel the bytes so far are kept in hidden files beside DESTINATION until it is whole; every range
    is verified on its way and again when a `get` goes on, and the whole against the object's checksum if it has one.
    """
    if recursive and parallel > 1:
        raise typer.BadParameter("--parallel is for one object; --recursive reads several at once anyway")
    if not recursive and not location.name:
        raise typer.BadParameter("a bucket was named; --recursive gets all of its objects")

    async def action(client: ShoalClient) -> int | None:
        bucket = client.bucket(location.bucket)
        if recursive:
            return await fetch_all(bucket, location.name, made(destination), output=output)
        await fetch_one(bucket, location.name, file_in(destination, location.name), parallel, output=output)
        return None

    run(action, grpc=grpc, ca=ca)


def file_in(destination: Path, name: str) -> Path:
    """The file itself, or one named as the object's last part if it is a folder."""
    return local_path(destination, name.rpartition("/")[2]) if destination.is_dir() else destination


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def fetch_one(
    bucket: BucketClient, name: str, destination: Path, parallel: int, *, output: Format
) -> None:
    info = await bucket.head(name)
    with TransferProgress("get") as progress:
        progress.expect(info.size)
        if parallel > 1:
            info = await bucket.download_parallel(
                name, destination, workers=parallel, progress=progress.moved
            )
        else:
            info = await bucket.download(name, destination, progress=progress.moved)
    if output is Format.json:
        print_json({"bucket": str(bucket.reference), "file": str(destination), **object_document(info)})


async def fetch_all(bucket: BucketClient, prefix: str, folder: Path, *, output: Format) -> int | None:
    failures, found = Failures(), 0

    async def downloads() -> AsyncIterator[Download]:
        nonlocal found
        async for info in bucket.list(prefix):
            found += 1
            progress.expect(info.size)
            yield Download(info.name, info.size)

    async def fetch(download: Download) -> None:
        relative = relative_to_prefix(download.name, prefix)
        if relative.endswith("/") and not download.size:
            # What other tools put to show an empty folder.
            made(local_path(folder, relative[:-1]))
            return
        path = local_path(folder, relative)
        made(path.parent)
        info = await bucket.download(download.name, path, progress=progress.moved)
        progress.finished()
        if output is Format.json:
            print_json({"bucket": str(bucket.reference), "file": str(path), **object_document(info)})

    with TransferProgress("get") as progress:
        await each(
            downloads(),
            lambda download: failures.guard(
                f"{bucket.reference}/{download.name}", lambda: persistently(lambda: fetch(download))
            ),
            at_once=DOWNLOADS_AT_ONCE,
        )
    if not found:
        complain(f"no object of {bucket.reference} begins with {prefix!r}")
        return 1
    return failures.exit_code
