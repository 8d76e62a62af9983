"""Reads what an uploaded file holds, and encodes results: the clip, scaled and captioned by a real encoder."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

LARGEST: Final = (1080, 1920)
LONGEST_SECONDS: Final = 10.0
STILL_SECONDS: Final = 3.0
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
_BLANK: Final = (720, 1280)
_ENCODE_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Facts:
    """What could be read from a file; None for what could not."""

    duration: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """One uploaded file, and what could be read from it."""

    filename: str
    kind: str
    path: Path
    sha256: str
    size: int
    cdn: str
    """Its path on the CDN."""
    facts: Facts

    def shown(self, base: str) -> dict[str, object]:
        """As the service describes it, with its URL below this base."""
        facts, url = self.facts, f"{base}cdn/{self.cdn}"
        names = {"filename": self.filename, "file_type": self.kind, "cdn_url": url, "hash": self.sha256}
        return {**names, "duration": facts.duration, "width": facts.width, "height": facts.height, "fps": facts.fps}


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
    if program is None:
        return Facts()
    try:
        # It describes its input before it fails for lack of an output.
        _, description = await _run(program, ["-hide_banner", "-i", str(path)], _PROBE_SECONDS)
    except TimeoutError:
        return Facts()
    return _parse(description, kind)


def _parse(description: str, kind: str) -> Facts:
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


class EncodeFailed(Exception):
    """No file was made; the message has the encoder's reason, if it gave one."""


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """What to encode. Equal jobs give the same file."""

    source: Media | None
    caption: str
    seconds: float

    @property
    def key(self) -> str:
        contents = self.source.sha256 if self.source else "blank"
        return hashlib.sha256(f"{contents}\0{self.seconds:.2f}\0{self.caption}".encode()).hexdigest()[:32]

    @property
    def size(self) -> tuple[int, int]:
        """The source's size, shrunk if it is too large, in even numbers."""
        width, height = (self.source.facts.width, self.source.facts.height) if self.source else (None, None)
        if not width or not height:
            return _BLANK
        factor = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
        return max(2, int(width * factor) // 2 * 2), max(2, int(height * factor) // 2 * 2)


class EncoderPool:
    """Runs a limited number of encoders, and caches the files that they made."""

    def __init__(self, folder: Path, encoders: int) -> None:
        self._folder = folder
        self._slots = asyncio.Semaphore(encoders)
        self._tasks: dict[str, asyncio.Task[Path]] = {}

    async def make(self, job: EncodeJob) -> Path:
        """The file for this job; callers with equal jobs share one encoder run."""
        task = self._tasks.get(job.key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._tasks[job.key] = asyncio.create_task(self._make(job))
        # A cancelled render must not cancel the encoder run that others wait for.
        return await asyncio.shield(task)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _make(self, job: EncodeJob) -> Path:
        program = ffmpeg()
        if program is None:
            raise EncodeFailed("no ffmpeg for this machine; set IMAGEIO_FFMPEG_EXE to one")
        async with self._slots:
            overlay, still = self._folder / f"{job.key}.png", self._folder / f"{job.key}-still.png"
            output = self._folder / f"{job.key}.mp4"
            try:
                await asyncio.to_thread(_draw, job, overlay, still)
                await _encode(program, [*_inputs(job, still), "-i", str(overlay), *_outputs(job), str(output)])
            finally:
                overlay.unlink(missing_ok=True)
                still.unlink(missing_ok=True)
            return output


def _draw(job: EncodeJob, overlay: Path, still: Path) -> None:
    """Draw what the encoder needs: the caption, and a photo in a format that the encoder can loop."""
    # Imported here because it loads Pillow, which would delay the start.
    from sandbox.captions import draw, fit_photo

    draw(job.caption or "no instruction", *job.size, overlay)
    if job.source and job.source.kind == "image":
        try:
            fit_photo(job.source.path, job.size, still)
        except OSError:
            raise EncodeFailed("the encoder can't read this picture") from None


def _inputs(job: EncodeJob, still: Path) -> list[str]:
    source, length = job.source, ["-t", f"{job.seconds}"]
    if source is None:
        width, height = _BLANK
        return ["-f", "lavfi", *length, "-i", f"color=c=0x24344d:s={width}x{height}:r=25"]
    if source.kind == "image":
        return ["-f", "image2", "-loop", "1", "-framerate", "25", *length, "-i", str(still)]
    return [*length, "-i", str(source.path)]


def _outputs(job: EncodeJob) -> list[str]:
    width, height = job.size
    filters = f"[0:v]scale={width}:{height},setsar=1[clip];[clip][1:v]overlay=format=auto,format=yuv420p[out]"
    sound = ["-map", "0:a:0?", "-c:a", "aac", "-b:a", "96k"] if job.source and job.source.kind == "video" else []
    picture = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "26", "-threads", "1"]
    return ["-filter_complex", filters, "-map", "[out]", *sound, *picture, "-movflags", "+faststart", "-f", "mp4"]


async def _encode(program: str, arguments: list[str]) -> None:
    try:
        code, told = await _run(program, ["-y", "-v", "error", *arguments], _ENCODE_SECONDS)
    except TimeoutError:
        raise EncodeFailed(f"the encoder took more than {_ENCODE_SECONDS} seconds") from None
    if code:
        raise EncodeFailed(f"the encoder gave up: {(told.strip().splitlines() or ['no reason given'])[-1]}")


async def _run(program: str, arguments: list[str], seconds: float) -> tuple[int | None, str]:
    """Run ffmpeg to its end and return its exit code and what it printed; no process is left behind."""
    none, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program, "-nostdin", *arguments, stdin=none, stdout=none, stderr=pipe
    )
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, stderr.decode(errors="replace")
