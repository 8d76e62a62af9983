"""What a user sees of a batch, and does to it, with the commands that look and those that act."""

import csv
import io
import json
import re
import signal

from tests.acceptance.running import SOON_MISSED, Terminal, User, titles, until


def test_after_a_run_every_command_tells_the_same_story(user: User) -> None:
    user.writes(["beach.mp4,Add a title that says Hello,海滩", "beach.mp4,show tracks,b"], "file,instruction,id")
    user.calls("run", "jobs.csv")
    status = user.calls("status")
    assert "jobs.csv" in status.stdout
    assert json.loads(user.calls("status", "--json").stdout)["succeeded"] == 2
    assert "2 of 2 rows done" in user.calls("status", "jobs.csv").stdout
    shown = user.calls("show", "last:海滩")
    assert shown.stderr == ""
    for words in ("Add a title that says Hello", "1-beach.mp4", "What was sent", "applied", "Timeline", "download"):
        assert words in shown.stdout
    story = json.loads(user.calls("show", "last:1", "--json").stdout)
    assert [event["status"] for event in story["events"]][-1] == "succeeded"
    assert story["credits"] == story["sends"][0]["cost"] > 0
    table = csv.DictReader(io.StringIO(user.calls("results", "jobs.csv").stdout))
    rows = [(row["id"], row["status"], row["output"]) for row in table]
    assert rows == [("海滩", "succeeded", "1-beach.mp4"), ("b", "succeeded", "")]
    assert user.calls("results", "last", "-o", "again.csv").stdout == ""
    user.calls("check", "again.csv")
    for command in (["status", "last"], ["show", "last:1"], ["watch", "last"]):
        seen = Terminal(user, *command, NO_COLOR="1")
        assert seen.ends() == 0
        assert seen.written.strip()
        assert not re.search(r"\x1b\[(3|4|9|10)[0-9]", seen.written), command


def test_without_any_batch_the_way_to_one_is_told_and_a_name_that_nothing_has_is_refused_in_words(user: User) -> None:
    assert "reelq run" in user.calls("status").stderr
    user.calls("watch", "last", code=2)
    user.writes(["beach.mp4,show tracks"])
    user.calls("submit", "jobs.csv")
    for words, code, said in (
        (["status", "nothing"], 2, "nothing"),
        (["show", "last:9"], 2, "'9'"),
        (["show", "last"], 2, "BATCH:ROW"),
        (["pause", "last:1"], 2, "whole batch"),
        (["refine", "last:7", "More"], 2, "'7'"),
        (["results", "last", "-o", "gone/r.csv"], 1, "there is no folder gone"),
    ):
        done = user.calls(*words, code=code)
        assert (done.stdout, said in done.stderr, "Traceback" in done.stderr) == ("", True, False), done.stderr


def test_rows_are_paused_released_cancelled_and_retried_and_each_says_how_many(user: User) -> None:
    user.writes(titles(3))
    user.calls("submit", "jobs.csv")
    assert "3 rows held" in user.calls("pause", "last").stdout
    assert "3 rows held by a pause" in user.calls("watch", "last", code=3).stdout
    resumed = user.calls("resume", "last")
    assert (resumed.stdout, "`reelq run jobs.csv` continues it." in resumed.stderr) == ("3 rows released.\n", True)
    asks = Terminal(user, "cancel", "last")
    until(lambda: asks.says("Cancel 3 rows of jobs.csv"), "the question")
    asks.types("n\n")
    assert asks.ends() == 130
    for words, said in (
        (("retry", "last:1"), "Row 1 has not failed"), (("cancel", "last:2"), "Row 2 is cancelled."),
        (("cancel", "last"), "2 rows cancelled; 1 row had already ended."),
        (("retry", "last:3"), "Row 3 is queued again."),
    ):  # fmt: skip
        assert user.calls(*words).stdout.startswith(said)
    user.calls("run", "jobs.csv")
    assert len(user.videos()) == 3


def test_a_watcher_that_leaves_stops_nothing_and_without_anybody_at_work_it_does_not_wait(user: User) -> None:
    user.environment |= SOON_MISSED
    user.service.faults(edit_seconds=30)
    user.writes(titles(2))
    with user.starts("run", "jobs.csv") as run:
        until(lambda: len(user.messages) == 2, "the instructions")
        watch = Terminal(user, "watch", "last")
        until(lambda: watch.says("beach.mp4"), "the view")
        watch.process.send_signal(signal.SIGINT)
        assert watch.ends() == 130
        assert watch.written.count("\x1b[?25h") == watch.written.count("\x1b[?25l") == 1
        assert "the batch continues" in watch.written
        assert run.poll() is None
        run.kill()
    nobody = user.calls("watch", "last", code=3)
    assert "No process is running this batch: `reelq run jobs.csv` continues it." in nobody.stdout


def test_a_refinement_that_was_cut_off_goes_on_and_is_a_video_of_its_own_from_the_same_session(user: User) -> None:
    user.environment |= SOON_MISSED
    user.writes(titles(1))
    user.calls("run", "jobs.csv")
    user.service.faults(edit_seconds=2)
    wish = (f"{json.loads(user.calls('status', '--json').stdout)['batch']}:1", "Add a title that says More")
    with user.starts("refine", *wish) as first:
        assert any("credits for 1 instruction" in line for line in first.stderr)
        until(lambda: len(user.messages) == 2, "the second instruction")
        first.kill()
    done = user.calls("refine", *wish)
    assert "already in progress; continuing it" in done.stderr
    assert len(user.messages) == 2
    assert user.videos() == ["1-beach-2.mp4", "1-beach.mp4"]
    assert len(user.service.ledger()["sessions"]) == 1
    assert "1 of 1 row done" in done.stdout
    assert "Its video: reelq-out/jobs/1-beach-2.mp4" in done.stdout
    more = user.calls("refine", wish[0], "Add a title that says Most")
    assert "The agent says:" in more.stdout
