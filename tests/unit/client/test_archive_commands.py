"""`shoal archive` and `shoal batch`, run as a user runs them."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from unit.client.test_commands import Shoal, shoal

__all__ = ["shoal"]


@pytest.mark.parametrize("extension", [".tar", ".tgz", ".tar.lz4", ".zip"])
def test_archives_are_made_listed_and_read(shoal: Shoal, tmp_path: Path, extension: str) -> None:
    archive = f"{shoal.bucket}/s{extension}"
    for number in range(3):
        (tmp_path / "file").write_bytes(b"x" * number * 70_000)
        shoal.ok("archive", "put", archive, f"folder/{number}", str(tmp_path / "file"))
    assert shoal.ok("archive", "ls", archive).split() == ["folder/0", "folder/1", "folder/2"]
    assert shoal.documents("archive", "ls", archive)[2] == {"name": "folder/2", "size": 140_000}
    shoal.ok("archive", "get", archive, "folder/2", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"x" * 140_000


def test_errors_are_one_sentence(shoal: Shoal, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for arguments, text in (
        (("archive", "get", f"{shoal.bucket}/none.tar", "x"), "does not exist"),
        (("archive", "put", f"{shoal.bucket}/none.tar", "../x", str(tmp_path / "file")), "'..'"),
        (
            ("archive", "put", f"{shoal.bucket}/n.tar", "x", str(tmp_path / "file"), "--only-append"),
            "not exist",
        ),
    ):
        result = shoal.run(*arguments)
        assert result.exit_code == 1
        assert text in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_manifest_becomes_an_archive_in_its_order(shoal: Shoal, tmp_path: Path) -> None:
    bodies = {f"o{number}": os.urandom(number * 50_000) for number in range(5)}
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
        shoal.ok("put", str(tmp_path / name), f"{shoal.bucket}/{name}")
    shoal.ok("archive", "put", f"{shoal.bucket}/s.tar", "in/o1", str(tmp_path / "o1"))
    bucket = shoal.bucket.removeprefix("ais://")
    lines = [f"{shoal.bucket}/{name}" for name in reversed(bodies)]
    lines.append(json.dumps({"object": f"{shoal.bucket}/s.tar", "member": "in/o1"}))
    lines.append(json.dumps({"object": f"{bucket}/o4", "start": 7, "length": 9}))
    (tmp_path / "manifest").write_text("\n".join(lines))
    shoal.ok("batch", str(tmp_path / "manifest"), "--to", str(tmp_path / "out.tgz"))
    with tarfile.open(tmp_path / "out.tgz") as archive:
        names = [member.name for member in archive.getmembers()]
        contents = [file.read() for member in archive.getmembers() if (file := archive.extractfile(member))]
    assert names == [
        *(f"{bucket}/{name}" for name in reversed(bodies)),
        f"{bucket}/s.tar/in/o1",
        f"{bucket}/o4",
    ]
    assert contents == [*reversed(bodies.values()), bodies["o1"], bodies["o4"][7:16]]


def test_what_is_missing_fails_the_batch_or_is_left_out(shoal: Shoal, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    shoal.ok("put", str(tmp_path / "file"), f"{shoal.bucket}/there")
    manifest = f"{shoal.bucket}/there\n\n{shoal.bucket}/none\n".encode()
    out = str(tmp_path / "out.zip")
    result = shoal.run("batch", "-", "--to", out, input=manifest)
    assert (result.exit_code, "none does not exist" in result.stderr) == (1, True)
    assert not Path(out).exists()
    result = shoal.run("batch", "-", "--to", out, "--missing-ok", input=manifest)
    assert (result.exit_code, "none does not exist" in result.stderr) == (1, True)
    with zipfile.ZipFile(out) as archive:
        assert [name.rpartition("/")[2] for name in archive.namelist()] == ["there"]
    assert shoal.run("batch", "-", "--to", out, input=b"").exit_code == 2
    assert shoal.run("batch", "-", "--to", out, input=b'{"objekt": 1}').exit_code == 2
    assert shoal.run("batch", "-", "--to", "out.rar", input=manifest).exit_code == 2
