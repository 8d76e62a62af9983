"""A database that is put back, as docs/operations.md says: what it can't know is shown, and can be kept back."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.acceptance.running import STEADY, User, titles
from tests.sandbox_process import SandboxProcess


def copy(source: Path, target: Path) -> None:
    """As `sqlite3 SOURCE ".backup TARGET"` does."""
    with closing(sqlite3.connect(source)) as began, closing(sqlite3.connect(target)) as ended:
        began.backup(ended)


def put_back(copied: Path, database: Path) -> None:
    for part in database.parent.glob(f"{database.name}*"):
        part.unlink()
    copied.rename(database)


def test_what_was_sent_since_the_back_up_shows_in_the_balance_and_rows_taken_out_are_not_sent_again(
    tmp_path: Path,
) -> None:
    with SandboxProcess.start(faults=STEADY, no_latency=True, credits=1000) as service:
        user = User(tmp_path, service)
        user.writes(titles(1, "Before"), name="before.csv")
        assert user.calls("run", "before.csv").returncode == 0  # a reading that the next ones are compared with
        user.writes(titles(2))
        assert user.calls("submit", "jobs.csv").returncode == 0
        copy(tmp_path / "data" / "reelq.db", tmp_path / "copy.db")
        assert user.calls("run", "jobs.csv").returncode == 0
        charged = sum(one["charged"] for one in service.ledger()["sessions"].values())

        put_back(tmp_path / "copy.db", tmp_path / "data" / "reelq.db")
        assert "2 rows held" in user.calls("pause", "jobs.csv").stdout
        told = json.loads(user.calls("credits", "--json").stdout)
        known = told["spent"]["all"]
        assert known["unattributed"] > 0
        assert known["spent"] + known["unattributed"] == charged
        assert user.calls("cancel", "jobs.csv:1", "--yes").returncode == 0
        user.writes(titles(2)[1:])
        assert user.calls("run", "jobs.csv").returncode == 0
        assert user.messages == [
            "Add a title that says Before 1", "Add a title that says Take 1",
            "Add a title that says Take 2", "Add a title that says Take 2",
        ]  # fmt: skip
