"""Promote: files below the allowed folder become objects, and nothing leads out of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from shoal_gateway.guard import LocalGuard
from shoal_gateway.parts import Parts
from support.asgi import Answer, Asking
from support.memory_gateway import application_of
from support.memory_store import MemoryObjectStore

FILES = {"one": b"1", "sub/two": b"2" * 3_000_000, "sub/deep/three": b"", "sub/deep/é 猫": b"4"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, body in FILES.items():
        path = tmp_path / "allowed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "allowed"


@pytest.fixture
def ask(parts: Parts, folder: Path) -> Asking:
    return Asking(application_of(replace(parts, promote_folder=folder), LocalGuard(port=51080)))


async def promote(ask: Asking, path: Path | str, **value: object) -> Answer:
    message = {"action": "promote", "name": str(path), "value": {"src": str(path), **value}}
    return await ask("POST", "/v1/objects/b", json_body=message)


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_a_file_gets_the_name_that_is_asked_for(ask: Asking, folder: Path) -> None:
    assert (await promote(ask, folder / "sub/two", obj="renamed")).status == 200
    assert (await promote(ask, folder / "sub/two")).status == 200
    for name in ("renamed", "two"):
        assert (await ask("GET", f"/v1/objects/b/{name}")).body == FILES["sub/two"]
    assert (folder / "sub/two").exists()


async def test_a_folder_gives_its_files_and_those_below_when_asked(
    ask: Asking, folder: Path, store: MemoryObjectStore
) -> None:
    assert (await promote(ask, folder, obj="flat")).status == 200
    assert store.names == ["flat/one"]
    assert (await promote(ask, folder, rcr=True)).status == 200
    assert store.names == sorted(["flat/one", *FILES])
    assert (await promote(ask, folder / "sub", obj="x/", rcr=True, dls=True)).status == 200
    assert {"x/two", "x/deep/three", "x/deep/é 猫"} < set(store.names)
    assert files_in(folder) == ["one"]


async def test_what_is_there_is_replaced_only_when_asked(ask: Asking, folder: Path) -> None:
    await ask("PUT", "/v1/objects/b/one", body=b"before")
    assert (await promote(ask, folder / "one", dls=True)).status == 200
    assert (await ask("GET", "/v1/objects/b/one")).body == b"before"
    assert (folder / "one").exists()
    assert (await promote(ask, folder / "one", ovw=True, dls=True)).status == 200
    assert (await ask("GET", "/v1/objects/b/one")).body == b"1"
    assert not (folder / "one").exists()


@pytest.mark.parametrize(
    "path",
    ["../secret", "/etc/passwd", "sub/../../secret", "", "relative", "missing", "link", "out/secret"],
)
async def test_nothing_leads_out_of_the_folder(
    ask: Asking, folder: Path, store: MemoryObjectStore, path: str
) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "out").symlink_to(folder.parent)
    given = path if path in ("", "relative") or path.startswith("/") else f"{folder}/{path}"
    answer = await promote(ask, given, rcr=True)
    assert answer.status == 400
    assert store.names == []


async def test_links_and_pipes_in_a_folder_are_passed_over(
    ask: Asking, folder: Path, store: MemoryObjectStore
) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "out").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe")
    assert (await promote(ask, folder, rcr=True)).status == 200
    assert store.names == sorted(FILES)


async def test_it_is_off_until_a_folder_is_allowed(parts: Parts, folder: Path) -> None:
    ask = Asking(application_of(parts, LocalGuard(port=51080)))
    assert (await promote(ask, folder / "one")).status == 501


async def test_another_hosts_target_is_refused(ask: Asking, folder: Path) -> None:
    assert (await promote(ask, folder / "one", tid="t1")).status == 200
    assert (await promote(ask, folder / "one", tid="t9")).status == 400
