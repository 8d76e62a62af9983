"""Each error of the tree has its verdict, and no case bends it."""

import copy
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq import errors
from reelq.errors import Fault, ReelqError
from reelq.job import PIPELINE, Cause, Stage
from worker.verdict import PARKED, RETRIES, Case, CheckBackIn, GiveUp, Park, RetryIn, Verdict, judge

PLAIN: Final = Case(
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
    own_token=False,
)

LOOK_AGAIN: Final = CheckBackIn(20)
ACCOUNT_WAITS: Final = CheckBackIn(30, account_waits=True)
ANEW: Final = RetryIn(0, Stage.UPLOAD)
TRY_AGAIN: Final = RetryIn(1.5)
NO_CREDITS: Final = Park(Cause.CREDITS, frozenset({Stage.UPLOAD, Stage.EDIT}))
NO_PLAN: Final = Park(Cause.PLAN, frozenset({Stage.UPLOAD, Stage.EDIT, Stage.RENDER}))
NO_TOKEN: Final = Park(Cause.TOKEN, frozenset(PIPELINE))
FINAL: Final = None
"""The row fails with the very error."""

# The whole tree, each class by itself: one that is not here fails the walk below.
IN_THE_PLAIN_CASE: Final[dict[type[ReelqError], Verdict | None]] = {
    errors.ReelqError: FINAL,
    errors.ManifestError: FINAL,
    errors.SettingsError: FINAL,
    errors.SkillError: FINAL,
    errors.UnknownName: FINAL,
    errors.CannotRefine: FINAL,
    errors.AddressRefused: FINAL,
    errors.ServiceAway: FINAL,
    errors.ServiceRefused: FINAL,
    errors.RowFailed: FINAL,
    errors.NoEffect: FINAL,
    errors.EditUnconfirmed: FINAL,
    errors.SessionLost: FINAL,
    errors.NothingToExport: FINAL,
    errors.RenderFailed: FINAL,
    errors.RenderStuck: FINAL,
    errors.Poisoned: FINAL,
    errors.LimitReached: Park(Cause.PAUSED, frozenset()),
    errors.FileUnreadable: FINAL,
    errors.CannotWrite: TRY_AGAIN,
    errors.RemoteError: FINAL,
    errors.PassingFault: TRY_AGAIN,
    errors.NotSent: TRY_AGAIN,
    errors.ConnectionLost: TRY_AGAIN,
    errors.TimedOut: TRY_AGAIN,
    errors.ServerTrouble: TRY_AGAIN,
    errors.Unintelligible: TRY_AGAIN,
    errors.SessionBusy: LOOK_AGAIN,
    errors.BrokenDownload: TRY_AGAIN,
    errors.StreamLost: TRY_AGAIN,
    errors.StreamNeverBegan: TRY_AGAIN,
    errors.StreamCut: TRY_AGAIN,
    errors.StreamSilent: TRY_AGAIN,
    errors.StreamOverran: TRY_AGAIN,
    errors.RateLimited: ACCOUNT_WAITS,
    errors.TokenQuota: ACCOUNT_WAITS,
    errors.TokenRefused: NO_TOKEN,
    errors.ClientIdMissing: NO_TOKEN,
    errors.SessionGone: ANEW,
    errors.CreditsExhausted: NO_CREDITS,
    errors.PlanRequired: NO_PLAN,
    errors.FileRefused: FINAL,
    errors.TypeNotAccepted: FINAL,
    errors.FileTooLarge: FINAL,
    errors.AgentFailed: FINAL,
    errors.RenderDuplicate: FINAL,
    errors.RenderUnknown: FINAL,
    errors.ResultMissing: TRY_AGAIN,
    errors.Rejected: FINAL,
}


def every(kind: type[ReelqError] = ReelqError) -> list[type[ReelqError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in every(child))]


def an(kind: type[Exception]) -> Exception:
    if kind is errors.ManifestError:
        return kind([Fault(2, "file", "not there")])
    needs_words = (errors.UnknownName, errors.ServiceAway, errors.ServiceRefused)
    return kind("nobody is called that") if kind in needs_words else kind()


def judged_alike(expected: Verdict | None) -> list[type[ReelqError]]:
    return [kind for kind, verdict in IN_THE_PLAIN_CASE.items() if verdict == expected]


def weighed(verdict: Verdict) -> Any:
    """The verdict as a value: errors are equal only to themselves."""
    if not isinstance(verdict, GiveUp):
        return verdict
    return type(verdict.error), str(verdict.error), verdict.error.__cause__


amounts = st.floats(0.01, 2000)
cases = st.builds(
    Case,
    stage=st.sampled_from(PIPELINE),
    attempts=st.integers(0, 10_000),
    anything_sent=st.booleans(),
    has_session=st.booleans(),
    block_seconds=st.just(0.0) | amounts,
    blocked_lately=st.booleans(),
    quota_met=st.booleans(),
    jitter=st.floats(0, 1),
    rate_limit_wait=amounts,
    poll_interval=amounts,
    own_token=st.booleans(),
)
passing = st.sampled_from(judged_alike(TRY_AGAIN))


