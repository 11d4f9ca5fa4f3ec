"""AIStore's short paths, and that a bucket of such a name has them for itself."""

from __future__ import annotations

import requests
from aistore import Client
from aistore.sdk.bucket import Bucket
from aistore.sdk.namespace import Namespace


def test_an_object_is_read_and_written_by_its_short_path(endpoint: str, bucket: Bucket) -> None:
    url = f"{endpoint}/ais/{bucket.name}/folder/a%20b%3F"
    assert requests.put(url, data=b"content", timeout=20).status_code == 200
    assert bucket.object("folder/a b?").get_reader().read_all() == b"content"
    assert requests.get(url, headers={"Range": "bytes=1-2"}, timeout=20).content == b"on"
    assert requests.head(url, timeout=20).headers["ais-present"] == "true"
    listed = requests.get(f"{endpoint}/ais/{bucket.name}", timeout=20).json()
    assert [entry["name"] for entry in listed["entries"]] == ["folder/a b?"]
    assert bucket.name in {each["name"] for each in requests.get(f"{endpoint}/ais", timeout=20).json()}
    assert requests.delete(url, timeout=20).status_code == 200
    missing = requests.get(url, timeout=20)
    assert (missing.status_code, missing.json()["status"]) == (404, 404)


def test_metrics_answer_at_the_short_path(endpoint: str) -> None:
    assert "shoal_" in requests.get(f"{endpoint}/metrics", timeout=20).text


def test_a_bucket_with_such_a_name_has_the_path_for_itself(endpoint: str, client: Client) -> None:
    for name in ("metrics", "ais"):
        made = client.bucket(name).create()
        try:
            answer = requests.get(f"{endpoint}/{name}", timeout=20)
            assert answer.status_code == 403
            assert answer.headers["content-type"].startswith("application/xml")
        finally:
            made.delete()


def test_a_bucket_in_a_namespace_does_not_take_the_path(endpoint: str, client: Client) -> None:
    made = client.bucket("metrics", namespace=Namespace(name="space")).create()
    try:
        assert "shoal_" in requests.get(f"{endpoint}/metrics", timeout=20).text
    finally:
        made.delete()
