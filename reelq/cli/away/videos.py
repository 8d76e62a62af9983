"""Finished videos, from the service into a folder: those that are not there, each whole or not at all."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import httpx

from reelq.cli.away.resources import understood
from reelq.cli.away.service import Service
from reelq.cli.away.transfer import Meter, meter, patiently
from reelq.cli.wording import many, one_line
from reelq.errors import CannotWrite, ReelqError, ServiceRefused, UnknownName


@dataclass(frozen=True, slots=True)
class _Video:
    job_id: str
    row: int
    path: Path
    sha256: str
    size: int

    @property
    def part(self) -> Path:
        """What has come of it so far; another content goes on in another file."""
        return self.path.with_name(f".{self.path.name}.{self.sha256[:12]}.part")


@dataclass(slots=True)
class _Count:
    brought: int = 0
    there: int = 0
    left: int = 0


def bring_videos(service: Service, batch_id: str, folder: Path) -> bool:
    """Bring them; whether all that are finished are in the folder now. What is there is kept as it is."""
    count = _Count()
    with meter("bringing") as shown:
        for video in _finished(service, batch_id, folder):
            try:
                _bring(service, video, count, shown)
            except (ServiceRefused, UnknownName) as refused:
                count.left += 1
                shown.say(f"Row {video.row}: {refused}. {refused.advice}".rstrip())
    there = f", {many(count.there, 'was', 'were')} there already" if count.there else ""
    left = f", {count.left:,} could not be brought" if count.left else ""
    click.echo(f"{many(count.brought, 'video')} brought to {one_line(str(folder))}{there}{left}.", err=True)
    return not count.left


def _finished(service: Service, batch_id: str, folder: Path) -> Iterator[_Video]:
    for told in service.pages(f"/v1/batches/{batch_id}/jobs", status="succeeded"):
        if told.get("result"):
            yield _video(told, folder)


@understood
def _video(told: dict[str, Any], folder: Path) -> _Video:
    path = folder / told["output"]
    if folder.resolve() not in path.resolve().parents:
        raise ServiceRefused(f"The service names a video {told['output']!r}, which is outside of the folder")
    result = told["result"]
    return _Video(str(told["id"]), int(told["row"]), path, str(result["sha256"]), int(result["size"]))


def _bring(service: Service, video: _Video, count: _Count, shown: Meter) -> None:
    try:
        if video.path.exists():
            _keep(video, count)
            return
        video.path.parent.mkdir(parents=True, exist_ok=True)
        patiently(partial(_fetch, service, video, shown), shown.say)
        video.part.replace(video.path)
    except OSError as error:
        raise _cannot(video.path, error) from error
    count.brought += 1


def _keep(video: _Video, count: _Count) -> None:
    if video.path.is_file() and video.path.stat().st_size == video.size and _sha256(video.path) == video.sha256:
        count.there += 1
        return
    advice = "It is left as it is: move it away, or name another folder."
    raise ServiceRefused(f"{video.path} is there already, and is not this row's video", advice)


def _fetch(service: Service, video: _Video, shown: Meter) -> None:
    """What is missing of it, behind what came before; a whole that is none is dropped, and asked for again."""
    have = video.part.stat().st_size if video.part.exists() else 0
    if have < video.size:
        shown.begin(str(video.path.name), video.size, have)
        headers = {"Range": f"bytes={have}-", "If-Range": f'"{video.sha256}"'} if have else {}
        with service.opened("GET", f"/v1/jobs/{video.job_id}/output", headers=headers) as response:
            goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
            with video.part.open("ab" if goes_on else "wb") as file:
                for piece in response.iter_raw():
                    file.write(piece)
                    shown.more(len(piece))
    if video.part.stat().st_size != video.size or _sha256(video.part) != video.sha256:
        video.part.unlink()
        raise ServiceRefused(f"{video.path.name} did not arrive as the service has it", "The same command asks again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cannot(path: Path, error: OSError) -> ReelqError:
    told = CannotWrite(f"{path}: {error.strerror or error}")
    told.advice = "Make room or give permission in that folder; what has come so far is kept, and the rest waits there."
    return told
