"""Handles one message: claims the job, runs its stage, records the outcome.

One short transaction before the stage and one after it, none while it runs. `retry_policy` decides what to do about
every error that a stage raises.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from reelq import logs, skills
from reelq.errors import RateLimited, ReelqError, TokenQuota
from reelq.job import ClaimedJob, Stage, stage_after
from reelq.manifest import checks
from reelq.nemo.client import Remote, request_token
from reelq.nemo.transport import open_http
from reelq.nemo.types import Grant
from reelq.settings import Settings
from reelq.store.billing import accounts, ledger, token_store
from reelq.store.db.engine import Store, is_unavailable
from reelq.store.db.vault import Vault
from reelq.store.jobs import claims, leases, parked, scheduler
from reelq.store.jobs.claims import Claimed, Lease, NotClaimed
from reelq.store.jobs.transitions import StaleMove
from worker.context import Cancelled, JobReleased, NotYet, Receipt, StageContext
from worker.db_context import DatabaseContext
from worker.held_jobs import HeldJob, HeldJobs
from worker.metrics import Metrics
from worker.outcomes import Ended, Recorder, StageResult
from worker.retry_policy import PARKED
from worker.stages.download import download
from worker.stages.edit import edit
from worker.stages.poll import poll
from worker.stages.render import render
from worker.stages.upload import upload
from worker.stages.verify import verify

log = logging.getLogger(__name__)
STAGES: Final[dict[Stage, Callable[[ClaimedJob, StageContext], Receipt | NotYet]]] = {
    Stage.UPLOAD: upload,
    Stage.EDIT: edit,
    Stage.VERIFY: verify,
    Stage.RENDER: render,
    Stage.POLL: poll,
    Stage.DOWNLOAD: download,
}
_RETRY_WAIT: Final = (0.1, 2.0)


class Executor:
    """Everything that one process runs jobs with: the store, the connection to the service, the jobs that it holds."""

    def __init__(self, store: Store, vault: Vault, settings: Settings, home: Path | None = None) -> None:
        self.store = store
        self.settings = settings
        self.held_jobs = HeldJobs(settings.reelq_lease_seconds)
        self.metrics = Metrics()
        self.metrics.in_hand.set_function(lambda: len(self.held_jobs.all()))
        self.skills = skills.load([settings.reelq_data_dir / "skills"])
        self.http = open_http(settings)
        self.recorder = Recorder(store, vault, settings, home)
        self.vault = vault
        self._home = home or Path.home()
        self._tokens: dict[str, token_store.StoreTokens] = {}
        self._remotes: dict[tuple[str, str], Remote] = {}
        self.closed = threading.Event()

    def renew_leases(self) -> None:
        """Renew the leases of all jobs that this process holds."""
        held = {job.job_id: job for job in self.held_jobs.all()}
        began = time.monotonic()
        runs = {job_id: job.run for job_id, job in held.items()}
        with self.store.write(urgent=True) as session:
            now = self.store.now(session)
            still_held = leases.renew(session, now, self.held_jobs.worker, runs, self.held_jobs.lease_seconds)
        self.held_jobs.apply_renewal(held, still_held, began)

    def run(self, stage: Stage, job_id: str, run: int, *, chained: bool) -> Ended | None:
        """Handle one message. Return how its stage ended, or None if there was nothing to do.

        With `chained`, Celery publishes the next stage's message when this one succeeds.
        """
        with logs.log_context(job=job_id, stage=stage, run=run, worker=self.held_jobs.worker):
            return self._handle(stage, job_id, run, chained=chained)

    def _handle(self, stage: Stage, job_id: str, run: int, *, chained: bool) -> Ended | None:
        if self.held_jobs.stopping.is_set():
            self.metrics.messages.labels(stage, "stopping").inc()
            with self.store.write() as session:
                scheduler.republish(session, job_id, run, stage)
            return None
        claimed_at = time.monotonic()
        try:
            claimed = self._claim(stage, job_id, run)
        except Exception as error:
            if not is_unavailable(error):
                raise
            logs.warn_unavailable(log, "database", "The message will be published again later.")
            self.metrics.messages.labels(stage, "away").inc()
            return None
        if isinstance(claimed, NotClaimed):
            self.metrics.messages.labels(stage, claimed.name.lower()).inc()
            log.debug("Nothing to do: %s", claimed)
            return Ended(StageResult.DONE, next_is_due=True) if claimed is NotClaimed.PASSED else None
        self.metrics.messages.labels(stage, "performed").inc()
        with logs.log_context(batch=claimed.job.batch_id), self.held_jobs.holding(job_id, run, claimed_at) as held:
            ended = self._run_stage(claimed, held)
        following = stage_after(claimed.job.route, stage)
        if ended and ended.next_is_due and following and not chained:
            # A duplicate message got here first. The chained one will find nothing to do and end its chain, so the
            # next stage is published from here.
            with self.store.write() as session:
                scheduler.republish(session, job_id, run, following)
        return ended

    def _claim(self, stage: Stage, job_id: str, run: int) -> Claimed | NotClaimed:
        lease = Lease(self.held_jobs.worker, self.settings.reelq_lease_seconds)
        try:
            if not self.store.is_sqlite:
                with self.store.autocommit() as session:
                    claimed = claims.claim_free(session, self.store.now(session), job_id, run, stage, lease)
                if claimed:
                    return claimed
            with self.store.write() as session:
                return claims.claim(session, self.store.now(session), job_id, run, stage, lease, PARKED)
        except StaleMove:  # a duplicate message claimed the job at the same moment
            return NotClaimed.STALE

    def _run_stage(self, claimed: Claimed, held: HeldJob) -> Ended | None:
        stage, began = claimed.at.stage, time.monotonic()
        try:
            outcome = self._call_stage(claimed, held)
            ended = self._record(claimed, outcome, held)
        except (JobReleased, StaleMove) as why:
            self.metrics.lost.inc(isinstance(why, StaleMove) or held.is_over)
            log.info("Released %s in %s, run %s", held.job_id, stage, held.run)
            self.metrics.record_stage(stage, StageResult.LET_GO, time.monotonic() - began)
            if self.held_jobs.must_release.is_set():
                self.release([held])  # it may have been claimed after the process released all its jobs
            return None
        seconds = time.monotonic() - began
        if isinstance(outcome, RateLimited):
            self.metrics.limited.labels(stage).inc()
        level = logging.DEBUG if ended.result is StageResult.NOT_YET else logging.INFO
        message = f": {ended.message}" if ended.message else ""
        log.log(level, "%s in %.1f s%s", ended.result.replace("_", " "), seconds, message)
        last = stage_after(claimed.job.route, stage) is None
        self.metrics.record_stage(stage, ended.result, seconds, code=ended.code, last=last)
        return ended

    def _call_stage(self, claimed: Claimed, held: HeldJob) -> Receipt | NotYet | Exception:
        """Run the stage. Return its receipt, or the exception that it raised."""
        try:
            remote = self.remote(claimed.account.id, claimed.job.skill)
            context = DatabaseContext(self.store, self.settings, remote, claimed, lambda: self.held_jobs.check(held))
            context.check()
            return STAGES[claimed.at.stage](claimed.job, context)
        except (JobReleased, StaleMove):
            raise
        except (Cancelled, ReelqError) as error:
            return error
        except Exception as error:  # a bug fails the row with a message, and the worker goes on
            if is_unavailable(error):
                logs.warn_unavailable(log, "database", "The stage will run again later.")
                raise JobReleased from error
            log.exception("Internal error")
            return error

    def _record(self, claimed: Claimed, outcome: Receipt | NotYet | Exception, held: HeldJob) -> Ended:
        """Record the outcome. Retry while the database is unavailable, because the outcome is stored nowhere else."""
        wait, longest = _RETRY_WAIT
        while True:
            try:
                return self.recorder.record(claimed, outcome)
            except Exception as error:
                if not is_unavailable(error) or held.lost:
                    raise
                if wait == _RETRY_WAIT[0]:
                    logs.warn_unavailable(log, "database", "The outcome will be recorded later.")
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, longest)

    def _token_store(self, account_id: str, attribution: dict[str, str]) -> token_store.StoreTokens:
        def ask(client_id: str) -> Grant:
            try:
                grant = request_token(self.http, client_id, attribution)
            except TokenQuota:
                self.metrics.tokens.labels("refused").inc()
                raise
            self.metrics.tokens.labels("granted").inc()
            return grant

        wait = self.settings.reelq_rate_limit_wait
        tokens = token_store.StoreTokens(self.store, self.vault, account_id, ask, quota_wait=wait)
        return self._tokens.setdefault(account_id, tokens)

    def resume_parked(self, batch_id: str | None = None) -> None:
        """Check accounts that ran out of credits or lack a token, and let their rows continue if they can."""
        account_id, message = accounts.account_for_waiting_jobs(self.store, self.vault, self.settings, home=self._home)
        with self.store.write() as session:
            now = self.store.now(session)
            parked.move_to_account(session, account_id, now, message)
            waiting = parked.accounts_to_check(session, now)
        for account_id in waiting:
            try:
                reading = ledger.take_reading(self.store, account_id, "watched", self.remote(account_id).balance)
            except ReelqError as error:
                log.info("Cannot read the balance of account %s: %s", account_id, error)
                continue
            with self.store.write() as session:
                parked.resume(session, account_id, self.store.now(session), reading.available, batch_id)

    def remote(self, account_id: str, skill_name: str = checks.DEFAULT_SKILL) -> Remote:
        """Return the client for requests of this account with this skill."""
        if (account_id, skill_name) not in self._remotes:
            skill = self.skills.named(skill_name)
            platform = skills.platform(skill.path, self.settings.skill_source, self._home)
            attribution = skills.headers(skill, platform)
            tokens = self._token_store(account_id, attribution)
            self._remotes[account_id, skill_name] = Remote(self.http, tokens, attribution)
        return self._remotes[account_id, skill_name]

    def release(self, jobs: Iterable[HeldJob]) -> None:
        """Make held jobs due at once for other workers. Later writes of this process to them are refused."""
        with self.store.write() as session:
            held = {job.job_id: job.run for job in jobs}
            leases.release(session, self.store.now(session), self.held_jobs.worker, held)

    def close(self) -> None:
        """Stop renewing leases and close all connections."""
        self.closed.set()
        self.http.close()
        self.store.close()
