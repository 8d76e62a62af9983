"""`reelq run`: a manifest in, finished videos out; and interrupted, killed, short of credits, and put back."""

import csv
import json
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.running import SOON_MISSED, STEADY, User, titles, until
from tests.sandbox_process import SandboxProcess


def results(user: User, name: str = "jobs") -> list[dict[str, str]]:
    with (user.folder / "reelq-out" / name / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def heard_once(user: User) -> bool:
    """Whether no instruction reached the service twice: no row of these tests asks for the same as another."""
    told = Counter(text for text in user.messages if text.startswith("Add a title"))
    return set(told.values()) <= {1}


def test_every_row_becomes_a_video_and_the_list_says_what_came_of_it(user: User) -> None:
    user.writes([*titles(2), "talk.mp4,export", ",How many credits are left?"], header="file,instruction")
    done = user.calls("run", "jobs.csv")
    assert user.videos() == ["1-beach.mp4", "2-beach.mp4", "3-talk.mp4"]
    assert "4 of 4 rows done" in done.stdout
    rows = results(user)
    assert [row["status"] for row in rows] == ["succeeded"] * 4
    assert [row["output"] for row in rows] == [*user.videos(), ""]
    assert all(int(row["credits"]) > 0 for row in rows[:2])
    assert int(rows[2]["credits"]) == 0
    told = [line.split("  ", 1)[1] for line in done.stderr.splitlines() if "row 1 ·" in line]
    assert len(told) == len(set(told)) > 5  # each change once
    assert told[-1].startswith("row 1 · beach.mp4  download: succeeded:")
    assert "Continue?" not in done.stderr  # nobody sits there who could be asked
    assert "Traceback" not in done.stderr


def test_interrupted_it_says_how_to_go_on_and_the_same_command_does(user: User) -> None:
    user.writes(titles(3))
    with user.starts("run", "jobs.csv") as process:
        until(lambda: user.messages, "an instruction sent")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(code=130)
    assert "Interrupted; nothing is lost. Continue with `reelq run jobs.csv`." in said
    assert "Traceback" not in said
    again = user.calls("run", "jobs.csv", "--json")
    assert heard_once(user)
    assert len(user.videos()) == 3
    *told, summary = (json.loads(line) for line in again.stdout.splitlines())
    assert (summary["event"], summary["succeeded"]) == ("summary", 3)
    assert {one["row"] for one in told} == {1, 2, 3}
    assert {one["status"] for one in told} >= {"running", "succeeded"}


def test_two_runs_of_one_manifest_at_once_do_its_rows_once(user: User) -> None:
    user.writes(titles(3))
    both = [user.starts("run", "jobs.csv") for _ in range(2)]
    for process in both:
        process.communicate()
    assert heard_once(user)
    assert len(user.videos()) == 3
    listed = user.calls("status", "--json")
    assert len(listed.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "most", "said"),
    [(["--first", "2"], 1000, "reelq resume"), (["--limit-credits", "120"], 120, "120 credits")],
)
def test_rows_are_held_back_until_the_batch_is_run_without_that_bound(
    user: User, words: list[str], most: int, said: str
) -> None:
    user.writes(titles(3))
    some = user.calls("run", "jobs.csv", *words, code=3)
    assert 0 < len(user.videos()) <= 2
    assert said in some.stdout
    assert sum(int(row["credits"] or 0) for row in results(user)) <= most
    user.calls("run", "jobs.csv")
    assert len(user.videos()) == 3
    assert heard_once(user)


def test_gone_credits_leave_rows_waiting_with_a_link_and_a_top_up_lets_them_go_on(tmp_path: Path) -> None:
    with SandboxProcess.start(faults=STEADY, no_latency=True, credits=100, keep_alive=0.2) as service:
        user = User(tmp_path, service)
        user.writes(titles(4))
        short = user.calls("run", "jobs.csv", code=3)
        assert "Register: https://" in short.stdout
        waiting = [row for row in results(user) if row["status"] == "waiting"]
        assert waiting
        assert {row["error_code"] for row in waiting} == {"credits"}
        service.top_up(5_000)
        user.calls("run", "jobs.csv")
        assert heard_once(user)
        assert len(user.videos()) == 4


def test_failed_rows_are_grouped_by_cause_and_run_again_when_asked(user: User) -> None:
    user.service.faults(agent_error=1)
    user.writes(titles(2))
    failed = user.calls("run", "jobs.csv", code=1)
    assert "2 rows failed: agent_failed (rows 1-2)" in failed.stdout
    user.service.faults(agent_error=None)
    unasked = user.calls("run", "jobs.csv", code=1)
    assert "2 failed before" in unasked.stderr
    assert "--retry-failed" in unasked.stderr
    user.calls("run", "jobs.csv", "--retry-failed")
    assert len(user.videos()) == 2


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_broken_manifest_runs_nothing_and_each_fault_is_told(user: User, command: str) -> None:
    user.writes(["gone.mp4,Cut the pauses,", "beach.mp4,Cut the pauses,nothing-like-it"], "file,instruction,skill")
    done = user.calls(command, "jobs.csv", code=2)
    assert "gone.mp4" in done.stderr
    assert "no skill" in done.stderr
    assert "2 faults in the manifest; nothing was run" in done.stderr
    assert "Traceback" not in done.stderr
    assert user.messages == []
    assert not (user.folder / "reelq-out").exists()


def test_a_second_sandbox_is_refused_and_one_that_was_killed_begins_its_open_rows_anew(tmp_path: Path) -> None:
    user = User(tmp_path, None, **SOON_MISSED)
    user.writes(titles(2))
    with user.starts("run", "jobs.csv", "--sandbox") as process:
        next(line for line in process.stderr if "edit begins" in line)
        second = user.calls("run", "jobs.csv", "--sandbox", code=2)
        process.kill()
    assert "another `reelq run --sandbox` is running" in second.stderr
    user.calls("run", "jobs.csv", "--sandbox")
    assert len(user.videos()) == 2


def test_what_was_sent_since_the_back_up_shows_in_the_balance_and_rows_taken_out_are_not_sent_again(
    tmp_path: Path,
) -> None:
    """What docs/operations.md says of a database that is put back."""
    with SandboxProcess.start(faults=STEADY, no_latency=True, credits=1000) as service:
        user = User(tmp_path, service)
        user.writes(titles(1, "Before"), name="before.csv")
        user.calls("run", "before.csv")  # a reading that the next ones are compared with
        user.writes(titles(2))
        user.calls("submit", "jobs.csv")
        database, copy = tmp_path / "data" / "reelq.db", tmp_path / "copy.db"
        with closing(sqlite3.connect(database)) as began, closing(sqlite3.connect(copy)) as ended:
            began.backup(ended)  # as `sqlite3 SOURCE ".backup TARGET"` does
        user.calls("run", "jobs.csv")
        charged = sum(one["charged"] for one in service.ledger()["sessions"].values())

        for part in database.parent.glob(f"{database.name}*"):
            part.unlink()
        copy.rename(database)
        assert "2 rows held" in user.calls("pause", "jobs.csv").stdout
        told = json.loads(user.calls("credits", "--json").stdout)
        known = told["spent"]["all"]
        assert known["unattributed"] > 0
        assert known["spent"] + known["unattributed"] == charged
        user.calls("cancel", "jobs.csv:1", "--yes")
        user.writes(titles(2)[1:])
        user.calls("run", "jobs.csv")
        assert user.messages == [
            "Add a title that says Before 1", "Add a title that says Take 1",
            "Add a title that says Take 2", "Add a title that says Take 2",
        ]  # fmt: skip
