"""What `shoal put` is going to send, under which names, and what it refuses before it sends anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from shoal_cli.uploads import Upload, planned


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "b.txt").write_bytes(b"12")
    (tmp_path / "sub" / "deep" / "a.txt").write_bytes(b"1")
    return tmp_path


def names(sources: list[Path], name: str, *, recursive: bool = False) -> list[str]:
    return [upload.name for upload in planned([str(path) for path in sources], name, recursive=recursive)]


@pytest.mark.parametrize(
    ("name", "expected"), [("", "b.txt"), ("x/", "x/b.txt"), ("x", "x"), ("x/y.bin", "x/y.bin")]
)
def test_one_file_goes_to_the_name_or_under_it(folder: Path, name: str, expected: str) -> None:
    assert names([folder / "b.txt"], name) == [expected]


@pytest.mark.parametrize(("name", "prefix"), [("", ""), ("x", "x/"), ("x/", "x/")])
def test_contents_of_a_folder_go_under_the_name(folder: Path, name: str, prefix: str) -> None:
    assert names([folder], name, recursive=True) == [f"{prefix}b.txt", f"{prefix}sub/deep/a.txt"]


def test_standard_input_becomes_the_object_named() -> None:
    assert planned(["-"], "log", recursive=False) == [Upload(None, "log", 0)]


@pytest.mark.parametrize(("sources", "name"), [(["-"], ""), (["-"], "x/"), (["-", "f"], "x")])
def test_standard_input_needs_a_name_for_itself(sources: list[str], name: str) -> None:
    with pytest.raises(typer.BadParameter, match="standard input"):
        planned(sources, name, recursive=False)


def test_folder_without_recursive_is_refused(folder: Path) -> None:
    with pytest.raises(typer.BadParameter, match="--recursive"):
        names([folder], "")


def test_two_files_for_one_name_are_refused(folder: Path) -> None:
    (folder / "sub" / "b.txt").write_bytes(b"")
    with pytest.raises(typer.BadParameter, match="would both become"):
        names([folder / "b.txt", folder / "sub" / "b.txt"], "x/")


def test_missing_file_is_a_usage_error(folder: Path) -> None:
    with pytest.raises(typer.BadParameter, match="No such file"):
        names([folder / "none"], "")


def test_file_name_that_is_not_utf8_is_refused(folder: Path) -> None:
    os.close(os.open(bytes(folder) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    with pytest.raises(typer.BadParameter, match="not UTF-8"):
        names([folder], "", recursive=True)


def test_pipe_in_a_folder_is_left_out_and_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")
    assert names([folder], "", recursive=True) == ["b.txt", "sub/deep/a.txt"]
    assert "pipe is not a file" in capsys.readouterr().err
