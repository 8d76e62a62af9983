"""What was run with the sandbox is found by the hints that it left, and never shows up among real work."""

import json
import shutil
from pathlib import Path

import pytest

from tests.acceptance.running import NOBODY, User, titles


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user who has tried it out with two rows."""
    user = User(tmp_path_factory.mktemp("play"), None, NEMO_API_URL=NOBODY)
    user.writes(titles(2))
    done = user.calls("run", "jobs.csv", "--sandbox")
    assert done.returncode == 0, done.stderr
    assert len(user.videos()) == 2
    return user


@pytest.fixture
def user(played: User, tmp_path: Path) -> User:
    """The same, in a copy of their folder."""
    shutil.copytree(played.folder, tmp_path / "home")
    return User(tmp_path / "home", None, NEMO_API_URL=NOBODY)


def batch_of(user: User) -> str:
    newest = user.calls("status", "--sandbox", "--json").stdout.splitlines()[0]
    return str(json.loads(newest)["batch"])


def test_it_needs_no_account_and_has_a_database_of_its_own(played: User) -> None:
    assert [path.name for path in (played.folder / "data").glob("*.db")] == ["sandbox.db"]
    assert "2 rows: 2 done before." in played.calls("run", "jobs.csv", "--sandbox").stderr


def test_its_ids_are_known_to_every_command_and_its_names_where_they_are_asked_for(user: User) -> None:
    batch = batch_of(user)
    assert f"{batch})" in user.calls("show", f"{batch}:2").stdout
    assert "2 of 2 rows done" in user.calls("status", batch).stdout
    assert "2 of 2 rows done" in user.calls("watch", "last", "--sandbox").stdout
    assert len(user.calls("results", batch).stdout.splitlines()) == 3
    assert user.calls("retry", f"{batch}:1").stdout == "Row 1 has not failed: left alone.\n"
    assert user.calls("show", f"{batch}:9").stderr.startswith(f"reelq: {batch} has no row '9'")
    refused = user.calls("show", "last:1")
    assert refused.returncode == 2
    assert "`--sandbox` looks among those of the sandbox" in refused.stderr


def test_real_work_and_play_do_not_show_up_in_each_others_lists(user: User) -> None:
    play = batch_of(user)
    real = user.calls("submit", "jobs.csv", "--yes").stdout.strip()
    plain = user.calls("status")
    assert real in plain.stdout
    assert play not in plain.stdout
    assert "Beside these there is 1 batch of the sandbox" in plain.stderr
    assert real not in user.calls("status", "--sandbox").stdout
    assert real in user.calls("status", "last").stdout
    assert play in user.calls("status", "last", "--sandbox").stdout
    assert user.calls("cancel", play, "--yes").stdout == "0 rows cancelled; 2 rows had ended.\n"
    assert json.loads(user.calls("status", "--json").stdout)["queued"] == 2
    unknown = user.calls("status", "bat_none")
    assert real in unknown.stderr
    assert play not in unknown.stderr


def test_what_is_asked_of_it_goes_on_with_the_sandbox(user: User) -> None:
    user.writes([*titles(2), "talk.mp4,Add a title that says Three"])
    user.calls("run", "jobs.csv", "--sandbox", "--first", "2")
    batch = batch_of(user)
    resumed = user.calls("resume", batch)
    assert resumed.stdout == "1 row released.\n"
    assert "`reelq run jobs.csv --sandbox` goes on with it" in resumed.stderr
    assert user.calls("cancel", f"{batch}:3").stdout == "Row 3 is cancelled.\n"
    assert user.calls("retry", f"{batch}:3").stdout == "Row 3 is queued again.\n"
    done = user.calls("run", "jobs.csv", "--sandbox")
    assert done.returncode == 0, done.stderr
    assert len(user.videos()) == 3


def test_a_refinement_of_a_sandbox_that_has_ended_is_refused_with_what_to_do(user: User) -> None:
    refused = user.calls("refine", f"{batch_of(user)}:1", "Make it brighter")
    assert refused.returncode == 1
    assert "has ended, and its session with it" in refused.stderr
    assert "--sandbox" in refused.stderr


def test_looking_for_play_that_never_was_makes_no_database(tmp_path: Path) -> None:
    user = User(tmp_path, None)
    refused = user.calls("status", "--sandbox")
    assert refused.returncode == 2
    assert "`reelq run MANIFEST --sandbox` does" in refused.stderr
    assert not (tmp_path / "data").exists()
