"""Clusters for every ring of tests: one that is shared and not broken, one that may be broken, new ones."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shoal_store.reserve import FILE
from support.cluster import FORK_SUPPORT, Cluster
from support.other_host import TwoHosts, can_make_hosts
from support.real_input import library_files, write_large_file

# Tests start clusters by a fork (`start_bound_process`) while their gRPC clients are at work: one of five such children
# dies of gRPC's own handlers of forks (docs/development.md).
os.environ[FORK_SUPPORT] = "0"


def pytest_collection_finish() -> None:
    """Thousands of collected tests are there until the end: do not look through them at each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """pytest's, kept as it is until the next run, but for what is large and empty: the reserves of mountpaths.

    To remove a mountpath's 258 folders after each test is dear: ext4 without a journal takes none of the inodes that
    were freed in the last minutes, and looks at each of them before it takes another."""
    yield tmp_path
    for folder, folders, files in os.walk(tmp_path):
        if FILE in files:
            Path(folder, FILE).unlink()
            folders.clear()


def cluster_factory(stack: ExitStack) -> Callable[..., Cluster]:
    def new_cluster(*, targets: int = 1, local_reads: bool = True, workers: int = 2) -> Cluster:
        cluster = Cluster.temporary(targets=targets, local_reads=local_reads, workers=workers)
        stack.callback(cluster.remove)
        return cluster.start()

    return new_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One target. Shared: use buckets of your own, and break nothing."""
    with ExitStack() as stack:
        yield cluster_factory(stack)(targets=1)


@pytest.fixture(scope="session")
def cluster3() -> Iterator[Cluster]:
    """Three targets. Shared: use buckets of your own, and break nothing."""
    with ExitStack() as stack:
        yield cluster_factory(stack)(targets=3)


@pytest.fixture(scope="session")
def two_hosts() -> Iterator[TwoHosts]:
    """A target and a gateway on each, which redirect. Shared: use buckets of your own, and break nothing."""
    if not can_make_hosts():
        pytest.skip("may make no namespaces here, and so no second host")
    with TwoHosts() as hosts:
        yield hosts


@pytest.fixture(scope="module")
def breakable_cluster() -> Iterator[Cluster]:
    """Three targets, shared by the tests of one module that kill processes and wait until all is well again."""
    with ExitStack() as stack:
        yield cluster_factory(stack)(targets=3)


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters that live as long as the module's tests, or until they are stopped."""
    with ExitStack() as stack:
        yield cluster_factory(stack)


@pytest.fixture
def new_cluster() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters for one test that may do with them what it wants."""
    with ExitStack() as stack:
        yield cluster_factory(stack)


@pytest.fixture(scope="session")
def library() -> dict[str, Path]:
    """Name -> path of every source file of the standard library."""
    return library_files()


@pytest.fixture(scope="session")
def file_of_300_mib(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("large") / "300MiB"
    write_large_file(path)
    yield path
    path.unlink()
