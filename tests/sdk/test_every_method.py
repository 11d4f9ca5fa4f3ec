"""What the other modules leave of the official SDK's methods, and the proof that none is left: a list of them all."""

from __future__ import annotations

import ast
import io
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.cluster import Cluster
from aistore.sdk.errors import (
    AISError,
    ErrObjNotFound,
    ErrRemoteBckNotFound,
    InvalidBckProvider,
    InvalidURLException,
    JobInfoNotFound,
    Timeout,
)
from aistore.sdk.etl.etl_config import ETLConfig
from aistore.sdk.job import Job
from aistore.sdk.multiobj import ObjectGroup, ObjectRange
from aistore.sdk.namespace import Namespace
from aistore.sdk.obj.multipart_upload import MultipartUpload
from aistore.sdk.obj.obj_file.object_file import ObjectFileReader, ObjectFileWriter
from aistore.sdk.obj.object import Object
from aistore.sdk.obj.object_reader import ObjectReader
from aistore.sdk.obj.object_writer import ObjectWriter

from support.sdk_versions import IS_OLDER

FOLDER = Path(__file__).parent
BODY = b"first line\nsecond line\n" * 100_000
HERE = "test_every_method"
OLDER_HEADS = "test_objects:test_the_older_head_gives_all_headers_and_a_second_one_what_is_asked_for"

