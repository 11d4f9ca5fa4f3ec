"""The data folder: made, locked, refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal_cli.supervisor.folder import FREE_BYTES_MIN, DataFolder, is_owned, owned, require_space
from shoal_core.errors import ConfigurationError

HOLDER = """
import sys
from pathlib import Path
from shoal_cli.supervisor.folder import DataFolder, owned
with owned(DataFolder(Path(sys.argv[1]))):
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_owner(folder: DataFolder) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLDER, str(folder.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"owned\n"
        yield process


def laid_out(root: Path) -> DataFolder:
    root.mkdir(exist_ok=True)
    (root / "shoal.json").write_text("{}")
    return DataFolder(root)


def test_the_folder_is_absolute_and_a_tilde_is_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert DataFolder.at(Path("shoal-data")).root == tmp_path / "shoal-data"
    assert DataFolder.at(Path("~/data")).root == Path.home() / "data"


def test_a_new_folder_is_private_and_owned_inside_the_block(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data")
    with owned(folder):
        assert folder.root.stat().st_mode & 0o777 == 0o700
        assert is_owned(folder)
        folder.layout_file.write_text("{}")
    assert not is_owned(folder)


def test_a_start_that_fails_early_leaves_no_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    with pytest.raises(ConfigurationError, match="port"), owned(folder):
        raise ConfigurationError("port 51080 is taken")
    assert not folder.root.exists()


def test_a_start_that_fails_early_leaves_an_existing_folder(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "data")
    with pytest.raises(ConfigurationError), owned(folder):
        raise ConfigurationError("port 51080 is taken")
    assert folder.layout_file.exists()


def test_a_second_owner_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "data")
    with another_owner(folder) as process:
        assert is_owned(folder)
        with pytest.raises(ConfigurationError, match=r"a cluster runs on .* already"), owned(folder):
            raise AssertionError("two owners")
        process.kill()
    with owned(folder):
        pass


def test_a_folder_with_other_things_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with (
        pytest.raises(ConfigurationError, match=r"holds other things \(thesis\.tex\)"),
        owned(DataFolder(tmp_path)),
    ):
        raise AssertionError("taken over")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    with owned(DataFolder(tmp_path)):
        assert is_owned(DataFolder(tmp_path))


@pytest.mark.parametrize("below", ["", "data"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("precious")
    root = tmp_path / "file" / below
    sentence = f"cannot use data folder {root}: .*; choose another with --data"
    with pytest.raises(ConfigurationError, match=sentence), owned(DataFolder(root)):
        raise AssertionError("taken over")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="Permission denied"), owned(DataFolder(tmp_path / "data")):
        raise AssertionError("written")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FREE_BYTES_MIN // 2}", "tmpfs", str(place)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("only root may mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_refused_and_nothing_is_left_on_it(small_disk: Path) -> None:
    sentence = "32 MiB free and 64 MiB are needed"
    with pytest.raises(ConfigurationError, match=sentence), owned(DataFolder(small_disk / "data")):
        raise AssertionError("started")
    assert list(small_disk.iterdir()) == []


def test_a_disk_with_room_is_accepted(tmp_path: Path) -> None:
    require_space(DataFolder(tmp_path))


def test_without_a_folder_nobody_owns_it(tmp_path: Path) -> None:
    assert not is_owned(DataFolder(tmp_path / "none"))
