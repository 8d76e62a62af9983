"""A stage's context over the database: each call is a short transaction, refused if the job has moved on."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from reelq.errors import CreditsExhausted, FileUnreadable, LimitReached, NotSent, ReelqError, RemoteError
from reelq.job import OpenSend
from reelq.manifest.inputs import is_url
from reelq.nemo import timeline
from reelq.nemo.client import Remote
from reelq.settings import Settings
from reelq.storage import Storage
from reelq.store import assets
from reelq.store.billing import ledger
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Outcome
from reelq.store.jobs import dependents, leases, sends, transitions
from reelq.store.jobs.claims import Claimed
from worker.context import InputFiles, JobReleased

log = logging.getLogger(__name__)
PROGRESS_EVERY: Final = 3.0


class DatabaseContext:
    """Implements `worker.context.StageContext`."""

    def __init__(
        self, store: Store, settings: Settings, remote: Remote, claimed: Claimed, check: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.storage = Storage.of(settings)
        self.remote = remote
        self._store = store
        self._job = claimed.job
        self._at = claimed.at
        self._check = check
        self._started_at = self._last_message_at = time.monotonic()

    def check(self) -> None:
        self._check()
        minutes = int(time.monotonic() - self._last_message_at) // 120 * 2
        if minutes:
            self.say(f"still working, {int(time.monotonic() - self._started_at) // 60} min")

    def progress(self, message: str) -> None:
        if time.monotonic() - self._last_message_at >= PROGRESS_EVERY:
            self.say(message)

    def say(self, message: str) -> None:
        self._last_message_at = time.monotonic()
        with self._store.autocommit() as session:
            if not transitions.write_progress(session, self._at, self._store.now(session), "progress", message):
                raise JobReleased

    @contextmanager
    def _fenced(self) -> Iterator[tuple[Transaction, datetime]]:
        """Open a transaction that locks the job. Raise `JobReleased` if this worker's run no longer holds it."""
        with self._store.write() as session:
            if not leases.fence(session, self._at):
                raise JobReleased
            yield session, self._store.now(session)

    def input_files(self) -> InputFiles:
        job = self._job
        named = [name for name in (job.file, *job.references) if name]
        urls = tuple(filter(is_url, named))
        if not job.inputs:
            return InputFiles(tuple(Path(job.source, name) for name in named if name not in urls), urls)
        with self._store.read() as session:
            uploads = assets.named_inputs(session, job)
        paths = []
        for sha256, name in uploads:
            try:
                paths.append(self.storage.path(sha256))
            except FileNotFoundError:
                message = f"{name} is no longer in storage"
                raise FileUnreadable(message, "Upload it again, then retry the row.") from None
        return InputFiles(tuple(paths), urls, tuple(name for _, name in uploads))

    def remember_upload(self, fingerprint: str) -> None:
        with self._store.autocommit() as session:
            if not transitions.change(session, self._at, upload_baseline=fingerprint):
                raise JobReleased

    def reserve_render(self) -> str:
        render_id = f"render_{uuid.uuid4().hex}"
        with self._store.autocommit() as session:
            if not leases.record_render(session, self._at, render_id):
                raise JobReleased
        return render_id

    def same_result(self) -> dependents.Result | None:
        with self._store.read() as session:
            return dependents.result_of_original(session, self._job.id)

    def open_send(self) -> OpenSend | None:
        with self._store.read() as session:
            return sends.open_send(session, self._job.id, self._store.now(session))

    def intend(self, baseline: dict[str, Any] | None) -> str:
        fingerprint = timeline.fingerprint(baseline)
        with self._store.write() as session:
            # Lock the limit's row before the job's. Everything that locks both does so in this order.
            if not ledger.limit_allows_job(session, self._job.id):
                raise LimitReached
            if not leases.fence(session, self._at):
                raise JobReleased
            now = self._store.now(session)
            return sends.record(session, self._job.id, now, baseline, fingerprint)

    def withdraw(self, refusal: ReelqError) -> None:
        outcome = Outcome.NOT_SENT if isinstance(refusal, NotSent) else Outcome.REFUSED
        with self._fenced() as (session, now):
            sends.settle(session, self._job.id, outcome, now)
        if isinstance(refusal, CreditsExhausted):
            with suppress(RemoteError):
                ledger.take_reading(self._store, self._job.account_id, ledger.REFUSED, self.remote.balance)

    def read_again(self, send: OpenSend, fingerprint: str) -> int:
        with self._fenced() as (session, _):
            sends.read_again(session, send.id, send.reads + 1, fingerprint)
        return send.reads + 1

    def close_costs(self) -> None:
        with self._store.read() as session:
            send_ids = ledger.cost_bearing_sends(session, self._job.id)
        if not send_ids:
            return
        try:
            ledger.charge_ended(self._store, self._job.account_id, send_ids, self.remote.balance)
        except RemoteError as error:
            log.info("Cannot read the balance after the edit of %s: %s", self._job.id, error)

    def read_balance(self, moment: Literal["before", "asked"]) -> int:
        max_age = ledger.FRESH_SECONDS if moment == "before" else 0.0
        return ledger.take_reading(self._store, self._job.account_id, moment, self.remote.balance, max_age).available