PROOFS: Mapping[type, Mapping[str, str]] = {
    Client: {
        "batch": "test_batch:test_objects_come_in_the_order_they_were_asked_for",
        "bucket": "test_buckets:test_a_missing_bucket_is_its_own_error",
        "cluster": "test_cluster:test_the_cluster_is_ready",
        "dsort": f"{HERE}:test_what_is_not_built_is_501",
        "etl": f"{HERE}:test_what_is_not_built_is_501",
        "get_object_from_url": f"{HERE}:test_an_object_is_found_by_its_url",
        "job": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
    },
    Cluster: {
        "client": f"{HERE}:test_each_part_has_its_client",
        "get_cluster_logs": "test_cluster:test_logs_are_read_from_every_node",
        "get_info": "test_cluster:test_the_map_names_the_gateway_as_primary",
        "get_node_log": "test_cluster:test_logs_are_read_from_every_node",
        "get_node_log_archive": "test_cluster:test_logs_are_read_from_every_node",
        "get_performance": "test_cluster:test_performance_has_an_entry_for_each_target",
        "get_primary_url": "test_cluster:test_the_map_names_the_gateway_as_primary",
        "get_uuid": "test_cluster:test_the_map_names_the_gateway_as_primary",
        "is_ready": "test_cluster:test_the_cluster_is_ready",
        "list_buckets": "test_buckets:test_a_bucket_is_listed_until_it_is_deleted",
        "list_etls": "test_cluster:test_etl_says_that_it_is_not_built",
        "list_jobs_status": "test_object_groups:test_all_jobs_are_listed",
        "list_running_jobs": "test_object_groups:test_all_jobs_are_listed",
    },
    Bucket: {
        "as_model": f"{HERE}:test_a_bucket_says_what_it_is",
        "client": f"{HERE}:test_each_part_has_its_client",
        "copy": "test_object_groups:test_a_bucket_is_copied_and_told_by_its_job",
        "create": "test_buckets:test_a_bucket_exists_once",
        "create_inventory": f"{HERE}:test_what_is_not_built_is_501",
        "delete": "test_buckets:test_a_bucket_is_listed_until_it_is_deleted",
        "destroy_inventory": f"{HERE}:test_what_is_not_built_is_501",
        "evict": f"{HERE}:test_what_only_remote_buckets_can_is_refused",
        "get_path": f"{HERE}:test_a_bucket_says_what_it_is",
        "head": "test_buckets:test_head_gives_the_properties",
        "info": "test_summaries:test_info_gives_properties_and_summary",
        "inspect": f"{HERE}:test_what_is_not_built_is_501",
        "list_all_objects": "test_buckets:test_all_objects_are_listed_in_order_whatever_the_page",
        "list_all_objects_iter": f"{HERE}:test_objects_of_a_listing_can_be_read",
        "list_archive": "test_object_groups:test_a_group_becomes_an_archive",
        "list_objects": f"{HERE}:test_a_page_names_the_next_one",
        "list_objects_iter": "test_buckets:test_all_objects_are_listed_in_order_whatever_the_page",
        "list_urls": f"{HERE}:test_urls_can_be_fetched_by_others",
        "make_request": f"{HERE}:test_a_bucket_says_what_it_is",
        "name": f"{HERE}:test_a_bucket_says_what_it_is",
        "namespace": f"{HERE}:test_a_bucket_says_what_it_is",
        "object": "test_objects:test_a_file_comes_back",
        "objects": "test_object_groups:test_a_group_is_deleted",
        "provider": f"{HERE}:test_a_bucket_says_what_it_is",
        "put_files": f"{HERE}:test_a_folder_is_put",
        "qparam": f"{HERE}:test_a_bucket_says_what_it_is",
        "rename": "test_object_groups:test_a_bucket_gets_another_name",
        "show_inventory": f"{HERE}:test_what_is_not_built_is_501",
        "summary": "test_summaries:test_a_summary_counts_objects_and_bytes",
        "transform": f"{HERE}:test_what_is_not_built_is_501",
        "verify_cloud_bucket": f"{HERE}:test_what_only_remote_buckets_can_is_refused",
    },
    Object: {
        "blob_download": "test_object_changes:test_what_is_not_built_is_501_and_changes_nothing",
        "bucket_name": f"{HERE}:test_an_object_is_found_by_its_url",
        "bucket_provider": f"{HERE}:test_an_object_is_found_by_its_url",
        "copy": "test_object_changes:test_copies_within_and_between_buckets",
        "delete": "test_objects:test_a_deleted_object_is_gone",
        "get_reader": "test_objects:test_a_file_comes_back",
        "get_semantic_url": f"{HERE}:test_an_object_is_found_by_its_url",
        "get_url": f"{HERE}:test_urls_can_be_fetched_by_others",
        "get_writer": "test_objects:test_a_file_comes_back",
        "head": "test_objects:test_head_and_props_tell_what_is_known",
        **({"head_v2": OLDER_HEADS} if IS_OLDER else {}),
        "multipart_upload": "test_multipart:test_parts_become_the_object",
        "name": f"{HERE}:test_an_object_is_found_by_its_url",
        "promote": "test_promote:test_files_and_folders_are_promoted",
        "props": "test_objects:test_head_and_props_tell_what_is_known",
        "props_cached": f"{HERE}:test_objects_of_a_listing_can_be_read",
        "query_params": f"{HERE}:test_an_object_is_found_by_its_url",
        "uname": f"{HERE}:test_an_object_is_found_by_its_url",
    },
    ObjectReader: {
        "as_file": f"{HERE}:test_an_object_is_read_as_a_file",
        "attributes": "test_object_changes:test_custom_properties_are_added_and_replaced",
        "head": f"{HERE}:test_a_reader_knows_what_it_reads",
        "raw": "test_objects:test_a_file_comes_back",
        "read_all": "test_objects:test_a_file_comes_back",
    },
    ObjectWriter: {
        "append_content": "test_multipart:test_an_object_grows_by_appends",
        "as_file": f"{HERE}:test_an_object_is_written_as_a_file",
        "put_content": "test_objects:test_content_of_any_size_comes_back",
        "put_file": "test_objects:test_a_file_comes_back",
        "set_custom_props": "test_object_changes:test_custom_properties_are_added_and_replaced",
    },
    ObjectFileReader: {
        "close": f"{HERE}:test_an_object_is_read_as_a_file",
        "read": f"{HERE}:test_an_object_is_read_as_a_file",
        "readable": f"{HERE}:test_an_object_is_read_as_a_file",
    },
    ObjectFileWriter: {
        "close": f"{HERE}:test_an_object_is_written_as_a_file",
        "flush": f"{HERE}:test_an_object_is_written_as_a_file",
        "write": f"{HERE}:test_an_object_is_written_as_a_file",
    },
    ObjectGroup: {
        "archive": "test_object_groups:test_a_group_becomes_an_archive",
        "client": f"{HERE}:test_each_part_has_its_client",
        "copy": "test_object_groups:test_a_group_is_copied_with_all_that_is_known_of_it",
        "delete": "test_object_groups:test_a_group_is_deleted",
        "evict": f"{HERE}:test_what_only_remote_buckets_can_is_refused",
        "inspect": f"{HERE}:test_what_is_not_built_is_501",
        "list_all_objects_iter": f"{HERE}:test_objects_of_a_group_can_be_read",
        "list_names": f"{HERE}:test_objects_of_a_group_can_be_read",
        "list_urls": f"{HERE}:test_urls_can_be_fetched_by_others",
        "prefetch": f"{HERE}:test_what_only_remote_buckets_can_is_refused",
        "transform": f"{HERE}:test_what_is_not_built_is_501",
    },
    Job: {
        "abort": "test_object_groups:test_a_job_is_stopped",
        "get_details": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
        "get_total_time": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
        "get_within_timeframe": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
        "job_id": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
        "job_kind": f"{HERE}:test_a_job_resolves_its_kind",
        "start": "test_jobs:test_a_kind_is_started_by_either_of_its_names",
        "status": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
        "wait": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
        "wait_for_idle": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
        "wait_single_node": "test_jobs:test_a_job_is_found_at_once_and_kept_after_its_end",
    },
    MultipartUpload: {
        "abort": "test_multipart:test_an_aborted_upload_is_gone",
        "add_part": "test_multipart:test_parts_become_the_object",
        "complete": "test_multipart:test_parts_become_the_object",
        "create": "test_multipart:test_parts_become_the_object",
    },
}
"""The test of each method, as module and function."""

