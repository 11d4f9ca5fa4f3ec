"""The official SDK's loaders of batches and of shards, unchanged, under PyTorch's DataLoader."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from aistore import Client
from aistore.pytorch import AISMultiShardStream, AISShardReader
from aistore.pytorch.batch_iter_dataset import AISBatchIterDataset
from aistore.sdk import DataShard
from aistore.sdk.bucket import Bucket
from torch.utils.data import DataLoader

from support.cluster import Cluster
from support.tars import tar_of

pytestmark = pytest.mark.filterwarnings("default")

SHARDS = {
    f"shard-{shard}.tar": {
        f"sample-{shard}-{number}.{kind}": os.urandom(1000 * number + len(kind))
        for number in range(8)
        for kind in ("cls", "jpg")
    }
    for shard in range(3)
}


@pytest.fixture(scope="module")
def shards(cluster3: Cluster) -> Iterator[Bucket]:
    bucket = Client(cluster3.endpoint).bucket("torch-shards").create()
    for name, members in SHARDS.items():
        bucket.object(name).get_writer().put_content(tar_of(members))
    yield bucket
    bucket.delete(missing_ok=True)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("format", [".tar", ".tgz"])
@pytest.mark.parametrize("streaming", [True, False])
def test_batches_have_every_sample(
    cluster3: Cluster,
    torch_bucket: Bucket,
    samples: dict[str, bytes],
    workers: int,
    format: str,
    streaming: bool,
) -> None:
    dataset = AISBatchIterDataset(
        [torch_bucket], Client(cluster3.endpoint), max_batch_size=7, output_format=format, streaming=streaming
    )
    loader = DataLoader(dataset, num_workers=workers, collate_fn=lambda batch: batch[0])
    assert {name: bytes(content) for name, content in loader} == samples


@pytest.mark.parametrize("workers", [0, 2])
def test_the_shard_reader_has_every_sample(shards: Bucket, workers: int) -> None:
    dataset = AISShardReader(bucket_list=[shards])
    loader = DataLoader(dataset, num_workers=workers, collate_fn=lambda batch: batch[0])
    found = {
        f"{name}.{kind.lstrip('.')}": content
        for name, contents in loader
        for kind, content in contents.items()
    }
    assert found == {name: data for members in SHARDS.values() for name, data in members.items()}


def test_streams_of_several_shards_go_together(cluster3: Cluster, shards: Bucket) -> None:
    sources = [
        DataShard(client_url=cluster3.endpoint, bucket_name=shards.name, prefix=name, etl_name="")
        for name in ("shard-0", "shard-2")
    ]
    found = list(AISMultiShardStream(data_sources=sources))
    expected = [SHARDS[f"shard-{shard}.tar"] for shard in (0, 2)]
    assert found == [
        tuple(members[name] for members, name in zip(expected, names, strict=True))
        for names in zip(*(sorted(members) for members in expected), strict=True)
    ]
