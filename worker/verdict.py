"""What to do about an error: one pure function over the tree of errors; the caller draws, reads clocks and writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from reelq import errors
from reelq.job import PIPELINE, Cause, Stage

RETRIES: Final = 6
"""A passing fault is met so often with another try; once more, and it is no passing fault."""
SHORTEST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 60.0
LONGEST_RATE_LIMIT_WAIT: Final = 600.0

PARKED: Final[Mapping[Cause, frozenset[Stage]]] = MappingProxyType(
    {
        # Exports are free: without credits, finished edits still render.
        Cause.CREDITS: frozenset({Stage.UPLOAD, Stage.EDIT}),
        # What is exported already can be brought home under any plan.
        Cause.PLAN: frozenset({Stage.UPLOAD, Stage.EDIT, Stage.RENDER}),
        Cause.TOKEN: frozenset(PIPELINE),
    }
)
"""The stages that hold off while an account is parked for this cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of a job and its account when an error is judged."""

    stage: Stage
    attempts: int
    """Passing faults met in this stage so far, without the one to be judged."""
    anything_sent: bool
    """Whether any instruction went out in this remote session, by this row or by one before it."""
    has_session: bool
    block_seconds: float
    """How long the account held off after its last 429."""
    blocked_lately: bool
    """Whether the account is just back from that wait."""
    quota_met: bool
    """Whether the token endpoint has answered 429 before this."""
    jitter: float
    """A number between 0 and 1, drawn by the caller."""
    rate_limit_wait: float
    poll_interval: float
    own_token: bool
    renders: int = 1
    """Exports asked for since the row was first run, or since its result was to be brought once more."""
    session_went_on: bool = False
    """Whether another row has worked in the remote session since this one's export."""
    builds_on_others: bool = False
    """Whether rows before it have worked in the remote session, or brought files there."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Try again, which uses up an attempt; from an earlier stage, in a new session, where one is named."""

    seconds: float
    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class CheckBackIn:
    """Nothing failed: come back later, with no attempt used up; all of the account's stages wait if it does."""

    seconds: float
    account_waits: bool = False


@dataclass(frozen=True, slots=True)
class Park:
    """Wait for the user; meanwhile these stages of the account hold off, or of none but this row's batch."""

    cause: Cause
    scope: frozenset[Stage]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The row fails with this error."""

    error: Exception


Verdict = RetryIn | CheckBackIn | Park | GiveUp


def judge(error: Exception, case: Case) -> Verdict:
    """What follows from an error that a stage raised; whatever is not named here is final."""
    match error:
        case errors.SessionBusy():
            return CheckBackIn(case.poll_interval)
        case errors.TokenQuota() if case.quota_met:
            return _park(Cause.TOKEN)
        case errors.RateLimited():
            return CheckBackIn(_rate_limit_wait(case), account_waits=True)
        case errors.TokenRefused() | errors.ClientIdMissing():
            return _park(Cause.TOKEN)
        case errors.CreditsExhausted():
            return _park(Cause.CREDITS)
        case errors.PlanRequired():
            return _park(Cause.PLAN)
        case errors.SessionGone():
            return _without_session(error, case)
        # StreamLost is the edit stage's own to settle. One that gets here is doubt still, and trying again keeps it so:
        # the stage runs again, the message does not go out again, as its decision to send stands open.
        case errors.PassingFault() | errors.CannotWrite() | errors.ResultMissing() | errors.StreamLost():
            return _try_again(error, case)
        case _:
            return _of_the_row(error)


def _of_the_row(error: Exception) -> Park | GiveUp:
    """What concerns the row or its batch alone: the account has credits, but the batch may not spend more."""
    return Park(Cause.PAUSED, frozenset()) if isinstance(error, errors.LimitReached) else GiveUp(error)


def _park(cause: Cause) -> Park:
    return Park(cause, PARKED[cause])


def _rate_limit_wait(case: Case) -> float:
    """The setting; met again right after a wait, twice that wait, within reason."""
    if not case.blocked_lately:
        return case.rate_limit_wait
    return max(case.rate_limit_wait, min(2 * case.block_seconds, LONGEST_RATE_LIMIT_WAIT))


def _export_again(case: Case) -> RetryIn | GiveUp:
    """A result that was there long ago, and is not any more: the session still is, and an export is free."""
    if not case.session_went_on:
        return RetryIn(0, Stage.RENDER)
    gone = errors.ResultMissing("The finished file is gone, and later rows have changed its session since")
    gone.advice = "`reelq retry` exports what the session shows now, with what the later rows did."
    return GiveUp(gone)


def _try_again(error: Exception, case: Case) -> RetryIn | GiveUp:
    if isinstance(error, errors.ResultMissing) and case.stage is Stage.DOWNLOAD and not case.renders:
        return _export_again(case)
    return RetryIn(_backoff(case)) if case.attempts < RETRIES else GiveUp(error)


def _backoff(case: Case) -> float:
    """Anything between the shortest wait and one that doubles: full jitter keeps rows that failed together apart."""
    longest = min(SHORTEST_BACKOFF * 2.0 ** (case.attempts + 1), LONGEST_BACKOFF)
    return SHORTEST_BACKOFF + case.jitter * (longest - SHORTEST_BACKOFF)


def _without_session(error: errors.SessionGone, case: Case) -> RetryIn | GiveUp:
    """A new session costs nothing, unless what was paid for went with the old one, or what other rows put there."""
    others = case.builds_on_others and case.has_session
    if case.anything_sent or others:
        lost = errors.SessionLost()
        if others:
            lost.advice = errors.SESSION_OF_OTHERS_LOST
        lost.__cause__ = error
        return GiveUp(lost)
    # An upload's session is not on record before its files are in it; any other stage without one has no upload either.
    uploads = case.has_session or case.stage is Stage.UPLOAD
    if not uploads or case.attempts >= RETRIES:
        return GiveUp(error)
    # A service that loses one session after another needs time, not a quick succession of uploads.
    return RetryIn(_backoff(case) if case.attempts else 0, Stage.UPLOAD)