LEFT_OUT: Mapping[tuple[type, str], str] = {
    (
        Bucket,
        "write_dataset",
    ): "webdataset's ShardWriter, which needs the extra `pytorch`, and then `put_file`",
}
"""And why."""


def public(kind: type) -> set[str]:
    """What the SDK itself defines for others to use; files inherit from Python's own."""
    ours = [each for each in kind.__mro__ if each.__module__.startswith("aistore.")]
    return {name for each in ours for name in vars(each) if not name.startswith("_")}


@cache
def functions_of(module: str) -> Mapping[str, set[str]]:
    """The attributes that each function of a module uses, and those of the functions beside it that it calls."""
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    found = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    used = {
        name: {node.attr for node in ast.walk(each) if isinstance(node, ast.Attribute)}
        for name, each in found.items()
    }
    called = {
        name: {node.id for node in ast.walk(each) if isinstance(node, ast.Name)} & set(found)
        for name, each in found.items()
    }
    return {name: used[name].union(*(used[other] for other in called[name])) for name in found}


@pytest.mark.parametrize("kind", PROOFS, ids=lambda kind: kind.__name__)
def test_no_public_method_is_without_a_test(kind: type) -> None:
    left_out = {name for each, name in LEFT_OUT if each is kind}
    assert set(PROOFS[kind]) | left_out == public(kind)
    assert not left_out & set(PROOFS[kind])


@pytest.mark.parametrize("kind", PROOFS, ids=lambda kind: kind.__name__)
def test_the_tests_that_are_named_use_the_method(kind: type) -> None:
    for method, proof in PROOFS[kind].items():
        module, _, test = proof.partition(":")
        assert method in functions_of(module)[test], f"{kind.__name__}.{method}: {proof}"


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for number in range(5):
        bucket.object(f"n-{number}").get_writer().put_content(str(number).encode())
    return bucket


@pytest.fixture
def other(client: Client, bucket: Bucket) -> Iterator[Bucket]:
    other = client.bucket(f"{bucket.name}-other").create()
    yield other
    other.delete(missing_ok=True)


def test_each_part_has_its_client(client: Client, bucket: Bucket) -> None:
    group = bucket.objects(obj_names=["a"])
    assert group.client is bucket.client is client.cluster().client


def test_a_bucket_says_what_it_is(client: Client, bucket: Bucket) -> None:
    space = Namespace(name="space")
    spaced = client.bucket(bucket.name, namespace=space).create()
    assert (spaced.name, spaced.namespace, spaced.provider.value) == (bucket.name, space, "ais")
    assert spaced.qparam == {"provider": "ais", "namespace": "@#space"}
    assert spaced.get_path() == f"ais/@#space/{bucket.name}/"
    assert spaced.as_model().name == bucket.name
    assert spaced.make_request("GET", "list").json()["entries"] == []
    spaced.delete()


def test_an_object_is_found_by_its_url(client: Client, filled: Bucket) -> None:
    item = client.get_object_from_url(f"ais://{filled.name}/n-3")
    assert item.get_reader().read_all() == b"3"
    assert (item.name, item.bucket_name, item.bucket_provider) == ("n-3", filled.name, filled.provider)
    assert item.get_semantic_url() == f"ais://{filled.name}/n-3"
    assert item.uname == f"ais/@#/{filled.name}/n-3"
    assert item.query_params == {"provider": "ais"}
    with pytest.raises(InvalidURLException):
        client.get_object_from_url("ais://")


