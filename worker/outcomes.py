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
from typing import Any, Final

from reelq import errors
from reelq.errors import ReelqError
from reelq.job import Cause, Route, Stage, Status, stage_after
from reelq.settings import Settings
from reelq.store.billing import accounts, throttling
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Account, AccountKind, Outcome
from reelq.store.db.vault import Vault
from reelq.store.jobs import dependents, leases, sends, transitions
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


_Fallback = tuple[str, str]
"""An account to continue with if the row's own token is refused, and the message about the change."""


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
        has_next = stage_after(claimed.job.route, claimed.at.stage) is not None
        # These are no more than a single move of the job, which is one statement.
        is_single_move = has_next and isinstance(outcome, (NotYet, Uploaded, Rendered))
        with self._store.autocommit() if is_single_move else self._store.write() as session:
            recording = _Recording(session, self._store.now(session), claimed, self._settings)
            match outcome:
                case Cancelled():
                    return recording.cancel()
                case Exception():
                    return recording.apply_policy(outcome, fallback)
                case NotYet(seconds, message, new_export):
                    polls = 0 if new_export else claimed.job.looks + 1
                    return recording.run_again(StageResult.NOT_YET, seconds, message, looks=polls, attempts=0, lapses=0)
                case _:
                    return recording.advance(outcome)

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
                return configured, "the row's token was refused; continuing with the current NEMO_TOKEN"
        if not self._settings.reelq_anonymous_fallback:
            return None
        return accounts.anonymous_for(self._store, self._settings, home=self._home), accounts.FALLBACK_MESSAGE


