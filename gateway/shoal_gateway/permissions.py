"""What every route and action of the HTTP port demands. What is not listed here is refused.

AIStore packs many operations into one route and tells them apart by the `action` of a JSON body (buckets,
objects) or by the query field `what` (daemon, cluster). Each is a row of its own, also those that are not
built yet: they are authorised first and then answer 501.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shoal_core.access import Permission
from shoal_core.errors import InvalidArgument, NotImplementedYet, PermissionDenied

OBJECT = "/v1/objects/{bucket}/{name}"
OBJECTS = "/v1/objects/{bucket}"
BUCKET = "/v1/buckets/{bucket:path}"
BUCKETS = "/v1/buckets"
DAEMON = "/v1/daemon"
CLUSTER = "/v1/cluster"
REVERSE = "/v1/reverse/daemon"
HEALTH = "/v1/health"
METRICS = "/-/metrics"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the HTTP port."""

    method: str
    template: str
    action: str = ""


ROUTE_PERMISSIONS: Mapping[Route, Permission] = {
    Route("GET", OBJECT): Permission.GET,
    Route("HEAD", OBJECT): Permission.HEAD_OBJECT,
    Route("PUT", OBJECT): Permission.PUT,
    Route("DELETE", OBJECT): Permission.DELETE_OBJECT,
    Route("POST", OBJECT, "mpt-upload"): Permission.PUT,
    Route("POST", OBJECT, "mpt-complete"): Permission.PUT,
    Route("DELETE", OBJECT, "mpt-abort"): Permission.PUT,
    Route("GET", BUCKETS, "list"): Permission.LIST_BUCKETS,
    Route("GET", BUCKET, "list"): Permission.LIST_OBJECTS,
    Route("HEAD", BUCKET): Permission.HEAD_BUCKET,
    Route("POST", BUCKET, "create-bck"): Permission.CREATE_BUCKET,
    Route("POST", BUCKET, "rechunk"): Permission.PUT,
    Route("DELETE", BUCKET, "destroy-bck"): Permission.DESTROY_BUCKET,
    Route("PATCH", BUCKET, "set-bprops"): Permission.PATCH,
    Route("PATCH", BUCKET, "reset-bprops"): Permission.PATCH,
    Route("GET", DAEMON, "smap"): Permission.SHOW_CLUSTER,
    Route("GET", DAEMON, "snode"): Permission.SHOW_CLUSTER,
    Route("GET", DAEMON, "bmd"): Permission.LIST_BUCKETS,
    Route("GET", CLUSTER, "cluster_config"): Permission.SHOW_CLUSTER,
    Route("GET", CLUSTER, "target_ips"): Permission.SHOW_CLUSTER,
    Route("GET", REVERSE, "snode"): Permission.SHOW_CLUSTER,
    Route("GET", REVERSE, "node_status"): Permission.SHOW_CLUSTER,
    Route("GET", HEALTH): Permission(0),
    Route("GET", METRICS): Permission.SHOW_CLUSTER,
}

NOT_BUILT: Mapping[Route, Permission] = {
    **{Route(method, OBJECT): Permission.UPDATE_OBJECT for method in ("PATCH", "POST")},
    **{
        Route("POST", OBJECT, action): Permission.PUT
        for action in ("rename-obj", "check-lock")
    },
    Route("POST", OBJECTS, "promote"): Permission.PROMOTE,
    Route("POST", OBJECTS, "blob-download"): Permission.PUT,
    **{Route("GET", BUCKETS, action): Permission.LIST_BUCKETS for action in ("summary-bck",)},
    **{
        Route("GET", BUCKET, action): Permission.LIST_OBJECTS
        for action in ("summary-bck", "summary-shard", "show-inventory")
    },
    **{
        Route("POST", BUCKET, action): Permission.PUT
        for action in (
            "copy-bck", "etl-bck", "copy-listrange", "etl-listrange", "prefetch-listrange", "make-n-copies",
            "ec-encode", "index-shard", "create-inventory", "add-remote-bck",
        )
    },
    Route("POST", BUCKET, "move-bck"): Permission.MOVE_BUCKET,
    Route("PUT", BUCKET, "archive"): Permission.PUT,
    **{
        Route("DELETE", BUCKET, action): Permission.DELETE_OBJECT
        for action in ("evict-remote-bck", "delete-listrange", "evict-listrange", "destroy-inventory")
    },
    **{
        Route("GET", DAEMON, what): Permission.ADMIN
        for what in (
            "config", "sysinfo", "node_status", "node_stats", "mountpaths", "metrics", "disk", "log",
            "software_version", "tls_certificate", "ic_bundle",
        )
    },
    **{
        Route("GET", REVERSE, what): Permission.ADMIN
        for what in (
            "smap", "bmd", "config", "sysinfo", "node_stats", "mountpaths", "metrics", "disk", "log",
            "software_version", "tls_certificate", "ic_bundle",
        )
    },
    **{
        Route("GET", CLUSTER, what): Permission.SHOW_CLUSTER
        for what in (
            "sysinfo", "mountpaths", "remote", "backends", "node_stats", "qryxstats", "getxstats", "status",
            "status_all", "running_all",
        )
    },
}  # fmt: skip
"""Known to AIStore's clients, not built here yet."""

NOT_BUILT_PREFIXES = (
    "/v1/etl", "/v1/sort", "/v1/download", "/v1/ml/", "/v1/tokens", "/v1/xactions", "/v1/cluster",
    "/v1/daemon", "/v1/reverse", "/v1/users", "/v1/roles", "/v1/clusters", "/-/",
)  # fmt: skip
"""Paths outside the routes above that a client may rightly expect one day."""


def permission_of(route: Route) -> Permission:
    """What `route` demands. Raises for what is not built (after naming it) and for what nobody knows."""
    permission = ROUTE_PERMISSIONS.get(route)
    if permission is None:
        permission = NOT_BUILT.get(route)
    if permission is None and route.action:
        raise InvalidArgument(f"{route.method} {route.template} knows no action {route.action!r}")
    if permission is None:
        raise PermissionDenied(f"{route.method} {route.template} is not served: no rule says who may call it")
    return permission


def require_built(route: Route) -> None:
    if route in NOT_BUILT:
        what = f"action {route.action!r}" if route.action else f"{route.method} {route.template}"
        raise NotImplementedYet(f"{what} is not built yet in this version of Shoal")
