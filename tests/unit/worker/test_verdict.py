"""Each error of the tree has its verdict, and no case bends it."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq import errors
from reelq.errors import Fault, ReelqError
from reelq.job import PIPELINE, Cause, Stage
from tests.unit.test_words import every
from worker.retry_policy import PARKED, RETRIES, ErrorContext, GiveUp, Park, RetryIn, RunAgainIn, Verdict, decide

PLAIN: Final = ErrorContext(
    stage=Stage.EDIT,
    attempts=0,
    anything_sent=False,
    has_session=True,
    block_seconds=0,
    blocked_lately=False,
    quota_met=False,
    jitter=0.5,
    rate_limit_wait=30,
    poll_interval=20,
)

LOOK_AGAIN: Final = RunAgainIn(20)
ACCOUNT_WAITS: Final = RunAgainIn(30, account_waits=True)
ANEW: Final = RetryIn(0, Stage.UPLOAD)
TRY_AGAIN: Final = RetryIn(1.5)
NO_CREDITS: Final = Park(Cause.CREDITS)
NO_PLAN: Final = Park(Cause.PLAN)
NO_TOKEN: Final = Park(Cause.TOKEN)
FINAL: Final = None
"""The row fails with the very error."""

# The whole tree, each class by itself: one that is not here fails the first test.
JUDGED_ALIKE: Final[dict[Verdict | None, list[type[ReelqError]]]] = {
    FINAL: [
        errors.ReelqError, errors.ManifestError, errors.SettingsError, errors.SkillError, errors.UnknownName,
        errors.CannotRefine, errors.AddressRefused, errors.ServiceAway, errors.ServiceRefused, errors.RowFailed,
        errors.NoEffect, errors.EditUnconfirmed, errors.SessionLost, errors.NothingToExport, errors.RenderFailed,
        errors.RenderStuck, errors.Poisoned, errors.FileUnreadable, errors.RemoteError, errors.FileRefused,
        errors.TypeNotAccepted, errors.FileTooLarge, errors.AgentFailed, errors.RenderDuplicate, errors.RenderUnknown,
        errors.Rejected,
    ],
    TRY_AGAIN: [
        errors.CannotWrite, errors.PassingFault, errors.NotSent, errors.ConnectionLost, errors.TimedOut,
        errors.ServerTrouble, errors.Unintelligible, errors.BrokenDownload, errors.StreamLost, errors.StreamNeverBegan,
        errors.StreamCut, errors.StreamSilent, errors.StreamOverran, errors.ResultMissing,
    ],
    LOOK_AGAIN: [errors.SessionBusy],
    ACCOUNT_WAITS: [errors.RateLimited, errors.TokenQuota],
    ANEW: [errors.SessionGone],
    NO_TOKEN: [errors.TokenRefused, errors.ClientIdMissing],
    NO_CREDITS: [errors.CreditsExhausted],
    NO_PLAN: [errors.PlanRequired],
    Park(Cause.PAUSED): [errors.LimitReached],
}  # fmt: skip
VERDICTS: Final = [(kind, verdict) for verdict, kinds in JUDGED_ALIKE.items() for kind in kinds]
BUGS: Final = [ValueError, KeyError, OSError, AssertionError, NotImplementedError]


def an(kind: type[Exception]) -> Exception:
    if kind is errors.ManifestError:
        return kind([Fault(2, "file", "not there")])
    needs_words = (errors.UnknownName, errors.ServiceAway, errors.ServiceRefused)
    return kind("nobody is called that") if kind in needs_words else kind()


amounts = st.floats(0.01, 2000)
cases = st.builds(
    ErrorContext,
    attempts=st.integers(0, 10_000),
    block_seconds=st.just(0.0) | amounts,
    jitter=st.floats(0, 1),
    rate_limit_wait=amounts,
    poll_interval=amounts,
)


def test_every_error_of_the_tree_has_one_verdict() -> None:
    assert sorted(every(), key=str) == sorted((kind for kind, _ in VERDICTS), key=str)


@pytest.mark.parametrize(("kind", "expected"), VERDICTS)
def test_an_error_is_judged_as_the_table_says(kind: type[ReelqError], expected: Verdict | None) -> None:
    error = an(kind)
    assert decide(error, PLAIN) == (GiveUp(error) if expected is FINAL else expected)


IN_EVERY_CASE: Final = [(kind, verdict) for kind, verdict in VERDICTS if verdict is FINAL or isinstance(verdict, Park)]


@given(st.sampled_from([*IN_EVERY_CASE, *((kind, FINAL) for kind in BUGS)]), cases)
def test_what_is_final_or_a_bug_or_only_the_users_to_mend_is_so_in_every_case(
    judged: tuple[type[Exception], Verdict | None], case: ErrorContext
) -> None:
    kind, verdict = judged
    error = an(kind)
    assert decide(error, case) == (GiveUp(error) if verdict is FINAL else verdict)
    assert error.__cause__ is None


@given(st.sampled_from(JUDGED_ALIKE[TRY_AGAIN]), cases)
def test_a_passing_fault_is_tried_again_six_times_after_twice_as_long_up_to_a_minute_and_no_more(
    kind: type[ReelqError], case: ErrorContext
) -> None:
    error = an(kind)
    for attempts, longest in enumerate([2, 4, 8, 16, 32, 60]):
        assert decide(error, replace(case, attempts=attempts, jitter=0)) == RetryIn(1)
        assert decide(error, replace(case, attempts=attempts, jitter=1)) == RetryIn(longest)
    for attempts in (RETRIES, case.attempts + RETRIES):
        assert decide(error, replace(case, attempts=attempts)) == GiveUp(error)


@given(cases)
def test_a_busy_session_is_looked_at_again_after_a_poll_interval_however_often(case: ErrorContext) -> None:
    assert decide(errors.SessionBusy(), case) == RunAgainIn(case.poll_interval)


@given(st.sampled_from([errors.RateLimited, errors.TokenQuota]), cases)
def test_a_429_never_gives_up_and_never_uses_up_an_attempt(kind: type[ReelqError], case: ErrorContext) -> None:
    verdict = decide(an(kind), case)
    if kind is errors.TokenQuota and case.quota_met:
        assert verdict == NO_TOKEN
    else:
        assert isinstance(verdict, RunAgainIn)
        assert verdict.account_waits
        assert verdict.seconds >= case.rate_limit_wait


@pytest.mark.parametrize(
    ("setting", "lately", "last_wait", "seconds"),
    [
        (30, False, 0, 30),
        (30, False, 240, 30),
        (30, True, 30, 60),
        (30, True, 299, 598),
        (30, True, 400, 600),
        (30, True, 5, 30),
        (900, True, 900, 900),
    ],
)
def test_a_429_right_after_the_wait_waits_twice_as_long_up_to_ten_minutes_or_a_longer_setting(
    setting: float, lately: bool, last_wait: float, seconds: float
) -> None:
    case = replace(PLAIN, rate_limit_wait=setting, blocked_lately=lately, block_seconds=last_wait)
    assert decide(errors.RateLimited(), case) == RunAgainIn(seconds, account_waits=True)


def test_the_table_of_scopes_names_every_cause_that_an_account_is_parked_for() -> None:
    assert {
        Cause.CREDITS: {Stage.UPLOAD, Stage.EDIT},
        Cause.PLAN: {Stage.UPLOAD, Stage.EDIT, Stage.RENDER},
        Cause.TOKEN: set(PIPELINE),
    } == PARKED


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_lost_session_to_which_nothing_was_sent_is_replaced_at_once_unless_the_row_works_without_one(
    stage: Stage,
) -> None:
    error = errors.SessionGone()
    assert decide(error, replace(PLAIN, stage=stage)) == ANEW
    # One lost during its own upload was never on record.
    expected = ANEW if stage is Stage.UPLOAD else GiveUp(error)
    assert decide(error, replace(PLAIN, stage=stage, has_session=False)) == expected


def test_sessions_lost_one_after_another_are_replaced_ever_more_slowly_and_not_for_ever() -> None:
    error = errors.SessionGone()
    verdicts = [decide(error, replace(PLAIN, attempts=attempts, jitter=1)) for attempts in range(7)]
    assert verdicts[:6] == [RetryIn(seconds, Stage.UPLOAD) for seconds in (0, 4, 8, 16, 32, 60)]
    assert verdicts[6] == GiveUp(error)


@given(cases)
def test_a_session_lost_after_something_was_sent_is_final_and_says_what_it_was(case: ErrorContext) -> None:
    error = errors.SessionGone("the session is not there")
    verdict = decide(error, replace(case, anything_sent=True))
    assert isinstance(verdict, GiveUp)
    assert type(verdict.error) is errors.SessionLost
    assert verdict.error.__cause__ is error


@given(cases)
def test_a_session_lost_in_which_other_rows_worked_is_not_replaced_by_an_empty_one(case: ErrorContext) -> None:
    verdict = decide(errors.SessionGone(), replace(case, anything_sent=False, builds_on_others=True, has_session=True))
    assert isinstance(verdict, GiveUp)
    assert isinstance(verdict.error, errors.SessionLost)
    assert "earlier rows" in verdict.error.advice


def test_a_result_that_is_gone_when_it_is_brought_again_is_exported_again_by_itself_and_once() -> None:
    long_ago = replace(PLAIN, stage=Stage.DOWNLOAD, renders=0)
    assert decide(errors.ResultMissing(), long_ago) == RetryIn(0, Stage.RENDER)
    assert decide(errors.ResultMissing(), replace(long_ago, renders=1)) == TRY_AGAIN
    assert decide(errors.BrokenDownload(), long_ago) == TRY_AGAIN


def test_a_result_that_is_gone_is_not_replaced_by_what_its_session_shows_since_other_rows_worked_in_it() -> None:
    case = replace(PLAIN, stage=Stage.DOWNLOAD, renders=0, session_went_on=True)
    verdict = decide(errors.ResultMissing(), case)
    assert isinstance(verdict, GiveUp)
    assert "later rows have changed its session" in str(verdict.error)
    assert "`reelq retry` exports what the session shows now" in verdict.error.advice  # type: ignore[attr-defined]
    assert decide(errors.ResultMissing(), replace(case, renders=1)) == TRY_AGAIN  # its own export is young
