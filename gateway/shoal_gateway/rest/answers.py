"""The JSON that answers are, for those who read the reference, and for the tests that hold every example to it."""

from __future__ import annotations

from typing import Any

import msgspec

Anything = dict[str, Any]


class NamespaceName(msgspec.Struct):
    uuid: str
    name: str


class BucketName(msgspec.Struct):
    name: str
    provider: str
    namespace: NamespaceName


class Network(msgspec.Struct):
    node_ip_addr: str
    daemon_port: str
    direct_url: str


class Node(msgspec.Struct):
    daemon_id: str
    daemon_type: str
    public_net: Network
    intra_control_net: Network
    intra_data_net: Network
    flags: int
    id_digest: int


class NodeMap(msgspec.Struct):
    pmap: dict[str, Node]
    tmap: dict[str, Node]
    proxy_si: Node
    uuid: str
    creation_time: str
    version: str
    ext: None


class BucketMap(msgspec.Struct):
    version: str
    uuid: str
    ext: None
    providers: dict[str, dict[str, dict[str, Anything]]]
    """By provider, namespace and name: properties."""


class Mountpaths(msgspec.Struct):
    available: list[str]
    waiting_dd: list[str]
    disabled: list[str]


class AllMountpaths(msgspec.Struct):
    targets: dict[str, Mountpaths]


class NodeStats(msgspec.Struct):
    snode: Node
    tracker: Anything
    capacity: Anything


class NodeState(NodeStats):
    status: str
    ais_version: str
    cluster: Anything
    sys_info: Anything
    smap_version: str


class AllStats(msgspec.Struct):
    proxy: NodeStats
    target: dict[str, NodeStats]


class AllMachines(msgspec.Struct):
    proxy: dict[str, Anything]
    target: dict[str, Anything]


class SoftwareVersion(msgspec.Struct):
    version: str
    build_time: str


class JobStatus(msgspec.Struct):
    uuid: str
    kind: str
    err: str
    end_time: int
    aborted: bool
    is_idle: bool


class JobSnapshot(msgspec.Struct, rename="kebab"):
    id: str
    kind: str
    start_time: str
    end_time: str
    stats: dict[str, str]
    aborted: bool
    abort_err: str
    err: str
    ctlmsg: str
    is_idle: bool = msgspec.field(name="is_idle")
    workers: str = msgspec.field(name="glob.id")


class BucketSummary(msgspec.Struct):
    name: str
    provider: str
    namespace: NamespaceName
    used_pct: int
    is_present: bool
    counts: dict[str, str] = msgspec.field(name="ObjCount")
    sizes: dict[str, int] = msgspec.field(name="ObjSize")
    totals: dict[str, str] = msgspec.field(name="TotalSize")
