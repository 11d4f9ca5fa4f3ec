"""Who may do what: permissions, principals, and the one table that says what every RPC demands.

An RPC that is not in `RPC_PERMISSIONS` is refused, and a test fails until it is listed. Handlers reach
buckets only through `BucketDirectory.resolve`, which calls `authorize` with the bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import Literal

from shoal_core.errors import PermissionDenied, Unauthenticated
from shoal_core.objects import BucketReference

CALLING_ROLES = frozenset({"proxy", "target", "gateway", "supervisor"})
"""Roles of nodes that may call other nodes. etcd's certificate is for etcd's own connections."""


class Permission(IntFlag):
    """AIStore's bits, so that roles and tokens mean the same in both systems."""

    GET = 1 << 0
    HEAD_OBJECT = 1 << 1
    PUT = 1 << 2
    APPEND = 1 << 3
    DELETE_OBJECT = 1 << 4
    MOVE_OBJECT = 1 << 5
    PROMOTE = 1 << 6
    UPDATE_OBJECT = 1 << 7
    HEAD_BUCKET = 1 << 8
    LIST_OBJECTS = 1 << 9
    PATCH = 1 << 10
    SET_BUCKET_ACL = 1 << 11
    LIST_BUCKETS = 1 << 12
    SHOW_CLUSTER = 1 << 13
    CREATE_BUCKET = 1 << 14
    DESTROY_BUCKET = 1 << 15
    MOVE_BUCKET = 1 << 16
    ADMIN = 1 << 17


