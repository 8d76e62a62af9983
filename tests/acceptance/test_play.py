"""What was run with the sandbox is found by the hints that it left, and never shows up among real work."""

import json
from pathlib import Path

import pytest

from tests.acceptance.running import NOBODY, User, titles


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user who has tried it out with two rows."""
    user = User(tmp_path_factory.mktemp("play"), NEMO_API_URL=NOBODY)
    user.writes(titles(2))
    user.calls("run", "jobs.csv", "--sandbox")
    return user


@pytest.fixture
def play(user: User) -> str:
    """That batch."""
    oldest = user.calls("status", "--sandbox", "--json").stdout.splitlines()[-1]
    return str(json.loads(oldest)["batch"])


def test_it_needs_no_account_and_has_a_database_of_its_own(user: User) -> None:
    assert [path.name for path in (user.folder / "data").glob("*.db")] == ["sandbox.db"]
    assert len(user.videos()) == 2
    assert "2 rows: 2 done before." in user.calls("run", "jobs.csv", "--sandbox").stderr


def test_its_ids_are_known_to_every_command_and_its_names_where_they_are_asked_for(user: User, play: str) -> None:
    assert f"{play})" in user.calls("show", f"{play}:2").stdout
    assert "2 of 2 rows done" in user.calls("status", play).stdout
    assert "2 of 2 rows done" in user.calls("watch", "last", "--sandbox").stdout
    assert len(user.calls("results", play).stdout.splitlines()) == 3
    assert user.calls("retry", f"{play}:1").stdout == "Row 1 has not failed; nothing to retry.\n"
    assert user.calls("show", f"{play}:9", code=2).stderr.startswith(f"reelq: {play} has no row '9'")
    assert "Use `--sandbox` to look up sandbox batches" in user.calls("show", "last:1", code=2).stderr
    refined = user.calls("refine", f"{play}:1", "Make it brighter", code=1)
    assert "has ended, and its session is lost" in refined.stderr
    assert "--sandbox" in refined.stderr


def test_real_work_and_play_do_not_show_up_in_each_others_lists(user: User, play: str) -> None:
    real = user.calls("submit", "jobs.csv", "--yes").stdout.strip()
    plain = user.calls("status")
    assert real in plain.stdout
    assert play not in plain.stdout
    assert "1 sandbox batch is not shown" in plain.stderr
    assert real not in user.calls("status", "--sandbox").stdout
    assert real in user.calls("status", "last").stdout
    assert play in user.calls("status", "last", "--sandbox").stdout
    assert user.calls("cancel", play, "--yes").stdout == "0 rows cancelled; 2 rows had already ended.\n"
    assert json.loads(user.calls("status", "--json").stdout)["queued"] == 2
    unknown = user.calls("status", "bat_none", code=2)
    assert real in unknown.stderr
    assert play not in unknown.stderr


def test_what_is_asked_of_it_goes_on_with_the_sandbox(user: User) -> None:
    user.writes(titles(3, "Cut"), name="more.csv")
    user.calls("run", "more.csv", "--sandbox", "--first", "2", code=3)
    resumed = user.calls("resume", "last", "--sandbox")
    assert resumed.stdout == "1 row released.\n"
    assert "`reelq run more.csv --sandbox` continues it" in resumed.stderr
    assert user.calls("cancel", "last:3", "--sandbox").stdout == "Row 3 is cancelled.\n"
    assert user.calls("retry", "last:3", "--sandbox").stdout == "Row 3 is queued again.\n"
    user.calls("run", "more.csv", "--sandbox")
    assert len(user.videos("more")) == 3


def test_looking_for_play_that_never_was_makes_no_database(tmp_path: Path) -> None:
    assert "Run `reelq run MANIFEST --sandbox` first" in User(tmp_path).calls("status", "--sandbox", code=2).stderr
    assert not (tmp_path / "data").exists()
