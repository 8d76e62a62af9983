"""What users meet when something is away, broken or interrupted: words and a code, at any moment."""

import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from reelq.store.db.engine import DATABASE_FILE
from tests.acceptance.running import NOBODY, REELQ, User, titles
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def user(tmp_path: Path) -> User:
    made = User(tmp_path, None, NEMO_API_URL=NOBODY)
    made.writes(titles(2))
    return made


@pytest.mark.parametrize("words", [["db"], ["status"], ["run", "jobs.csv"]])
@pytest.mark.parametrize("url", ["sqlite:///junk.db", "postgresql://somebody:secret@127.0.0.1:9/reelq"])
def test_a_database_that_cannot_be_used_is_told_in_words(user: User, url: str, words: list[str]) -> None:
    (user.folder / "junk.db").write_text("This is a letter, and it is long enough to be read as something else.")
    done = user.calls(*words, REELQ_DATABASE_URL=url, REELQ_SECRET_KEY="a key that is long enough", code=1)
    assert "The database can't be used: " in done.stderr.splitlines()[0 if words == ["db"] else -2]
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert done.stdout == "" or words == ["db"]


def test_a_key_that_does_not_open_the_tokens_is_told_before_any_row_fails_by_it(user: User) -> None:
    user.calls("submit", "jobs.csv", NEMO_TOKEN="my-own-token")
    done = user.calls("run", "jobs.csv", NEMO_TOKEN="my-own-token", REELQ_SECRET_KEY="another key, long enough", code=2)
    assert "REELQ_SECRET_KEY: the tokens in the database were encrypted with another key" in done.stderr


def test_without_its_broker_a_manifest_is_taken_in_with_a_warning_and_nobody_at_work_is_told(user: User) -> None:
    user.environment["REELQ_BROKER_URL"] = "redis://127.0.0.1:9/0"
    done = user.calls("submit", "jobs.csv")
    assert done.stdout.startswith("bat_")
    assert "The broker does not respond" in done.stderr
    with user.starts("watch", "last") as watch:
        assert any("No worker is running, so these rows stay queued" in line for line in watch.stderr)
        watch.send_signal(signal.SIGINT)
        _, rest = watch.communicate(code=130)
    assert "No worker" not in rest  # once


def test_rows_do_not_wait_for_a_service_that_does_not_answer_where_nobody_is_asked(user: User) -> None:
    """What it may cost is told all the same, as far as that is known."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        user.environment |= {"NEMO_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "NEMO_TOKEN": "nmv_usr_ann"}
        process = user.starts("submit", "jobs.csv", "--yes", "--limit-credits", "90")
        asked, _ = silent.accept()
        with asked, closing(sqlite3.connect(user.folder / "data" / DATABASE_FILE)) as database:
            ((rows,),) = database.execute("select count(*) from jobs").fetchall()
            assert (rows, process.poll()) == (2, None)
            _, said = process.communicate()
    counted, cost, bound, *_ = said.splitlines()
    assert counted == "2 rows: 2 new."
    assert cost.startswith("About 100 credits for 2 instructions, based on typical cost; the balance is not known yet")
    assert bound == "No more than 90 credits will be spent (--limit-credits)."


@pytest.mark.parametrize("moment", [0.05, 0.3, None])  # whatever a machine has come to by then; and in an edit
def test_a_run_is_interrupted_in_words_at_whichever_moment_and_leaves_no_sandbox(
    user: User, moment: float | None
) -> None:
    (temporary := user.folder / "tmp").mkdir()
    process = subprocess.Popen(
        [REELQ, "run", "jobs.csv", "--sandbox"], cwd=user.folder, env=user.environment | {"TMPDIR": str(temporary)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        assert process.stderr
        if moment:
            time.sleep(moment)
        else:
            next(line for line in process.stderr if "edit begins" in line)
        process.send_signal(signal.SIGINT)
        # Ends only when all who can write have gone: the sandbox too.
        _, said = process.communicate(timeout=60)
    assert list(temporary.iterdir()) == []
    if process.returncode == -signal.SIGINT:  # so early that it had not come to what makes words of it
        assert "in main" not in said
        return
    assert process.returncode == 130
    assert "Interrupted; nothing " in said
    assert "Traceback" not in said
    assert "Exception" not in said


def test_a_check_tells_what_is_done_and_costs_only_what_is_sent(tmp_path: Path, service: SandboxProcess) -> None:
    user = User(tmp_path, service)

    def checks(others: int, session: str) -> str:
        rows = [f"{row}," for row in titles(others)] + [f"{titles(1, 'Reel')[0]},reel", f",{session},reel"]
        user.writes(rows, "file,instruction,session")
        return user.calls("check", "jobs.csv").stdout

    checks(1, "Add music")
    user.calls("run", "jobs.csv")
    more = checks(3, "Add music")
    assert "5 rows: 2 new, 3 done before." in more
    assert "for 2 instructions, based on the highest cost so far" in more
    other = checks(1, "Add other music")
    assert "3 rows: 1 new, 1 done before, 1 to be rerun, as their session changed." in other
    assert "for 2 instructions" in other
    assert "of it are for 1 row of a changed session" in other
    assert "3 rows: 1 new, 1 done before" in user.calls("submit", "jobs.csv").stderr
