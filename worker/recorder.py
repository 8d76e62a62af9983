"""Writes down what came of a stage: a receipt moves the job on, an error is judged, and both are told in words.

Everything that one outcome changes (the job, its open decision to send, its account) is one transaction.
"""

import random
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from reelq import errors
from reelq.job import Cause, Route, Stage, Status, stage_after
from reelq.remote.sse import Heard
from reelq.settings import Settings
from reelq.store import accounts, jobs, sends
from reelq.store.jobs import Claimed
from reelq.store.models import Account, AccountKind, Outcome
from reelq.store.moves import move
from reelq.store.secrets import Vault
from reelq.store.session import Store, Transaction
from worker.desk import Cancelled, NotYet
from worker.ending import Came, Ended, Ending, Failed, Later
from worker.stages.download import Downloaded
from worker.stages.edit import Edited
from worker.stages.poll import Polled
from worker.stages.render import Rendered
from worker.stages.upload import Uploaded
from worker.stages.verify import Verified
from worker.verdict import Case, CheckBackIn, GiveUp, Park, RetryIn, judge

_SETTLED_BY: Final[Mapping[type[Exception], Outcome]] = MappingProxyType(
    {
        errors.NoEffect: Outcome.NO_EFFECT,
        errors.AgentFailed: Outcome.AGENT_ERROR,
        errors.EditUnconfirmed: Outcome.UNCONFIRMED,
        errors.SessionGone: Outcome.UNCONFIRMED,
        Cancelled: Outcome.UNCONFIRMED,
    }
)
_BACK_AT_RENDER: Final = MappingProxyType({"remote_render_id": "", "result_url": "", "looks": 0})
_NEW_SESSION: Final = MappingProxyType(
    {
        "remote_session_id": "",
        "remote_task_id": "",
        "upload_baseline": "",
        "remote_render_id": "",
        "renders": 0,
        "looks": 0,
        "result_url": "",
    }
)


class _Spare(NamedTuple):
    """Another account to go on with, and what is said of that."""

    account_id: str
    words: str


