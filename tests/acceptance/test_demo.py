"""The first thing a stranger does: the example, all the way to videos that a decoder reads."""

import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from reelq import manifest, skills

ROOT = Path(__file__).parents[2]


def test_the_walk_ends_with_a_playable_video_for_every_row(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    shutil.copy(ROOT / "jobs.example.csv", tmp_path)
    done = subprocess.run(
        [sys.executable, "samples/walk.py"], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=True
    )
    rows = manifest.check_file(tmp_path / "jobs.example.csv", skills=skills.load()).rows_or_raise()
    results = tmp_path / "reelq-out" / "jobs.example"
    assert "9 videos in reelq-out/jobs.example/" in done.stdout
    assert sorted(path for path in results.rglob("*") if path.is_file()) == sorted(results / row.output for row in rows)
    for row in rows:
        decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(results / row.output)]
        decoded = subprocess.run([*decode, "-f", "null", "-"], capture_output=True, text=True, timeout=60, check=True)
        assert decoded.stderr == ""
