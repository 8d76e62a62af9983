"""`reelq run`: a manifest in, finished videos out; and again, and changed, and killed, and interrupted."""

import csv
import json
import shutil
import signal
from collections import Counter
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
    assert done.returncode == 0, done.stderr
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
    assert "Go ahead?" not in done.stderr  # nobody sits there who could be asked
    assert "Traceback" not in done.stderr


def test_run_again_it_does_only_what_is_new_or_missing(user: User) -> None:
    user.writes([*titles(1), "talk.mp4,Add a title that says Hello"])
    assert user.calls("run", "jobs.csv").returncode == 0
    heard = user.messages
    before = {path: path.stat().st_mtime_ns for path in (user.folder / "reelq-out").rglob("*.mp4")}
    again = user.calls("run", "jobs.csv")
    assert again.returncode == 0
    assert "2 rows: 2 done before." in again.stderr
    assert "Nothing is left to do." in again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before

    gone = user.folder / "reelq-out" / "jobs" / "1-beach.mp4"
    content = gone.read_bytes()
    gone.unlink()
    again = user.calls("run", "jobs.csv")
    assert again.returncode == 0, again.stderr
    assert "1 done before, to be brought home again" in again.stderr
    assert gone.read_bytes() == content
    assert user.messages == heard

    user.writes(["beach.mp4,Add a title that says Else", "talk.mp4,Add a title that says Hello"])
    again = user.calls("run", "jobs.csv")
    assert again.returncode == 0, again.stderr
    assert "2 rows: 1 new, 1 done before." in again.stderr
    assert user.messages == sorted([*heard, "Add a title that says Else"])
    assert len(results(user)) == 2

    shutil.copy(user.folder / "beach.mp4", user.folder / "talk.mp4")
    assert "2 rows: 1 new, 1 done before." in user.calls("run", "jobs.csv").stderr
    assert user.messages == sorted([*heard, "Add a title that says Else", "Add a title that says Hello"])


def test_killed_in_the_middle_the_same_command_goes_on_and_sends_nothing_twice(user: User) -> None:
    user.environment |= SOON_MISSED
    user.writes(titles(5))
    for kill_after in (1, 3):
        with user.starts("run", "jobs.csv") as process:
            until(lambda: len(user.messages) >= kill_after, "instructions")  # noqa: B023 - it is called at once
            process.kill()
    last = user.calls("run", "jobs.csv")
    assert heard_once(user)
    # A kill between the decision to send and the sending can't be told from a stream that was lost on the way.
    assert {row["error_code"] for row in results(user)} <= {"", "edit_unconfirmed"}
    if last.returncode:
        last = user.calls("run", "jobs.csv", "--retry-failed")
    assert last.returncode == 0, last.stderr
    assert len(user.videos()) == 5
    assert not list((user.folder / "reelq-out").rglob("*.part"))
    rows = results(user)
    assert [row["status"] for row in rows] == ["succeeded"] * 5


def test_interrupted_it_says_how_to_go_on_and_the_same_command_does(user: User) -> None:
    user.writes(titles(3))
    with user.starts("run", "jobs.csv") as process:
        until(lambda: user.messages, "an instruction sent")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted; nothing is lost. `reelq run jobs.csv` goes on." in said
    assert "Traceback" not in said
    again = user.calls("run", "jobs.csv")
    assert again.returncode == 0, again.stderr
    assert heard_once(user)
    assert len(user.videos()) == 3


def test_two_runs_of_one_manifest_at_once_do_its_rows_once(user: User) -> None:
    user.writes(titles(3))
    both = [user.starts("run", "jobs.csv") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=80)
        assert process.returncode == 0, said
    assert heard_once(user)
    assert len(user.videos()) == 3
    listed = user.calls("status", "--json")
    assert len(listed.stdout.splitlines()) == 1


def test_the_first_rows_alone_until_the_rest_is_released(user: User) -> None:
    user.writes(titles(3))
    first = user.calls("run", "jobs.csv", "--first", "2")
    assert first.returncode == 3
    assert len(user.videos()) == 2
    assert "reelq resume" in first.stdout
    rest = user.calls("run", "jobs.csv")
    assert rest.returncode == 0, rest.stderr
    assert len(user.videos()) == 3
    assert heard_once(user)


def test_gone_credits_leave_rows_waiting_with_a_link_and_a_top_up_lets_them_go_on(tmp_path: Path) -> None:
    with SandboxProcess.start(faults=STEADY, no_latency=True, credits=100, keep_alive=0.2) as service:
        user = User(tmp_path, service)
        user.writes(titles(4))
        short = user.calls("run", "jobs.csv")
        assert short.returncode == 3, short.stderr
        assert "Register: https://" in short.stdout
        waiting = [row for row in results(user) if row["status"] == "waiting"]
        assert waiting
        assert {row["error_code"] for row in waiting} == {"credits"}
        service.top_up(5_000)
        again = user.calls("run", "jobs.csv")
        assert again.returncode == 0, again.stderr
        assert heard_once(user)
        assert len(user.videos()) == 4


