"""What a process says of its own use of the machine."""

from __future__ import annotations

from pathlib import Path

from shoal_core.node_vitals import disk_uses, mount_of, vitals


def test_a_process_knows_what_it_uses() -> None:
    now = vitals()
    assert 0 < now.resident_bytes < now.memory_bytes
    assert 0 < now.memory_available_bytes <= now.memory_bytes
    assert now.uptime_seconds > 0
    assert now.processor_percent > 0


def test_a_disk_is_described_by_what_is_mounted_there(tmp_path: Path) -> None:
    (use,) = disk_uses([tmp_path])
    assert use.path == tmp_path
    assert use.used_bytes > 0
    assert use.filesystem


def test_the_nearest_mount_holds_a_folder() -> None:
    mounts = {"/": ("/dev/a", "ext4"), "/data": ("/dev/b", "xfs")}
    assert mount_of(Path("/data/x/y"), mounts) == ("/dev/b", "xfs")
    assert mount_of(Path("/database"), mounts) == ("/dev/a", "ext4")
