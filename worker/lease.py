"""What this process holds: jobs under a lease, each let go of when the lease has lapsed or the worker must stop."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.desk import Cancelled, LetGo


@dataclass(slots=True)
class Held:
    """One job in hand. The deadline is by this machine's own clock, and errs on the early side."""

    job_id: str
    run: int
    deadline: float
    lost: bool = False
    cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Whether another may have it by now."""
        return self.lost or time.monotonic() > self.deadline


@dataclass(slots=True)
class Hands:
    """All jobs that this process works on."""

    lease_seconds: float
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}")
    stopping: threading.Event = field(default_factory=threading.Event)
    """No new work; what is in hand may end."""
    must_let_go: threading.Event = field(default_factory=threading.Event)
    """Nor may it end: everything is let go of at its next sign of life."""
    _held: dict[str, Held] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def holding(self, job_id: str, run: int, claimed_at: float) -> Iterator[Held]:
        """Hold a job that was claimed at this moment of the machine's clock."""
        held = Held(job_id, run, claimed_at + self.lease_seconds)
        with self._lock:
            self._held[job_id] = held
        try:
            yield held
        finally:
            with self._lock:
                if self._held.get(job_id) is held:
                    del self._held[job_id]

    def all(self) -> list[Held]:
        """What is in hand now."""
        with self._lock:
            return list(self._held.values())

    def renewed(self, held: dict[str, Held], ours: dict[str, bool], began: float) -> None:
        """What a renewal that began at this moment came to: what is still ours, and what of it shall be cancelled."""
        for job_id, each in held.items():
            if job_id in ours:
                each.deadline = began + self.lease_seconds
                each.cancelled = ours[job_id]
            else:
                each.lost = True

    def check(self, held: Held) -> None:
        """Whether to go on with it; raises where not."""
        if held.is_over or self.must_let_go.is_set():
            raise LetGo
        if held.cancelled:
            raise Cancelled
