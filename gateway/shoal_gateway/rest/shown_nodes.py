"""Nodes in AIStore's JSON: their addresses, what they use of their machines, and how full their disks are.

To AIStore's clients the gateway is every node: all addresses are the address that the client itself used, so that
`direct=True`, `get_primary_url` and `is_ready` come back here, whatever names and ports lie between.
"""

from __future__ import annotations

from importlib.metadata import version
from urllib.parse import urlsplit

import xxhash

from shoal.cluster.v1.mountpath_pb2 import MOUNTPATH_STATE_DISABLED, MOUNTPATH_STATE_FAILED
from shoal.node.v1.node_pb2 import MountpathStatus, NodeStatus
from shoal_core.cluster_map import ClusterMap, Member, MemberRole, MemberState
from shoal_gateway.call import Call
from shoal_gateway.rest.bucket_properties import Json

NOT_USED = (MOUNTPATH_STATE_DISABLED, MOUNTPATH_STATE_FAILED)
DIGEST_SEED = 1103515245
SERVED_API_VERSION = "5.0"
"""The version of AIStore whose API this is; the official CLI refuses to talk to another major version."""

STATE_FLAGS = {MemberState.MAINTENANCE: 1 << 2, MemberState.DECOMMISSION: 1 << 3}
STATES = {MemberState.MAINTENANCE: "maintenance", MemberState.DECOMMISSION: "decommission"}
COUNTER_KINDS = {
    "get.n": "counter",
    "get.size": "size",
    "get.bps": "bw",
    "put.n": "counter",
    "put.size": "size",
    "put.bps": "bw",
    "del.n": "counter",
    "up.ns.time": "special",
}
RATES = {"get.bps": "get.size", "put.bps": "put.size"}
"""Clients take the difference of two readings, and divide it by the time between them."""


def shown_node(member: Member, call: Call) -> dict[str, Json]:
    kind = "target" if member.role is MemberRole.TARGET else "proxy"
    return snode(member.id, kind, call, flags=STATE_FLAGS.get(member.state, 0))


def snode(node_id: str, kind: str, call: Call, *, flags: int = 0) -> dict[str, Json]:
    url = f"http://{call.headers.get('host', '')}"
    parts = urlsplit(url)
    network: dict[str, Json] = {
        "node_ip_addr": parts.hostname or "",
        "daemon_port": str(parts.port or 80),
        "direct_url": url,
    }
    return {
        "daemon_id": node_id,
        "daemon_type": kind,
        "public_net": network,
        "intra_control_net": network,
        "intra_data_net": network,
        "flags": flags,
        "id_digest": xxhash.xxh64_intdigest(node_id.encode(), DIGEST_SEED),
    }


def primary_of(current: ClusterMap) -> Member | None:
    """The proxy that is shown as the primary one: Shoal's proxies are equal."""
    proxies = [member for member in current.members if member.role is MemberRole.PROXY]
    return min(
        proxies,
        key=lambda member: (not member.alive, member.state is not MemberState.ACTIVE, member.id),
        default=None,
    )


def shown_stats(member: Member, status: NodeStatus | None, call: Call) -> dict[str, Json]:
    """`status` is None for a node that does not answer."""
    status = status or NodeStatus()
    counters = {**dict.fromkeys(COUNTER_KINDS, 0), **status.counters, "up.ns.time": status.uptime_ns}
    counters.update({rate: counters[size] for rate, size in RATES.items()})
    return {
        "snode": shown_node(member, call),
        "tracker": {name: {"v": str(count)} for name, count in counters.items()},
        "capacity": shown_capacity(member, status),
    }


def shown_status(
    member: Member, status: NodeStatus | None, call: Call, current: ClusterMap, bucket_map_version: int
) -> dict[str, Json]:
    primary = primary_of(current)
    url = f"http://{call.headers.get('host', '')}"
    return {
        **shown_stats(member, status, call),
        "status": STATES.get(member.state, "online") if status else "offline",
        "deployment": "shoal",
        "ais_version": software_version(),
        "build_time": "",
        "k8s_pod_name": "",
        "cluster": {
            "smap": {
                "primary": {"pub_url": url, "control_url": url, "id": primary.id if primary else ""},
                "uuid": current.cluster_id,
                "version": str(current.revision),
            },
            "bmd": {"uuid": current.cluster_id, "version": str(bucket_map_version)},
            "rmd": {"version": str(current.placement_epoch)},
            "config": {"version": "1"},
            "etlmd": {"version": "0"},
            "flags": "0",
        },
        "sys_info": shown_machine(status),
        "smap_version": str(current.revision),
    }


def software_version() -> str:
    return f"{SERVED_API_VERSION}.shoal-{version('shoal')}"


def shown_machine(status: NodeStatus | None) -> dict[str, Json]:
    """Memory and processor, as numbers."""
    status = status or NodeStatus()
    loads = list(status.load_averages) or [0.0, 0.0, 0.0]
    return {
        "mem_used": status.resident_bytes,
        "mem_avail": status.memory_available_bytes,
        "pct_mem_used": status.resident_bytes * 100 / max(status.memory_bytes, 1),
        "pct_cpu_used": status.processor_percent,
        "load_avg": {"One": loads[0], "Five": loads[1], "Fifteen": loads[2]},
        "cpu_util": min(100, int(status.processor_percent)),
    }


def shown_target_machine(member: Member, status: NodeStatus | None) -> dict[str, Json]:
    capacity = shown_capacity(member, status or NodeStatus())
    used, available = int(str(capacity["total_used"])), int(str(capacity["total_avail"]))
    return {
        **shown_machine(status),
        "fs_used": str(used),
        "fs_capacity": str(used + available),
        "pct_fs_used": used * 100 / max(used + available, 1),
    }


def shown_capacity(member: Member, status: NodeStatus) -> dict[str, Json]:
    """Of a target that does not answer, the size of its disks as it was when it started, as free."""
    disks = list(status.mountpaths) or [
        MountpathStatus(path=each.path, available_bytes=each.capacity_bytes) for each in member.mountpaths
    ]
    percents = [disk.used_bytes * 100 // max(disk.used_bytes + disk.available_bytes, 1) for disk in disks]
    # A filesystem counts once, however many mountpaths lie on it.
    distinct = {disk.device or disk.path: disk for disk in disks}.values()
    return {
        "mountpaths": {
            disk.path: shown_disk(disk, percent) for disk, percent in zip(disks, percents, strict=True)
        },
        "total_used": str(sum(disk.used_bytes for disk in distinct)),
        "total_avail": str(sum(disk.available_bytes for disk in distinct)),
        "pct_max": max(percents, default=0),
        "pct_avg": sum(percents) // max(len(percents), 1),
        "pct_min": min(percents, default=0),
        "cs_err": "",
    }


def shown_disk(disk: MountpathStatus, percent: int) -> Json:
    return {
        "mountpath_label": "",
        "fs": {"fs": disk.device, "fstype": disk.filesystem},
        "disks": [disk.device.removeprefix("/dev/")] if disk.device.startswith("/dev/") else [],
        "used": str(disk.used_bytes),
        "avail": str(disk.available_bytes),
        "pct_used": percent,
    }


def shown_mountpaths(member: Member, status: NodeStatus | None) -> dict[str, Json]:
    """AIStore knows no failed ones, which are `disabled` too; all are available on a target that does not answer."""
    away = {each.path for each in status.mountpaths if each.state in NOT_USED} if status else set()
    paths = [each.path for each in member.mountpaths]
    return {
        "available": [path for path in paths if path not in away],
        "waiting_dd": [],
        "disabled": [path for path in paths if path in away],
    }
