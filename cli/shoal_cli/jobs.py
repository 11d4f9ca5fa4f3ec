"""`shoal scrub`, `shoal cleanup` and `shoal job ls|show|wait|stop|rm`: what the cluster does in the background."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from shoal_cli.connection import DEFAULT_ADDRESS, EXIT_FAILED, CaOption, GrpcOption, run
from shoal_cli.job_progress import followed
from shoal_cli.output import (
    Format,
    JsonValue,
    OutputOption,
    print_json,
    print_line,
    printable,
    size_text,
    timestamp,
)
from shoal_client.client import ShoalClient
from shoal_core.jobs import NO_BUCKET, Job, JobState

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id, as `shoal job ls` shows it.")]
KindOption = Annotated[
    str, typer.Option(help="Only this kind, such as `copy-bck`, `delete-listrange`, `scrub` or `rechunk`.")
]
RefreshOption = Annotated[
    float, typer.Option(min=0.0, help="Seconds between looks, until it has ended; 0: look once.")
]
WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Wait until all targets have ended.")]


def register(app: typer.Typer) -> None:
    app.command("scrub")(scrub)
    app.command("cleanup")(cleanup)
    commands = typer.Typer(no_args_is_help=True, help="What the cluster does in the background.")
    commands.command("ls")(ls)
    commands.command("show")(show)
    commands.command("wait")(wait_for)
    commands.command("stop")(stop)
    commands.command("rm")(rm)
    app.add_typer(commands, name="job")


def scrub(
    wait: WaitOption = False,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Have every target verify all that it stores, at a bounded rate, while it goes on serving.

    With --wait, exit code 1 when something is damaged; each target keeps the whole list in its state folder.
    """

    async def action(client: ShoalClient) -> int | None:
        job = await client.jobs.start_scrub()
        if wait:
            job = await client.jobs.ended(job.id)
        print_job(job, output)
        return EXIT_FAILED if job.state is JobState.FAILED else None

    run(action, grpc=grpc, ca=ca)


def cleanup(
    wait: WaitOption = False,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Have every target remove the files that no object names, left by crashes, while it goes on serving.

    Files of the last two hours stay, unless the targets' settings say otherwise. Targets do this once a day by
    themselves.
    """

    async def action(client: ShoalClient) -> int | None:
        job = await client.jobs.start_cleanup()
        if wait:
            job = await client.jobs.ended(job.id)
        print_job(job, output)
        return EXIT_FAILED if job.state is JobState.FAILED else None

    run(action, grpc=grpc, ca=ca)


def ls(
    kind: KindOption = "",
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """List jobs that run or have ended lately, newest first."""

    async def action(client: ShoalClient) -> int | None:
        for job in await client.jobs.list(kind):
            if output is Format.json:
                print_json(document(job))
            else:
                print_line(line(job))
        return None

    run(action, grpc=grpc, ca=ca)


def show(
    job: JobArgument,
    refresh: RefreshOption = 0.0,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Show one job: how far each target is, and what went wrong. With --refresh, follow it to its end."""

    async def action(client: ShoalClient) -> int | None:
        if refresh and output is Format.json:
            while (seen := await client.jobs.get(job)).state is JobState.RUNNING:
                print_job(seen, output)
                await asyncio.sleep(refresh)
        elif refresh:
            await followed(client, job, every_seconds=refresh)
        print_job(await client.jobs.get(job), output)
        return None

    run(action, grpc=grpc, ca=ca)


def wait_for(
    job: JobArgument,
    output: OutputOption = Format.text,
    grpc: GrpcOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
) -> None:
    """Wait until all targets have ended; exit code 1 unless all have finished."""

    async def action(client: ShoalClient) -> int | None:
        ended = await client.jobs.ended(job)
        print_job(ended, output)
        return None if ended.state is JobState.FINISHED else EXIT_FAILED

    run(action, grpc=grpc, ca=ca)


def stop(job: JobArgument, grpc: GrpcOption = DEFAULT_ADDRESS, ca: CaOption = None) -> None:
    """Have a job end soon. What it has done stays done; nothing happens to one that has ended."""

    async def action(client: ShoalClient) -> int | None:
        await client.jobs.stop(job)
        return None

    run(action, grpc=grpc, ca=ca)


def rm(job: JobArgument, grpc: GrpcOption = DEFAULT_ADDRESS, ca: CaOption = None) -> None:
    """Forget a job that has ended; one that runs must be stopped first."""

    async def action(client: ShoalClient) -> int | None:
        await client.jobs.remove(job)
        return None

    run(action, grpc=grpc, ca=ca)


def print_job(job: Job, output: Format) -> None:
    if output is Format.json:
        print_json(document(job))
        return
    print_line(line(job))
    for target in job.specification.targets:
        progress = job.progress_of(target)
        counts = f"{progress.objects} objects, {size_text(progress.bytes)}"
        print_line(f"  {target}  {progress.state:<8}  {counts}  {printable(progress.error)}".rstrip())


def line(job: Job) -> str:
    about = "" if job.specification.bucket == NO_BUCKET else f"  {job.specification.bucket}"
    return f"{timestamp(job.specification.created_ns)}  {job.id}  {job.specification.kind:<12}  {job.state}{about}"


def document(job: Job) -> dict[str, JsonValue]:
    bucket = job.specification.bucket
    return {
        "id": job.id,
        "kind": job.specification.kind,
        "bucket": None if bucket == NO_BUCKET else str(bucket),
        "state": str(job.state),
        "created": timestamp(job.specification.created_ns),
        "ended": timestamp(job.ended_ns) if job.ended_ns else None,
        "targets": {
            target: {
                "state": str(progress.state),
                "objects": progress.objects,
                "bytes": progress.bytes,
                "error": progress.error,
                "seen": progress.seen,
                "total": progress.total,
            }
            for target in job.specification.targets
            for progress in [job.progress_of(target)]
        },
    }