class Recorder:
    """The second transaction of every stage."""

    def __init__(self, store: Store, vault: Vault, settings: Settings, home: Path | None) -> None:
        self._store = store
        self._vault = vault
        self._settings = settings
        self._home = home

    def record(self, claimed: Claimed, outcome: object) -> Ended:
        """What came of the stage, whatever it is."""
        spare = self._spare(claimed, outcome)
        with self._store.alone() if _is_one_move(claimed, outcome) else self._store.write() as session:
            now = self._store.now(session)
            if isinstance(outcome, Cancelled):
                return self._cancelled(session, claimed, now)
            if isinstance(outcome, Exception):
                return self._judged(session, claimed, outcome, now, spare)
            return self._done(session, claimed, outcome, now)

    def _done(self, session: Transaction, claimed: Claimed, receipt: object, now: datetime) -> Ended:
        match receipt:
            case NotYet(seconds, words, anew):
                looks = 0 if anew else claimed.job.looks + 1
                jobs.again(session, claimed.at, now, seconds, words, looks=looks, attempts=0, lapses=0)
                return _later(words, now, seconds, Came.NOT_YET)
            case Uploaded(opened, files):
                values = {
                    "remote_session_id": opened.session_id,
                    "remote_task_id": opened.task_id,
                    "remote_user_id": opened.user_id or claimed.job.remote_user_id,
                }
                jobs.advance(session, claimed, now, _arrived(files), **values)
            case Edited(heard):
                if claimed.account.probe_job_id == claimed.job.id:
                    accounts.unpark(session, claimed.account.id)
                return self._edited(session, claimed, now, heard)
            case Verified():
                return self._verified(session, claimed, receipt, now)
            case Rendered(render_id):
                later = jobs.later(now, self._settings.reelq_poll_interval)
                jobs.advance(session, claimed, now, "export submitted", remote_render_id=render_id, due_at=later)
                return Ending.DONE
            case Polled(url):
                jobs.advance(session, claimed, now, "rendered", result_url=url)
            case Downloaded(size, sha256):
                words = f"{claimed.job.output}, {size / 1_000_000:.1f} MB"
                jobs.advance(
                    session, claimed, now, words, result_path=claimed.job.output, result_size=size, result_sha256=sha256
                )
                accounts.note_success(session, claimed.account, self._settings.reelq_max_in_flight)
            case _:
                raise TypeError(f"no stage gives {receipt!r}")
        return Ending.GO_ON

    def _edited(self, session: Transaction, claimed: Claimed, now: datetime, heard: Heard | None) -> Ending:
        if heard is None:
            due = jobs.later(now, self._settings.reelq_settle_first_wait)
            jobs.advance(session, claimed, now, "the stream was lost; the session's state will tell", due_at=due)
            return Ending.DONE
        sends.ended_well(session, claimed.job.id, heard.reply, heard.error.message if heard.error else "")
        jobs.advance(session, claimed, now, "the agent is done")
        return Ending.GO_ON

    def _verified(self, session: Transaction, claimed: Claimed, receipt: Verified, now: datetime) -> Ending:
        sends.settle(session, claimed.job.id, Outcome.APPLIED, now)
        values: dict[str, Any] = {"timeline": receipt.timeline, "reply": receipt.reply, "to_send": "", "resend": False}
        if receipt.changes:
            values["changes"] = [*claimed.job.changes, *receipt.changes]
        words = "; ".join(receipt.changes) or receipt.timeline or receipt.reply or "verified"
        if receipt.follow_up and not claimed.job.follow_ups and claimed.job.route is Route.EDIT:
            values |= {"to_send": receipt.follow_up, "follow_ups": 1, "stage": Stage.EDIT}
            jobs.again(session, claimed.at, now, 0, f"{words}; the agent asks for more: {receipt.follow_up}", **values)
            return Ending.STOP
        jobs.advance(session, claimed, now, words, **values)
        return Ending.GO_ON

    def _cancelled(self, session: Transaction, claimed: Claimed, now: datetime) -> Ending:
        self._settle(session, claimed, Cancelled(), now)
        # An export was perhaps just looked at: a retry waits for the next look's moment.
        looks = claimed.at.stage is Stage.POLL
        due = jobs.later(now, self._settings.reelq_poll_interval) if looks else now
        jobs.end(session, claimed.at, Status.CANCELLED, now, "cancelled", due_at=due)
        return Ending.STOP

    def _settle(self, session: Transaction, claimed: Claimed, error: Exception, now: datetime) -> None:
        outcome = next((_SETTLED_BY[kind] for kind in type(error).__mro__ if kind in _SETTLED_BY), None)
        if outcome:
            sends.settle(session, claimed.job.id, outcome, now)

    def _judged(
        self, session: Transaction, claimed: Claimed, error: Exception, now: datetime, spare: _Spare | None
    ) -> Ended:
        account = session.get_one(Account, claimed.account.id, populate_existing=True)
        verdict = judge(error, self._case(session, claimed, account, now, error))
        words = str(error) or type(error).__name__
        match verdict:
            case RetryIn(seconds, stage):
                values: dict[str, Any] = {"attempts": claimed.job.attempts + 1}
                if stage:
                    values |= {"stage": stage, **(_NEW_SESSION if stage is Stage.UPLOAD else _BACK_AT_RENDER)}
                jobs.again(session, claimed.at, now, seconds, f"{words}; again in {seconds:.0f} s", **values)
                return _later(words, now, seconds)
            case CheckBackIn(seconds, account_waits):
                if account_waits:
                    accounts.note_limited(session, account.id, now)
                    accounts.block(session, account.id, now, seconds)
                # An export that is never taken, as the one before it comes to no end, is stuck like one that was.
                looks = claimed.at.stage is Stage.POLL and isinstance(error, errors.SessionBusy)
                more = {"looks": jobs.looks_of(session, claimed.at) + 1} if looks else {}
                jobs.again(session, claimed.at, now, seconds, f"{words}; again in {seconds:.0f} s", **more)
                return _later(words, now, seconds, Came.HELD_OFF)
            case Park() if jobs.is_to_end(session, claimed.at):
                return self._cancelled(session, claimed, now)  # whoever waits is not told of a wish to cancel
            case Park(cause):
                return Later(self._park(session, claimed, account, cause, words, now, spare), Came.PARKED)
            case GiveUp(final):
                return self._give_up(session, claimed, final, now)

    def _case(self, session: Transaction, claimed: Claimed, account: Account, now: datetime, error: Exception) -> Case:
        remote_session = claimed.job.remote_session_id
        since_block = (now - account.blocked_until).total_seconds() if account.blocked_until else -1
        return Case(
            stage=claimed.at.stage,
            attempts=claimed.job.attempts,
            anything_sent=bool(remote_session) and sends.anything_sent(session, remote_session),
            has_session=bool(remote_session),
            block_seconds=account.block_seconds,
            blocked_lately=0 <= since_block < account.block_seconds,
            # Whoever asked for the token has told the account of its refusals; the second in a row parks it.
            quota_met=account.parked is Cause.TOKEN,
            jitter=random.random(),
            rate_limit_wait=self._settings.reelq_rate_limit_wait,
            poll_interval=self._settings.reelq_poll_interval,
            own_token=account.kind is AccountKind.OWN,
            renders=claimed.job.renders,
            builds_on_others=bool(claimed.job.after_id),
            session_went_on=isinstance(error, errors.ResultMissing) and sends.went_on(session, claimed.job),
        )

    def _spare(self, claimed: Claimed, outcome: object) -> _Spare | None:
        """What a row not begun goes on with when the token that it was handed in with is refused."""
        own = claimed.account.kind is AccountKind.OWN
        if not isinstance(outcome, errors.TokenRefused) or not own or claimed.job.remote_session_id:
            return None
        if self._settings.nemo_token:
            configured = accounts.account_for(self._store, self._vault, self._settings, home=self._home)
            if configured != claimed.account.id:
                words = "the token that it was handed in with is refused; the row goes on with the NEMO_TOKEN of now"
                return _Spare(configured, words)
        if not self._settings.reelq_anonymous_fallback:
            return None
        free = accounts.anonymous_for(self._store, self._settings, home=self._home)
        return _Spare(free, accounts.GOES_ON_FREE)

    def _park(
        self,
        session: Transaction,
        claimed: Claimed,
        account: Account,
        cause: Cause,
        words: str,
        now: datetime,
        spare: _Spare | None,
    ) -> str:
        """What was said of it."""
        if cause is Cause.PAUSED:
            move(session, claimed.at, Status.WAITING, now, words, cause=cause)
            return words
        link = accounts.registration_link(account, self._settings) if cause is Cause.CREDITS else ""
        why = f"{words}. {'Register: ' + link if link else ''}".rstrip()
        accounts.park(session, account.id, cause, why, now)
        if spare:
            jobs.again(session, claimed.at, now, 0, spare.words, account_id=spare.account_id)
            return spare.words
        move(session, claimed.at, Status.WAITING, now, why, cause=cause)
        return f"waits for {cause}: {words}"

    def _give_up(self, session: Transaction, claimed: Claimed, error: Exception, now: datetime) -> Ended:
        if isinstance(error, errors.EditUnconfirmed) and claimed.job.resend:
            self._settle(session, claimed, error, now)
            words = "one more read shows no edit either; the instruction goes out anew, as you asked"
            jobs.again(session, claimed.at, now, 0, words, stage=Stage.EDIT, resend=False)
            return Later(words)
        self._settle(session, claimed, error.__cause__ if isinstance(error.__cause__, Exception) else error, now)
        known = isinstance(error, errors.ReelqError)
        said = str(error) if known else f"{type(error).__name__}: {error}"
        code = error.code if isinstance(error, errors.ReelqError) else "internal"
        advice = error.advice if isinstance(error, errors.ReelqError) else "A fault of reelq's own: its log has more."
        jobs.end(
            session,
            claimed.at,
            Status.FAILED,
            now,
            str(error),
            error_code=code,
            error=said,
            advice=advice,
            raw=_raw_of(error),
        )
        return Failed(said, code)


def _is_one_move(claimed: Claimed, outcome: object) -> bool:
    """Whether all there is to write down is that the job goes on: a move with its event is one statement."""
    return (
        isinstance(outcome, (NotYet, Uploaded, Rendered))
        and stage_after(claimed.job.route, claimed.at.stage) is not None
    )


def _later(words: str, now: datetime, seconds: float, came: Came = Came.AGAIN) -> Later:
    return Later(f"{words}; again at {jobs.later(now, seconds):%H:%M:%S} UTC", came)


def _arrived(files: int) -> str:
    return f"{files} file{'' if files == 1 else 's'} uploaded" if files else "its session is ready"


def _raw_of(error: BaseException) -> str:
    """The answer behind an error, or behind what it came from."""
    if isinstance(error, errors.RemoteError):
        return error.raw
    return _raw_of(error.__cause__) if error.__cause__ else ""
