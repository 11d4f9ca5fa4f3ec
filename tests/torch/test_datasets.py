"""PyTorch's DataLoader over the official SDK's datasets, unchanged: every sample once, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from aistore.pytorch import AISIterDataset, AISMapDataset, AISParallelMapDataset
from aistore.sdk.bucket import Bucket
from aistore.sdk.obj.content_iterator.buffer import ParallelBuffer
from torch.utils.data import DataLoader

# The SDK's dataset has a default that torch looks at again, and forks beside gRPC's and HTTP's threads.
pytestmark = pytest.mark.filterwarnings("default")

Sample = tuple[str, bytes]


def first(batch: list[Sample]) -> Sample:
    return batch[0]


def content_of(batch: list[tuple[str, object]]) -> Sample:
    """Copies a buffer out of shared memory and gives that back, as a collate function has to."""
    name, buffer = batch[0]
    assert isinstance(buffer, ParallelBuffer)
    with buffer:
        return name, buffer.tobytes()


def found(loader: Iterable[Sample]) -> dict[str, bytes]:
    pairs = [(name.rpartition("/")[2], bytes(content)) for name, content in loader]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


@pytest.mark.parametrize("workers", [0, 2])
def test_map_dataset_has_every_sample(torch_bucket: Bucket, samples: dict[str, bytes], workers: int) -> None:
    dataset = AISMapDataset(ais_source_list=[torch_bucket])
    assert len(dataset) == len(samples)
    assert found(DataLoader(dataset, num_workers=workers, shuffle=True, collate_fn=first)) == samples


@pytest.mark.parametrize("workers", [0, 2])
def test_iterable_dataset_has_every_sample(
    torch_bucket: Bucket, samples: dict[str, bytes], workers: int
) -> None:
    dataset = AISIterDataset(ais_source_list=[torch_bucket])
    assert found(DataLoader(dataset, num_workers=workers, collate_fn=first)) == samples


def test_prefix_limits_the_samples(torch_bucket: Bucket, samples: dict[str, bytes]) -> None:
    dataset = AISMapDataset(ais_source_list=[torch_bucket], prefix_map={torch_bucket: "sample-1"})
    assert found(DataLoader(dataset, collate_fn=first)).keys() == {
        name for name in samples if name[-2] == "1"
    }


def test_parallel_map_dataset_has_every_sample(torch_bucket: Bucket, samples: dict[str, bytes]) -> None:
    dataset = AISParallelMapDataset(ais_source_list=[torch_bucket], num_workers=2)
    assert found(DataLoader(dataset, collate_fn=content_of)) == samples
