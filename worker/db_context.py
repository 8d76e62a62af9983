"""A stage's context over the database: each call is a short transaction, refused if the job has moved on."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final, Literal

from reelq.errors import CreditsExhausted, LimitReached, NotSent, ReelqError, RemoteError
from reelq.nemo import timeline
from reelq.nemo.client import Remote
from reelq.settings import Settings
from reelq.storage import Storage
from reelq.store.billing import ledger
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Outcome
from reelq.store.jobs import completion, dependents, leases, sends, transitions
from reelq.store.jobs.transitions import Position, write_progress
from worker.context import ExistingResult, JobReleased, PendingSend

log = logging.getLogger(__name__)
WORDS_EVERY: Final = 3.0


class DatabaseContext:
    """Implements `worker.context.StageContext`."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        remote: Remote,
        at: Position,
        account_id: str,
        check: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.storage = Storage.of(settings)
        self.remote = remote
        self._store = store
        self._at = at
        self._account_id = account_id
        self._check = check
        self._started_at = time.monotonic()
        self._last_message_at = self._started_at

    def check(self) -> None:
        self._check()
        minutes = int(time.monotonic() - self._last_message_at) // 120 * 2
        if minutes:
            self.say(f"still working, {int(time.monotonic() - self._started_at) // 60} min")

    def progress(self, message: str) -> None:
        if time.monotonic() - self._last_message_at >= WORDS_EVERY:
            self.say(message)

    def say(self, message: str) -> None:
        self._last_message_at = time.monotonic()
        with self._store.alone() as session:
            if not write_progress(session, self._at, self._store.now(session), "progress", message):
                raise JobReleased

    @contextmanager
    def _fenced(self) -> Iterator[tuple[Transaction, datetime]]:
        """Open a transaction that locks the job. Raise `JobReleased` if this worker's run no longer holds it."""
        with self._store.write() as session:
            if not leases.fence(session, self._at):
                raise JobReleased
            yield session, self._store.now(session)

    def remember_upload(self, fingerprint: str) -> None:
        with self._store.alone() as session:
            if not transitions.change(session, self._at, upload_baseline=fingerprint):
                raise JobReleased

    def reserve_render(self) -> str:
        render_id = f"render_{uuid.uuid4().hex}"
        with self._store.alone() as session:
            if not completion.record_render(session, self._at, render_id):
                raise JobReleased
        return render_id

    def same_result(self) -> ExistingResult | None:
        with self._store.read() as session:
            found = dependents.result_of_original(session, self._at.job_id)
        return ExistingResult(found.path, found.size, found.sha256) if found else None

    def sending(self) -> PendingSend | None:
        with self._store.read() as session:
            found = sends.open_send(session, self._at.job_id)
            return _sending(found, self._store.now(session)) if found else None

    def intend(self, baseline: dict[str, Any] | None) -> PendingSend:
        fingerprint = timeline.fingerprint(baseline)
        with self._store.write() as session:
            # Lock the limit's row before the job's. Everything that locks both does so in this order.
            if not ledger.limit_allows_job(session, self._at.job_id):
                raise LimitReached
            if not leases.fence(session, self._at):
                raise JobReleased
            now = self._store.now(session)
            send_id, text = sends.record(session, self._at.job_id, now, baseline, fingerprint)
        return PendingSend(send_id, text, baseline, fingerprint)

    def withdraw(self, sending: PendingSend, refusal: ReelqError) -> None:
        outcome = Outcome.NOT_SENT if isinstance(refusal, NotSent) else Outcome.REFUSED
        with self._fenced() as (session, now):
            sends.settle(session, self._at.job_id, outcome, now)
        if isinstance(refusal, CreditsExhausted):
            with suppress(RemoteError):
                ledger.take_reading(self._store, self._account_id, ledger.REFUSED, self.remote.balance)

    def read_again(self, sending: PendingSend, fingerprint: str) -> int:
        with self._fenced() as (session, _):
            sends.read_again(session, sending.id, sending.reads + 1, fingerprint)
        return sending.reads + 1

    def close_costs(self) -> None:
        with self._store.read() as session:
            send_ids = ledger.cost_bearing_sends(session, self._at.job_id)
        if not send_ids:
            return
        try:
            ledger.charge_ended(self._store, self._account_id, send_ids, self.remote.balance)
        except RemoteError as error:
            log.info("Cannot read the balance after the edit of %s: %s", self._at.job_id, error)

    def read_balance(self, moment: Literal["before", "asked"]) -> int:
        max_age = ledger.FRESH_SECONDS if moment == "before" else 0.0
        return ledger.take_reading(self._store, self._account_id, moment, self.remote.balance, max_age).available


def _sending(open_send: sends.OpenSend, now: datetime) -> PendingSend:
    return PendingSend(
        id=open_send.id,
        text=open_send.text,
        baseline=open_send.baseline,
        fingerprint=open_send.fingerprint,
        ended_well=open_send.ended_well,
        reply=open_send.reply,
        agent_error=open_send.agent_error,
        reads=open_send.reads,
        read_fingerprint=open_send.read_fingerprint,
        seconds_since=(now - open_send.sent_at).total_seconds(),
    )