@dataclass(frozen=True, slots=True)
class _Recording:
    """The transaction in which an outcome is recorded."""

    session: Transaction
    now: datetime
    claimed: Claimed
    settings: Settings

    def advance(self, receipt: Receipt) -> Ended:
        """Move the job on, by what its receipt says; and whatever else a stage's end means."""
        session, job, account, columns = self.session, self.claimed.job, self.claimed.account, receipt.columns
        match receipt:
            case Edited(heard):
                if account.probe_job_id == job.id:
                    throttling.unpark(session, account.id)
                if heard:
                    sends.record_end(session, job.id, heard.reply, heard.error.message if heard.error else "")
            case Verified(changes=changes, follow_up=follow_up):
                sends.settle(session, job.id, Outcome.APPLIED, self.now)
                if changes:
                    columns["changes"] = [*job.changes, *changes]
                if follow_up and not job.follow_ups and job.route is Route.EDIT:
                    message = f"{receipt.message}; the agent asks for more: {follow_up}"
                    columns |= {"to_send": follow_up, "follow_ups": 1, "stage": Stage.EDIT}
                    self._reschedule(0, message, **columns)
                    return _DONE_FOR_NOW
            case Downloaded():
                throttling.widen_window(session, account, self.settings.reelq_max_in_flight)
        if receipt.next_in:
            columns["due_at"] = transitions.later(self.now, receipt.next_in)
        leases.advance(session, self.claimed, self.now, receipt.message, **columns)
        return _DONE_FOR_NOW if receipt.next_in else _DONE

    def cancel(self) -> Ended:
        """End the job as cancelled, with what became of its open send."""
        self._settle_send(Cancelled())
        # The export may have been polled a moment ago, so a retried row waits for one poll interval.
        is_poll = self.claimed.at.stage is Stage.POLL
        due = transitions.later(self.now, self.settings.reelq_poll_interval) if is_poll else self.now
        dependents.end(self.session, self.claimed.at, Status.CANCELLED, self.now, "cancelled", due_at=due)
        return Ended(StageResult.CANCELLED)

    def apply_policy(self, error: Exception, fallback: _Fallback | None) -> Ended:
        """Do what `retry_policy` decides about an error."""
        account = self.session.get_one(Account, self.claimed.account.id, populate_existing=True)
        message = str(error) or type(error).__name__
        values: dict[str, Any] = {}
        match decide(error, self._error_context(account, error)):
            case RetryIn(seconds, stage):
                values = {"attempts": self.claimed.job.attempts + 1} | ({"stage": stage} if stage else {})
                return self.run_again(StageResult.AGAIN, seconds, message, error, **values)
            case RunAgainIn(seconds, account_waits):
                if account_waits:
                    throttling.halve_window(self.session, account.id, self.now)
                    throttling.block(self.session, account.id, self.now, seconds)
                # The service refuses this export while an earlier one goes on. Count these refusals as polls, so
                # that it is given up at the same limit as an export that never finishes.
                if self.claimed.at.stage is Stage.POLL and isinstance(error, errors.SessionBusy):
                    values = {"looks": leases.polls_of(self.session, self.claimed.at) + 1}
                return self.run_again(StageResult.HELD_OFF, seconds, message, error, **values)
            case Park() if leases.is_to_be_cancelled(self.session, self.claimed.at):
                return self.cancel()  # a waiting row would never see the request to cancel
            case Park(cause):
                message = self._park(account, cause, message, fallback)
                return Ended(StageResult.PARKED, message, _code_of(error))
            case GiveUp(final):
                return self._give_up(final)

    def run_again(
        self, result: StageResult, seconds: float, message: str, error: Exception | None = None, **changes: Any
    ) -> Ended:
        """Queue the job again, in so many seconds."""
        self._reschedule(seconds, f"{message}; retrying in {seconds:.0f} s" if error else message, **changes)
        action = "retrying" if error else "checking again"
        due = transitions.later(self.now, seconds)
        return Ended(result, f"{message}; {action} at {due:%H:%M:%S} UTC", _code_of(error) if error else "")

    def _reschedule(self, seconds: float, message: str, **changes: Any) -> None:
        leases.reschedule(self.session, self.claimed.at, self.now, seconds, message, **changes)

    def _settle_send(self, error: Exception) -> None:
        outcome = next((_SEND_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _SEND_OUTCOMES), None)
        if outcome:
            sends.settle(self.session, self.claimed.job.id, outcome, self.now)

    def _error_context(self, account: Account, error: Exception) -> ErrorContext:
        session, job, remote_session = self.session, self.claimed.job, self.claimed.job.remote_session_id
        since_block = (self.now - account.blocked_until).total_seconds() if account.blocked_until else -1
        return ErrorContext(
            stage=self.claimed.at.stage,
            attempts=job.attempts,
            anything_sent=bool(remote_session) and sends.anything_sent(session, remote_session),
            has_session=bool(remote_session),
            block_seconds=account.block_seconds,
            blocked_lately=0 <= since_block < account.block_seconds,
            # The token store parks the account at its second refusal in a row.
            quota_met=account.parked is Cause.TOKEN,
            jitter=random.random(),
            rate_limit_wait=self.settings.reelq_rate_limit_wait,
            poll_interval=self.settings.reelq_poll_interval,
            renders=job.renders,
            builds_on_others=bool(job.after_id),
            session_went_on=isinstance(error, errors.ResultMissing) and sends.session_moved_on(session, job),
        )

    def _park(self, account: Account, cause: Cause, message: str, fallback: _Fallback | None) -> str:
        """Park the account and let the row wait, or move the row to the fallback account. Return the message."""
        if cause is Cause.PAUSED:
            move(self.session, self.claimed.at, Status.WAITING, self.now, message, cause=cause)
            return message
        link = accounts.registration_link(account, self.settings) if cause is Cause.CREDITS else ""
        why = f"{message}. {'Register: ' + link if link else ''}".rstrip()
        throttling.park(self.session, account.id, cause, why, self.now)
        if fallback:
            account_id, message = fallback
            self._reschedule(0, message, account_id=account_id)
            return message
        move(self.session, self.claimed.at, Status.WAITING, self.now, why, cause=cause)
        return f"waits for {cause}: {message}"

    def _give_up(self, error: Exception) -> Ended:
        self._settle_send(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        code = _code_of(error)
        if isinstance(error, errors.EditUnconfirmed) and self.claimed.job.resend:
            message = "still no edit after another read; sending the instruction again as requested"
            self._reschedule(0, message, stage=Stage.EDIT, resend=False)
            return Ended(StageResult.AGAIN, message, code)
        text, advice = f"{type(error).__name__}: {error}", _BUG_ADVICE
        if isinstance(error, ReelqError):
            text, advice = str(error), error.advice
        values = {"error_code": code, "error": text, "advice": advice, "raw": _raw_answer(error)}
        dependents.end(self.session, self.claimed.at, Status.FAILED, self.now, str(error), **values)
        return Ended(StageResult.FAILED, text, code)


def _code_of(error: Exception) -> str:
    return error.code if isinstance(error, ReelqError) else "internal"


def _raw_answer(error: BaseException) -> str:
    """Return the service's raw answer behind an error or its causes."""
    if isinstance(error, errors.RemoteError):
        return error.raw
    return _raw_answer(error.__cause__) if error.__cause__ else ""