def test_urls_can_be_fetched_by_others(filled: Bucket) -> None:
    urls = [*filled.list_urls(), *filled.objects(obj_names=["n-1"]).list_urls()]
    assert [requests.get(url, timeout=20).content for url in urls] == [b"0", b"1", b"2", b"3", b"4", b"1"]
    assert requests.get(filled.object("n-2").get_url(), timeout=20).content == b"2"


def test_a_page_names_the_next_one(filled: Bucket) -> None:
    first = filled.list_objects(page_size=3)
    assert [entry.name for entry in first.entries] == ["n-0", "n-1", "n-2"]
    second = filled.list_objects(page_size=3, uuid=first.uuid, continuation_token=first.continuation_token)
    assert [entry.object.get_reader().read_all() for entry in second.entries] == [b"3", b"4"]
    assert (second.continuation_token, second.uuid) == ("", first.uuid)


def test_objects_of_a_listing_can_be_read(filled: Bucket) -> None:
    found = list(
        filled.list_all_objects_iter(prefix="n-", props="name,size,version,checksum", start_after="n-1")
    )
    assert [item.get_reader().read_all() for item in found] == [b"2", b"3", b"4"]
    assert [item.props_cached.size for item in found] == [1, 1, 1]


def test_objects_of_a_group_can_be_read(filled: Bucket) -> None:
    group = filled.objects(obj_range=ObjectRange("n-", 1, 3))
    assert group.list_names() == ["n-1", "n-2", "n-3"]
    assert [item.get_reader().read_all() for item in group.list_all_objects_iter()] == [b"1", b"2", b"3"]
    assert [item.name for item in group.list_all_objects_iter(prefix="n-2")] == ["n-2"]
    with pytest.raises(AISError):
        list(filled.objects(obj_names=["none"]).list_all_objects_iter())


def test_a_folder_is_put(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "b.bin", "sub/c.txt"):
        (tmp_path / name).write_text(name)
    assert bucket.put_files(tmp_path, pattern="*.txt", recursive=True, dry_run=True)
    assert bucket.list_all_objects() == []
    bucket.put_files(tmp_path, pattern="*.txt", recursive=True, prepend="x/")
    assert [entry.name for entry in bucket.list_all_objects()] == ["x/a.txt", "x/sub/c.txt"]
    assert bucket.object("x/sub/c.txt").get_reader().read_all() == b"sub/c.txt"


def test_a_reader_knows_what_it_reads(filled: Bucket) -> None:
    reader = filled.object("n-1").get_reader()
    assert (reader.head().size, reader.attributes.size) == (1, 1)
    written = io.BytesIO()
    filled.object("n-4").get_reader(writer=written)
    assert written.getvalue() == b"4"
    assert filled.object("n-1").get_reader(latest=True).read_all() == b"1"


def test_an_object_is_read_as_a_file(bucket: Bucket) -> None:
    bucket.object("o").get_writer().put_content(BODY)
    with bucket.object("o").get_reader(chunk_size=50_000).as_file() as file:
        assert file.readable()
        assert file.read(10) == BODY[:10]
        assert file.readline() == b"\n"
        assert file.read(0) == b""
        assert file.read() == BODY[11:]
        assert file.read(1) == b""
    assert not file.readable()
    with pytest.raises(ValueError, match="closed"):
        file.read()
    file.close()
    with bucket.object("none").get_reader().as_file() as missing, pytest.raises(ErrObjNotFound):
        missing.read()


def test_an_object_is_written_as_a_file(bucket: Bucket) -> None:
    writer = bucket.object("o").get_writer()
    writer.put_content(b"kept ")
    with writer.as_file() as file:
        assert file.write(b"one ") == 4
        file.flush()
        assert bucket.object("o").get_reader().read_all() == b"kept one "
        file.write(BODY)
        file.write(b"end")
    assert bucket.object("o").get_reader().read_all() == b"kept one " + BODY + b"end"
    with writer.as_file("w") as file:
        file.write(b"new")
    file.close()
    assert bucket.object("o").get_reader().read_all() == b"new"
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")


