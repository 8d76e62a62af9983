"""How long real clips play, as an encoder writes them."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from reelq import media

LENGTH = 1.5


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [
        ("index-last.mp4", "", LENGTH),
        ("index-first.mp4", "-movflags +faststart", LENGTH),
        ("clip.mov", "", LENGTH),
        ("fragmented.mp4", "-movflags frag_keyframe+empty_moov", None),
        ("clip.webm", "-c:v libvpx", None),
        ("clip.mkv", "-c:v mpeg4", None),
        ("clip.avi", "-c:v mpeg4", None),
    ],
)
def test_the_length_is_read_where_it_is_told(tmp_path: Path, name: str, options: str, length: float | None) -> None:
    source = ("-f", "lavfi", "-i", f"color=c=teal:s=64x36:d={LENGTH}:r=10")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *options.split(), str(tmp_path / name)]
    subprocess.run(command, check=True, timeout=60)
    assert media.duration(tmp_path / name) == (length and pytest.approx(length, abs=0.05))
