"""The target process, from its settings to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from shoal_core.certificates import NodeIdentity, TlsFiles
from shoal_core.cluster_map import Member, MemberRole, Mountpath
from shoal_core.descriptors import descriptor_socket_of
from shoal_core.frames import commit_socket_of
from shoal_core.host import host_id
from shoal_core.jobs import CLEANUP, PURGE_BUCKET, RECHUNK, SCRUB, SUMMARY
from shoal_core.load import Load
from shoal_core.node import background, open_node, require_certificate
from shoal_core.node_service import node_service
from shoal_core.object_jobs import ARCHIVE, COPY_BUCKET, COPY_OBJECTS, DELETE_OBJECTS
from shoal_core.process import make_folder, ready_file, run_service
from shoal_core.rpc import Channels, Listener
from shoal_core.serving import Servers
from shoal_core.telemetry import configure_logging, get_logger
from shoal_store.bus_errors import fail_unreadable
from shoal_store.disk_faults import FaultLimits
from shoal_store.engine import Engine
from shoal_store.mountpath_states import MountpathStates, states_file_of
from shoal_store.mountpaths import MountpathFolder
from shoal_target.archive_job import archive_with
from shoal_target.authority import WriteAuthority
from shoal_target.cleanup import Cleanup
from shoal_target.commit_socket import commit_socket
from shoal_target.config import TargetConfiguration
from shoal_target.descriptor_socket import DescriptorSocket
from shoal_target.disks import capacity_bytes, capacity_weight, opened, take_mountpaths
from shoal_target.index_copies import IndexCopies
from shoal_target.job_runner import JobRunner, Work
from shoal_target.node_disks import EngineDisks
from shoal_target.object_jobs import Cluster, copy_with, delete_with
from shoal_target.others import Others
from shoal_target.ownership import Ownership
from shoal_target.purge import purge_with
from shoal_target.rechunk import rechunk_with
from shoal_target.scrub import scrub_with
from shoal_target.server import chunk_service, object_service
from shoal_target.summary import summarize_with


def main() -> None:
    run_service("shoal-target", serve, settings=TargetConfiguration)


async def serve(path: Path, stop: asyncio.Event) -> None:
    config = TargetConfiguration.load(path)
    configure_logging("target", config.id, level=config.log_level)
    tls = TlsFiles.node(config.certificate_folder)
    require_certificate(tls, NodeIdentity(config.cluster_id, "target", config.id))
    folders = {mountpath.id: mountpath.path for mountpath in config.mountpaths}
    make_folder(config.state_folder, purpose="state_folder")
    make_folder(config.unix_socket.parent, purpose="the folder of unix_socket")
    states = MountpathStates(
        list(folders),
        file=config.state_folder / "mountpaths.json",
        board=states_file_of(config.unix_socket),
    )
    disks = [MountpathFolder(*each) for each in folders.items()]
    await asyncio.to_thread(fail_unreadable, disks, states, config.state_folder / "fatal.txt")
    locks = take_mountpaths(folders, states, cluster=config.cluster_id, target=config.id)

    async with AsyncExitStack() as stack:
        opening = open_node(
            cluster_id=config.cluster_id,
            etcd_endpoints=config.etcd_endpoints,
            tls=tls,
            state_folder=config.state_folder,
        )
        node = await stack.enter_async_context(opening)
        authority = WriteAuthority(node.buckets)
        limits = FaultLimits(config.disk_faults_max, config.disk_faults_window_seconds)
        engine = opened(folders, locks, states, authority=authority, limits=limits)
        await engine.start()
        stack.push_async_callback(engine.stop)

        channels = Channels(tls)
        stack.push_async_callback(channels.close)
        ownership = Ownership(config.id, node, engine=engine)
        load = Load()
        servers = Servers(
            node=config.id,
            cluster_id=config.cluster_id,
            tls=tls,
            insecure_anonymous=config.insecure_anonymous,
            load=load,
        )
        objects = object_service(engine, node.buckets, ownership, load=load)
        commits = chunk_service(engine, node=config.id, stopping=servers.stopping)
        servers.listen(Listener.LOCAL_SOCKET, f"unix:{config.unix_socket}", [objects, commits])
        public = servers.listen(Listener.PUBLIC, config.public_address, [objects])
        status = node_service(lambda: ownership.state, EngineDisks(engine), engine.counters)
        internal = servers.listen(Listener.INTERNAL, config.internal_address, [objects, status])
        me = myself(config, public_address=public, internal_address=internal)
        member = node.member(me, lease_seconds=config.lease_seconds, apply=ownership.apply)
        authority.membership = membership = await stack.enter_async_context(member)
        await ownership.wait_until_placed()
        stack.push_async_callback(servers.stop)
        rows, descriptors = commit_socket_of(config.unix_socket), descriptor_socket_of(config.unix_socket)
        await stack.enter_async_context(commit_socket(rows, engine, node=config.id))
        await servers.start()

        others = Others(node.view, channels, engine)
        cluster = Cluster(node.etcd, node.view, node.buckets, others.store, engine)
        cleanup = Cleanup(engine, load.pace(config.scrub_rows_per_second), config.cleanup_age_seconds)
        jobs = JobRunner(node.etcd, config.id, works_of(config, cluster, others, cleanup, load=load))
        files = DescriptorSocket(descriptors, engine, node.buckets, ready=ownership.wait_until_fresh)
        work = (ownership.follow(), node.report(membership), jobs.run(), engine.sweep(), files.serve())
        upkeep = upkeep_of(config, engine, cleanup, load=load)
        await stack.enter_async_context(background(*work, *upkeep, membership.until_replaced()))
        addresses = {"public_address": public, "internal_address": internal, "unix_socket": me.unix_socket}
        stack.enter_context(ready_file(config.ready_file, addresses))
        get_logger().info("ready", **addresses)
        await stop.wait()
        get_logger().info("stopping")


def upkeep_of(
    config: TargetConfiguration, engine: Engine, cleanup: Cleanup, *, load: Load
) -> tuple[Coroutine[Any, Any, None], ...]:
    """What this target does without being asked."""
    copies = IndexCopies(
        engine,
        interval_seconds=config.index_copy_interval_seconds,
        bytes_per_second=config.index_copy_bytes_per_second,
    )
    return copies.run(), cleanup.run(every_seconds=config.cleanup_interval_seconds), load.follow()


def works_of(
    config: TargetConfiguration, cluster: Cluster, others: Others, cleanup: Cleanup, *, load: Load
) -> Mapping[str, Work]:
    """What this target does of each kind of job."""
    engine, buckets = cluster.engine, cluster.buckets
    return {
        PURGE_BUCKET: purge_with(engine, buckets),
        SCRUB: scrub_with(
            engine,
            config.state_folder,
            rows_pace=load.pace(config.scrub_rows_per_second),
            bytes_pace=load.pace(config.scrub_bytes_per_second),
        ),
        RECHUNK: rechunk_with(
            engine,
            buckets,
            rows_pace=load.pace(config.scrub_rows_per_second),
            bytes_pace=load.pace(config.rechunk_bytes_per_second),
        ),
        CLEANUP: cleanup.job,
        SUMMARY: summarize_with(engine, buckets),
        DELETE_OBJECTS: delete_with(cluster),
        COPY_OBJECTS: copy_with(cluster),
        COPY_BUCKET: copy_with(cluster),
        ARCHIVE: archive_with(cluster, others.batches),
    }


def myself(config: TargetConfiguration, *, public_address: str, internal_address: str) -> Member:
    """This target as the cluster map shows it."""
    return Member(
        config.id,
        MemberRole.TARGET,
        public_address=public_address,
        internal_address=internal_address,
        unix_socket=str(config.unix_socket),
        host_id=host_id(),
        weight=config.weight or capacity_weight(mountpath.path for mountpath in config.mountpaths),
        failure_domain=config.failure_domain,
        mountpaths=tuple(
            Mountpath(mountpath.id, str(mountpath.path), capacity_bytes(mountpath.path))
            for mountpath in config.mountpaths
        ),
    )


if __name__ == "__main__":
    main()
