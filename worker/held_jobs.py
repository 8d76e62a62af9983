"""The jobs that this process holds under a lease. It must release a job when its lease expires or the worker stops."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.context import Cancelled, JobReleased


@dataclass(slots=True)
class HeldJob:
    """One held job.

    The deadline is on this machine's monotonic clock. It counts from before the claim or renewal, so it is never later
    than the lease's end in the database.
    """

    job_id: str
    run: int
    deadline: float
    lost: bool = False
    cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Whether another worker may hold the job by now."""
        return self.lost or time.monotonic() > self.deadline


@dataclass(slots=True)
class HeldJobs:
    """All jobs that this process holds."""

    lease_seconds: float
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}")
    stopping: threading.Event = field(default_factory=threading.Event)
    """Take no new jobs; those that are held may finish."""
    must_release: threading.Event = field(default_factory=threading.Event)
    """Release the held jobs too: every running stage stops at its next `check`."""
    _held: dict[str, HeldJob] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def holding(self, job_id: str, run: int, claimed_at: float) -> Iterator[HeldJob]:
        """Hold a job for the duration of the block. `claimed_at` is the monotonic time just before its claim."""
        held = HeldJob(job_id, run, claimed_at + self.lease_seconds)
        with self._lock:
            self._held[job_id] = held
        try:
            yield held
        finally:
            with self._lock:
                if self._held.get(job_id) is held:
                    del self._held[job_id]

    def all(self) -> list[HeldJob]:
        """Return the jobs that are held now."""
        with self._lock:
            return list(self._held.values())

    def apply_renewal(self, held: dict[str, HeldJob], ours: dict[str, bool], began: float) -> None:
        """Apply the result of a lease renewal.

        `ours` has the jobs that this process still holds, each with whether it is to be cancelled. `began` is the
        monotonic time just before the renewal.
        """
        for job_id, each in held.items():
            if job_id in ours:
                each.deadline = began + self.lease_seconds
                each.cancelled = ours[job_id]
            else:
                each.lost = True

    def check(self, held: HeldJob) -> None:
        """Raise `JobReleased` or `Cancelled` if the stage must stop."""
        if held.is_over or self.must_release.is_set():
            raise JobReleased
        if held.cancelled:
            raise Cancelled
