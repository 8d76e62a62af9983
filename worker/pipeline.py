"""Where stage, store and verdict meet: claim the job, perform the stage, record what came of it.

Two short transactions around the stage, none across it. Whatever a stage raises is judged here, once, and nowhere else.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reelq import logs, manifest, skills
from reelq.errors import FileUnreadable, RateLimited, ReelqError, TokenQuota
from reelq.job import Stage, stage_after
from reelq.manifest.files import is_url
from reelq.remote.client import Remote, ask_for_token, open_http
from reelq.remote.receipts import Grant, Session
from reelq.settings import Settings
from reelq.storage import Storage
from reelq.store import accounts, assets, credits, jobs, parking
from reelq.store.jobs import Claimed, Lease, Missed
from reelq.store.moves import StaleMove
from reelq.store.secrets import Vault
from reelq.store.session import Store, is_away
from worker.desk import Cancelled, Desk, Job, LetGo
from worker.ending import Came, Ended, Ending, how_it_came
from worker.lease import Hands, Held
from worker.metrics import Metrics
from worker.recorder import Recorder
from worker.repeat import repeat
from worker.stages.download import download
from worker.stages.edit import edit
from worker.stages.poll import poll
from worker.stages.render import render
from worker.stages.upload import upload
from worker.stages.verify import verify
from worker.verdict import PARKED
from worker.workbench import Workbench

log = logging.getLogger(__name__)

STAGES: Final[dict[Stage, Callable[[Job, Desk], object]]] = {
    Stage.UPLOAD: upload,
    Stage.EDIT: edit,
    Stage.VERIFY: verify,
    Stage.RENDER: render,
    Stage.POLL: poll,
    Stage.DOWNLOAD: download,
}
_AWAY_WAIT: Final = (0.1, 2.0)
_DATABASE_AWAY: Final = {"away": "database"}


class Pipeline:
    """One process's way of working: its store, its connection to the service, and what it has in hand."""

    def __init__(self, store: Store, vault: Vault, settings: Settings, home: Path | None = None) -> None:
        self.store = store
        self.settings = settings
        self.hands = Hands(settings.reelq_lease_seconds)
        self.metrics = Metrics()
        self.metrics.in_hand.set_function(lambda: len(self.hands.all()))
        self.skills = skills.load([settings.reelq_data_dir / "skills"])
        self.http = open_http(settings)
        self.recorder = Recorder(store, vault, settings, home)
        self._storage = Storage.of(settings)
        self._vault = vault
        self._home = home or Path.home()
        self._tokens: dict[str, accounts.StoreTokens] = {}
        self._remotes: dict[tuple[str, str], Remote] = {}
        self._leases: threading.Thread | None = None
        self._leases_lock = threading.Lock()
        self._closed = threading.Event()

    def keep_leases(self) -> None:
        """Renew what this process holds, from now on; once begun it goes on."""
        with self._leases_lock:
            if self._leases is None:
                every = self.hands.lease_seconds / 4
                self._leases = repeat("leases", self.metrics.noted("leases", self._renew_leases), every, self._closed)

    def _renew_leases(self) -> None:
        held = {each.job_id: each for each in self.hands.all()}
        began = time.monotonic()
        runs = {job_id: each.run for job_id, each in held.items()}
        with self.store.write(urgent=True) as session:
            now = self.store.now(session)
            ours = jobs.renew(session, now, self.hands.worker, runs, self.hands.lease_seconds)
        self.hands.renewed(held, ours, began)

    def run(self, stage: Stage, job_id: str, run: int, *, chained: bool) -> Ended:
        """Deal with one message; `chained` is one that brings the next stage's along."""
        with logs.about(job=job_id, stage=stage, run=run, worker=self.hands.worker):
            return self._deal_with(stage, job_id, run, chained=chained)

    def _deal_with(self, stage: Stage, job_id: str, run: int, *, chained: bool) -> Ended:
        if self.hands.stopping.is_set():
            self.metrics.messages.labels(stage, "stopping").inc()
            with self.store.write() as session:
                jobs.hand_on(session, job_id, run, stage)
            return Ending.STOP
        if self._leases is None:
            self.keep_leases()  # in a forked child of a pool of processes the first message finds none
        before = time.monotonic()
        try:
            claimed = self._claim(stage, job_id, run)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("the database is away: the message goes out again later", extra=_DATABASE_AWAY)
            self.metrics.messages.labels(stage, "away").inc()
            return Ending.STOP
        self.metrics.messages.labels(stage, claimed.name.lower() if isinstance(claimed, Missed) else "performed").inc()
        if isinstance(claimed, Missed):
            log.debug("nothing to do: %s", claimed)
            return Ending.GO_ON if claimed is Missed.PASSED else Ending.STOP
        with logs.about(batch=claimed.job.batch_id), self.hands.holding(job_id, run, before) as held:
            ending = self._perform(claimed, held)
        following = stage_after(claimed.job.route, stage)
        if ending is Ending.GO_ON and following and not chained:
            # A second copy of the message was the quicker one: the chain's own finds nothing to do, and ends there.
            with self.store.write() as session:
                jobs.hand_on(session, job_id, run, following)
        return ending

    def _claim(self, stage: Stage, job_id: str, run: int) -> Claimed | Missed:
        lease = Lease(self.hands.worker, self.settings.reelq_lease_seconds)
        try:
            if not self.store.is_sqlite:
                with self.store.alone() as session:
                    claimed = jobs.claim_free(session, self.store.now(session), job_id, run, stage, lease)
                if claimed:
                    return claimed
            with self.store.write() as session:
                return jobs.claim(session, self.store.now(session), job_id, run, stage, lease, PARKED)
        except StaleMove:  # two messages at the same moment, and the other one was the quicker
            return Missed.STALE

    def _perform(self, claimed: Claimed, held: Held) -> Ended:
        began = time.monotonic()
        try:
            outcome = self._outcome(claimed, held)
            ended = self._record(lambda: self.recorder.record(claimed, outcome), held)
        except (LetGo, StaleMove) as why:
            self.metrics.lost.inc(isinstance(why, StaleMove) or held.is_over)
            log.info("let go of %s in %s, run %s", held.job_id, claimed.at.stage, held.run)
            self.metrics.told_of(claimed.at.stage, Came.LET_GO, time.monotonic() - began)
            if self.hands.must_let_go.is_set():
                self._release({held.job_id: held.run})  # it may have been claimed after all else was released
            return Ending.STOP
        self._tell(claimed, outcome, ended, time.monotonic() - began)
        return ended

    def _tell(self, claimed: Claimed, outcome: object, ended: Ended, seconds: float) -> None:
        """One line of the log, and the metrics."""
        stage = claimed.at.stage
        if isinstance(outcome, RateLimited):
            self.metrics.limited.labels(stage).inc()
        came, why, code = how_it_came(outcome, ended)
        level = logging.DEBUG if came is Came.NOT_YET else logging.INFO
        log.log(level, "%s in %.1f s%s", came.replace("_", " "), seconds, f": {why}" if why else "")
        last = stage_after(claimed.job.route, stage) is None
        self.metrics.told_of(stage, came, seconds, code=code, last=last)

    def _outcome(self, claimed: Claimed, held: Held) -> object:
        """The stage's receipt, or what it raised, as a value."""
        try:
            desk = self._desk(claimed, held)
            desk.check()
            return STAGES[claimed.at.stage](self._job(claimed), desk)
        except (LetGo, StaleMove):
            raise
        except Cancelled as wish:
            return wish
        except ReelqError as error:
            return error
        except Exception as error:  # a fault of ours ends the row with words, not the worker
            if is_away(error):
                log.warning("the database is away: the stage is begun again later", extra=_DATABASE_AWAY)
                raise LetGo from error
            log.exception("a fault of ours")
            return error

    def _record(self, act: Callable[[], Ended], held: Held) -> Ended:
        """Record, however long the database is away: what was done is known nowhere else."""
        wait, longest = _AWAY_WAIT
        while True:
            try:
                return act()
            except Exception as error:
                if not is_away(error) or held.lost:
                    raise
                if wait == _AWAY_WAIT[0]:
                    log.warning("the database is away: what came of it is written down later", extra=_DATABASE_AWAY)
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, longest)

    def _desk(self, claimed: Claimed, held: Held) -> Workbench:
        remote = self.remote(claimed.account.id, claimed.job.skill)
        return Workbench(
            self.store, self.settings, remote, claimed.at, claimed.account.id, lambda: self.hands.check(held)
        )

    def _tokens_of(self, account_id: str, attribution: dict[str, str]) -> accounts.StoreTokens:
        def ask(client_id: str) -> Grant:
            try:
                grant = ask_for_token(self.http, client_id, attribution)
            except TokenQuota:
                self.metrics.tokens.labels("refused").inc()
                raise
            self.metrics.tokens.labels("granted").inc()
            return grant

        if account_id not in self._tokens:
            wait = self.settings.reelq_rate_limit_wait
            self._tokens[account_id] = accounts.StoreTokens(self.store, self._vault, account_id, ask, quota_wait=wait)
        return self._tokens[account_id]

    def _job(self, claimed: Claimed) -> Job:
        row, batch = claimed.job, claimed.batch
        paths, names = self._files(claimed)
        shared = bool(row.after_id)
        session = Session(row.remote_session_id, row.remote_task_id, row.remote_user_id)
        return Job(
            id=row.id,
            row=row.row,
            run=claimed.at.run,
            stage=row.stage,
            route=row.route,
            instruction=row.instruction,
            language=row.language,
            paths=paths,
            urls=tuple(name for name in (row.file, *row.references) if name and is_url(name)),
            result=Path(batch.out, row.output) if batch.out else None,
            session=session if row.remote_session_id else None,
            shares_session=shared,
            upload_baseline=row.upload_baseline,
            render_id=row.remote_render_id,
            renders=row.renders,
            looks=row.looks,
            result_url=row.result_url,
            takes_a_result=row.same_as not in (None, row.id),
            output=row.output,
            names=names,
        )

    def _files(self, claimed: Claimed) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """Where the row's files are on this machine, and what they are called where those are not their names."""
        row, batch = claimed.job, claimed.batch
        if not row.inputs:
            own = (name for name in (row.file, *row.references) if name and not is_url(name))
            return tuple(Path(batch.source, name) for name in own), ()
        if claimed.at.stage is not Stage.UPLOAD:
            return (), ()
        with self.store.read() as session:
            names = assets.called(session, row)
        kept = zip(assets.hashes_of(row), names, strict=True)
        return tuple(self._kept(sha256, name) for sha256, name in kept), tuple(names)

    def _kept(self, sha256: str, name: str) -> Path:
        try:
            return self._storage.path(sha256)
        except FileNotFoundError:
            gone = FileUnreadable(f"{name} is not in the storage any more")
            gone.advice = "Upload it again, then retry the row."
            raise gone from None

    def look_at_parked(self, batch_id: str | None = None) -> None:
        """Accounts that ran out of credits or of a token: whether their rows can go on."""
        account_id, words = accounts.going_on(self.store, self._vault, self.settings, home=self._home)
        with self.store.write() as session:
            now = self.store.now(session)
            parking.move_over(session, account_id, now, words)
            waiting = parking.accounts_waiting(session, now)
        for account_id in waiting:
            try:
                available = credits.take_reading(self.store, account_id, "watched", self.remote(account_id).balance)
            except ReelqError as error:
                log.info("account %s can't be looked at: %s", account_id, error)
                continue
            with self.store.write() as session:
                parking.go_on(session, account_id, self.store.now(session), available.available, batch_id)

    def remote(self, account_id: str, skill_name: str = manifest.DEFAULT_SKILL) -> Remote:
        """The service, as an account and a skill speak to it."""
        if (account_id, skill_name) not in self._remotes:
            skill = self.skills.named(skill_name)
            platform = skills.platform(skill.path, self.settings.skill_source, self._home)
            attribution = skills.headers(skill, platform)
            tokens = self._tokens_of(account_id, attribution)
            self._remotes[account_id, skill_name] = Remote(self.http, tokens, attribution)
        return self._remotes[account_id, skill_name]

    def release_all(self) -> None:
        """Everything in hand is due at once for others; whatever this process still does with it is refused."""
        self._release({each.job_id: each.run for each in self.hands.all()})

    def _release(self, held: dict[str, int]) -> None:
        with self.store.write() as session:
            jobs.release(session, self.store.now(session), self.hands.worker, held)

    def close(self) -> None:
        """Let go of connections."""
        self._closed.set()
        self.http.close()
        self.store.close()
