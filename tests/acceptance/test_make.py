"""`make demo`, the first thing a stranger does; and `make` on a machine that is not ready: it says what is missing."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

from reelq import skills
from reelq.manifest import checks
from tests.acceptance.running import ROOT

MAKE = shutil.which("make")
# `-o`: the environment is the one that these tests run in, however it was made.
DEMO = [str(MAKE), "demo", "-o", ".venv/.run-ready"]

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def call(*command: str, checkout: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """For a user whose home can't be written, as nothing can be in a file; what an outer make handed on is its own."""
    others = ("MAKE", "REELQ", "NEMO")
    kept = {name: text for name, text in os.environ.items() if not any(other in name for other in others)}
    (home := checkout / "nobody").touch()
    return subprocess.run(
        command, cwd=checkout, env={**kept, "HOME": str(home), **environment}, capture_output=True, text=True,
        encoding="utf-8", timeout=110, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A checkout after its demo, and what that said."""
    checkout = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "samples", checkout / "samples")
    for name in ("Makefile", "jobs.example.csv"):
        shutil.copy(ROOT / name, checkout)
    (checkout / ".venv").symlink_to(Path(sys.executable).parents[1])
    done = call(*DEMO, checkout=checkout)
    assert done.returncode == 0, done.stderr
    return checkout, done.stdout


def test_it_ends_with_a_playable_video_for_every_row_and_the_list_of_them(shown: tuple[Path, str]) -> None:
    checkout, said = shown
    assert "9 of 9 rows done" in said
    out = checkout / "reelq-out" / "jobs.example"
    rows = checks.check_file(checkout / "jobs.example.csv", skills=skills.load()).rows_or_raise()
    assert {path for path in out.rglob("*") if path.is_file()} == {out / "results.csv"} | {out / r.output for r in rows}
    for row in rows:
        decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(out / row.output)]
        decoded = subprocess.run([*decode, "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=True)
        assert decoded.stderr == ""
    with (out / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        listed = [(row["id"], row["status"], row["output"]) for row in csv.DictReader(file)]
    assert listed == [(row.id, "succeeded", row.output) for row in rows]


def test_its_last_words_name_files_that_are_there_and_a_command_that_works(shown: tuple[Path, str]) -> None:
    checkout, said = shown
    last = said[said.index("No real credits") :]
    named = [word.strip("`,") for word in last.split() if "/" in word and not word.startswith("REELQ")]
    assert [name for name in named if not (checkout / name).exists() and not (ROOT / name).exists()] == []
    line = next(line for line in last.splitlines() if "reelq show" in line)
    story = call("env", *shlex.split(line[line.index("REELQ_DATA_DIR") :]), checkout=checkout)
    assert (story.returncode, "Swap the speaker's face" in story.stdout) == (0, True), story.stderr
    assert re.search("status +succeeded", story.stdout)


def test_a_second_time_it_says_that_nothing_is_left_to_do_and_changes_nothing(shown: tuple[Path, str]) -> None:
    checkout, _ = shown
    made = {path: path.stat().st_mtime_ns for path in checkout.rglob("*.mp4")}
    again = call(*DEMO, checkout=checkout)
    assert (again.returncode, again.stderr) == (0, "9 rows: 9 done before.\nNothing to do.\n")
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*.mp4")} == made


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The Makefile and the locks, and a PATH with nothing on it that was not put there."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    (tmp_path / "path").mkdir()
    for tool in ("mkdir", "ln"):
        (tmp_path / "path" / tool).symlink_to(str(shutil.which(tool)))
    return tmp_path


def python3(bare: Path, *lines: str) -> None:
    """Put a python3 on the PATH that is this script."""
    script = bare / "path" / "python3"
    script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    script.chmod(0o755)


def make(bare: Path, target: str) -> "subprocess.CompletedProcess[str]":
    done = call(str(MAKE), target, checkout=bare, PATH=str(bare / "path"))
    assert done.returncode == 2
    return done


def test_without_a_python_that_is_new_enough_it_says_which_one_it_wants_and_makes_nothing(bare: Path) -> None:
    none = make(bare, "demo").stderr
    assert "needs Python 3.11 or newer, and there is no python3 here" in none
    assert "make PYTHON=python3.12 demo" in none
    aged = "import sys; sys.version_info = (3, 8, 18)"
    python3(bare, f'exec "{sys.executable}" -c "{aged}\n$2"')
    old = make(bare, "setup").stderr
    assert "needs Python 3.11 or newer, and python3 is 3.8." in old
    assert "make PYTHON=python3.12 setup" in old
    assert not (bare / ".venv").exists()


def test_an_environment_that_could_not_be_finished_is_begun_again_the_next_time(bare: Path) -> None:
    half_made = f'mkdir -p .venv/bin; ln -s "{sys.executable}" .venv/bin/python; echo no ensurepip; exit 1'
    python3(bare, f'case "$*" in "-m venv"*) {half_made};; esac', f'exec "{sys.executable}" "$@"')
    for _ in range(2):
        assert make(bare, "setup").stdout.splitlines()[:2] == ["Setting up .venv …", "no ensurepip"]
