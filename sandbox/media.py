"""What is known of a file: its kind from its name, its length and size from its content."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

KINDS: Final = MappingProxyType(
    dict.fromkeys(("mp4", "mov", "avi", "webm", "mkv"), "video")
    | dict.fromkeys(("jpg", "jpeg", "png", "gif", "webp"), "image")
    | dict.fromkeys(("mp3", "wav", "m4a", "aac"), "audio")
)
"""The accepted types, by file extension."""

_DURATION: Final = re.compile(r"Duration: (\d+):(\d+):(\d+\.\d+)")
_PICTURE: Final = re.compile(r"Video: .*?, (\d{2,5})x(\d{2,5})")
_FPS: Final = re.compile(r"([\d.]+) fps")
_ROTATED: Final = re.compile(r"rotation of -?(?:90|270)\.")
_PROBE_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What could be read from a file; None for what could not."""

    duration: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None


def kind_of(filename: str) -> str | None:
    """The kind of an accepted file; None for any other."""
    return KINDS.get(Path(filename).suffix.lower().lstrip("."))


def ffmpeg() -> str | None:
    """The path of the encoder; None if there is none for this machine."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


async def probe(path: Path, kind: str) -> Facts:
    """Read what a file holds. A file that can't be read is accepted all the same, as the service does."""
    if kind == "image":
        return await asyncio.to_thread(_picture_size, path)
    program = ffmpeg()
    return _read(await _describe(program, path), kind) if program else Facts()


async def _describe(program: str, path: Path) -> str:
    """What ffmpeg prints about its input before it fails for lack of an output."""
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        program, "-nostdin", "-hide_banner", "-i", str(path), stdin=none, stdout=none, stderr=pipe
    )
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), _PROBE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    return stderr.decode(errors="replace")


def _read(description: str, kind: str) -> Facts:
    length, picture, rate = _DURATION.search(description), _PICTURE.search(description), _FPS.search(description)
    duration = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]) if length else None
    if kind == "audio" or not picture:
        return Facts(duration)
    width, height = int(picture[1]), int(picture[2])
    if _ROTATED.search(description):
        width, height = height, width
    return Facts(duration, width, height, float(rate[1]) if rate else None)


def _picture_size(path: Path) -> Facts:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return Facts(None, *picture.size)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return Facts()