NO_PERMISSIONS = Permission(0)
READ_ONLY = Permission.GET | Permission.HEAD_OBJECT | Permission.HEAD_BUCKET | Permission.LIST_OBJECTS
READ_WRITE = (
    READ_ONLY | Permission.PUT | Permission.APPEND | Permission.DELETE_OBJECT | Permission.MOVE_OBJECT
)
CLUSTER_READ_ONLY = Permission.LIST_BUCKETS | Permission.SHOW_CLUSTER
EVERYTHING = ~NO_PERMISSIONS


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, verified."""

    name: str
    kind: Literal["user", "node", "anonymous"]
    role: str
    permissions: Permission


@dataclass(frozen=True, slots=True)
class NodeOnly:
    """Demands a node with one of these roles; no user passes, whatever the permissions."""

    roles: frozenset[str]


LOCAL_ADMINISTRATOR = Principal("local-administrator", "user", "admin", EVERYTHING)
"""Every caller from this host while the cluster runs in local mode."""

ANONYMOUS = Principal("anonymous", "anonymous", "", NO_PERMISSIONS)


def node_principal(role: str, member_id: str) -> Principal:
    """A node acts for users whom it authorised itself, so nodes that may call at all may do everything."""
    permissions = EVERYTHING if role in CALLING_ROLES else NO_PERMISSIONS
    return Principal(f"{role}/{member_id}", "node", role, permissions)


def authorize(principal: Principal, permission: Permission, bucket: BucketReference | None) -> None:
    """Raise unless `principal` has all of `permission`, on `bucket` if one is meant."""
    if principal.kind == "anonymous":
        raise Unauthenticated("no proof of who is calling: send a token")
    # Of the bits as plain numbers: arithmetic of enumerations takes ten times as long.
    if int(permission) & ~int(principal.permissions):
        missing = permission & ~principal.permissions
        what = f"on {bucket} " if bucket else ""
        names = permission_names(missing)
        raise PermissionDenied(
            f"{principal.name} may not do this {what}({names} is missing): ask an administrator for it",
            permission=names,
        )


def authorize_rpc(principal: Principal, method: str) -> None:
    """Raise unless `principal` may call `method`, such as `/shoal.object.v1.ObjectService/GetObject`."""
    demanded = RPC_PERMISSIONS.get(method)
    if demanded is None:
        raise PermissionDenied(f"{method} is not served: no rule says who may call it", method=method)
    if not isinstance(demanded, NodeOnly):
        authorize(principal, demanded, None)
    elif principal.kind != "node" or principal.role not in demanded.roles:
        raise PermissionDenied(
            f"{method} is for nodes of the cluster ({', '.join(sorted(demanded.roles))}); "
            f"{principal.name} is none",
            method=method,
        )


def permission_names(permission: Permission) -> str:
    return "|".join(flag.name or "" for flag in Permission if flag in permission)


RPC_PERMISSIONS: Mapping[str, Permission | NodeOnly] = {
    "/shoal.bucket.v1.BucketService/CreateBucket": Permission.CREATE_BUCKET,
    "/shoal.bucket.v1.BucketService/GetBucket": Permission.HEAD_BUCKET,
    "/shoal.bucket.v1.BucketService/ListBuckets": Permission.LIST_BUCKETS,
    "/shoal.bucket.v1.BucketService/UpdateBucket": Permission.PATCH,
    "/shoal.bucket.v1.BucketService/DeleteBucket": Permission.DESTROY_BUCKET,
    "/shoal.bucket.v1.BucketService/RenameBucket": Permission.MOVE_BUCKET,
    "/shoal.chunk.v1.ChunkService/Commit": NodeOnly(frozenset({"gateway", "target"})),
    "/shoal.cluster.v1.ClusterService/GetClusterMap": Permission.SHOW_CLUSTER,
    "/shoal.cluster.v1.ClusterService/GetSettings": Permission.SHOW_CLUSTER,
    "/shoal.cluster.v1.ClusterService/UpdateSettings": Permission.ADMIN,
    "/shoal.cluster.v1.ClusterService/SetMemberState": Permission.ADMIN,
    "/shoal.cluster.v1.ClusterService/WatchClusterMap": Permission.SHOW_CLUSTER,
    "/shoal.cluster.v1.MountpathService/ListMountpaths": Permission.SHOW_CLUSTER,
    "/shoal.cluster.v1.MountpathService/SetMountpathState": Permission.ADMIN,
    "/shoal.job.v1.JobService/StartScrub": Permission.ADMIN,
    "/shoal.job.v1.JobService/StartRechunk": Permission.PUT,
    "/shoal.job.v1.JobService/StartSummary": Permission.LIST_OBJECTS,
    "/shoal.job.v1.JobService/StartDelete": Permission.DELETE_OBJECT,
    "/shoal.job.v1.JobService/StartCopy": Permission.GET,
    "/shoal.job.v1.JobService/StartArchive": Permission.GET,
    "/shoal.job.v1.JobService/StartUpkeep": Permission.ADMIN,
    "/shoal.job.v1.JobService/RemoveJob": Permission.ADMIN,
    "/shoal.job.v1.JobService/StopJob": Permission.ADMIN,
    "/shoal.job.v1.JobService/GetJob": Permission.SHOW_CLUSTER,
    "/shoal.job.v1.JobService/ListJobs": Permission.SHOW_CLUSTER,
    "/shoal.batch.v1.BatchService/ReadBatch": Permission.GET,
    "/shoal.batch.v1.BatchService/CheckBatch": Permission.GET,
    "/shoal.node.v1.NodeService/GetNodeStatus": NodeOnly(frozenset({"gateway", "proxy"})),
    "/shoal.node.v1.NodeService/SetNodeMountpathState": NodeOnly(frozenset({"gateway", "proxy"})),
    "/shoal.node.v1.NodeService/ReadNodeLog": NodeOnly(frozenset({"gateway"})),
    "/shoal.node.v1.NodeService/RotateNodeLog": NodeOnly(frozenset({"gateway"})),
    "/shoal.node.v1.NodeService/ResetNodeCounters": NodeOnly(frozenset({"gateway"})),
    "/shoal.object.v1.ObjectService/PutObject": Permission.PUT,
    "/shoal.object.v1.ObjectService/GetObject": Permission.GET,
    "/shoal.object.v1.ObjectService/DownloadObject": Permission.GET,
    "/shoal.object.v1.ObjectService/HeadObject": Permission.HEAD_OBJECT,
    "/shoal.object.v1.ObjectService/DeleteObject": Permission.DELETE_OBJECT,
    "/shoal.object.v1.ObjectService/CopyObject": Permission.PUT,
    "/shoal.object.v1.ObjectService/AnnotateObject": Permission.UPDATE_OBJECT,
    "/shoal.object.v1.ObjectService/ListObjects": Permission.LIST_OBJECTS,
    "/shoal.object.v1.UploadService/BeginUpload": Permission.PUT,
    "/shoal.object.v1.UploadService/PutPart": Permission.PUT,
    "/shoal.object.v1.UploadService/CompleteUpload": Permission.PUT,
    "/shoal.object.v1.UploadService/AbortUpload": Permission.PUT,
    "/shoal.object.v1.UploadService/ListUploads": Permission.LIST_OBJECTS,
    "/shoal.object.v1.UploadService/ListParts": Permission.GET,
}
