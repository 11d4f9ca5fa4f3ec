"""Requests that schemathesis makes of our own OpenAPI, right and wrong, sent to a cluster by several processes."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Statuses: TypeAlias = Counter[int]

PROCESSES = min(2, os.cpu_count() or 1)
"""One makes requests while the other, and the cluster, answer: making one takes longer than answering it."""
SECONDS_MAX = 15.0
NOT_BUILT = 501
BUSY = 503
OBJECTS = ("a", "shard.tar", "folder/b")


def fuzzed(endpoint: str, *, requests_min: int, seed: int) -> Statuses:
    """Statuses of at least so many requests, as many to each operation. Raises AssertionError for an answer that
    breaks the rules."""
    each = -(-requests_min // len(operations_of(endpoint)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        share = partial(fuzzed_share, endpoint, each, seed)
        return sum(pool.map(share, range(PROCESSES)), Counter[int]())


def operations_of(endpoint: str) -> Sequence[Operation]:
    schema = schemathesis.openapi.from_url(f"{endpoint}/-/openapi.json")
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    # A watch goes on for ever, as it should.
    return [operation for operation in found if not operation.path.endswith(":watch")]


def fuzzed_share(endpoint: str, each: int, seed: int, process: int) -> Statuses:
    """In a process of its own, from which an exception comes home as words."""
    statuses: Statuses = Counter()
    with requests.Session() as session:
        fuzzer = Fuzzer(endpoint, session, seed, (f"fuzz-{process}-1", f"fuzz-{process}-2"))
        for operation in operations_of(endpoint)[process::PROCESSES]:
            try:
                fuzzer.make_world()
                statuses += fuzzer.statuses_of(operation, each)
            except Exception as error:
                raise AssertionError(
                    f"{operation.label}: {''.join(traceback.format_exception(error))}"
                ) from None
    return statuses


@dataclass(frozen=True)
class Fuzzer:
    """Of one process, with buckets of its own: operations may remove them."""

    endpoint: str
    session: requests.Session
    seed: int
    buckets: tuple[str, ...]

    def make_world(self) -> None:
        """Buckets and objects to hit; an operation before may have removed them."""
        for bucket in self.buckets:
            message = {"action": "create-bck"}
            self.session.post(f"{self.endpoint}/v1/buckets/{bucket}", json=message, timeout=60)
            for name in OBJECTS:
                url = f"{self.endpoint}/v1/objects/{bucket}/{name}"
                self.session.put(url, data=b"content", timeout=60).raise_for_status()

    def statuses_of(self, operation: Operation, count: int) -> Statuses:
        """Of so many requests to one operation, half of them right by the schema."""
        statuses: Statuses = Counter()
        modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @hypothesis.seed(self.seed)
        @settings(
            max_examples=count, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(
            case=st.one_of(modes),
            bucket=st.sampled_from(self.buckets),
            name=st.sampled_from(OBJECTS),
            known=st.booleans(),
        )
        def ask(case: Case[Any], bucket: str, name: str, known: bool) -> None:
            if known:
                for field, value in (
                    ("bucket", bucket),
                    ("bucket_name", bucket),
                    ("name", name),
                    ("key", name),
                ):
                    if field in case.path_parameters:
                        case.path_parameters[field] = value
            statuses[self.status_of(case)] += 1

        ask()
        # Hypothesis stops early where there is little to vary; the count is of requests.
        for case in self.examples(modes[0]):
            while statuses.total() < count:
                statuses[self.status_of(case)] += 1
        return statuses

    def status_of(self, case: Case[Any]) -> int:
        response = case.call(base_url=self.endpoint, session=self.session, timeout=SECONDS_MAX)
        status: int = response.status_code
        assert status < 500 or status in (NOT_BUILT, BUSY), case.as_curl_command()
        assert b"Traceback" not in response.content, case.as_curl_command()
        return status

    def examples(self, strategy: st.SearchStrategy[Case[Any]]) -> Iterator[Case[Any]]:
        """One."""
        found: list[Case[Any]] = []

        @hypothesis.seed(self.seed)
        @settings(
            max_examples=1, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(strategy)
        def take(case: Case[Any]) -> None:
            found.append(case)

        take()
        yield from found[:1]
