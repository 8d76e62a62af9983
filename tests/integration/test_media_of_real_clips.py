"""How long real clips play, as an encoder writes them."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from reelq import media

LENGTH = 1.5


def make_clip(path: Path, *options: str) -> Path:
    source = ("-f", "lavfi", "-i", f"color=c=teal:s=64x36:d={LENGTH}:r=10")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *options, str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.mark.parametrize("options", [(), ("-movflags", "+faststart")], ids=["index last", "index first"])
@pytest.mark.parametrize("extension", ["mp4", "mov"])
def test_the_length_of_a_real_clip_is_read_from_its_header(
    tmp_path: Path, extension: str, options: tuple[str, ...]
) -> None:
    clip = make_clip(tmp_path / f"clip.{extension}", *options)
    assert media.duration(clip) == pytest.approx(LENGTH, abs=0.05)


def test_the_length_of_a_fragmented_clip_is_unknown(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", "-movflags", "frag_keyframe+empty_moov")
    assert media.duration(clip) is None


@pytest.mark.parametrize("extension", ["webm", "mkv", "avi"])
def test_the_length_of_other_containers_is_unknown(tmp_path: Path, extension: str) -> None:
    clip = make_clip(tmp_path / f"clip.{extension}", "-c:v", "libvpx" if extension == "webm" else "mpeg4")
    assert media.duration(clip) is None
