"""Records the outcome of a stage: a receipt moves the job to its next stage, an error goes to `retry_policy`.

One transaction writes everything that an outcome changes: the job, its open send and its account.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from reelq import errors
from reelq.errors import ReelqError
from reelq.job import Cause, Route, Stage, Status, stage_after
from reelq.settings import Settings
from reelq.store.billing import accounts, throttling
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Account, AccountKind, Outcome
from reelq.store.db.vault import Vault
from reelq.store.jobs import completion, dependents, leases, sends, transitions
from reelq.store.jobs.claims import Claimed
from reelq.store.jobs.transitions import move
from worker.context import Cancelled, NotYet, Receipt
from worker.retry_policy import ErrorContext, GiveUp, Park, RetryIn, RunAgainIn, decide
from worker.stages.download import Downloaded
from worker.stages.edit import Edited
from worker.stages.render import Rendered
from worker.stages.upload import Uploaded
from worker.stages.verify import Verified


class StageResult(StrEnum):
    """How a stage ended, as metrics and the log name it."""

    DONE = "done"
    NOT_YET = "not_yet"
    AGAIN = "again"
    HELD_OFF = "held_off"
    PARKED = "parked"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LET_GO = "let_go"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stage ended, a message if it runs again or failed, and whether the next stage is due now."""

    result: StageResult
    message: str = ""
    code: str = ""
    next_is_due: bool = False


_DONE: Final = Ended(StageResult.DONE, next_is_due=True)
_DONE_FOR_NOW: Final = Ended(StageResult.DONE)
"""The next stage is not due yet: a maintenance thread polls or publishes it when it is."""
_SEND_OUTCOMES: Final[Mapping[type[Exception], Outcome]] = MappingProxyType(
    {
        errors.NoEffect: Outcome.NO_EFFECT,
        errors.AgentFailed: Outcome.AGENT_ERROR,
        errors.EditUnconfirmed: Outcome.UNCONFIRMED,
        errors.SessionGone: Outcome.UNCONFIRMED,
        Cancelled: Outcome.UNCONFIRMED,
    }
)
_BUG_ADVICE: Final = "This is a bug in reelq. See the worker's log for details."


class _Fallback(NamedTuple):
    """An account to continue with if the row's own token is refused, and the message about the change."""

    account_id: str
    message: str


