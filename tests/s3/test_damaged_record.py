"""A bit that flips in a live target's index: users see an error that is one, and mend it by a PUT or DELETE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lmdb
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from support.cluster import Cluster
from support.s3_clients import s3_client


@pytest.fixture
def once(cluster: Cluster) -> Any:
    """boto3 that does not repeat what failed."""
    return s3_client(cluster, config=Config(retries={"total_max_attempts": 1}))


def flip_bit_of_record(mountpath: Path, name: bytes) -> int:
    """How many records of objects of this name there were."""
    found = 0
    with lmdb.open(str(mountpath / "index"), max_dbs=8, map_size=256 << 30, readahead=False) as environment:
        records, meta = (environment.open_db(table, create=False) for table in (b"records", b"meta"))
        with environment.begin(write=True) as transaction, transaction.cursor(db=records) as cursor:
            for key, value in list(cursor):
                if key[8:] == name:
                    transaction.put(key, value[:-1] + bytes((value[-1] ^ 1,)), db=records)
                    found += 1
            if found:
                # No write of the disk's is lost: the ledger has the number of this transaction.
                ledger = transaction.get(b"ledger", b"", db=meta)
                transaction.put(b"ledger", transaction.id().to_bytes(8) + ledger[8:], db=meta)
    return found


def test_put_and_delete_mend_damaged_records_and_no_listing_hides_them(
    cluster: Cluster, once: Any, bucket: str
) -> None:
    for name in ("flipped-1", "flipped-2", "neighbour"):
        once.put_object(Bucket=bucket, Key=name, Body=name.encode() * 5000)
    for flipped in (b"flipped-1", b"flipped-2"):
        counts = [flip_bit_of_record(mountpath, flipped) for mountpath in cluster.mountpaths()]
        assert sum(counts) == 1
    for call in (once.get_object, once.head_object):
        with pytest.raises(ClientError) as caught:
            call(Bucket=bucket, Key="flipped-1")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    with pytest.raises(ClientError, match="flipped-1"):
        once.list_objects_v2(Bucket=bucket)
    once.delete_object(Bucket=bucket, Key="flipped-1")
    with pytest.raises(ClientError, match="flipped-2"):
        once.list_objects_v2(Bucket=bucket)
    once.put_object(Bucket=bucket, Key="flipped-2", Body=b"new")
    listed = once.list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in listed] == ["flipped-2", "neighbour"]
    assert once.get_object(Bucket=bucket, Key="flipped-2")["Body"].read() == b"new"
