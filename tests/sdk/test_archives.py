"""Archives through the official SDK: one member by its path, several by a pattern; hostile ones are errors."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import urlencode

import lz4.frame
import pytest
import requests
from aistore.sdk.archive_config import ArchiveConfig, ArchiveMode
from aistore.sdk.bucket import Bucket
from aistore.sdk.errors import AISError
from aistore.sdk.list_object_flag import ListObjectFlag

from support.tars import tar_of

MEMBERS = {
    "file1.txt": b"one",
    "file2.txt": os.urandom(70_000),
    "file2.cls": b"2",
    "empty": b"",
    "folder/file3.txt": os.urandom(300),
    "folder/" + "long" * 60 + ".json": b"{}",
    "large.bin": os.urandom((2 << 20) + 11),
}
FORMATS = (".tar", ".tgz", ".tar.gz", ".tar.lz4", ".zip")


def zip_of(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("folder/", b"")
        for number, (name, data) in enumerate(members.items()):
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
    return packed.getvalue()


def archive_of(extension: str, members: dict[str, bytes]) -> bytes:
    match extension:
        case ".zip":
            return zip_of(members)
        case ".tar.lz4":
            return bytes(lz4.frame.compress(tar_of(members, folder="folder")))
        case ".tar":
            return tar_of(members, folder="folder")
    return tar_of(members, mode="w:gz", folder="folder")


@pytest.mark.parametrize("extension", FORMATS)
def test_every_member_can_be_read_by_its_path(bucket: Bucket, extension: str) -> None:
    name = f"shard{extension}"
    bucket.object(name).get_writer().put_content(archive_of(extension, MEMBERS))
    for path, expected in [*MEMBERS.items(), ("./file1.txt", b"one"), ("/file1.txt", b"one")]:
        config = ArchiveConfig(archpath=path)
        assert bucket.object(name).get_reader(archive_config=config).read_all() == expected, path
    for missing in ("file9", "folder", "file"):
        with pytest.raises(AISError) as raised:
            bucket.object(name).get_reader(archive_config=ArchiveConfig(archpath=missing)).read_all()
        assert raised.value.status_code == 404


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_dialects_of_tar(bucket: Bucket, format: int) -> None:
    members = dict(MEMBERS)
    if format == tarfile.USTAR_FORMAT:
        members = {"a/" * 60 + "short": b"prefix", **{n: d for n, d in MEMBERS.items() if len(n) < 100}}
    bucket.object("plain").get_writer().put_content(tar_of(members, format=format))
    for path, expected in members.items():
        config = ArchiveConfig(archpath=path)
        assert bucket.object("plain").get_reader(archive_config=config).read_all() == expected, path


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize(
    ("mode", "pattern", "expected"),
    [
        (ArchiveMode.WDSKEY, "file2", ["file2.txt", "file2.cls"]),
        (ArchiveMode.PREFIX, "folder/", ["folder/file3.txt", "folder/" + "long" * 60 + ".json"]),
        (ArchiveMode.SUFFIX, ".cls", ["file2.cls"]),
        (ArchiveMode.SUBSTR, "arge", ["large.bin"]),
        (ArchiveMode.REGEXP, r"^file\d\.txt$", ["file1.txt", "file2.txt"]),
        (ArchiveMode.REGEXP, "no such", []),
    ],
)
def test_several_come_as_one_tar(
    bucket: Bucket, extension: str, mode: ArchiveMode, pattern: str, expected: list[str]
) -> None:
    bucket.object(f"s{extension}").get_writer().put_content(archive_of(extension, MEMBERS))
    config = ArchiveConfig(regex=pattern, mode=mode)
    packed = bucket.object(f"s{extension}").get_reader(archive_config=config).read_all()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == expected
        contents = [file.read() for member in members if (file := archive.extractfile(member))]
    assert contents == [MEMBERS[name] for name in expected]


def test_the_current_version_is_read_not_its_remembered_index(bucket: Bucket) -> None:
    for number in range(3):
        members = {"x" * number: b"filler", "file": f"version {number}".encode()}
        bucket.object("s.tar").get_writer().put_content(tar_of(members, folder="folder"))
        for _ in range(2):
            config = ArchiveConfig(archpath="file")
            assert bucket.object("s.tar").get_reader(archive_config=config).read_all() == members["file"]


def test_gnu_tar_reads_what_a_selection_gives(bucket: Bucket, tmp_path: Path) -> None:
    bucket.object("s.tar").get_writer().put_content(tar_of(MEMBERS, folder="folder"))
    config = ArchiveConfig(regex=".", mode=ArchiveMode.SUBSTR)
    packed = bucket.object("s.tar").get_reader(archive_config=config).read_all()
    listed = subprocess.run(["tar", "-tf", "-"], input=packed, capture_output=True, check=True)
    assert listed.stdout.decode().splitlines() == [name for name in MEMBERS if "." in name]


HOSTILE = {
    "text.tar": b"no archive at all" * 100,
    "cut.tar": tar_of(MEMBERS, folder="folder")[:80_000],
    "cut.tgz": tar_of(MEMBERS, mode="w:gz", folder="folder")[:50_000],
    "damaged.tgz": b"\x1f\x8b\x08\x00" + os.urandom(5000),
    "cut.zip": zip_of(MEMBERS)[:50_000],
    "empty.zip": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_archive_is_an_error_and_no_crash(bucket: Bucket, name: str) -> None:
    bucket.object(name).get_writer().put_content(HOSTILE[name])
    with pytest.raises(AISError) as raised:
        bucket.object(name).get_reader(archive_config=ArchiveConfig(archpath="large.bin")).read_all()
    assert raised.value.status_code == 400


def test_a_pattern_that_is_none_is_refused(bucket: Bucket) -> None:
    bucket.object("s.tar").get_writer().put_content(tar_of(MEMBERS, folder="folder"))
    config = ArchiveConfig(regex="(", mode=ArchiveMode.REGEXP)
    with pytest.raises(AISError) as raised:
        bucket.object("s.tar").get_reader(archive_config=config).read_all()
    assert raised.value.status_code == 400


@pytest.mark.parametrize("extension", FORMATS)
def test_the_files_in_an_archive_are_listed(bucket: Bucket, extension: str) -> None:
    bucket.object(f"s{extension}").get_writer().put_content(archive_of(extension, MEMBERS))
    entries = bucket.list_archive(f"s{extension}")
    assert {entry.name: entry.size for entry in entries} == {
        f"s{extension}/{name}": len(data) for name, data in MEMBERS.items()
    }
    everything = bucket.list_archive(f"s{extension}", include_archive_obj=True)
    assert everything[0].name == f"s{extension}"
    assert len(everything) == len(MEMBERS) + 1


@pytest.mark.parametrize("page_size", [1, 2, 7, 0])
def test_pages_of_a_listing_end_within_archives(bucket: Bucket, page_size: int) -> None:
    names = ("a", "a.tar", "a.tar.old", "a.tar/b", "b.zip", "c.tgz", "d")
    for name in names:
        content = archive_of(Path(name).suffix, MEMBERS) if Path(name).suffix in FORMATS else b"x"
        bucket.object(name).get_writer().put_content(content)
    listed = [
        entry.name for entry in bucket.list_all_objects(page_size=page_size, flags=[ListObjectFlag.ARCH_DIR])
    ]
    assert len(listed) == len(names) + 3 * len(MEMBERS)
    inside = [f"{name}/{member}" for name in ("a.tar", "b.zip", "c.tgz") for member in sorted(MEMBERS)]
    assert [name for name in listed if name in inside] == inside
    assert sorted(set(listed) - set(inside)) == sorted(names)


def test_what_only_calls_itself_an_archive_is_listed_as_an_object(bucket: Bucket) -> None:
    bucket.object("fake.tar").get_writer().put_content(b"text" * 1000)
    listed = bucket.list_all_objects(flags=[ListObjectFlag.ARCH_DIR])
    assert [(entry.name, entry.size) for entry in listed] == [("fake.tar", 4000)]


@pytest.mark.parametrize("extension", FORMATS)
def test_members_are_appended_and_archives_made(endpoint: str, bucket: Bucket, extension: str) -> None:
    name, more = f"s{extension}", {f"added/{number}": os.urandom(number * 40_000) for number in range(4)}
    for path, data in more.items():
        assert append(endpoint, bucket, name, path, data) == 200
    assert append(endpoint, bucket, name, "added/0", b"", pine="2") == 200
    check_members(bucket, name, more)
    bucket.object(name).get_writer().put_content(archive_of(extension, MEMBERS))
    assert append(endpoint, bucket, name, "added/3", more["added/3"], pine="2") == 200
    check_members(bucket, name, {**MEMBERS, "added/3": more["added/3"]})


def test_python_and_gnu_tar_read_what_was_appended_to(endpoint: str, bucket: Bucket) -> None:
    bucket.object("s.tgz").get_writer().put_content(archive_of(".tgz", MEMBERS))
    assert append(endpoint, bucket, "s.tgz", "new", b"new") == 200
    packed = bucket.object("s.tgz").get_reader().read_all()
    listed = subprocess.run(["tar", "-tzf", "-"], input=packed, capture_output=True, check=True)
    assert listed.stdout.decode().splitlines() == ["folder/", *MEMBERS, "new"]
    bucket.object("s.zip").get_writer().put_content(archive_of(".zip", MEMBERS))
    assert append(endpoint, bucket, "s.zip", "new", b"new") == 200
    with zipfile.ZipFile(io.BytesIO(bucket.object("s.zip").get_reader().read_all())) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["folder/", *MEMBERS, "new"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("in", {"Ais-Pine": "2"}, 404),
        ("in", {"Ais-Pine": "3"}, 400),
        ("../in", {}, 400),
        ("/in", {}, 400),
        ("in/", {}, 400),
        ("", {"Ais-Pine": "1"}, 400),
        ("in", {"ais-checksum-type": "md5", "ais-checksum-value": "00" * 16}, 400),
    ],
)
def test_appends_that_fail_leave_nothing(
    endpoint: str, bucket: Bucket, path: str, headers: dict[str, str], status: int
) -> None:
    assert append(endpoint, bucket, "none.tar", path, b"x", **headers) == status
    assert bucket.list_all_objects() == []


def test_nothing_is_appended_to_what_is_no_archive(endpoint: str, bucket: Bucket) -> None:
    bucket.object("text.tar").get_writer().put_content(b"text" * 1000)
    assert append(endpoint, bucket, "text.tar", "in", b"x") == 400
    assert bucket.object("text.tar").get_reader().read_all() == b"text" * 1000


def append(
    endpoint: str, bucket: Bucket, name: str, path: str, data: bytes, *, pine: str = "1", **headers: str
) -> int:
    """The status."""
    query = urlencode({"provider": "ais", "archpath": path})
    answer = requests.put(
        f"{endpoint}/v1/objects/{bucket.name}/{name}?{query}",
        data,
        headers={"Ais-Pine": pine} | headers,
        timeout=60,
    )
    return answer.status_code


def check_members(bucket: Bucket, name: str, members: dict[str, bytes]) -> None:
    for path, expected in members.items():
        config = ArchiveConfig(archpath=path)
        assert bucket.object(name).get_reader(archive_config=config).read_all() == expected, path
