"""The services of a proxy, the same for users and for nodes."""

from __future__ import annotations

import asyncio

import grpc.aio

from shoal.batch.v1.batch_pb2_grpc import add_BatchServiceServicer_to_server
from shoal.bucket.v1.bucket_pb2_grpc import add_BucketServiceServicer_to_server
from shoal.cluster.v1.cluster_pb2_grpc import add_ClusterServiceServicer_to_server
from shoal.cluster.v1.mountpath_pb2_grpc import add_MountpathServiceServicer_to_server
from shoal.job.v1.job_pb2_grpc import add_JobServiceServicer_to_server
from shoal.object.v1.object_pb2_grpc import add_ObjectServiceServicer_to_server
from shoal.object.v1.upload_pb2_grpc import add_UploadServiceServicer_to_server
from shoal_archive.archives import Archives
from shoal_archive.batch import BatchReader, Elsewhere
from shoal_archive.batch_service import BatchServicer
from shoal_core.buckets import BucketRegistry
from shoal_core.cluster_settings import SettingsRegistry
from shoal_core.jobs import JobBoard
from shoal_core.member_states import MemberStates
from shoal_core.multipart import MultipartStore
from shoal_core.node import Node
from shoal_core.object_service import ObjectServicer
from shoal_core.rpc import Channels
from shoal_core.serving import AddService
from shoal_core.upload_service import UploadServicer
from shoal_proxy.bucket_service import BucketServicer
from shoal_proxy.cluster_service import ClusterServicer
from shoal_proxy.job_service import JobServicer
from shoal_proxy.mountpath_service import MountpathServicer
from shoal_proxy.object_jobs import ObjectJobs
from shoal_proxy.observers import Observers


def services(
    node: Node,
    observers: Observers,
    channels: Channels,
    *,
    store: MultipartStore,
    elsewhere: Elsewhere,
    stopping: asyncio.Event,
) -> list[AddService]:
    """What adds each service to a server."""
    settings = SettingsRegistry(node.etcd)
    cluster = ClusterServicer(node.view, MemberStates(node.etcd), settings, channels, stopping=stopping)
    registry = BucketRegistry(node.etcd)
    buckets = BucketServicer(registry, node.buckets, settings, observers)
    of_objects = ObjectJobs(node.etcd, JobBoard(node.etcd), node.view, node.buckets, registry, observers)
    jobs = JobServicer(of_objects)
    mountpaths = MountpathServicer(node.view, channels)
    objects = ObjectServicer(store, node.buckets)
    uploads = UploadServicer(store, node.buckets)
    batches = BatchServicer(BatchReader(store, Archives(store), elsewhere=elsewhere), node.buckets)

    def add_all(server: grpc.aio.Server) -> None:
        add_ClusterServiceServicer_to_server(cluster, server)
        add_BucketServiceServicer_to_server(buckets, server)
        add_JobServiceServicer_to_server(jobs, server)
        add_MountpathServiceServicer_to_server(mountpaths, server)
        add_ObjectServiceServicer_to_server(objects, server)
        add_UploadServiceServicer_to_server(uploads, server)
        add_BatchServiceServicer_to_server(batches, server)

    return [add_all]
