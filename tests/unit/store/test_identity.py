"""shoal.json: a folder is made a mountpath once, and is never taken for another one, however it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shoal_core.errors import ConfigurationError
from shoal_store.identity import FOLDERS, Identity, prepare_mountpath, read_identity
from shoal_store.index import Index


def prepare(path: Path, cluster: str = "c1", target: str = "t1", mountpath: str = "mp1") -> Identity:
    return prepare_mountpath(path, cluster=cluster, target=target, mountpath=mountpath)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mp1"
    prepare(path)
    return path


def test_a_new_mountpath_has_all_its_folders_and_an_empty_index(path: Path) -> None:
    assert {entry.name for entry in path.iterdir()} == {*FOLDERS, "shoal.json"}
    assert len(list((path / "data").iterdir())) == 256
    Index("mp1", path, writable=False).close()


def test_a_used_mountpath_is_recognised_and_left_as_it_is(path: Path) -> None:
    before = (path / "shoal.json").read_bytes()
    found = prepare(path)
    assert (found.format, found.cluster, found.target, found.mountpath) == (1, "c1", "t1", "mp1")
    assert (path / "shoal.json").read_bytes() == before


@pytest.mark.parametrize("changed", [{"cluster": "c2"}, {"target": "t2"}, {"mountpath": "mp2"}], ids=str)
def test_the_mountpath_of_another_is_refused(path: Path, changed: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="belongs to mountpath mp1 of target t1 in cluster c1"):
        prepare(path, **changed)


def test_a_folder_with_files_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ConfigurationError, match="not Shoal's"):
        prepare(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_beginning_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / ".shoal-unfinished").touch()
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "data.mdb").write_bytes(b"torn")
    prepare(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {*FOLDERS, "shoal.json"}


def test_a_newer_format_is_refused_by_name_whatever_else_it_says(path: Path) -> None:
    (path / "shoal.json").write_text('{"format": 2, "owner": ["new", "fields"]}')
    with pytest.raises(ConfigurationError, match="has storage format 2, this Shoal knows 1: use the Shoal"):
        prepare(path)


def test_a_changed_byte_never_makes_it_another_mountpath(path: Path) -> None:
    file = path / "shoal.json"
    whole, times = file.read_bytes(), b"created_ns"
    for position in range(len(whole)):
        for flip in (0x01, 0x02, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[position] ^= flip
            file.write_bytes(changed)
            # Nothing depends on the time: a changed one may go unnoticed.
            if not (position > whole.index(times) and is_json(bytes(changed))):
                with pytest.raises(ConfigurationError):
                    prepare(path)


def test_a_missing_byte_is_found_wherever_it_is(path: Path) -> None:
    whole = (path / "shoal.json").read_bytes()
    for length in range(len(whole)):
        (path / "shoal.json").write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match="restore it or choose another folder"):
            read_identity(path)


def is_json(content: bytes) -> bool:
    try:
        return "created_ns" in json.loads(content)
    except ValueError:
        return False
