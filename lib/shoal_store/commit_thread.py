"""The thread that commits to a disk: what waits for any of the disk's indexes goes through in one round.

Each index has its own transaction, but a disk syncs for one at a time anyway, and one round wakes one thread, one event
loop, and sends one message to each gateway. That costs several times what committing one more record does.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence

from prometheus_client import Counter

from shoal_core.errors import InternalError, Unavailable
from shoal_core.load import Limit
from shoal_store.commit import Answer, Commit
from shoal_store.committer import IndexCommitter, Pending

GROUPS = Counter("shoal_store_commit_groups_total", "Transactions that committed or refused a group")
COMMITS = Counter("shoal_store_commits_total", "Commits in them")
COUNT_SECONDS = 0.5
"""Between two additions to the counters: one in each round would take a tenth of its time."""
DELIVERY_SECONDS_MAX = 0.001
"""How long a round waits at most for the event loop to send the answers of the one before."""
PENDING_MAX = 1024
ROUND_MAX = 256


class CommitThread:
    """Runs from `start` to `stop`; `submit` may be called from the event loop given at the start."""

    def __init__(self, committers: Sequence[IndexCommitter], *, name: str) -> None:
        self._name = name
        self._committers = committers
        self._pending: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"committer-{name}", daemon=True)
        self._limit = Limit("commits-pending", PENDING_MAX)
        self._stopping = False
        self._delivered = threading.Event()
        self.rounds = 0
        """Begun so far."""
        self._groups_counted = self._commits_counted = 0
        self._counting = False

    def start(self) -> None:
        for committer in self._committers:
            committer.resume_clock()
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finishes what is pending; takes nothing more."""
        self._stopping = True
        if self._thread.ident is None:
            return  # never started
        self._pending.put(None)
        await asyncio.to_thread(self._thread.join)
        self._count()

    def submit(self, committer: IndexCommitter, commit: Commit, answer: Answer) -> None:
        """`answer` hears of a refusal at once, of everything else when the round is over."""
        if self._stopping:
            answer(Unavailable(f"{self._name} is stopping: repeat after a pause"))
        elif self._pending.qsize() >= PENDING_MAX:
            answer(
                self._limit.refusal(f"{self._name} has {PENDING_MAX} commits waiting: repeat after a pause")
            )
        else:
            self._pending.put(Pending(committer, commit, answer))

    def _run(self) -> None:
        while (first := self._pending.get()) is not None:
            together, more = self._gather(first)
            self._commit(together)
            if not more:
                return

    def _gather(self, first: Pending) -> tuple[list[Pending], bool]:
        """What waits now, and whether there can be more afterwards."""
        together = [first]
        while len(together) < ROUND_MAX:
            try:
                pending = self._pending.get_nowait()
            except queue.Empty:
                break
            if pending is None:
                return together, False
            together.append(pending)
        return together, True

    def _commit(self, together: Sequence[Pending]) -> None:
        self.rounds += 1
        committed = []
        for committer in self._committers:
            group = [pending for pending in together if pending.committer is committer]
            if group and committer.commit(group):
                committed.append((committer, group))
        # When all transactions are through, however long that took.
        for committer, group in committed:
            committer.check_still_owner(group)
        self._delivered.clear()
        self._loop.call_soon_threadsafe(self._deliver, together)
        for committer, group in committed:
            committer.unlink_retired(group)
        # The answers need the interpreter that the next round would hold, and bring what that could take along.
        self._delivered.wait(DELIVERY_SECONDS_MAX)

    def _deliver(self, together: Sequence[Pending]) -> None:
        """On the event loop: one call for the whole round."""
        for pending in together:
            pending.answer(pending.outcome or InternalError("a commit ended without an outcome"))
        # Behind whatever the answers have put off to the end of this turn of the loop.
        self._loop.call_soon(self._delivered.set)
        if not self._counting:
            self._counting = True
            self._loop.call_later(COUNT_SECONDS, self._count)

    def _count(self) -> None:
        self._counting = False
        groups, commits = (
            sum(each.groups for each in self._committers),
            sum(each.commits for each in self._committers),
        )
        GROUPS.inc(groups - self._groups_counted)
        COMMITS.inc(commits - self._commits_counted)
        self._groups_counted, self._commits_counted = groups, commits