class Recorder:
    """Writes the outcome of a stage, in the second of its two transactions."""

    def __init__(self, store: Store, vault: Vault, settings: Settings, home: Path | None) -> None:
        self._store = store
        self._vault = vault
        self._settings = settings
        self._home = home

    def record(self, claimed: Claimed, outcome: Receipt | NotYet | Exception) -> Ended:
        """Record a receipt or an exception. Return how the task ends."""
        fallback = self._fallback(claimed, outcome)
        with self._store.alone() if _is_single_move(claimed, outcome) else self._store.write() as session:
            now = self._store.now(session)
            match outcome:
                case Cancelled():
                    return self._cancelled(session, claimed, now)
                case Exception():
                    return self._apply_policy(session, claimed, outcome, now, fallback)
                case NotYet(seconds, message, new_export):
                    polls = 0 if new_export else claimed.job.looks + 1
                    updates: dict[str, Any] = {"looks": polls, "attempts": 0, "lapses": 0}
                    return _run_again(session, claimed, now, seconds, StageResult.NOT_YET, message, **updates)
                case _:
                    return self._done(session, claimed, outcome, now)

    def _done(self, session: Transaction, claimed: Claimed, receipt: Receipt, now: datetime) -> Ended:
        """Move the job on, by what its receipt says; and whatever else a stage's end means."""
        job, columns = claimed.job, receipt.columns
        match receipt:
            case Edited(heard):
                if claimed.account.probe_job_id == job.id:
                    throttling.unpark(session, claimed.account.id)
                if heard:
                    error = heard.error.message if heard.error else ""
                    sends.record_end(session, job.id, heard.reply, error)
            case Verified(changes=changes, follow_up=follow_up):
                sends.settle(session, job.id, Outcome.APPLIED, now)
                if changes:
                    columns["changes"] = [*job.changes, *changes]
                if follow_up and not job.follow_ups and job.route is Route.EDIT:
                    message = f"{receipt.message}; the agent asks for more: {follow_up}"
                    columns |= {"to_send": follow_up, "follow_ups": 1, "stage": Stage.EDIT}
                    completion.reschedule(session, claimed.at, now, 0, message, **columns)
                    return _DONE_FOR_NOW
            case Downloaded():
                throttling.widen_window(session, claimed.account, self._settings.reelq_max_in_flight)
        if receipt.next_in:
            columns["due_at"] = transitions.later(now, receipt.next_in)
        completion.advance(session, claimed, now, receipt.message, **columns)
        return _DONE_FOR_NOW if receipt.next_in else _DONE

    def _cancelled(self, session: Transaction, claimed: Claimed, now: datetime) -> Ended:
        _settle_send(session, claimed, Cancelled(), now)
        # The export may have been polled a moment ago, so a retried row waits for one poll interval.
        is_poll = claimed.at.stage is Stage.POLL
        due = transitions.later(now, self._settings.reelq_poll_interval) if is_poll else now
        dependents.end(session, claimed.at, Status.CANCELLED, now, "cancelled", due_at=due)
        return Ended(StageResult.CANCELLED)

    def _apply_policy(
        self, session: Transaction, claimed: Claimed, error: Exception, now: datetime, fallback: _Fallback | None
    ) -> Ended:
        account = session.get_one(Account, claimed.account.id, populate_existing=True)
        verdict = decide(error, self._case(session, claimed, account, now, error))
        message = str(error) or type(error).__name__
        values: dict[str, Any] = {}
        match verdict:
            case RetryIn(seconds, stage):
                values = {"attempts": claimed.job.attempts + 1} | ({"stage": stage} if stage else {})
                return _run_again(session, claimed, now, seconds, StageResult.AGAIN, message, error, **values)
            case RunAgainIn(seconds, account_waits):
                if account_waits:
                    throttling.halve_window(session, account.id, now)
                    throttling.block(session, account.id, now, seconds)
                # The service refuses this export while an earlier one goes on. Count these refusals as polls, so
                # that it is given up at the same limit as an export that never finishes.
                if claimed.at.stage is Stage.POLL and isinstance(error, errors.SessionBusy):
                    values = {"looks": completion.polls_of(session, claimed.at) + 1}
                return _run_again(session, claimed, now, seconds, StageResult.HELD_OFF, message, error, **values)
            case Park() if leases.is_to_be_cancelled(session, claimed.at):
                return self._cancelled(session, claimed, now)  # a waiting row would never see the request to cancel
            case Park(cause):
                message = self._park(session, claimed, account, cause, message, now, fallback)
                return Ended(StageResult.PARKED, message, _code_of(error))
            case GiveUp(final):
                return self._give_up(session, claimed, final, now)

    def _case(
        self, session: Transaction, claimed: Claimed, account: Account, now: datetime, error: Exception
    ) -> ErrorContext:
        job, remote_session = claimed.job, claimed.job.remote_session_id
        since_block = (now - account.blocked_until).total_seconds() if account.blocked_until else -1
        return ErrorContext(
            stage=claimed.at.stage,
            attempts=job.attempts,
            anything_sent=bool(remote_session) and sends.anything_sent(session, remote_session),
            has_session=bool(remote_session),
            block_seconds=account.block_seconds,
            blocked_lately=0 <= since_block < account.block_seconds,
            # The token store parks the account at its second refusal in a row.
            quota_met=account.parked is Cause.TOKEN,
            jitter=random.random(),
            rate_limit_wait=self._settings.reelq_rate_limit_wait,
            poll_interval=self._settings.reelq_poll_interval,
            renders=job.renders,
            builds_on_others=bool(job.after_id),
            session_went_on=isinstance(error, errors.ResultMissing) and sends.session_moved_on(session, job),
        )

    def _fallback(self, claimed: Claimed, outcome: object) -> _Fallback | None:
        """Return the account to continue with if the token that a row was submitted with is refused.

        Only a row that has no session yet can change its account.
        """
        has_own_token = claimed.account.kind is AccountKind.OWN
        if not isinstance(outcome, errors.TokenRefused) or not has_own_token or claimed.job.remote_session_id:
            return None
        if self._settings.nemo_token:
            configured = accounts.account_for(self._store, self._vault, self._settings, home=self._home)
            if configured != claimed.account.id:
                return _Fallback(configured, "the row's token was refused; continuing with the current NEMO_TOKEN")
        if not self._settings.reelq_anonymous_fallback:
            return None
        anonymous = accounts.anonymous_for(self._store, self._settings, home=self._home)
        return _Fallback(anonymous, accounts.FALLBACK_MESSAGE)

    def _park(
        self,
        session: Transaction,
        claimed: Claimed,
        account: Account,
        cause: Cause,
        message: str,
        now: datetime,
        fallback: _Fallback | None,
    ) -> str:
        """Park the account and let the row wait, or move the row to the fallback account. Return the message."""
        if cause is Cause.PAUSED:
            move(session, claimed.at, Status.WAITING, now, message, cause=cause)
            return message
        link = accounts.registration_link(account, self._settings) if cause is Cause.CREDITS else ""
        why = f"{message}. {'Register: ' + link if link else ''}".rstrip()
        throttling.park(session, account.id, cause, why, now)
        if fallback:
            completion.reschedule(session, claimed.at, now, 0, fallback.message, account_id=fallback.account_id)
            return fallback.message
        move(session, claimed.at, Status.WAITING, now, why, cause=cause)
        return f"waits for {cause}: {message}"

    def _give_up(self, session: Transaction, claimed: Claimed, error: Exception, now: datetime) -> Ended:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        _settle_send(session, claimed, cause, now)
        code = _code_of(error)
        if isinstance(error, errors.EditUnconfirmed) and claimed.job.resend:
            message = "still no edit after another read; sending the instruction again as requested"
            completion.reschedule(session, claimed.at, now, 0, message, stage=Stage.EDIT, resend=False)
            return Ended(StageResult.AGAIN, message, code)
        text, advice = f"{type(error).__name__}: {error}", _BUG_ADVICE
        if isinstance(error, ReelqError):
            text, advice = str(error), error.advice
        values = {"error_code": code, "error": text, "advice": advice, "raw": _raw_answer(error)}
        dependents.end(session, claimed.at, Status.FAILED, now, str(error), **values)
        return Ended(StageResult.FAILED, text, code)


