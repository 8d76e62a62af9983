"""Decides what to do about an error, in one pure function. The caller supplies random numbers and times, and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from reelq import errors
from reelq.job import PIPELINE, Cause, Stage

RETRIES: Final = 6
"""How often a temporary error is retried before it is final."""
SHORTEST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 60.0
LONGEST_RATE_LIMIT_WAIT: Final = 600.0
PARKED: Final[Mapping[Cause, frozenset[Stage]]] = MappingProxyType(
    {
        # Exports are free: without credits, finished edits still render.
        Cause.CREDITS: frozenset({Stage.UPLOAD, Stage.EDIT}),
        # Finished exports can be downloaded under any plan.
        Cause.PLAN: frozenset({Stage.UPLOAD, Stage.EDIT, Stage.RENDER}),
        Cause.TOKEN: frozenset(PIPELINE),
    }
)
"""The stages that wait while an account is parked for a cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorContext:
    """What is known about a job and its account when an error is handled."""

    stage: Stage
    attempts: int
    """Temporary errors in this stage so far, without the current one."""
    anything_sent: bool
    """Whether this row or an earlier one has sent an instruction in this remote session."""
    has_session: bool
    block_seconds: float
    """How long the account waited after its last 429."""
    blocked_lately: bool
    """Whether that wait ended a shorter time ago than it lasted."""
    quota_met: bool
    """Whether the token endpoint has answered 429 before this."""
    jitter: float
    """A number between 0 and 1, drawn by the caller."""
    rate_limit_wait: float
    poll_interval: float
    renders: int = 1
    """Exports requested since the row's first run, or since it was retried to download its result again."""
    session_went_on: bool = False
    """Whether another row has changed the remote session since this row's export."""
    builds_on_others: bool = False
    """Whether earlier rows have edited or uploaded files in the remote session."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Retry after this many seconds, which uses up an attempt. With `stage`, go back to that earlier stage."""

    seconds: float
    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class RunAgainIn:
    """Nothing failed: run the stage again later, without using up an attempt. The whole account may have to wait."""

    seconds: float
    account_waits: bool = False


@dataclass(frozen=True, slots=True)
class Park:
    """Wait for the user, as do the account's stages in `PARKED`; for `paused` only the row's batch waits."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The row fails with this error."""

    error: Exception


Verdict = RetryIn | RunAgainIn | Park | GiveUp


def decide(error: Exception, case: ErrorContext) -> Verdict:
    """Decide what follows from an error that a stage raised. Errors not listed here are final."""
    match error:
        case errors.SessionBusy():
            return RunAgainIn(case.poll_interval)
        case errors.TokenQuota() if case.quota_met:
            return Park(Cause.TOKEN)
        case errors.RateLimited():
            return RunAgainIn(_rate_limit_wait(case), account_waits=True)
        case errors.TokenRefused() | errors.ClientIdMissing():
            return Park(Cause.TOKEN)
        case errors.CreditsExhausted():
            return Park(Cause.CREDITS)
        case errors.PlanRequired():
            return Park(Cause.PLAN)
        case errors.SessionGone():
            return _without_session(error, case)
        # The edit stage handles StreamLost itself. If one gets here, a retry is still safe: the decision to send stays
        # open, so the stage does not send the instruction again.
        case errors.PassingFault() | errors.CannotWrite() | errors.ResultMissing() | errors.StreamLost():
            return _try_again(error, case)
        case _:
            return _pause_or_fail(error)


def _pause_or_fail(error: Exception) -> Park | GiveUp:
    """Pause a row whose batch has reached its limit of credits. Fail it for any other error."""
    return Park(Cause.PAUSED) if isinstance(error, errors.LimitReached) else GiveUp(error)


def _rate_limit_wait(case: ErrorContext) -> float:
    """Return the configured wait, or twice the last wait if that ended only recently, up to a maximum."""
    if not case.blocked_lately:
        return case.rate_limit_wait
    return max(case.rate_limit_wait, min(2 * case.block_seconds, LONGEST_RATE_LIMIT_WAIT))


def _export_again(case: ErrorContext) -> RetryIn | GiveUp:
    """Export again if an old result is gone. This is free, but wrong if later rows have changed the session."""
    if not case.session_went_on:
        return RetryIn(0, Stage.RENDER)
    gone = errors.ResultMissing("The finished file is gone, and later rows have changed its session")
    gone.advice = "`reelq retry` exports what the session shows now, with what the later rows did."
    return GiveUp(gone)


def _try_again(error: Exception, case: ErrorContext) -> RetryIn | GiveUp:
    if isinstance(error, errors.ResultMissing) and case.stage is Stage.DOWNLOAD and not case.renders:
        return _export_again(case)
    return RetryIn(_backoff(case)) if case.attempts < RETRIES else GiveUp(error)


def _backoff(case: ErrorContext) -> float:
    """Return a random wait up to a maximum that doubles. Full jitter keeps rows that failed together apart."""
    longest = min(SHORTEST_BACKOFF * 2.0 ** (case.attempts + 1), LONGEST_BACKOFF)
    return SHORTEST_BACKOFF + case.jitter * (longest - SHORTEST_BACKOFF)


def _without_session(error: errors.SessionGone, case: ErrorContext) -> RetryIn | GiveUp:
    """Start over in a new session, which is free. Fail if paid edits or the files of other rows are lost."""
    others = case.builds_on_others and case.has_session
    if case.anything_sent or others:
        lost = errors.SessionLost()
        if others:
            lost.advice = errors.SESSION_OF_OTHERS_LOST
        lost.__cause__ = error
        return GiveUp(lost)
    # An upload records its session only after its files are in it, so here there may be none. In any other stage, a
    # missing session means that the row has no upload stage to go back to.
    can_upload = case.has_session or case.stage is Stage.UPLOAD
    if not can_upload or case.attempts >= RETRIES:
        return GiveUp(error)
    # If the service loses one session after another, back off.
    return RetryIn(_backoff(case) if case.attempts else 0, Stage.UPLOAD)
