"""The first thing a stranger does: `make demo`, all the way to videos that a decoder reads, and once more."""

import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from reelq import manifest, skills

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
# `-o`: the environment is the one that these tests run in, however it was made.
DEMO = [str(MAKE), "demo", "-o", ".venv/.run-ready"]

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def make_checkout(folder: Path) -> Path:
    """What the demo needs of a checkout."""
    shutil.copytree(ROOT / "samples", folder / "samples")
    for name in ("Makefile", "jobs.example.csv"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    (folder / "nobody").touch()
    (folder / "tmp").mkdir()
    return folder


def options(checkout: Path) -> dict[str, Any]:
    """For a user whose home can't be written, as nothing can be in a file; what an outer make handed on is its own."""
    others = ("MAKE", "REELQ", "NEMO")
    kept = {name: text for name, text in os.environ.items() if not any(other in name for other in others)}
    env = {**kept, "HOME": str(checkout / "nobody"), "TMPDIR": str(checkout / "tmp")}
    return {"cwd": checkout, "env": env, "text": True, "encoding": "utf-8"}


def make_demo(checkout: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(DEMO, capture_output=True, timeout=110, check=False, **options(checkout))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A checkout after its demo, and what that said."""
    checkout = make_checkout(tmp_path_factory.mktemp("demo") / "checkout")
    done = make_demo(checkout)
    assert done.returncode == 0, done.stderr
    return checkout, done.stdout


def rows_of(checkout: Path) -> tuple[manifest.Row, ...]:
    return manifest.check_file(checkout / "jobs.example.csv", skills=skills.load()).rows_or_raise()


def test_it_ends_with_a_playable_video_for_every_row_and_the_list_of_them(shown: tuple[Path, str]) -> None:
    checkout, said = shown
    assert "9 of 9 rows done" in said
    out = checkout / "reelq-out" / "jobs.example"
    rows = rows_of(checkout)
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
    last = said[said.index("play money") :]
    named = [word.strip("`,") for word in last.split() if "/" in word and not word.startswith("REELQ")]
    assert [name for name in named if not (checkout / name).exists() and not (ROOT / name).exists()] == []
    line = next(line for line in last.splitlines() if "reelq show" in line)
    command = shlex.split(line[line.index("REELQ_DATA_DIR") :])
    story = subprocess.run(["env", *command], capture_output=True, timeout=60, check=True, **options(checkout)).stdout
    assert "Swap the speaker's face" in story
    assert "status   succeeded" in story


def test_a_second_time_it_says_that_nothing_is_left_to_do_and_changes_nothing(shown: tuple[Path, str]) -> None:
    checkout, _ = shown
    made = {path: path.stat().st_mtime_ns for path in checkout.rglob("*.mp4")}
    again = make_demo(checkout)
    assert (again.returncode, again.stderr) == (0, "9 rows: 9 done before.\nNothing is left to do.\n")
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*.mp4")} == made


def test_interrupted_it_leaves_no_sandbox_and_no_traceback(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    few = (ROOT / "jobs.example.csv").read_text(encoding="utf-8").splitlines()[:4]
    (checkout / "jobs.example.csv").write_text("\n".join(few), encoding="utf-8")
    line = subprocess.run([*DEMO, "-n"], capture_output=True, check=True, **options(checkout)).stdout.splitlines()[0]
    pipe = subprocess.PIPE
    with subprocess.Popen(["env", *shlex.split(line)], stdout=pipe, stderr=pipe, **options(checkout)) as process:
        assert process.stderr is not None
        next(said for said in process.stderr if "edit begins" in said)
        process.send_signal(signal.SIGINT)
        # Ends only when all who can write have gone: the sandbox too.
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted; nothing is lost." in said
    assert "Traceback" not in said
    assert list((checkout / "tmp").iterdir()) == []
