"""A writing client that keeps a log of what was acknowledged, so that a test can demand all of it back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import requests

SIZES = (0, 1, 4096, 32 * 1024, 32 * 1024 + 1, 200_000, 3 << 20)


@dataclass
class AcknowledgedWrites:
    """What was promised: name -> body. A write without an answer is in doubt: old or new body."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    in_doubt: dict[str, list[bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        with self.lock:
            return len(self.bodies)

    def acknowledge(self, name: str, body: bytes) -> None:
        with self.lock:
            self.bodies[name] = body
            self.in_doubt.pop(name, None)

    def doubt(self, name: str, body: bytes) -> None:
        with self.lock:
            self.in_doubt.setdefault(name, []).append(body)

    def allowed(self, name: str) -> list[bytes]:
        return [self.bodies[name], *self.in_doubt.get(name, [])]


class Writers:
    """`threads` clients that put (and overwrite) objects over AIStore REST until they are told to stop."""

    def __init__(self, endpoint: str, bucket: str, *, threads: int = 4, seed: int = 1) -> None:
        self.url = f"{endpoint}/v1/objects/{bucket}"
        self.log = AcknowledgedWrites()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(seed * 1000 + i,)) for i in range(threads)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def wait_for(self, acknowledged: int, *, timeout_seconds: float = 60) -> None:
        wait_until(
            lambda: len(self.log) >= acknowledged, timeout_seconds, f"{acknowledged} acknowledged writes"
        )

    def _write(self, seed: int) -> None:
        with requests.Session() as session:
            self._write_with(session, random.Random(seed), seed)

    def _write_with(self, session: requests.Session, chance: random.Random, seed: int) -> None:
        count = 0
        while not self._stop.is_set():
            overwrite = count > 20 and chance.random() < 0.2
            name = f"w{seed}/{chance.randrange(count) if overwrite else count}"
            body = chance.randbytes(chance.choice(SIZES))
            count += not overwrite
            try:
                answer = session.put(f"{self.url}/{name}", data=body, timeout=20)
            except requests.RequestException:
                self.log.doubt(name, body)
                self._stop.wait(0.05)
                continue
            if answer.status_code == 200:
                self.log.acknowledge(name, body)
            else:
                assert answer.status_code in (429, 503), f"{answer.status_code} {answer.text}"
                self.log.doubt(name, body)
                self._stop.wait(0.05)


def assert_all_there(endpoint: str, bucket: str, log: AcknowledgedWrites) -> None:
    with requests.Session() as session:
        for name in log.bodies:
            answer = patient_get(session, f"{endpoint}/v1/objects/{bucket}/{name}")
            assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"
            assert answer.content in log.allowed(name), (
                f"{name}: {len(answer.content)} bytes that nobody wrote"
            )


def patient_get(session: requests.Session, url: str, *, patience_seconds: float = 15) -> requests.Response:
    """As a client that honours Retry-After: a gateway may need a moment to find a target that was restarted."""
    deadline = time.monotonic() + patience_seconds
    while (answer := session.get(url, timeout=30)).status_code == 503 and time.monotonic() < deadline:
        assert "Retry-After" in answer.headers
        time.sleep(0.1)
    return answer


def wait_until(condition: Callable[[], bool], timeout_seconds: float, what: str) -> None:
    """Poll a condition of another process; there is nothing to await across processes."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(0.02)