def _settle_send(session: Transaction, claimed: Claimed, error: Exception, now: datetime) -> None:
    outcome = next((_SEND_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _SEND_OUTCOMES), None)
    if outcome:
        sends.settle(session, claimed.job.id, outcome, now)


def _is_single_move(claimed: Claimed, outcome: object) -> bool:
    """Whether a single move of the job is all there is to record. A move and its event are one statement."""
    has_next = stage_after(claimed.job.route, claimed.at.stage) is not None
    return has_next and isinstance(outcome, (NotYet, Uploaded, Rendered))


def _run_again(
    session: Transaction,
    claimed: Claimed,
    now: datetime,
    seconds: float,
    result: StageResult,
    message: str,
    error: Exception | None = None,
    **changes: Any,
) -> Ended:
    text = f"{message}; retrying in {seconds:.0f} s" if error else message
    completion.reschedule(session, claimed.at, now, seconds, text, **changes)
    action = "retrying" if error else "checking again"
    due = transitions.later(now, seconds)
    return Ended(result, f"{message}; {action} at {due:%H:%M:%S} UTC", _code_of(error) if error else "")


def _code_of(error: Exception) -> str:
    return error.code if isinstance(error, ReelqError) else "internal"


def _raw_answer(error: BaseException) -> str:
    """Return the service's raw answer behind an error or its causes."""
    if isinstance(error, errors.RemoteError):
        return error.raw
    return _raw_answer(error.__cause__) if error.__cause__ else ""
