"""What we write, read by others: Python's tarfile and zipfile, GNU tar, unzip and lz4 from the distribution."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path
from shutil import which

import pytest

from shoal_archive.formats import ArchiveFormat
from shoal_archive.packing import packer_of
from shoal_core.objects import BodyBytes

MEMBERS = {
    "a.txt": b"one",
    "empty": b"",
    "exactly/512": os.urandom(512),
    "exactly/100-" + "n" * 88: os.urandom(700),
    "long/" + "name/" * 40 + "end": os.urandom(2000),
    "ü/ö.bin": os.urandom(70_000),
    "large": os.urandom((1 << 20) + 3),
}


def packed(format: ArchiveFormat) -> bytes:
    """Small members whole, large ones in pieces, as batches and jobs write them."""
    packer, compressor = packer_of(format, modified_seconds=1_700_000_000)
    written: list[BodyBytes] = []
    with closing(packer):
        for name, data in MEMBERS.items():
            if len(data) <= 2000:
                written += packer.whole(name, data)
                continue
            written.append(packer.begin(name, len(data)))
            written += [packer.piece(data[start : start + 30_000]) for start in range(0, len(data), 30_000)]
            written.append(packer.finish())
        written.append(packer.end())
    if compressor is None:
        return b"".join(written)
    return b"".join([compressor.compress(bytes(piece)) for piece in written]) + compressor.finish()


def output(*command: str, given: bytes = b"") -> bytes:
    if which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: apt-get install {command[0]}")
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, input=given, capture_output=True, check=True, env=environment).stdout


@pytest.mark.parametrize(
    ("format", "mode"),
    [(ArchiveFormat.TAR, "r:"), (ArchiveFormat.TAR_GZIP, "r:gz"), (ArchiveFormat.TAR, "r|")],
)
def test_tarfile_reads_what_we_write(format: ArchiveFormat, mode: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(format)), mode=mode) as archive:  # type: ignore[call-overload]
        found = {member.name: archive.extractfile(member).read() for member in archive}
    assert found == MEMBERS


def test_zipfile_reads_what_we_write() -> None:
    with zipfile.ZipFile(io.BytesIO(packed(ArchiveFormat.ZIP))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS


@pytest.mark.parametrize("format", [ArchiveFormat.TAR, ArchiveFormat.TAR_GZIP])
def test_gnu_tar_reads_what_we_write(tmp_path: Path, format: ArchiveFormat) -> None:
    archive = tmp_path / f"a{format.value}"
    archive.write_bytes(packed(format))
    assert output("tar", "-tf", str(archive), "--quoting-style=literal").decode().splitlines() == list(
        MEMBERS
    )
    assert output("tar", "-xOf", str(archive)) == b"".join(MEMBERS.values())


def test_lz4_and_gnu_tar_read_what_we_write() -> None:
    plain = output("lz4", "-dc", given=packed(ArchiveFormat.TAR_LZ4))
    assert output("tar", "-xOf", "-", given=plain) == b"".join(MEMBERS.values())


def test_unzip_reads_what_we_write(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(packed(ArchiveFormat.ZIP))
    assert b"No errors detected" in output("unzip", "-t", str(archive))
    assert output("unzip", "-p", str(archive)) == b"".join(MEMBERS.values())