def test_a_job_resolves_its_kind(client: Client, filled: Bucket) -> None:
    job = client.job(filled.objects(obj_names=["n-0"]).delete())
    assert job.wait(timeout=20).success
    assert job.job_kind == "delete-listrange"
    with pytest.raises(JobInfoNotFound):
        client.job(job_kind="ec-encode").get_within_timeframe(datetime.now(UTC))
    with pytest.raises(Timeout):
        client.job(job_kind="no-such-kind").wait_for_idle(timeout=1)
    with pytest.raises(ValueError, match="without an id"):
        client.job().abort()


def test_what_only_remote_buckets_can_is_refused(client: Client, filled: Bucket) -> None:
    group = filled.objects(obj_names=["n-0"])
    for call in (filled.evict, filled.verify_cloud_bucket, group.evict, group.prefetch):
        with pytest.raises(InvalidBckProvider):
            call()
    remote = client.bucket("nowhere", provider="aws")
    with pytest.raises(ErrRemoteBckNotFound):
        remote.list_objects()
    for call in (
        remote.evict,
        remote.objects(obj_names=["a"]).evict,
        remote.objects(obj_names=["a"]).prefetch,
    ):
        with pytest.raises(AISError) as error:
            call()
        assert error.value.status_code == 501


def etl_calls(client: Client, bucket: Bucket) -> Mapping[str, Callable[[], Any]]:
    group, item = bucket.objects(obj_names=["n-0"]), bucket.object("n-0")
    return {
        "transform": lambda: bucket.transform("an-etl", bucket),
        "inspect": lambda: bucket.inspect("an-etl"),
        "group transform": lambda: group.transform(bucket, "an-etl"),
        "group inspect": lambda: group.inspect("an-etl"),
        "inline": lambda: item.get_reader(etl=ETLConfig("an-etl")).read_all(),
        "copy": lambda: item.copy(bucket.object("copied"), etl=ETLConfig("an-etl")),
        "start": lambda: client.etl("an-etl").start(),
        "view": lambda: client.etl("an-etl").view(),
    }


def test_what_is_not_built_is_501(client: Client, filled: Bucket) -> None:
    calls = {
        **etl_calls(client, filled),
        "create_inventory": filled.create_inventory,
        "show_inventory": filled.show_inventory,
        "destroy_inventory": filled.destroy_inventory,
        "list by inventory": lambda: filled.list_objects(inventory_name="i"),
        "dsort": lambda: client.dsort("id").get_job_info(),
        "dsort abort": lambda: client.dsort("id").abort(),
    }
    for name, call in calls.items():
        with pytest.raises(AISError) as error:
            call()
        assert (name, error.value.status_code) == (name, 501)
        assert "not built" in error.value.message
    assert [entry.name for entry in filled.list_all_objects()] == [f"n-{number}" for number in range(5)]


COPIES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["n-0", "n-1", "n-2", "n-3", "n-4", "p.jpg", "q.jpg.txt"]),
    ({"prefix_filter": "n-"}, ["n-0", "n-1", "n-2", "n-3", "n-4"]),
    ({"prefix_filter": "p", "prepend": "x/"}, ["x/p.jpg"]),
    ({"ext": {"jpg": "txt"}, "prefix_filter": "p"}, ["p.txt"]),
    ({"ext": {".jpg": ".webp"}, "prefix_filter": "p", "prepend": "y-"}, ["y-p.webp"]),
    ({"ext": {"txt": "md"}, "prefix_filter": "q"}, ["q.jpg.md"]),
    ({"dry_run": True}, []),
    ({"force": True, "num_workers": 2, "latest": True, "prefix_filter": "p"}, ["p.jpg"]),
    ({"num_workers": -1, "sync": False, "prefix_filter": "p"}, ["p.jpg"]),
]
"""Options, and the names in the copy."""


def test_a_bucket_is_copied_as_the_options_say(client: Client, filled: Bucket) -> None:
    for name in ("p.jpg", "q.jpg.txt"):
        filled.object(name).get_writer().put_content(name.encode())

    def copied(number: int) -> list[str]:
        other = client.bucket(f"{filled.name}-{number}").create()
        try:
            assert client.job(filled.copy(other, **COPIES[number][0])).wait_for_idle(timeout=30).success
            return [entry.name for entry in other.list_all_objects()]
        finally:
            other.delete()

    # The SDK looks once a second and wants to see a job idle twice: all of them wait at once.
    with ThreadPoolExecutor(len(COPIES)) as threads:
        names = list(threads.map(copied, range(len(COPIES))))
    assert names == [expected for _, expected in COPIES]
    assert len(filled.list_all_objects()) == 7
