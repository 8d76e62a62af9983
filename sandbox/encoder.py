"""Finished videos: the uploaded clip, scaled and captioned by a real encoder, each made once."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.media import ffmpeg

if TYPE_CHECKING:
    from sandbox.world import Media

LARGEST: Final = (1080, 1920)
LONGEST_SECONDS: Final = 10.0
STILL_SECONDS: Final = 3.0
_BLANK: Final = (720, 1280)
_ENCODE_SECONDS: Final = 120


class EncodeFailed(Exception):
    """No file was made; the message says why, as far as the encoder told."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made. Equal orders give the same file."""

    source: "Media | None"
    caption: str
    seconds: float

    @property
    def key(self) -> str:
        contents = self.source.sha256 if self.source else "blank"
        return hashlib.sha256(f"{contents}\0{self.seconds:.2f}\0{self.caption}".encode()).hexdigest()[:32]

    @property
    def size(self) -> tuple[int, int]:
        """The source's, shrunk to fit where it is larger, in even numbers."""
        if self.source is None or not self.source.width or not self.source.height:
            return _BLANK
        width, height = self.source.width, self.source.height
        factor = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
        return max(2, int(width * factor) // 2 * 2), max(2, int(height * factor) // 2 * 2)


class Studio:
    """A bounded number of encoders at work, and the files that they made."""

    def __init__(self, folder: Path, encoders: int) -> None:
        self._folder = folder
        self._free = asyncio.Semaphore(encoders)
        self._made: dict[str, asyncio.Task[Path]] = {}

    async def make(self, order: Order) -> Path:
        """The file for this order; those who want the same one wait for the same encoder."""
        making = self._made.get(order.key)
        if making is None or (making.done() and (making.cancelled() or making.exception())):
            making = self._made[order.key] = asyncio.create_task(self._make(order))
        # A render that is cancelled must not take the file away from the others.
        return await asyncio.shield(making)

    async def close(self) -> None:
        for making in self._made.values():
            making.cancel()
        await asyncio.gather(*self._made.values(), return_exceptions=True)

    async def _make(self, order: Order) -> Path:
        program = ffmpeg()
        if program is None:
            raise EncodeFailed("no ffmpeg for this machine; set IMAGEIO_FFMPEG_EXE to one")
        async with self._free:
            overlay, still = self._folder / f"{order.key}.png", self._folder / f"{order.key}-still.png"
            made = self._folder / f"{order.key}.mp4"
            try:
                await asyncio.to_thread(_draw, order, overlay, still)
                await _run(program, [*_inputs(order, still), "-i", str(overlay), *_outputs(order), str(made)])
            finally:
                overlay.unlink(missing_ok=True)
                still.unlink(missing_ok=True)
            return made


def _draw(order: Order, overlay: Path, still: Path) -> None:
    """What is drawn before the encoder begins: the caption, and a photo in a form that the encoder can loop."""
    # Imported here: it brings in Pillow, for which a start should not wait.
    from sandbox.captions import draw, fit_photo

    draw(order.caption or "no instruction", *order.size, overlay)
    if order.source and order.source.kind == "image":
        try:
            fit_photo(order.source.path, order.size, still)
        except OSError:
            raise EncodeFailed("the encoder can't read this picture") from None


def _inputs(order: Order, still: Path) -> list[str]:
    source, length = order.source, ["-t", f"{order.seconds}"]
    if source is None:
        width, height = _BLANK
        return ["-f", "lavfi", *length, "-i", f"color=c=0x24344d:s={width}x{height}:r=25"]
    if source.kind == "image":
        return ["-f", "image2", "-loop", "1", "-framerate", "25", *length, "-i", str(still)]
    return [*length, "-i", str(source.path)]


def _outputs(order: Order) -> list[str]:
    width, height = order.size
    filters = f"[0:v]scale={width}:{height},setsar=1[clip];[clip][1:v]overlay=format=auto,format=yuv420p[out]"
    sound = ["-map", "0:a:0?", "-c:a", "aac", "-b:a", "96k"] if order.source and order.source.kind == "video" else []
    picture = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "26", "-threads", "1"]
    return ["-filter_complex", filters, "-map", "[out]", *sound, *picture, "-movflags", "+faststart", "-f", "mp4"]


async def _run(program: str, arguments: list[str]) -> None:
    """Run the encoder to its end, and never leave one behind."""
    none, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program, "-nostdin", "-y", "-v", "error", *arguments, stdin=none, stdout=none, stderr=pipe
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), _ENCODE_SECONDS)
    except TimeoutError:
        raise EncodeFailed(f"the encoder took more than {_ENCODE_SECONDS} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise EncodeFailed(f"the encoder gave up: {last[0]}")
