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
SET_CONFIG = "/v1/cluster/set-config"
REVERSE = "/v1/reverse/daemon"
MOUNTPATHS = "/v1/reverse/daemon/mountpaths"
HEALTH = "/v1/health"
METRICS = "/-/metrics"
BATCH = "/v1/ml/moss"
OPENAPI_JSON = "/-/openapi.json"
OPENAPI_YAML = "/-/openapi.yaml"
DOCS = "/-/docs"
DOCS_FILE = "/-/docs/{file}"


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
    Route("PATCH", OBJECT): Permission.UPDATE_OBJECT,
    Route("POST", OBJECT, "rename-obj"): Permission.MOVE_OBJECT,
    Route("POST", OBJECTS, "promote"): Permission.PROMOTE,
    Route("POST", OBJECT, "mpt-upload"): Permission.PUT,
    Route("POST", OBJECT, "mpt-complete"): Permission.PUT,
    Route("DELETE", OBJECT, "mpt-abort"): Permission.PUT,
    Route("GET", BUCKETS, "list"): Permission.LIST_BUCKETS,
    Route("GET", BUCKETS, "summary-bck"): Permission.LIST_BUCKETS,
    Route("GET", BUCKET, "list"): Permission.LIST_OBJECTS,
    Route("GET", BUCKET, "summary-bck"): Permission.LIST_OBJECTS,
    Route("HEAD", BUCKET): Permission.HEAD_BUCKET,
    Route("POST", BUCKET, "create-bck"): Permission.CREATE_BUCKET,
    Route("POST", BUCKET, "rechunk"): Permission.PUT,
    Route("DELETE", BUCKET, "destroy-bck"): Permission.DESTROY_BUCKET,
    Route("PATCH", BUCKET, "set-bprops"): Permission.PATCH,
    Route("PATCH", BUCKET, "reset-bprops"): Permission.PATCH,
    Route("POST", BUCKET, "copy-bck"): Permission.GET,
    Route("POST", BUCKET, "copy-listrange"): Permission.GET,
    Route("POST", BUCKET, "move-bck"): Permission.MOVE_BUCKET,
    Route("PUT", BUCKET, "archive"): Permission.GET,
    Route("DELETE", BUCKET, "delete-listrange"): Permission.DELETE_OBJECT,
    Route("GET", CLUSTER, "status"): Permission.SHOW_CLUSTER,
    Route("GET", CLUSTER, "status_all"): Permission.SHOW_CLUSTER,
    Route("GET", CLUSTER, "running_all"): Permission.SHOW_CLUSTER,
    Route("GET", CLUSTER, "qryxstats"): Permission.SHOW_CLUSTER,
    Route("GET", CLUSTER, "getxstats"): Permission.SHOW_CLUSTER,
    Route("PUT", CLUSTER, "start"): Permission.ADMIN,
    Route("PUT", CLUSTER, "stop"): Permission.ADMIN,
    **{
        Route("GET", template, what): Permission.SHOW_CLUSTER
        for template in (DAEMON, REVERSE)
        for what in (
            "smap",
            "snode",
            "config",
            "sysinfo",
            "node_status",
            "node_stats",
            "mountpaths",
            "metrics",
            "disk",
            "software_version",
        )
    },
    **{Route("GET", template, "bmd"): Permission.LIST_BUCKETS for template in (DAEMON, REVERSE)},
    **{Route("GET", template, "log"): Permission.ADMIN for template in (DAEMON, REVERSE)},
    **{
        Route("GET", CLUSTER, what): Permission.SHOW_CLUSTER
        for what in (
            "cluster_config",
            "target_ips",
            "sysinfo",
            "node_stats",
            "mountpaths",
            "backends",
            "remote",
        )
    },
    **{
        Route("PUT", CLUSTER, action): Permission.ADMIN
        for action in (
            "start-maintenance",
            "stop-maintenance",
            "rotate-logs",
            "reset-stats",
            "set-config",
            "reset-config",
        )
    },
    **{
        Route("PUT", template, action): Permission.ADMIN
        for template in (DAEMON, REVERSE)
        for action in ("rotate-logs", "reset-stats")
    },
    Route("PUT", SET_CONFIG): Permission.ADMIN,
    Route("POST", MOUNTPATHS, "enable-mp"): Permission.ADMIN,
    Route("POST", MOUNTPATHS, "disable-mp"): Permission.ADMIN,
    Route("GET", HEALTH): Permission(0),
    Route("GET", METRICS): Permission.SHOW_CLUSTER,
    Route("GET", BATCH): Permission.GET,
    **{Route("GET", page): Permission.SHOW_CLUSTER for page in (OPENAPI_JSON, OPENAPI_YAML, DOCS, DOCS_FILE)},
}

