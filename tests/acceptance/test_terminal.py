"""`reelq run` where a person sits: a view while it works, a clean screen after it, and a question before it costs."""

from pathlib import Path

import pytest

from tests.acceptance.running import CTRL_C, Terminal, User, titles, until
from tests.sandbox_process import SandboxProcess

_BAR = "━"
_QUESTION = "Continue? [Y/n]"


@pytest.fixture
def user(tmp_path: Path, service: SandboxProcess) -> User:
    made = User(tmp_path, service)
    made.writes(titles(3))
    return made


def is_clean(run: Terminal) -> bool:
    """Whether nothing is left of the view, and the cursor is back."""
    return run.cursor_is_shown and _BAR not in run.screen and "beach.mp4" not in run.screen


def test_after_a_yes_it_shows_a_view_only_the_report_stays_and_there_is_nothing_more_to_ask(user: User) -> None:
    user.service.faults(edit_seconds=2)
    run = Terminal(user, "run", "jobs.csv")
    until(lambda: run.says(_QUESTION), "the question")
    run.types("\n")
    until(lambda: _BAR in run.screen and "beach.mp4" in run.screen, "the view")
    assert not run.cursor_is_shown
    view = run.screen[run.screen.index("\njobs.csv  0 of 3 rows done") :]
    assert max(map(len, view.splitlines())) < 80
    assert run.ends() == 0
    assert is_clean(run), run.screen
    first, *_, report, where = run.screen.splitlines()
    assert first == "3 rows: 3 new."
    assert "3 of 3 rows done" in report
    assert where == "Results: reelq-out/jobs/results.csv"
    again = Terminal(user, "run", "jobs.csv")
    assert again.ends() == 0
    assert not again.says(_QUESTION)
    assert again.says("Nothing to do.")


def test_after_ctrl_c_the_screen_is_clean_and_says_how_to_go_on(user: User) -> None:
    user.service.faults(edit_seconds=60)
    run = Terminal(user, "run", "jobs.csv", "--yes")
    until(lambda: _BAR in run.screen and len(user.messages) == 3, "work")
    run.types(CTRL_C)
    assert run.ends() == 130
    assert not run.says(_QUESTION)
    assert is_clean(run), run.screen
    assert "Stopping: waiting up to " in run.screen
    assert " for 3 rows in progress." in run.screen
    assert "Interrupted; nothing is lost. Continue with `reelq run jobs.csv`." in run.screen
    assert "Traceback" not in run.screen


@pytest.mark.parametrize(("key", "code"), [("n\n", 0), (CTRL_C, 130)])
def test_it_asks_before_credits_can_be_spent_and_without_a_yes_nothing_is(user: User, key: str, code: int) -> None:
    run = Terminal(user, "run", "jobs.csv")
    until(lambda: run.says(_QUESTION), "the question")
    assert "About 150 credits for 3 instructions" in run.screen
    run.types(key)
    assert run.ends() == code
    assert run.says("Nothing was run, nothing was spent.") is (code == 0)
    assert "Traceback" not in run.screen
    assert user.messages == []
    assert user.calls("status", "--json").stdout == ""
    assert not (user.folder / "reelq-out").exists()
