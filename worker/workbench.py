"""The desk of one stage of one job, over the database: each verb a short transaction, refused under an older run."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final, Literal

from reelq.errors import CreditsExhausted, LimitReached, NotSent, ReelqError, RemoteError
from reelq.remote import draft
from reelq.remote.client import Remote
from reelq.settings import Settings
from reelq.storage import Storage
from reelq.store import credits, ends, jobs, sends
from reelq.store.models import Outcome
from reelq.store.moves import Position, note
from reelq.store.session import Store, Transaction
from worker.desk import Finished, LetGo, Sending

log = logging.getLogger(__name__)

WORDS_EVERY: Final = 3.0


class Workbench:
    """Implements `worker.desk.Desk`."""

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
        self._began = time.monotonic()
        self._said_at = self._began

    def check(self) -> None:
        self._check()
        minutes = int(time.monotonic() - self._said_at) // 120 * 2
        if minutes:
            self.say(f"still working, {int(time.monotonic() - self._began) // 60} min")

    def progress(self, words: str) -> None:
        if time.monotonic() - self._said_at >= WORDS_EVERY:
            self.say(words)

    def say(self, words: str) -> None:
        self._said_at = time.monotonic()
        with self._store.alone() as session:
            if not note(session, self._at, self._store.now(session), "progress", words):
                raise LetGo

    @contextmanager
    def _fenced(self) -> Iterator[tuple[Transaction, datetime]]:
        """A transaction that writes only while the job is still ours under this run."""
        with self._store.write() as session:
            if not jobs.fence(session, self._at):
                raise LetGo
            yield session, self._store.now(session)

    def remember_upload(self, fingerprint: str) -> None:
        with self._store.alone() as session:
            if not jobs.change(session, self._at, upload_baseline=fingerprint):
                raise LetGo

    def reserve_render(self) -> str:
        render_id = f"render_{uuid.uuid4().hex}"
        with self._store.alone() as session:
            if not jobs.new_render(session, self._at, render_id):
                raise LetGo
        return render_id

    def same_result(self) -> Finished | None:
        with self._store.read() as session:
            found = ends.result_of_other(session, self._at.job_id)
        return Finished(found.path, found.size, found.sha256) if found else None

    def sending(self) -> Sending | None:
        with self._store.read() as session:
            found = sends.open_send(session, self._at.job_id)
            return _sending(found, self._store.now(session)) if found else None

    def intend(self, baseline: dict[str, Any] | None) -> Sending:
        fingerprint = draft.fingerprint(baseline)
        with self._store.write() as session:
            # The limit's row first, the job's after it: whoever locks both does it in this order.
            if not credits.room_for(session, self._at.job_id):
                raise LimitReached
            if not jobs.fence(session, self._at):
                raise LetGo
            now = self._store.now(session)
            send_id, text = sends.intend(session, self._at.job_id, now, baseline, fingerprint)
        return Sending(send_id, text, baseline, fingerprint)

    def withdraw(self, sending: Sending, refusal: ReelqError) -> None:
        outcome = Outcome.NOT_SENT if isinstance(refusal, NotSent) else Outcome.REFUSED
        with self._fenced() as (session, now):
            sends.settle(session, self._at.job_id, outcome, now)
        if isinstance(refusal, CreditsExhausted):
            with suppress(RemoteError):
                credits.take_reading(self._store, self._account_id, credits.REFUSED, self.remote.balance)

    def read_again(self, sending: Sending, fingerprint: str) -> int:
        with self._fenced() as (session, _):
            sends.read_again(session, sending.id, sending.reads + 1, fingerprint)
        return sending.reads + 1

    def close_costs(self) -> None:
        with self._store.read() as session:
            borne = credits.borne(session, self._at.job_id)
        if not borne:
            return
        try:
            credits.find_out(self._store, self._account_id, borne, self.remote.balance)
        except RemoteError as error:
            log.info("no reading after the edit of %s: %s", self._at.job_id, error)

    def read_balance(self, moment: Literal["before", "asked"]) -> int:
        fresh = credits.FRESH_SECONDS if moment == "before" else 0.0
        return credits.take_reading(self._store, self._account_id, moment, self.remote.balance, fresh).available


def _sending(row: sends.Open, now: datetime) -> Sending:
    return Sending(
        id=row.id,
        text=row.text,
        baseline=row.baseline,
        fingerprint=row.fingerprint,
        ended_well=row.ended_well,
        reply=row.reply,
        agent_error=row.agent_error,
        reads=row.reads,
        read_fingerprint=row.read_fingerprint,
        seconds_since=(now - row.sent_at).total_seconds(),
    )