def test_every_error_of_the_tree_has_a_verdict() -> None:
    assert set(IN_THE_PLAIN_CASE) == set(every())


@pytest.mark.parametrize("kind", every())
def test_an_error_is_judged_as_the_table_says(kind: type[ReelqError]) -> None:
    error = an(kind)
    expected = IN_THE_PLAIN_CASE[kind]
    assert judge(error, PLAIN) == (GiveUp(error) if expected is None else expected)


@given(st.sampled_from(judged_alike(FINAL)), cases)
def test_what_is_final_is_final_in_every_case(kind: type[ReelqError], case: Case) -> None:
    error = an(kind)
    assert judge(error, case) == GiveUp(error)


@given(st.sampled_from([ValueError, KeyError, OSError, AssertionError, NotImplementedError]), cases)
def test_a_fault_of_our_own_is_final_and_stays_what_it_is(kind: type[Exception], case: Case) -> None:
    error = kind("a bug")
    assert judge(error, case) == GiveUp(error)


@given(st.sampled_from(every()), cases)
def test_the_same_error_in_the_same_case_has_the_same_verdict(kind: type[ReelqError], case: Case) -> None:
    error, before = an(kind), copy.copy(case)
    assert weighed(judge(error, case)) == weighed(judge(error, case))
    assert case == before
    assert error.__cause__ is None


@given(st.sampled_from(every()), cases)
def test_no_wait_is_negative_or_longer_than_any_setting_allows(kind: type[ReelqError], case: Case) -> None:
    verdict = judge(an(kind), case)
    if isinstance(verdict, RetryIn | CheckBackIn):
        assert 0 <= verdict.seconds <= max(600, case.rate_limit_wait, case.poll_interval)


@pytest.mark.parametrize(("attempts", "longest"), list(enumerate([2, 4, 8, 16, 32, 60])))
def test_each_try_of_a_passing_fault_may_wait_twice_as_long_up_to_a_minute(attempts: int, longest: float) -> None:
    assert judge(errors.ServerTrouble(), replace(PLAIN, attempts=attempts, jitter=0)) == RetryIn(1)
    assert judge(errors.ServerTrouble(), replace(PLAIN, attempts=attempts, jitter=1)) == RetryIn(longest)


@given(passing, cases)
def test_a_passing_fault_is_tried_again_six_times_and_no_more(kind: type[ReelqError], case: Case) -> None:
    error = an(kind)
    verdict = judge(error, case)
    if case.attempts >= 6:
        assert verdict == GiveUp(error)
    else:
        assert isinstance(verdict, RetryIn)
        assert verdict.stage is None
        assert 1 <= verdict.seconds <= 60


@given(passing, st.floats(0, 1), st.floats(0, 1), st.integers(0, 4))
def test_backoff_rises_with_the_jitter_and_with_the_attempts(
    kind: type[ReelqError], one: float, other: float, attempts: int
) -> None:
    def wait(attempts: int, jitter: float) -> float:
        verdict = judge(an(kind), replace(PLAIN, attempts=attempts, jitter=jitter))
        assert isinstance(verdict, RetryIn)
        return verdict.seconds

    assert wait(attempts, min(one, other)) <= wait(attempts, max(one, other))
    assert wait(attempts, one) <= wait(attempts + 1, one)


def test_rows_that_failed_together_do_not_come_back_together() -> None:
    waits = {judge(errors.NotSent(), replace(PLAIN, attempts=4, jitter=draw / 10)) for draw in range(11)}
    assert len(waits) == 11


@given(cases)
def test_a_busy_session_is_looked_at_again_after_a_poll_interval_however_often(case: Case) -> None:
    assert judge(errors.SessionBusy(), case) == CheckBackIn(case.poll_interval)


@given(st.sampled_from([errors.RateLimited, errors.TokenQuota]), cases)
def test_a_429_never_gives_up_and_never_uses_up_an_attempt(kind: type[ReelqError], case: Case) -> None:
    verdict = judge(an(kind), case)
    if kind is errors.TokenQuota and case.quota_met:
        assert verdict == NO_TOKEN
    else:
        assert isinstance(verdict, CheckBackIn)
        assert verdict.account_waits
        assert verdict.seconds >= case.rate_limit_wait


@pytest.mark.parametrize(
    ("lately", "last_wait", "seconds"),
    [
        (False, 0, 30),
        (False, 240, 30),
        (True, 30, 60),
        (True, 60, 120),
        (True, 299, 598),
        (True, 400, 600),
        (True, 600, 600),
        (True, 5, 30),
    ],
)
def test_a_429_right_after_the_wait_waits_twice_as_long_up_to_ten_minutes(
    lately: bool, last_wait: float, seconds: float
) -> None:
    case = replace(PLAIN, blocked_lately=lately, block_seconds=last_wait)
    assert judge(errors.RateLimited(), case) == CheckBackIn(seconds, account_waits=True)


