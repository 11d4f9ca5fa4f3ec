"""`Object.promote` of the official SDK: files of the host become objects."""

from __future__ import annotations

from uuid import uuid4

import pytest
from aistore import Client
from aistore.sdk.errors import AISError

from support.cluster import Cluster


def test_files_and_folders_are_promoted(cluster: Cluster) -> None:
    bucket = Client(cluster.endpoint).bucket(f"promote-{uuid4().hex[:8]}").create()
    folder = cluster.promote_folder / bucket.name
    (folder / "sub").mkdir(parents=True)
    (folder / "one").write_bytes(b"1")
    (folder / "sub" / "two").write_bytes(b"2")
    assert bucket.object("named").promote(str(folder / "one")) == ""
    bucket.object("all").promote(str(folder), recursive=True, delete_source=True)
    assert [entry.name for entry in bucket.list_all_objects()] == ["all/one", "all/sub/two", "named"]
    assert bucket.object("named").get_reader().read_all() == b"1"
    assert not (folder / "one").exists()
    with pytest.raises(AISError) as error:
        bucket.object("x").promote("/etc/hostname")
    assert error.value.status_code == 400
    bucket.delete()