NOT_BUILT: Mapping[Route, Permission] = {
    Route("POST", OBJECT): Permission.UPDATE_OBJECT,
    Route("POST", OBJECT, "check-lock"): Permission.PUT,
    Route("POST", OBJECTS, "blob-download"): Permission.PUT,
    **{
        Route("GET", BUCKET, action): Permission.LIST_OBJECTS
        for action in ("summary-shard", "show-inventory")
    },
    **{
        Route("POST", BUCKET, action): Permission.PUT
        for action in (
            "etl-bck", "etl-listrange", "prefetch-listrange", "make-n-copies",
            "ec-encode", "index-shard", "create-inventory", "add-remote-bck",
        )
    },
    **{
        Route("DELETE", BUCKET, action): Permission.DELETE_OBJECT
        for action in ("evict-remote-bck", "evict-listrange", "destroy-inventory")
    },
    **{
        Route("GET", template, what): Permission.ADMIN
        for template in (DAEMON, REVERSE)
        for what in ("tls_certificate", "ic_bundle")
    },
    **{
        Route("PUT", CLUSTER, action): Permission.ADMIN
        for action in (
            "decommission-node", "shutdown-node", "shutdown", "decommission", "reload-creds",
            "clear-lcache",
        )
    },
    **{
        Route("PUT", template, action): Permission.ADMIN
        for template in (DAEMON, REVERSE)
        for action in ("set-config", "reset-config", "clear-lcache", "reload-creds", "shutdown", "decommission")
    },
    **{
        Route("POST", MOUNTPATHS, action): Permission.ADMIN
        for action in ("rescan-mp", "fshc-mp")
    },
}  # fmt: skip
"""Known to AIStore's clients, not built here yet."""

NOT_BUILT_PATHS: Mapping[str, str] = {
    "/v1/etl": "ETL",
    "/v1/sort": "dSort",
    "/v1/download": "the downloader",
    "/v1/tokens": "AuthN",
    "/v1/users": "AuthN",
    "/v1/roles": "AuthN",
    "/v1/clusters": "AuthN",
    "/v1/cluster/attach": "the attachment of remote clusters",
    "/v1/cluster/detach": "the attachment of remote clusters",
    "/v1/cluster/enable-bend": "remote backends",
    "/v1/cluster/disable-bend": "remote backends",
    "/v1/cluster/proxy/": "the choice of a primary proxy, since all are equal,",
    "/v1/reverse": "this request to a node",
    "/v1/daemon": "this request to a node",
    "/v1/cluster": "this request to the cluster",
    "/v1/ml/": "this request for a batch",
    "/v1/xactions": "this request for a job",
    "/-/": "this page",
}
"""Paths outside the routes above that a client may rightly expect one day, by how they begin, and what they belong to.
The first that fits counts. `docs/missing.md` says the same to people."""

NOT_BUILT_METHODS = {
    ("PUT", MOUNTPATHS): "attaching a mountpath",
    ("DELETE", MOUNTPATHS): "detaching a mountpath",
}
"""Of paths that know other methods."""


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