def test_a_setting_beyond_ten_minutes_is_still_waited_out() -> None:
    case = replace(PLAIN, rate_limit_wait=900, blocked_lately=True, block_seconds=900)
    assert judge(errors.RateLimited(), case) == CheckBackIn(900, account_waits=True)


def test_a_second_429_from_the_token_endpoint_parks_the_account_and_an_ordinary_one_does_not() -> None:
    case = replace(PLAIN, quota_met=True)
    assert judge(errors.TokenQuota(), case) == NO_TOKEN
    assert judge(errors.RateLimited(), case) == ACCOUNT_WAITS


@given(
    st.sampled_from([*judged_alike(NO_CREDITS), *judged_alike(NO_PLAN), *judged_alike(NO_TOKEN)]),
    cases,
)
def test_what_only_the_user_can_mend_parks_in_every_case(kind: type[ReelqError], case: Case) -> None:
    assert judge(an(kind), case) == IN_THE_PLAIN_CASE[kind]


def test_the_table_of_scopes_names_every_cause_that_an_account_is_parked_for() -> None:
    assert {Park(cause, scope) for cause, scope in PARKED.items()} == {NO_CREDITS, NO_PLAN, NO_TOKEN}


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_lost_session_to_which_nothing_was_sent_is_replaced_at_once_unless_the_row_works_without_one(
    stage: Stage,
) -> None:
    error = errors.SessionGone()
    assert judge(error, replace(PLAIN, stage=stage)) == ANEW
    # One lost during its own upload was never on record.
    expected = ANEW if stage is Stage.UPLOAD else GiveUp(error)
    assert judge(error, replace(PLAIN, stage=stage, has_session=False)) == expected


def test_sessions_lost_one_after_another_are_replaced_ever_more_slowly_and_not_for_ever() -> None:
    error = errors.SessionGone()
    verdicts = [judge(error, replace(PLAIN, attempts=attempts, jitter=1)) for attempts in range(7)]
    assert verdicts[:6] == [RetryIn(seconds, Stage.UPLOAD) for seconds in (0, 4, 8, 16, 32, 60)]
    assert verdicts[6] == GiveUp(error)


@given(cases)
def test_a_session_lost_after_something_was_sent_is_final_and_says_what_it_was(case: Case) -> None:
    error = errors.SessionGone("the session is not there")
    verdict = judge(error, replace(case, anything_sent=True))
    assert isinstance(verdict, GiveUp)
    assert type(verdict.error) is errors.SessionLost
    assert verdict.error.__cause__ is error


@given(cases)
def test_a_session_lost_in_which_other_rows_worked_is_not_replaced_by_an_empty_one(case: Case) -> None:
    verdict = judge(errors.SessionGone(), replace(case, anything_sent=False, builds_on_others=True, has_session=True))
    assert isinstance(verdict, GiveUp)
    assert isinstance(verdict.error, errors.SessionLost)
    assert "rows before it" in verdict.error.advice


def test_a_result_that_is_gone_when_it_is_brought_again_is_exported_again_by_itself_and_once() -> None:
    long_ago = replace(PLAIN, stage=Stage.DOWNLOAD, renders=0)
    assert judge(errors.ResultMissing(), long_ago) == RetryIn(0, Stage.RENDER)
    assert judge(errors.ResultMissing(), replace(long_ago, renders=1)) == TRY_AGAIN
    assert judge(errors.BrokenDownload(), long_ago) == TRY_AGAIN


def test_a_result_that_is_gone_is_not_replaced_by_what_its_session_shows_since_other_rows_worked_in_it() -> None:
    case = replace(PLAIN, stage=Stage.DOWNLOAD, renders=0, session_went_on=True)
    verdict = judge(errors.ResultMissing(), case)
    assert isinstance(verdict, GiveUp)
    assert "later rows have changed its session" in str(verdict.error)
    assert "`reelq retry` exports what the session shows now" in verdict.error.advice  # type: ignore[attr-defined]
    assert judge(errors.ResultMissing(), replace(case, renders=1)) == TRY_AGAIN  # its own export is young


@given(st.sampled_from(every(errors.StreamLost)), cases)
def test_a_lost_stream_is_never_taken_for_an_edit_that_is_known_to_have_failed(
    kind: type[ReelqError], case: Case
) -> None:
    error = an(kind)
    verdict = judge(error, case)
    # Not EditUnconfirmed: that says the session was read and shows no edit, and lets the instruction go out anew.
    assert verdict == GiveUp(error) or isinstance(verdict, RetryIn)


@pytest.mark.parametrize(("attempts", "follows"), [(0, RetryIn), (RETRIES - 1, RetryIn), (RETRIES, GiveUp)])
def test_a_passing_fault_is_retried_up_to_the_limit_and_no_further(attempts: int, follows: type[object]) -> None:
    assert isinstance(judge(errors.ServerTrouble(), replace(PLAIN, attempts=attempts)), follows)
