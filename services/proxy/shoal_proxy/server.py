"""The services of a proxy, the same for users and for nodes."""

from __future__ import annotations

import asyncio

import grpc.aio

from shoal.bucket.v1.bucket_pb2_grpc import add_BucketServiceServicer_to_server
from shoal.cluster.v1.cluster_pb2_grpc import add_ClusterServiceServicer_to_server
from shoal.job.v1.job_pb2_grpc import add_JobServiceServicer_to_server
from shoal.object.v1.object_pb2_grpc import add_ObjectServiceServicer_to_server
from shoal.object.v1.upload_pb2_grpc import add_UploadServiceServicer_to_server
from shoal_core.buckets import BucketRegistry
from shoal_core.jobs import JobBoard
from shoal_core.multipart import MultipartStore
from shoal_core.node import Node
from shoal_core.object_service import ObjectServicer
from shoal_core.serving import AddService
from shoal_core.upload_service import UploadServicer
from shoal_proxy.bucket_service import BucketServicer
from shoal_proxy.cluster_service import ClusterServicer
from shoal_proxy.job_service import JobServicer
from shoal_proxy.observers import Observers


def services(
    node: Node, observers: Observers, *, store: MultipartStore, stopping: asyncio.Event
) -> list[AddService]:
    """What adds each service to a server."""
    cluster = ClusterServicer(node.view, stopping=stopping)
    buckets = BucketServicer(BucketRegistry(node.etcd), node.buckets, observers)
    jobs = JobServicer(JobBoard(node.etcd), node.view, node.buckets)
    objects = ObjectServicer(store, node.buckets)
    uploads = UploadServicer(store, node.buckets)

    def add_all(server: grpc.aio.Server) -> None:
        add_ClusterServiceServicer_to_server(cluster, server)
        add_BucketServiceServicer_to_server(buckets, server)
        add_JobServiceServicer_to_server(jobs, server)
        add_ObjectServiceServicer_to_server(objects, server)
        add_UploadServiceServicer_to_server(uploads, server)

    return [add_all]
