"""Downloads finished videos into a folder: only those that are missing, each completely or not at all."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import httpx

from reelq.cli.backends.http.client import Service, parse
from reelq.cli.backends.http.transfer import TransferProgress, meter, retry_while_unavailable
from reelq.cli.views.text import plural, safe_line
from reelq.errors import CannotWrite, ServiceRefused, UnknownName


@dataclass(frozen=True, slots=True)
class _Result:
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Job:
    id: str
    row: int
    output: str
    result: _Result | None


@dataclass(frozen=True, slots=True)
class _Video:
    job_id: str
    row: int
    path: Path
    sha256: str
    size: int

    @property
    def part(self) -> Path:
        """The partial download. The hash in its name keeps different content apart."""
        return self.path.with_name(f".{self.path.name}.{self.sha256[:12]}.part")


@dataclass(slots=True)
class _Count:
    downloaded: int = 0
    present: int = 0
    failed: int = 0


def download_videos(service: Service, batch_id: str, folder: Path) -> bool:
    """Download finished videos; existing files are left alone. Returns whether all of them are in the folder now."""
    count = _Count()
    with meter("downloading") as progress:
        for video in _finished(service, batch_id, folder):
            try:
                _download(service, video, count, progress)
            except (ServiceRefused, UnknownName) as refusal:
                count.failed += 1
                progress.say(f"Row {video.row}: {refusal}. {refusal.advice}".rstrip())
    present = f", {plural(count.present, 'was', 'were')} there already" if count.present else ""
    failed = f", {count.failed:,} could not be downloaded" if count.failed else ""
    click.echo(
        f"{plural(count.downloaded, 'video')} downloaded to {safe_line(str(folder))}{present}{failed}.", err=True
    )
    return not count.failed


def _finished(service: Service, batch_id: str, folder: Path) -> Iterator[_Video]:
    for data in service.pages(f"/v1/batches/{batch_id}/jobs", status="succeeded"):
        job = parse(_Job, data)
        if job.result:
            yield _Video(job.id, job.row, _path_in(folder, job.output), job.result.sha256, job.result.size)


def _path_in(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        is_inside = folder.resolve() in path.resolve().parents
    except ValueError:  # it contains a null character
        is_inside = False
    if not is_inside:
        raise ServiceRefused(f"The service names a video {name!r}, which is outside of the folder")
    return path


def _download(service: Service, video: _Video, count: _Count, progress: TransferProgress) -> None:
    try:
        if video.path.exists():
            _check_existing(video, count)
            return
        video.path.parent.mkdir(parents=True, exist_ok=True)
        retry_while_unavailable(partial(_fetch_rest, service, video, progress), progress.say)
        video.part.replace(video.path)
    except OSError as error:
        advice = "Free disk space or check the folder's permissions; the partial download is kept."
        raise CannotWrite(f"{video.path}: {error.strerror or error}", advice) from error
    count.downloaded += 1


def _check_existing(video: _Video, count: _Count) -> None:
    if video.path.is_file() and video.path.stat().st_size == video.size and _sha256(video.path) == video.sha256:
        count.present += 1
        return
    advice = "It was not changed. Move it, or choose another folder."
    raise ServiceRefused(f"{video.path} already exists and is not this row's video", advice)


def _fetch_rest(service: Service, video: _Video, progress: TransferProgress) -> None:
    """Download the rest after what has arrived before. If the whole file is not as announced, delete it and raise."""
    offset = video.part.stat().st_size if video.part.exists() else 0
    if offset < video.size:
        progress.begin(str(video.path.name), video.size, offset)
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{video.sha256}"'} if offset else {}
        with service.opened("GET", f"/v1/jobs/{video.job_id}/output", headers=headers) as response:
            is_partial = response.status_code == httpx.codes.PARTIAL_CONTENT
            with video.part.open("ab" if is_partial else "wb") as file:
                for chunk in response.iter_raw():
                    file.write(chunk)
                    progress.more(len(chunk))
    if video.part.stat().st_size != video.size or _sha256(video.part) != video.sha256:
        video.part.unlink()
        raise ServiceRefused(f"{video.path.name} arrived incomplete or damaged", "Run the same command to try again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
