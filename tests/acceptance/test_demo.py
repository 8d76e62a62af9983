"""The first thing a stranger does: the example, all the way to videos that a decoder reads."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from reelq import manifest, skills

ROOT = Path(__file__).parents[2]


def walk(folder: Path) -> "subprocess.Popen[str]":
    """The demo in a checkout of its own; its sandbox writes to the same stderr."""
    shutil.copytree(ROOT / "samples", folder / "samples", dirs_exist_ok=True)
    shutil.copy(ROOT / "jobs.example.csv", folder)
    command = [sys.executable, "-u", "samples/walk.py"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_walk_ends_with_a_playable_video_for_every_row_though_it_runs_twice_at_once(tmp_path: Path) -> None:
    with walk(tmp_path) as one, walk(tmp_path) as other:
        for process in (one, other):
            said, complained = process.communicate(timeout=110)
            assert (process.returncode, complained) == (0, "")
            assert "9 videos in reelq-out/jobs.example/" in said
    rows = manifest.check_file(tmp_path / "jobs.example.csv", skills=skills.load()).rows_or_raise()
    results = tmp_path / "reelq-out" / "jobs.example"
    assert sorted(path for path in results.rglob("*") if path.is_file()) == sorted(results / row.output for row in rows)
    for row in rows:
        decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(results / row.output)]
        decoded = subprocess.run([*decode, "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=True)
        assert decoded.stderr == ""


def test_an_interrupted_walk_leaves_no_traceback_and_no_sandbox_behind(tmp_path: Path) -> None:
    with walk(tmp_path) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "uploaded" in line)
        process.send_signal(signal.SIGINT)
        # Ends only when all who can write have gone: the sandbox too.
        _, complained = process.communicate(timeout=20)
    assert (process.returncode, complained) == (130, "")
