"""Encodes results: the uploaded clip, scaled and captioned by a real encoder. Equal results are encoded once."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.media import ffmpeg

if TYPE_CHECKING:
    from sandbox.state import Media
LARGEST: Final = (1080, 1920)
LONGEST_SECONDS: Final = 10.0
STILL_SECONDS: Final = 3.0
_BLANK: Final = (720, 1280)
_ENCODE_SECONDS: Final = 120


class EncodeFailed(Exception):
    """No file was made; the message has the encoder's reason, if it gave one."""


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """What to encode. Equal orders give the same file."""

    source: "Media | None"
    caption: str
    seconds: float

    @property
    def key(self) -> str:
        contents = self.source.sha256 if self.source else "blank"
        return hashlib.sha256(f"{contents}\0{self.seconds:.2f}\0{self.caption}".encode()).hexdigest()[:32]

    @property
    def size(self) -> tuple[int, int]:
        """The source's size, shrunk if it is too large, in even numbers."""
        if self.source is None or not self.source.width or not self.source.height:
            return _BLANK
        width, height = self.source.width, self.source.height
        factor = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
        return max(2, int(width * factor) // 2 * 2), max(2, int(height * factor) // 2 * 2)


class EncoderPool:
    """Runs a limited number of encoders, and caches the files that they made."""

    def __init__(self, folder: Path, encoders: int) -> None:
        self._folder = folder
        self._slots = asyncio.Semaphore(encoders)
        self._tasks: dict[str, asyncio.Task[Path]] = {}

    async def make(self, order: EncodeJob) -> Path:
        """The file for this order; callers with equal orders share one encoder run."""
        task = self._tasks.get(order.key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._tasks[order.key] = asyncio.create_task(self._make(order))
        # A cancelled render must not cancel the encoder run that others wait for.
        return await asyncio.shield(task)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _make(self, order: EncodeJob) -> Path:
        program = ffmpeg()
        if program is None:
            raise EncodeFailed("no ffmpeg for this machine; set IMAGEIO_FFMPEG_EXE to one")
        async with self._slots:
            overlay, still = self._folder / f"{order.key}.png", self._folder / f"{order.key}-still.png"
            output = self._folder / f"{order.key}.mp4"
            try:
                await asyncio.to_thread(_draw, order, overlay, still)
                await _run(program, [*_inputs(order, still), "-i", str(overlay), *_outputs(order), str(output)])
            finally:
                overlay.unlink(missing_ok=True)
                still.unlink(missing_ok=True)
            return output


def _draw(order: EncodeJob, overlay: Path, still: Path) -> None:
    """Draw what the encoder needs: the caption, and a photo in a format that the encoder can loop."""
    # Imported here because it loads Pillow, which would delay the start.
    from sandbox.captions import draw, fit_photo

    draw(order.caption or "no instruction", *order.size, overlay)
    if order.source and order.source.kind == "image":
        try:
            fit_photo(order.source.path, order.size, still)
        except OSError:
            raise EncodeFailed("the encoder can't read this picture") from None


def _inputs(order: EncodeJob, still: Path) -> list[str]:
    source, length = order.source, ["-t", f"{order.seconds}"]
    if source is None:
        width, height = _BLANK
        return ["-f", "lavfi", *length, "-i", f"color=c=0x24344d:s={width}x{height}:r=25"]
    if source.kind == "image":
        return ["-f", "image2", "-loop", "1", "-framerate", "25", *length, "-i", str(still)]
    return [*length, "-i", str(source.path)]


def _outputs(order: EncodeJob) -> list[str]:
    width, height = order.size
    filters = f"[0:v]scale={width}:{height},setsar=1[clip];[clip][1:v]overlay=format=auto,format=yuv420p[out]"
    sound = ["-map", "0:a:0?", "-c:a", "aac", "-b:a", "96k"] if order.source and order.source.kind == "video" else []
    picture = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "26", "-threads", "1"]
    return ["-filter_complex", filters, "-map", "[out]", *sound, *picture, "-movflags", "+faststart", "-f", "mp4"]


async def _run(program: str, arguments: list[str]) -> None:
    """Run the encoder to its end; no process is left behind."""
    none, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program, "-nostdin", "-y", "-v", "error", *arguments, stdin=none, stdout=none, stderr=pipe
    )
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), _ENCODE_SECONDS)
    except TimeoutError:
        raise EncodeFailed(f"the encoder took more than {_ENCODE_SECONDS} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise EncodeFailed(f"the encoder gave up: {last[0]}")