def test_a_batch_spends_no_more_than_its_limit(user: User) -> None:
    user.writes(titles(4))
    limited = user.calls("run", "jobs.csv", "--limit-credits", "120")
    assert limited.returncode == 3, limited.stderr
    assert sum(int(row["credits"] or 0) for row in results(user)) <= 120
    assert "120 credits" in limited.stdout
    rest = user.calls("run", "jobs.csv")
    assert rest.returncode == 0, rest.stderr
    assert heard_once(user)


def test_failed_rows_are_grouped_by_cause_and_run_again_when_asked(user: User) -> None:
    assert user.service is not None
    user.service.faults(agent_error=1)
    user.writes(titles(2))
    failed = user.calls("run", "jobs.csv")
    assert failed.returncode == 1
    assert "2 rows failed: agent_failed (rows 1-2)" in failed.stdout
    user.service.faults(agent_error=None)
    unasked = user.calls("run", "jobs.csv")
    assert unasked.returncode == 1
    assert "2 failed before" in unasked.stderr
    assert "--retry-failed" in unasked.stderr
    asked = user.calls("run", "jobs.csv", "--retry-failed")
    assert asked.returncode == 0, asked.stderr
    assert len(user.videos()) == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"file,instruction\ngone.mp4,Cut the pauses\n", "gone.mp4"),
        (b"file,instruction,skill\nbeach.mp4,Cut the pauses,nothing-like-it\n", "no skill"),
        (b"file,instruction,output\nbeach.mp4,Cut the pauses,../../away.mp4\n", "output"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "fault"),
        (b"file,instruction\n", "no rows"),
    ],
)
def test_a_broken_manifest_runs_nothing(user: User, content: bytes, told: str) -> None:
    (user.folder / "jobs.csv").write_bytes(content)
    for command in ("run", "submit"):
        done = user.calls(command, "jobs.csv")
        assert done.returncode == 2
        assert told in done.stderr
        assert "nothing was run" in done.stderr
        assert "Traceback" not in done.stderr
    assert user.messages == []
    assert not (user.folder / "reelq-out").exists()


def test_every_fault_of_a_long_manifest_is_told_and_nothing_runs(user: User) -> None:
    rows = (f"beach.mp4,Add a title that says {n},{'nonsense' if n % 100 == 0 else ''}" for n in range(10_000))
    user.writes(list(rows), header="file,instruction,skill")
    done = user.calls("run", "jobs.csv")
    assert done.returncode == 2
    assert done.stderr.count("fault: no skill has this name") == 100
    assert "100 faults in the manifest; nothing was run" in done.stderr
    assert user.messages == []


def test_every_event_is_an_object_for_programs(user: User) -> None:
    user.writes(titles(1))
    done = user.calls("run", "jobs.csv", "--json")
    *told, summary = (json.loads(line) for line in done.stdout.splitlines())
    assert (summary["event"], summary["succeeded"]) == ("summary", 1)
    assert {one["row"] for one in told} == {1}
    assert {one["status"] for one in told} >= {"running", "queued", "succeeded"}


def test_the_sandbox_needs_no_account_and_keeps_a_database_of_its_own(tmp_path: Path) -> None:
    user = User(tmp_path, None, NEMO_API_URL="http://127.0.0.1:9")
    user.writes(titles(2))
    done = user.calls("run", "jobs.csv", "--sandbox")
    assert done.returncode == 0, done.stderr
    assert len(user.videos()) == 2
    assert (user.folder / "data" / "sandbox.db").exists()
    assert not (user.folder / "data" / "reelq.db").exists()
    again = user.calls("run", "jobs.csv", "--sandbox")
    assert "2 rows: 2 done before." in again.stderr


def test_a_run_with_the_sandbox_that_was_killed_begins_its_open_rows_anew(tmp_path: Path) -> None:
    user = User(tmp_path, None, **SOON_MISSED)
    user.writes(titles(2))
    with user.starts("run", "jobs.csv", "--sandbox") as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "edit begins" in line)
        process.kill()
    again = user.calls("run", "jobs.csv", "--sandbox")
    assert again.returncode == 0, again.stderr
    assert len(user.videos()) == 2


def test_a_second_sandbox_beside_the_first_is_refused_in_words(tmp_path: Path) -> None:
    user = User(tmp_path, None)
    user.writes(titles(1))
    with user.starts("run", "jobs.csv", "--sandbox") as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "upload" in line)
        second = user.calls("run", "jobs.csv", "--sandbox")
        assert second.returncode == 2
        assert "another `reelq run --sandbox` is at work" in second.stderr
        process.communicate(timeout=60)
    assert process.returncode == 0
